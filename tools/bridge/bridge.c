/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving messages so that none is lost: a message leaves its source only after the target has it.
 *
 * From a section that is what peek and ack are for.  The kernel's queue has nothing like it, but
 * MSG_COPY: the oldest message is copied, sent, and only then taken.  So a bridge that is killed
 * leaves the message which it was moving in both or in the source alone, and the next bridge moves
 * it (again): at most one message comes twice for each kill.  That holds as long as nobody else
 * receives from the kernel's queue.
 */
#include "bridge.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AGAIN_NS 50000000

struct moving {
    const struct bridge *bridge;
    shmc *segment;
    shmc_section *section;
    int queue;
    char *copy, *taken; /* from the kernel's queue; both of `room` bytes */
    size_t room;
    uint64_t moved;
    bool shared; /* somebody else receives from the kernel's queue; said once */
};

/* ---- being told to end */

static volatile sig_atomic_t stopping;
static timer_t again;

static void on_again(int signal) {
    (void)signal;
}

/* A signal that comes right before a wait doesn't end it; so others follow. */
static void on_stop(int signal) {
    const struct itimerspec every = {{.tv_nsec = AGAIN_NS}, {.tv_nsec = AGAIN_NS}};
    (void)signal;
    stopping = 1;
    timer_settime(again, 0, &every, NULL);
}

static int catch_signals(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct sigaction action = {.sa_handler = on_again};
    if (timer_create(CLOCK_MONOTONIC, &event, &again) < 0 || sigaction(SIGALRM, &action, NULL) < 0)
        return -errno;
    action.sa_handler = on_stop;
    return sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ? -errno
                                                                                         : 0;
}

/* ---- what went wrong */

static int queue_failed(const struct moving *moving, int r) {
    const char *remedy = r == -EIDRM    ? "it was removed; start again when there is one"
                         : r == -EACCES ? "its mode doesn't allow it; run as its owner, or widen it"
                         : r == -ENOSYS ? "this kernel can't copy a message without taking it "
                                          "(CONFIG_CHECKPOINT_RESTORE), and so one could be lost"
                                        : strerror(-r);
    bridge_say("System V queue 0x%08x: %s", moving->bridge->key, remedy);
    return r;
}

static int section_failed(const struct moving *moving, int r) {
    bridge_say("%s", shmc_last_error(moving->segment));
    return r;
}

/* The target can't ever take it: the one error that has an exit status of its own. */
static int too_large(int64_t type, size_t bytes, const char *target, const char *remedy) {
    bridge_say("the next message (type %lld) has %zu bytes, more than %s takes: %s; it stays where "
               "it is",
               (long long)type, bytes, target, remedy);
    return -EMSGSIZE;
}

/* ---- from the kernel's queue into the section */

static int into_section(struct moving *moving, int64_t type, const char *data, size_t bytes,
                        unsigned flags) {
    const int r = shmc_queue_send(moving->section, type, data, bytes, flags, -1);
    if (r == -EMSGSIZE)
        return too_large(type, bytes, "a lane of the section", "raise the section's size");
    return r < 0 && r != -EINTR ? section_failed(moving, r) : r;
}

/* kernel.msgmax was raised meanwhile. */
static int grow(struct moving *moving) {
    struct shmc_sysv_info info;
    int r = shmc_sysv_queue_info(&info);
    if (r < 0)
        return r;
    if (info.message_bytes_max <= moving->room)
        return -E2BIG;
    free(moving->copy);
    free(moving->taken);
    moving->room = info.message_bytes_max;
    moving->copy = malloc(moving->room);
    moving->taken = malloc(moving->room);
    return moving->copy == NULL || moving->taken == NULL ? -ENOMEM : 0;
}

static ssize_t copy_oldest(struct moving *moving, int64_t *type) {
    const int timeout_ms = moving->bridge->drain ? 0 : -1;
    for (;;) {
        const ssize_t n =
            shmc_sysv_queue_receive(moving->queue, 0, moving->copy, moving->room,
                                    SHMC_SYSV_COPY | SHMC_INTERRUPTIBLE, timeout_ms, type);
        const int r = n == -E2BIG ? grow(moving) : 0;
        if (n != -E2BIG || r < 0)
            return n != -E2BIG ? n : r;
    }
}

static int move_in(struct moving *moving) {
    int64_t type = 0, taken_type = 0;
    const ssize_t n = copy_oldest(moving, &type);
    if (n < 0)
        return n == -EINTR || n == -EAGAIN ? (int)n : queue_failed(moving, (int)n);
    int r = into_section(moving, type, moving->copy, (size_t)n, SHMC_INTERRUPTIBLE);
    if (r < 0)
        return r;
    moving->moved++;
    const ssize_t taken =
        shmc_sysv_queue_receive(moving->queue, 0, moving->taken, moving->room, 0, 0, &taken_type);
    if (taken == n && taken_type == type && memcmp(moving->taken, moving->copy, (size_t)n) == 0)
        return 0;
    if (taken < 0 && taken != -EAGAIN)
        return queue_failed(moving, (int)taken);
    if (!moving->shared)
        bridge_say("System V queue 0x%08x: somebody else receives from it, too: messages may come "
                   "twice; let one receive",
                   moving->bridge->key);
    moving->shared = true;
    if (taken < 0)
        return 0;
    /* Another than was copied; nobody has it but us, so that no signal may end this. */
    r = into_section(moving, taken_type, moving->taken, (size_t)taken, 0);
    moving->moved += r == 0;
    return r;
}

/* ---- from the section into the kernel's queue */

static int move_out(struct moving *moving) {
    struct shmc_message message;
    const void *data;
    size_t bytes;
    int r = shmc_queue_peek(moving->section, 0, &data, &bytes, SHMC_INTERRUPTIBLE,
                            moving->bridge->drain ? 0 : -1, &message);
    if (r < 0)
        return r == -EINTR || r == -EAGAIN ? r : section_failed(moving, r);
    r = shmc_sysv_queue_send(moving->queue, message.type, data, bytes, SHMC_INTERRUPTIBLE, -1);
    if (r < 0)
        shmc_queue_abandon(moving->section);
    if (r == -EMSGSIZE)
        return too_large(message.type, bytes, "the System V queue",
                         "raise kernel.msgmax and msgmnb, and make the queue anew");
    if (r < 0)
        return r == -EINTR ? r : queue_failed(moving, r);
    moving->moved++;
    r = shmc_queue_ack(moving->section);
    return r < 0 ? section_failed(moving, r) : 0;
}

/* ---- beginning and end */

/* Who receives is the section's owner. */
static int find_owner(const struct bridge *bridge, char owner[SHMC_NAME_BYTES]) {
    struct shmc_options options = bridge->options;
    struct shmc_section_info info;
    struct shmc_worker_info worker;
    shmc *segment;
    int r = shmc_attach(&segment, &options);
    if (r < 0)
        return r;
    r = shmc_inspect(segment, bridge->section, &info);
    if (r < 0)
        snprintf(options.error, options.error_bytes, "%s", shmc_last_error(segment));
    else
        snprintf(owner, SHMC_NAME_BYTES, "%s", info.owner);
    if (r == 0 && shmc_inspect_worker(segment, owner, &worker) == -ENOENT) {
        snprintf(options.error, options.error_bytes,
                 "section '%s': its owner has instances; say which to be: --worker %s#1",
                 bridge->section, owner);
        r = -EINVAL;
    }
    shmc_detach(segment);
    return r;
}

static int open_section(struct moving *moving) {
    const struct bridge *bridge = moving->bridge;
    const struct shmc_expect expect = {.size = sizeof expect, .kind = SHMC_QUEUE};
    char error[512] = "", owner[SHMC_NAME_BYTES];
    struct bridge as = *bridge;
    as.options.error = error;
    as.options.error_bytes = sizeof error;
    int r = 0;
    if (bridge->out && bridge->options.worker == NULL) {
        r = find_owner(&as, owner);
        as.options.worker = owner;
    }
    if (!bridge->out && bridge->options.worker == NULL)
        as.options.flags |= SHMC_ANONYMOUS;
    if (r == 0)
        r = shmc_attach(&moving->segment, &as.options);
    if (r < 0) {
        bridge_say("%s", error);
        return r;
    }
    r = shmc_open(&moving->section, moving->segment, bridge->section, &expect);
    return r < 0 ? section_failed(moving, r) : 0;
}

static int open_queue(struct moving *moving) {
    const struct bridge *bridge = moving->bridge;
    const int r =
        shmc_sysv_queue_open(bridge->key, bridge->mode, bridge->create ? SHMC_SYSV_CREATE : 0);
    if (r == -ENOENT)
        bridge_say("there is no System V queue with key 0x%08x: start the program that makes it, "
                   "or give --create",
                   bridge->key);
    else if (r < 0)
        queue_failed(moving, r);
    moving->queue = r;
    return r < 0 ? r : 0;
}

static int move_all(struct moving *moving) {
    const struct bridge *bridge = moving->bridge;
    int r = 0; /* or -EINTR, by some signal */
    while ((r == 0 || r == -EINTR) && !stopping &&
           (bridge->count == 0 || moving->moved < bridge->count))
        r = bridge->out ? move_out(moving) : move_in(moving);
    return r == -EAGAIN || r == -EINTR ? 0 : r;
}

int bridge_run(const struct bridge *bridge) {
    struct moving moving = {.bridge = bridge};
    int r = catch_signals();
    if (r < 0)
        bridge_say("signals: %s", strerror(-r));
    if (r == 0)
        r = open_queue(&moving);
    if (r == 0 && !bridge->out)
        r = grow(&moving);
    if (r == 0)
        r = open_section(&moving);
    if (r == 0) {
        r = move_all(&moving);
        bridge_say("%llu messages moved", (unsigned long long)moving.moved);
    }
    shmc_close(moving.section);
    shmc_detach(moving.segment);
    free(moving.copy);
    free(moving.taken);
    return r == 0 ? ENDED : r == -EMSGSIZE ? STUCK : FAILED;
}
