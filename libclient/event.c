/* SPDX-License-Identifier: Apache-2.0
 *
 * shmc_fd(): an eventfd for each section that is watched, and one thread for all of a segment's,
 * which sleeps on their heads, or in queues on the words that senders and receivers change.  The
 * thread has section objects of its own, so that it shares nothing with the callers' but the few
 * words of struct watch.
 *
 * A watch is either raised (its descriptor readable) and then not looked at any more, so that a
 * fast writer costs a slow reader's thread nothing; or armed, since its reader found nothing new.
 */
#include "queue.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WATCHES_MAX (FUTEX_WAIT_ANY_MAX - 1) /* and the control word */
#define BOUND_NS    (SHM_SLEEP_BOUND_MS * UINT64_C(1000000))
#define POLL_NS     (SNAPSHOT_POLL_MS * UINT64_C(1000000)) /* the bound where no writer rings */
#define STACK_BYTES (256u << 10)

struct watch {
    shmc_section *owner, *mine;
    int fd;
    bool raised;
    bool armed;        /* the thread sleeps on it */
    bool failed;       /* the owner was told to find out why */
    uint64_t seen;     /* version that the owner has */
    uint64_t stale_at; /* 0 = was said */
    bool is_queue;
    struct queue_watch queue; /* of which this is all, and not the two above */
};

struct event {
    pthread_t thread;
    pthread_mutex_t mutex; /* of all but `control` */
    uint32_t control;      /* the thread sleeps on it too; counts the reasons to look around */
    bool stop;
    unsigned n;
    struct watch *watches[WATCHES_MAX];
};

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void kick(struct event *event) {
    __atomic_add_fetch(&event->control, 1, __ATOMIC_RELEASE);
    futex_wake(&event->control);
}

static void raise_watch(struct watch *watch) {
    const uint64_t one = 1;
    /* The counter can't be full: it is read between two writes. */
    watch->raised = write(watch->fd, &one, sizeof one) > 0;
}

/* ---- the thread */

static int ready(const struct watch *watch) {
    return watch->is_queue ? queue_ready_to_receive(watch->mine, true)
                           : section_ready(watch->mine, SHMC_SNAPSHOT);
}

/* Is there a reason to raise it now?  If not, *until_ns is no later than the next. */
static bool due(struct watch *watch, uint64_t *until_ns) {
    const shmc_section *mine = watch->mine;
    if (ready(watch) < 0) {
        bool before = watch->failed;
        watch->failed = true;
        return !before; /* the owner's next call says what it is */
    }
    watch->failed = false;
    if (watch->is_queue)
        return queue_watch_due(&watch->queue, watch->mine);
    if (snapshot_version(&mine->snapshot) != watch->seen)
        return true;
    if (mine->snapshot.bell == NULL || (mine->snapshot.flags & SHM_SECTION_NOTIFY_NEVER) != 0) {
        uint64_t poll = clock_mono_ns() + POLL_NS;
        *until_ns = poll < *until_ns ? poll : *until_ns;
    }
    if (watch->stale_at == 0)
        return false;
    if (clock_mono_ns() >= watch->stale_at) {
        watch->stale_at = 0;
        return true;
    }
    *until_ns = watch->stale_at < *until_ns ? watch->stale_at : *until_ns;
    return false;
}

/* False: nobody will wake us. */
static bool ring(struct watch *watch) {
    if (watch->is_queue)
        return queue_watch_ring(&watch->queue, watch->mine);
    snapshot_ring(&watch->mine->reader);
    return true;
}

/* Rings for all that are neither raised nor due. */
static void ring_all(struct event *event, uint64_t *until_ns) {
    bool heard = true;
    for (unsigned i = 0; i < event->n; i++) {
        struct watch *watch = event->watches[i];
        queue_watch_unring(&watch->queue); /* before its section may go elsewhere */
        bool is_due = !watch->raised && due(watch, until_ns);
        if (is_due)
            raise_watch(watch);
        watch->armed = !watch->raised && !is_due && !watch->failed;
        if (watch->armed)
            heard = ring(watch) && heard;
    }
    uint64_t poll = clock_mono_ns() + POLL_NS;
    if ((!snapshot_heard() || !heard) && poll < *until_ns)
        *until_ns = poll;
}

/* Adds what to sleep on.  False: it has become due in that moment. */
static bool arm(const struct watch *watch, struct futex_word *words, unsigned *n,
                uint64_t *until_ns) {
    if (!watch->is_queue)
        return snapshot_arm(&watch->mine->reader, watch->seen, &words[(*n)++]);
    if (queue_watch_due(&watch->queue, watch->mine))
        return false;
    for (unsigned i = 0; i < watch->queue.words_n; i++)
        if (*n < FUTEX_WAIT_ANY_MAX)
            words[(*n)++] = watch->queue.words[i];
        else
            *until_ns = earlier(*until_ns, clock_mono_ns() + POLL_NS);
    return true;
}

/* Fills `words` for all that were rung for; false when one of them has become due in that moment.
 */
static bool arm_all(struct event *event, struct futex_word *words, unsigned *n,
                    uint64_t *until_ns) {
    ring_all(event, until_ns);
    for (unsigned i = 0; i < event->n; i++) {
        const struct watch *watch = event->watches[i];
        if (watch->armed && !arm(watch, words, n, until_ns))
            return false;
    }
    return true;
}

static void *event_main(void *argument) {
    struct event *event = (struct event *)argument;
    for (;;) {
        struct futex_word words[FUTEX_WAIT_ANY_MAX];
        unsigned n = 1;
        uint64_t until_ns = clock_mono_ns() + BOUND_NS;
        words[0] = (struct futex_word){&event->control,
                                       __atomic_load_n(&event->control, __ATOMIC_ACQUIRE)};
        pthread_mutex_lock(&event->mutex);
        bool stop = event->stop;
        bool sleep = stop || arm_all(event, words, &n, &until_ns);
        pthread_mutex_unlock(&event->mutex);
        if (stop)
            return NULL;
        if (sleep)
            futex_wait_any(words, n, until_ns);
    }
}

static int start_thread(struct event *event) {
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&event->thread, &attributes, event_main, event);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        pthread_setname_np(event->thread, "shmc-fd");
    return -error;
}

static struct event *event_start(void) {
    struct event *event = calloc(1, sizeof *event);
    if (event == NULL)
        return NULL;
    pthread_mutex_init(&event->mutex, NULL);
    if (start_thread(event) < 0) {
        pthread_mutex_destroy(&event->mutex);
        free(event);
        return NULL;
    }
    return event;
}

/* ---- the callers */

/* The thread is told what the owner has seen; from here on it looks for something else. */
static void watch_from_here(struct watch *watch) {
    const shmc_section *owner = watch->owner;
    uint64_t stale_at = value_stale_at(owner);
    watch->seen = owner->last.version;
    watch->stale_at = stale_at == UINT64_MAX ? 0 : stale_at;
    watch->raised = false;
    if (watch->is_queue)
        queue_watch_from_here(&watch->queue, owner);
}

static void watch_free(struct watch *watch) {
    watch->owner->watch = NULL;
    if (handle_usable(watch->owner->segment) == 0)
        queue_watch_unring(&watch->queue);
    close(watch->fd);
    section_free_double(watch->mine);
    free(watch);
}

static struct watch *watch_new(shmc_section *section) {
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    watch->owner = section;
    watch->is_queue = section->descriptor.kind == SHM_KIND_QUEUE;
    watch->mine = section_double(section);
    watch->fd = watch->mine == NULL ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->fd < 0) {
        if (watch->mine != NULL)
            section_free_double(watch->mine);
        free(watch);
        return NULL;
    }
    watch_from_here(watch);
    return watch;
}

static int add(struct event *event, struct watch *watch) {
    pthread_mutex_lock(&event->mutex);
    bool room = event->n < WATCHES_MAX;
    if (room)
        event->watches[event->n++] = watch;
    pthread_mutex_unlock(&event->mutex);
    return room ? 0 : -EMFILE;
}

static void event_end(struct event *event) {
    pthread_mutex_lock(&event->mutex);
    event->stop = true;
    pthread_mutex_unlock(&event->mutex);
    kick(event);
    pthread_join(event->thread, NULL);
    for (unsigned i = 0; i < event->n; i++)
        watch_free(event->watches[i]);
    pthread_mutex_destroy(&event->mutex);
    free(event);
}

/* Two threads may come for the first of a segment at once. */
static struct event *event_of(shmc *segment) {
    struct event *event = __atomic_load_n(&segment->event, __ATOMIC_ACQUIRE), *first = NULL;
    if (event != NULL)
        return event;
    event = event_start();
    if (event == NULL || __atomic_compare_exchange_n(&segment->event, &first, event, false,
                                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return event;
    event_end(event);
    return first;
}

int shmc_fd(shmc_section *section) {
    shmc *segment = section->segment;
    int r = section_ready(section, SHMC_QUEUE);
    if (r == -EPROTOTYPE)
        r = section_ready(section, SHMC_SNAPSHOT);
    if (r < 0)
        return r;
    if (section->watch != NULL)
        return section->watch->fd;
    struct event *event = event_of(segment);
    struct watch *watch = event == NULL ? NULL : watch_new(section);
    if (watch == NULL)
        return error_set(segment->error, -ENOMEM,
                         "section '%s': no thread, memory or descriptor for shmc_fd(); raise the "
                         "process's limits",
                         section->name);
    r = add(event, watch);
    if (r < 0) {
        watch_free(watch);
        return error_set(segment->error, r,
                         "section '%s': %u sections of this segment have a descriptor already; "
                         "close some",
                         section->name, WATCHES_MAX);
    }
    section->watch = watch;
    kick(event);
    return watch->fd;
}

bool event_drain(shmc_section *section) {
    struct watch *watch = section->watch;
    struct event *event = section->segment->event;
    uint64_t count;
    if (watch == NULL)
        return false;
    pthread_mutex_lock(&event->mutex);
    bool drained = watch->raised && read(watch->fd, &count, sizeof count) > 0;
    if (drained)
        watch_from_here(watch);
    else if (watch->is_queue && !watch->raised) /* it may look for something else now */
        drained = queue_watch_from_here(&watch->queue, section);
    pthread_mutex_unlock(&event->mutex);
    if (drained)
        kick(event);
    return true;
}

void event_raise(shmc_section *section) {
    struct event *event = section->segment->event;
    pthread_mutex_lock(&event->mutex);
    if (!section->watch->raised)
        raise_watch(section->watch);
    pthread_mutex_unlock(&event->mutex);
}

static void remove_watch(struct event *event, const struct watch *watch) {
    pthread_mutex_lock(&event->mutex);
    for (unsigned i = 0; i < event->n; i++)
        if (event->watches[i] == watch)
            event->watches[i--] = event->watches[--event->n];
    pthread_mutex_unlock(&event->mutex);
}

void event_forget(shmc_section *section) {
    struct watch *watch = section->watch;
    if (watch == NULL)
        return;
    /* A child has neither the thread nor its mutex in a known state, but it has the descriptor. */
    if (handle_state(section->segment) != HANDLE_FORKED) {
        remove_watch(section->segment->event, watch);
        watch_free(watch);
        return;
    }
    section->watch = NULL;
    close(watch->fd);
    queue_forget(watch->mine);
    free(watch->mine);
    free(watch);
}

void event_stop(shmc *segment) {
    /* A child hasn't got the thread, and its sections let go of their watches by themselves. */
    if (handle_state(segment) == HANDLE_FORKED)
        free(segment->event);
    else if (segment->event != NULL)
        event_end(segment->event);
    segment->event = NULL;
}
