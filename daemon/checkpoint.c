/* SPDX-License-Identifier: Apache-2.0
 *
 * When sections are saved, and in which steps.  At most one run is under way; whoever asks
 * meanwhile has the next.  A run that fails leaves the checkpoint before it in force, and is tried
 * again.
 */
#include "checkpoint.h"
#include "core/futex.h"
#include "core/process.h"
#include "journal.h"
#include "manager.h"

#include <errno.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define STEP_LEAST CHECKPOINT_CHUNK_BYTES /* that one transaction writes */
#define STEP_FIRST (4 * STEP_LEAST)
#define STEP_MOST  (16 * STEP_LEAST)
#define STEP_NS    UINT64_C(200000000) /* that it should take at most, on whatever disk */
#define ROW_BYTES  1024u               /* what a value costs beside its bytes */

/* ---- what to save */

static bool asked_for(const struct checkpoint_run *run, const struct shm_section *section) {
    return checkpoint_wants(section) &&
           (run->glob[0] == '\0' || fnmatch(run->glob, section->name, 0) == 0);
}

static void note_unread(struct checkpoint_run *run, const struct shm_section *section, int result) {
    if (run->unread++ > 0)
        return;
    const char *why = result == -EAGAIN    ? "its writer was too quick; the next try may be luckier"
                      : result == -EBADMSG ? "it is damaged: its owner's next value mends it"
                                           : strerror(-result);
    snprintf(run->error, sizeof run->error, "section '%s' could not be read: %s", section->name,
             why);
}

/* Takes the next value that changed.  FOUND: it is in hand; NONE: there is none left; LATER:
 * looking for it has taken its time; or a negative errno. */
enum { NONE, FOUND, LATER };
static int next_value(struct manager *m, uint64_t until_ns) {
    struct checkpoint_run *run = &m->checkpoint.run;
    for (; run->slot < m->layout.sections_used; run->slot++) {
        const struct shm_section *section = &m->layout.sections[run->slot];
        if (!asked_for(run, section))
            continue;
        struct checkpoint_mark *mark = checkpoint_mark(&m->checkpoint, &m->layout, run->slot);
        if (mark == NULL)
            return -ENOMEM;
        int r = checkpoint_take(m, section, mark, &run->value);
        run->unchanged += r == 0;
        if (r == 1)
            return FOUND;
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            note_unread(run, section, r);
        if (clock_mono_ns() > until_ns) {
            run->slot++;
            return LATER;
        }
    }
    return NONE;
}

/* ---- writing it */

/* One more chunk of the value in hand, and behind the last its row. */
static int write_some(struct manager *m, uint64_t *budget) {
    struct checkpoint_run *run = &m->checkpoint.run;
    struct checkpoint_value *v = &run->value;
    int r = 0;
    if (run->id == 0) { /* nobody else gives any out */
        run->id = state_save_id(m->state);
        if (run->id < 0)
            return (int)run->id;
    }
    uint64_t n = v->about.bytes - run->at;
    if (n > CHECKPOINT_CHUNK_BYTES)
        n = CHECKPOINT_CHUNK_BYTES;
    if (n > 0)
        r = state_save_chunk(m->state, run->id, run->at / CHECKPOINT_CHUNK_BYTES, v->data + run->at,
                             n);
    run->at += n;
    *budget -= n + ROW_BYTES < *budget ? n + ROW_BYTES : *budget;
    if (r < 0 || run->at < v->about.bytes)
        return r;
    r = state_save_value(m->state, run->id, &v->about);
    if (r < 0)
        return r;
    struct checkpoint_mark *mark = &m->checkpoint.marks[run->slot];
    if (mark->section_id == v->about.section_id && mark->incarnation == v->about.incarnation) {
        mark->staged = true;
        mark->staged_version = v->about.version;
        mark->staged_crc = v->about.data_crc;
    }
    run->staged = true;
    run->saved++;
    run->bytes += v->about.bytes;
    run->slot++;
    run->id++;
    run->at = 0;
    checkpoint_value_clear(v);
    return 0;
}

/* ---- a run */

static void begin(struct manager *m, struct client *asker, const char *glob) {
    m->checkpoint.run = (struct checkpoint_run){.active = true, .asker = asker};
    snprintf(m->checkpoint.run.glob, sizeof m->checkpoint.run.glob, "%s", glob);
}

/* What was staged is what is saved (or, of a run that failed, isn't). */
static void settle_marks(struct checkpoint *c, bool saved) {
    for (uint32_t i = 0; i < c->slots; i++) {
        struct checkpoint_mark *mark = &c->marks[i];
        if (mark->staged && saved) {
            mark->known = true;
            mark->version = mark->staged_version;
            mark->data_crc = mark->staged_crc;
        }
        mark->staged = false;
    }
}

static void answer(struct manager *m, int result) {
    struct checkpoint_run *run = &m->checkpoint.run;
    struct client *client = run->asker;
    if (client == NULL)
        return;
    run->asker = NULL;
    free(client->checkpoint);
    client->checkpoint = NULL;
    char text[sizeof run->error + 64];
    if (result == 0 && run->unread > 0)
        snprintf(text, sizeof text, "%u saved; %s", run->saved, run->error);
    else
        snprintf(text, sizeof text, "%s", m->checkpoint.error);
    if (result < 0 || run->unread > 0) {
        result = result < 0 ? result : -EAGAIN;
        server_reply(client, plain_reply(result, text), result);
        return;
    }
    json_t *reply =
        json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "saved", (json_int_t)run->saved, "bytes",
                  (json_int_t)run->bytes, "unchanged", (json_int_t)run->unchanged);
    server_reply(client, reply == NULL ? NULL : json_dumps(reply, JSON_COMPACT), 0);
    json_decref(reply);
}

static void fail(struct manager *m, int result) {
    struct checkpoint *c = &m->checkpoint;
    char error[sizeof c->error];
    snprintf(error, sizeof error,
             "the checkpoint can't be written into %.200s: %s; the one before it stands, and it "
             "is tried again",
             m->config.state,
             result == -ENOSPC ? "the disk is full, make room" : strerror(-result));
    if (strcmp(error, c->error) != 0)
        journal(LOG_ERR, JOURNAL_UNSAVED, "%s", error);
    memcpy(c->error, error, sizeof error);
    c->dirty = true;
    settle_marks(c, false);
    answer(m, result);
    checkpoint_value_clear(&c->run.value);
    c->run = (struct checkpoint_run){0};
}

/* True: there is more of it.  Where it can't be done, on a full disk say, it is left for later: the
 * checkpoint doesn't depend on it. */
static bool shrink(struct manager *m) {
    int r = state_save_begin(m->state), more = 0;
    if (r == 0)
        r = more = state_save_shrink(m->state, m->checkpoint.step_bytes);
    return state_save_end(m->state, r < 0 ? r : 0) == 0 && more > 0;
}

static void succeed(struct manager *m) {
    struct checkpoint *c = &m->checkpoint;
    struct checkpoint_run *run = &c->run;
    settle_marks(c, true);
    if (run->staged || run->forgotten > 0) {
        c->saved_ns = state_saved_when(m->state);
        c->dirty = c->dirty || shrink(m);
    }
    if (run->glob[0] == '\0')
        c->pruned_gen = m->layout.generation;
    if (c->error[0] != '\0' && run->unread == 0)
        journal(LOG_NOTICE, JOURNAL_SAVED, "the checkpoint could be written again: %u section(s)",
                run->saved);
    if (run->unread > 0 && strcmp(c->error, run->error) != 0)
        journal(LOG_WARNING, JOURNAL_UNSAVED, "%s; what was saved of it before stays", run->error);
    memcpy(c->error, run->error, sizeof c->error);
    answer(m, 0);
    *run = (struct checkpoint_run){0};
}

/* What nothing refers to any more takes room, and its ids are not to be met again.  1: there may be
 * more of it. */
static int clear_away(struct manager *m) {
    int r = state_save_begin(m->state), more = 0;
    if (r == 0)
        r = state_save_drop(m->state);
    if (r == 0)
        r = more = state_save_sweep(m->state, m->checkpoint.step_bytes);
    r = state_save_end(m->state, r < 0 ? r : 0);
    return r < 0 ? r : more || shrink(m);
}

/* The last transaction: with it all that was staged counts.  Mostly what it replaced goes in it,
 * too, and else before the next run. */
static int flip(struct manager *m, bool *open) {
    int r = checkpoint_prune(m, open);
    if (r == 0 && *open)
        r = state_save_flip(m->state, clock_real_ns());
    if (r == 0 && *open)
        r = state_save_sweep(m->state, m->checkpoint.step_bytes);
    m->checkpoint.dirty = r > 0;
    return r < 0 ? r : 0;
}

/* One transaction's worth.  1: there is more to do; 0: all is done; or it failed. */
static int write_step(struct manager *m) {
    struct checkpoint_run *run = &m->checkpoint.run;
    const uint64_t until_ns = clock_mono_ns() + STEP_NS;
    uint64_t budget = m->checkpoint.step_bytes;
    int more = run->value.data != NULL ? FOUND : next_value(m, until_ns);
    int r = more < 0 ? more : 0;
    bool open = false;
    if (more == FOUND || (more == NONE && run->staged)) {
        r = state_save_begin(m->state);
        open = r == 0;
    }
    while (r == 0 && more == FOUND && budget > 0) {
        r = write_some(m, &budget);
        if (r == 0 && run->value.data == NULL && budget > 0) {
            more = next_value(m, until_ns);
            r = more < 0 ? more : 0;
        }
    }
    const bool last = r == 0 && more == NONE;
    if (last)
        r = flip(m, &open);
    if (open)
        r = state_save_end(m->state, r);
    return r < 0 ? r : !last;
}

static void pace(struct checkpoint *c, uint64_t took_ns) {
    if (took_ns > STEP_NS && c->step_bytes > STEP_LEAST)
        c->step_bytes /= 2;
    else if (took_ns < STEP_NS / 4 && c->step_bytes < STEP_MOST)
        c->step_bytes *= 2;
}

/* 1: come again at once. */
static int step(struct manager *m) {
    struct checkpoint *c = &m->checkpoint;
    const uint64_t from_ns = clock_mono_ns();
    int r;
    if (c->dirty) {
        r = clear_away(m);
        c->dirty = r != 0;
        r = r == 0 ? 1 : r;
    } else {
        r = write_step(m);
    }
    if (r > 0)
        pace(c, clock_mono_ns() - from_ns);
    if (r < 0)
        fail(m, r);
    else if (r == 0)
        succeed(m);
    return r > 0;
}

/* ---- when */

static struct client *next_asker(const struct manager *m) {
    struct client *next = NULL;
    for (struct client *c = m->server.clients; c != NULL; c = c->next)
        if (c->checkpoint != NULL)
            next = c; /* the last in the list came first */
    return next;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *m = userdata;
    struct checkpoint *c = &m->checkpoint;
    uint64_t pause = m->config.checkpoint_s * UINT64_C(1000000);
    (void)usec;
    if (!c->run.active) {
        struct client *asker = next_asker(m);
        begin(m, asker, asker == NULL ? "" : asker->checkpoint);
    }
    if (step(m) > 0 || next_asker(m) != NULL)
        pause = 1;
    if (pause == 0)
        return 0;
    sd_event_source_set_time_relative(source, pause);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void checkpoint_ask(struct client *client, const char *glob) {
    struct manager *m = client->manager;
    const struct layout *layout = &m->layout;
    struct checkpoint_run probe = {0};
    bool any = false;
    snprintf(probe.glob, sizeof probe.glob, "%s", glob);
    for (uint32_t i = 0; !any && i < layout->sections_used; i++)
        any = asked_for(&probe, &layout->sections[i]);
    if (!any) {
        char text[PROTOCOL_TEXT_BYTES];
        snprintf(text, sizeof text,
                 glob[0] == '\0' ? "no section%s is marked persist"
                                 : "no section that matches '%.200s' is marked persist (shmtool "
                                   "table set NAME persist=yes --reload)",
                 glob);
        server_reply(client, plain_reply(-ENOENT, text), -ENOENT);
        return;
    }
    client->checkpoint = strdup(glob);
    if (client->checkpoint == NULL) {
        server_refuse(client, -ENOMEM, 0, "the manager is out of memory");
        return;
    }
    server_expect(client, 0); /* it is our turn */
    if (m->checkpoint.run.active)
        return;
    sd_event_source_set_time_relative(m->checkpoint.timer, 0);
    sd_event_source_set_enabled(m->checkpoint.timer, SD_EVENT_ONESHOT);
}

void checkpoint_restart(struct manager *m) {
    struct checkpoint *c = &m->checkpoint;
    if (!c->run.active)
        return;
    char glob[sizeof c->run.glob];
    memcpy(glob, c->run.glob, sizeof glob);
    settle_marks(c, false);
    checkpoint_value_clear(&c->run.value);
    c->dirty = true; /* what was staged */
    begin(m, c->run.asker, glob);
}

void checkpoint_disown(struct client *client) {
    if (client->manager->checkpoint.run.asker == client)
        client->manager->checkpoint.run.asker = NULL;
    free(client->checkpoint);
}

/* ---- beginning and end */

struct knowing {
    struct manager *manager;
    struct checkpoint_places places;
};

static int know(const struct saved_value *value, int64_t id, bool intact, void *where) {
    (void)id;
    const struct knowing *knowing = where;
    struct manager *m = knowing->manager;
    uint32_t slot = checkpoint_place(&knowing->places, value->section_id);
    if (!intact || slot == SHM_NONE || m->layout.sections[slot].incarnation != value->incarnation)
        return 0;
    struct checkpoint_mark *mark = checkpoint_mark(&m->checkpoint, &m->layout, slot);
    if (mark == NULL)
        return -ENOMEM;
    mark->known = true;
    mark->version = value->version;
    mark->data_crc = value->data_crc;
    return 0;
}

static void say_restored(const struct checkpoint *c) {
    for (unsigned i = 0; i < c->refused && i < CHECKPOINT_REFUSED_MAX; i++)
        journal(LOG_ERR, JOURNAL_UNRESTORED, "%s", c->why[i]);
    if (c->refused > CHECKPOINT_REFUSED_MAX)
        journal(LOG_ERR, JOURNAL_UNRESTORED, "%u more saved values could not be restored",
                c->refused - CHECKPOINT_REFUSED_MAX);
    if (c->restored > 0)
        journal(LOG_INFO, JOURNAL_RESTORED, "%u section(s) restored from the checkpoint",
                c->restored);
}

int checkpoint_open(struct manager *m) {
    struct checkpoint *c = &m->checkpoint;
    const uint64_t pause = m->config.checkpoint_s * UINT64_C(1000000);
    say_restored(c);
    c->saved_ns = state_saved_when(m->state);
    process_boot_id(c->boot_id); /* zeros, if it can't be known: no boot has those */
    c->step_bytes = STEP_FIRST;
    c->dirty = true; /* as far as anybody knows */
    struct knowing knowing = {.manager = m};
    int r = checkpoint_places_sort(&knowing.places, &m->layout);
    if (r == 0)
        r = state_saved_each(m->state, know, &knowing);
    free(knowing.places.at);
    if (r < 0)
        journal(LOG_WARNING, JOURNAL_TROUBLE,
                "%s: what is saved can't be read, so all is saved anew", m->config.state);
    r = sd_event_add_time_relative(m->event, &c->timer, CLOCK_MONOTONIC, pause, 0, on_timer, m);
    if (r >= 0 && pause == 0)
        r = sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
    c->open = r >= 0;
    return r < 0 ? r : 0;
}

void checkpoint_close(struct manager *m) {
    struct checkpoint *c = &m->checkpoint;
    for (bool whole = false; c->open && !whole;) {
        whole = !c->run.active;
        if (whole)
            begin(m, NULL, "");
        while (step(m) > 0)
            sd_notify(0, "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=10000000");
    }
    checkpoint_value_clear(&c->run.value);
    sd_event_source_disable_unref(c->timer);
    free(c->marks);
    *c = (struct checkpoint){0};
}

json_t *checkpoint_json(const struct manager *m) {
    const struct checkpoint *c = &m->checkpoint;
    json_t *refused = json_array();
    for (unsigned i = 0; i < c->refused && i < CHECKPOINT_REFUSED_MAX; i++)
        json_array_append_new(refused, json_string(c->why[i]));
    json_int_t persist = 0;
    for (uint32_t i = 0; i < m->layout.sections_used; i++)
        persist += checkpoint_wants(&m->layout.sections[i]);
    return json_pack("{s:I, s:I, s:s?, s:I, s:I, s:o}", "sections", persist, "time_ns",
                     (json_int_t)c->saved_ns, "error", c->error[0] == '\0' ? NULL : c->error,
                     "restored", (json_int_t)c->restored, "refused", (json_int_t)c->refused,
                     "not_restored", refused);
}
