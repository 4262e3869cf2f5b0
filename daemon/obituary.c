/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's end is told by a pidfd.  A process that released its lease lives on; one that dies is
 * a zombie soon after its memory, and so its lease, is gone, and tells how it ended once it was
 * reaped (Linux 6.15): hence some looks at it.
 */
#include "obituary.h"
#include "core/futex.h"
#include "core/process.h"
#include "journal.h"
#include "manager.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_LOOK_US 2000
#define NEXT_LOOK_US  20000
#define LOOKS_MAX     10

struct obituary {
    struct manager *manager;
    struct lease_record record;
    uint32_t worker;
    int pidfd;
    unsigned looks;
    sd_event_source *timer;
    struct obituary *next;
};

void obituary_note(struct manager *m, uint32_t index, const struct lease_record *r, uint32_t reason,
                   uint32_t detail) {
    struct shm_worker worker = image_get_worker(&m->segment.image, index);
    if (lease_word_epoch(worker.word) != r->worker_epoch)
        return;
    worker.ended_real_ns = clock_real_ns();
    worker.end_reason = reason;
    worker.end_detail = detail;
    worker.previous_pid = r->pid;
    image_worker(&m->segment.image, index, &worker); /* while it is still LEASED */
    worker.word = lease_word(r->worker_epoch, SHM_LEASE_FREE);
    image_worker(&m->segment.image, index, &worker);
}

static void drop(struct obituary *o) {
    for (struct obituary **at = &o->manager->leases.obituaries; *at != NULL; at = &(*at)->next)
        if (*at == o) {
            *at = o->next;
            break;
        }
    sd_event_source_disable_unref(o->timer);
    if (o->pidfd >= 0)
        close(o->pidfd);
    free(o);
}

static const char *end_text(uint32_t reason, uint32_t detail, char *buffer, size_t bytes) {
    switch (reason) {
    case SHM_END_RELEASED:
        return "released its lease";
    case SHM_END_EXITED:
        snprintf(buffer, bytes, "exited with status %u", detail);
        return buffer;
    case SHM_END_KILLED:
        snprintf(buffer, bytes, "was killed by signal %u (SIG%s)", detail,
                 sigabbrev_np((int)detail) ? sigabbrev_np((int)detail) : "?");
        return buffer;
    default:
        return "ended";
    }
}

static void publish(struct obituary *o, uint32_t reason, uint32_t detail) {
    char buffer[64], process[PROCESS_TEXT_BYTES];
    obituary_note(o->manager, o->worker, &o->record, reason, detail);
    journal_about(LOG_INFO, JOURNAL_ENDED, o->record.worker, o->record.pid, "worker '%s': %s %s",
                  o->record.worker, process_text(o->record.pid, process),
                  end_text(reason, detail, buffer, sizeof buffer));
    drop(o);
}

/* One of another PID namespace has no pid here, but a pidfd. */
static int is_alive(const struct obituary *o) {
    struct pollfd end = {.fd = o->pidfd, .events = POLLIN};
    if (o->record.pid != 0 || o->pidfd < 0)
        return process_alive(o->record.pid, o->record.pid_start);
    return poll(&end, 1, 0) == 0;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
    struct obituary *o = userdata;
    uint32_t detail = 0;
    int alive = is_alive(o);
    uint32_t reason = alive == 1 ? (uint32_t)SHM_END_RELEASED : process_end(o->pidfd, &detail);
    bool settled = reason == SHM_END_EXITED || reason == SHM_END_KILLED;
    if (settled || o->looks++ == LOOKS_MAX) {
        publish(o, reason == SHM_END_RELEASED && alive != 1 ? SHM_END_UNKNOWN : reason, detail);
        return 0;
    }
    sd_event_source_set_time(source, usec + NEXT_LOOK_US);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

void obituary_write(struct manager *m, const struct lease_record *lease, uint32_t worker,
                    int *pidfd) {
    struct obituary *o = malloc(sizeof *o);
    if (o == NULL)
        return;
    *o = (struct obituary){.manager = m,
                           .record = *lease,
                           .worker = worker,
                           .pidfd = *pidfd,
                           .next = m->leases.obituaries};
    *pidfd = -1;
    m->leases.obituaries = o;
    if (sd_event_add_time_relative(m->event, &o->timer, CLOCK_MONOTONIC, FIRST_LOOK_US, 1000,
                                   on_look, o) < 0)
        drop(o);
}

int obituary_watch(const struct lease_record *lease) {
    if (lease->pid == 0 || lease->pid_start == 0)
        return -1;
    int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)lease->pid, 0);
    /* In this order: who has the pid and started then is the one that was opened. */
    if (pidfd >= 0 && process_start(lease->pid) != lease->pid_start) {
        close(pidfd);
        return -1;
    }
    return pidfd;
}

void obituaries_clear(struct manager *m) {
    while (m->leases.obituaries != NULL)
        drop(m->leases.obituaries);
}
