/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_grant grant|anonymous|handover [--seed N] [--wrong NAME] [--mutant NAME]
 *
 * A manager (office.h) accepts a client, grants it a worker's lease, takes its acknowledgement, and
 * frees the name when the client lets go, one instruction at a time; or the same of an attachment
 * without a name; or it hands the name over: a worker's process is killed while another client
 * waits for it.
 *
 * At each place (sweep.h; the records are compared) what stands in the records must belong
 * together, and nothing else may have changed.  Then one manager after the other is killed at each
 * place, and the next must find the leases as they are: it grants the name to nobody while somebody
 * holds it, to the next claimant as soon as nobody does, under higher epochs, leaves no file
 * behind, and keeps the other worker's lease all the while.  An attachment without a name is
 * granted whoever has another, and never one that somebody has.
 *
 * --wrong unlocked: its leases are made without a lock; --wrong stuck: none is ever found free.
 */
#include "office.h"
#include "scenery.h"
#include "sweep.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POINTS 60000u
#define KILLS  150u /* in a run that doesn't soak */

static struct office_client holder, client;
static bool ending; /* a holder has gone */
static struct watched watched;

/* ---- the ways to be wrong */

int __real_lease_create(int dir_fd, const struct lease_record *record, int *keep, int *grant);
int __wrap_lease_create(int dir_fd, const struct lease_record *record, int *keep, int *grant);
int __real_lease_held(int keep);
int __wrap_lease_held(int keep);

int __wrap_lease_create(int dir_fd, const struct lease_record *record, int *keep, int *grant) {
    const int r = __real_lease_create(dir_fd, record, keep, grant);
    struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (r == 0 && sweep_wrong("unlocked") && strcmp(record->worker, "still") != 0)
        fcntl(*grant, F_OFD_SETLK, &unlock);
    return r;
}

int __wrap_lease_held(int keep) {
    return sweep_wrong("stuck") ? 1 : __real_lease_held(keep);
}

/* ---- the process that is stepped */

static void serve_until(struct manager *m, enum shm_lease_state state) {
    if (!office_serve(m, office_is, &state))
        _exit(1);
}

static void begin(struct manager *m) {
    if (office_manager(m) < 0)
        _exit(1);
    sweep_begin();
    sweep_pause(); /* a client claims */
}

static void act_grant(void) {
    static struct manager m;
    begin(&m);
    serve_until(&m, SHM_LEASE_GRANTED);
    sweep_pause(); /* it acknowledges */
    serve_until(&m, SHM_LEASE_LEASED);
    sweep_pause(); /* it lets go */
    serve_until(&m, SHM_LEASE_FREE);
    sweep_end();
}

static bool waits(const struct manager *m, const void *what) {
    (void)what;
    return server_waiting(&m->server) > 0;
}

static uint64_t handed_over_from;

static bool is_handed_over(const struct manager *m, const void *state) {
    return office_is(m, state) && office_record().word >> 8 > handed_over_from;
}

static void act_hand_over(void) {
    static struct manager m;
    enum shm_lease_state state = SHM_LEASE_GRANTED;
    if (office_manager(&m) < 0)
        _exit(1);
    sweep_begin();
    sweep_pause(); /* the holder comes */
    serve_until(&m, SHM_LEASE_GRANTED);
    sweep_pause();
    serve_until(&m, SHM_LEASE_LEASED);
    handed_over_from = office_record().word >> 8;
    sweep_pause(); /* another claims */
    if (!office_serve(&m, waits, NULL))
        _exit(1);
    sweep_pause(); /* the holder is killed */
    if (!office_serve(&m, is_handed_over, &state))
        _exit(1);
    sweep_pause(); /* the other acknowledges */
    serve_until(&m, SHM_LEASE_LEASED);
    sweep_end();
}

/* ---- our turns */

static void turn_grant(unsigned pause) {
    if (pause == 0)
        client_claim(&client);
    else if (pause == 1)
        client_look(&client);
    else {
        client_drop(&client);
        ending = true;
    }
}

static void turn_hand_over(unsigned pause) {
    if (pause == 0)
        client_claim(&holder);
    else if (pause == 1)
        client_hand_on(&holder);
    else if (pause == 2)
        client_claim(&client);
    else if (pause == 3) {
        client_drop(&holder);
        ending = true;
    } else
        client_look(&client);
}

static void prepare(void) {
    const struct shm_header *h = (const void *)office_segment;
    client_drop(&holder);
    client_drop(&client);
    ending = false;
    office_reset();
    watched_clear(&watched);
    watched_add(&watched, office_segment, h->arena_start);
}

static bool changed(void) {
    return watched_changed(&watched);
}

/* ---- what must hold */

static struct sweep *running;

static void check(void) {
    char error[256];
    if (!office_records_fit(ending, error, sizeof error))
        sweep_violation(running, "%s", error);
}

/* Whoever isn't told LEASED before the manager dies gives up; every other time only later. */
static void settle(struct office_client *c, bool lingers) {
    client_look(c);
    if (!client_holds(c) && (c->map == NULL || !lingers) && c->holder == 0)
        client_drop(c);
}

static bool keeps(const struct office_client *c) {
    return c->map != NULL || c->holder > 0;
}

static void expect(struct manager *m, struct office_client *next, uint64_t epoch_before) {
    if (!office_serve(m, client_leased, next) || next->state != CLIENT_LEASED)
        sweep_violation(running, "nobody holds the name, and it can't be had (%d)", next->state);
    else if (!client_holds(next) || next->grant.worker_epoch <= epoch_before)
        sweep_violation(running, "the next holder's epoch is %" PRIu64 ", behind %" PRIu64,
                        next->grant.worker_epoch, epoch_before);
}

/* The epochs that the attachments had when the manager was killed. */
static uint64_t epochs_before[SHM_ATTACHMENTS_MAX + 1];

static uint32_t attachments(void) {
    return ((const struct shm_header *)(const void *)office_segment)->attachments_capacity;
}

static void claim_another(struct manager *m) {
    static const enum shm_lease_state free_again = SHM_LEASE_FREE;
    struct office_client next;
    client_claim(&next);
    if (!office_serve(m, client_leased, &next) || !client_holds(&next))
        sweep_violation(running, "no other attachment can be had (%d)", next.state);
    else if (keeps(&client) && next.grant.attachment == client.grant.attachment)
        sweep_violation(running, "two holders of attachment %u", next.grant.attachment);
    else if (next.grant.attachment_epoch <= epochs_before[next.grant.attachment])
        sweep_violation(running, "the next holder's epoch is %" PRIu64 ", behind %" PRIu64,
                        next.grant.attachment_epoch, epochs_before[next.grant.attachment]);
    else if (next.grant.worker_index != SHM_NONE || next.grant.worker[0] != '\0')
        sweep_violation(running, "it was granted '%s'", next.grant.worker);
    client_drop(&client);
    client_drop(&next);
    if (!office_serve(m, office_is, &free_again))
        sweep_violation(running, "an attachment isn't free at its holder's end");
}

static void claim_anew(struct manager *m, uint64_t epoch_before) {
    static const enum shm_lease_state free_again = SHM_LEASE_FREE;
    struct office_client next;
    client_claim(&next);
    if (!office_serve(m, client_answered, &next))
        sweep_violation(running, "the next manager doesn't answer a claim");
    const bool held = keeps(&holder) || keeps(&client);
    if (held && next.state != CLIENT_WAITS)
        sweep_violation(running, "two holders");
    client_drop(&holder);
    client_drop(&client);
    expect(m, &next, epoch_before);
    client_drop(&next);
    if (!office_serve(m, office_is, &free_again))
        sweep_violation(running, "the name isn't free at its holder's end");
}

static void check_killed(void) {
    struct manager m;
    char error[256] = "";
    const bool lingers = running->checks % 2 == 0;
    settle(&holder, lingers);
    settle(&client, lingers);
    const bool holds = client_holds(&holder) || client_holds(&client);
    const uint64_t epoch = office_record().word >> 8;
    for (uint32_t i = 0; i < attachments(); i++)
        epochs_before[i] = lease_word_epoch(office_attachment(i).word);
    const int r = office_manager(&m);
    if (r < 0) {
        sweep_violation(running, "the next manager doesn't start (%d)", r);
        return;
    }
    if (holds && !client_holds(&holder) && !client_holds(&client))
        sweep_violation(running, "the next manager takes a lease away that is held");
    ending = false;
    check();
    if (office_anonymous)
        claim_another(&m);
    else
        claim_anew(&m, epoch);
    if (office_files() > 0)
        sweep_violation(running, "%u leases' files are left behind", office_files());
    if (!office_rest_is_same(error, sizeof error))
        sweep_violation(running, "%s", error);
    office_leave(&m);
}

static struct sweep grant = {.name = "grant",
                             .prepare = prepare,
                             .act = act_grant,
                             .turn = turn_grant,
                             .changed = changed,
                             .check = check,
                             .check_killed = check_killed};
static struct sweep anonymous = {.name = "anonymous",
                                 .prepare = prepare,
                                 .act = act_grant,
                                 .turn = turn_grant,
                                 .changed = changed,
                                 .check = check,
                                 .check_killed = check_killed};
static struct sweep hand_over = {.name = "handover",
                                 .prepare = prepare,
                                 .act = act_hand_over,
                                 .turn = turn_hand_over,
                                 .changed = changed,
                                 .check = check,
                                 .check_killed = check_killed};

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "grant") == 0)
        running = &grant;
    else if (argc > 1 && strcmp(argv[1], "anonymous") == 0)
        running = &anonymous;
    else if (argc > 1 && strcmp(argv[1], "handover") == 0)
        running = &hand_over;
    else
        return fprintf(stderr, "usage: kill_grant grant|anonymous|handover [...]\n"), 2;
    sweep_options(argv + 2);
    office_anonymous = running == &anonymous;
    office_open();
    while (running->points < sweep_budget(POINTS) && !sweep_failed(running))
        sweep_step(running, UINT64_MAX);
    sweep_kill(running, sweep_soak() ? 0 : KILLS);
    prepare();
    return sweep_report(running);
}
