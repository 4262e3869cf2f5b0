/* SPDX-License-Identifier: Apache-2.0
 *
 * The hub: a thread of ours that sleeps in epoll on the descriptors of sections that are waited
 * for, and on one that jobs ring.  What it hears it passes on to the thread of JavaScript, which
 * alone makes calls of sections.  It is started by the first who needs it.
 *
 * Jobs have a thread each, that nobody joins: a program may end while an attach still waits.  So
 * the hub is freed by whoever is the last, and the module is linked so as to stay loaded.
 */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_BYTES (256u << 10)
#define EVENTS_MAX  64

struct hub {
    pthread_mutex_t mutex; /* of references, closed, done */
    unsigned references;   /* the instance, and the jobs */
    bool closed;
    struct job *done;
    struct instance *instance;
    int epoll, bell;
    bool started;
    pthread_t thread;
    napi_threadsafe_function woken;
};

/* ---- threads */

static int start_thread(pthread_t *ret, void *(*run)(void *), void *argument, bool joinable) {
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (!joinable)
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(ret, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        pthread_setname_np(*ret, "shmclient");
    return -error;
}

bool hub_closed(struct hub *hub) {
    pthread_mutex_lock(&hub->mutex);
    bool closed = hub->closed;
    pthread_mutex_unlock(&hub->mutex);
    return closed;
}

static void *hub_main(void *argument) {
    struct hub *hub = argument;
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(hub->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            uint64_t count;
            if (events[i].data.u64 == 0 && read(hub->bell, &count, sizeof count) < 0)
                continue;
            /* Unlimited, so that it never blocks; it fails only where JavaScript has ended. */
            napi_call_threadsafe_function(hub->woken, (void *)(uintptr_t)events[i].data.u64,
                                          napi_tsfn_nonblocking);
        }
        if (hub_closed(hub))
            return NULL;
    }
}

static int ready(struct hub *hub) {
    if (hub->started)
        return 0;
    int r = start_thread(&hub->thread, hub_main, hub, true);
    hub->started = r == 0;
    return r;
}

/* ---- in the thread of JavaScript */

static struct job *take_done(struct hub *hub) {
    pthread_mutex_lock(&hub->mutex);
    struct job *done = hub->done;
    hub->done = NULL;
    pthread_mutex_unlock(&hub->mutex);
    return done;
}

static void hub_put(struct hub *hub) {
    pthread_mutex_lock(&hub->mutex);
    bool last = --hub->references == 0;
    pthread_mutex_unlock(&hub->mutex);
    if (!last)
        return;
    close(hub->epoll);
    close(hub->bell);
    pthread_mutex_destroy(&hub->mutex);
    free(hub);
}

/* The sections' numbers go to JavaScript; 0 says that jobs are done. */
static void on_woken(napi_env env, napi_value function, void *context, void *data) {
    struct hub *hub = context;
    if (env == NULL)
        return;
    if (data != NULL) {
        napi_value undefined, id = answer_number(env, (double)(uintptr_t)data);
        napi_get_undefined(env, &undefined);
        napi_call_function(env, undefined, function, 1, &id, NULL);
        return;
    }
    for (struct job *job = take_done(hub), *next; job != NULL; job = next) {
        napi_value value = job->settle(hub->instance, job);
        next = job->next;
        napi_resolve_deferred(env, job->deferred, value);
        job->drop(job);
        hub_put(hub);
    }
}

struct hub *hub_new(struct instance *instance, napi_value woken) {
    napi_env env = instance->env;
    napi_value name = answer_text(env, "shmclient");
    struct hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return NULL;
    struct epoll_event rung = {.events = EPOLLIN};
    pthread_mutex_init(&hub->mutex, NULL);
    hub->references = 1;
    hub->instance = instance;
    hub->epoll = epoll_create1(EPOLL_CLOEXEC);
    hub->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hub->epoll < 0 || hub->bell < 0 ||
        epoll_ctl(hub->epoll, EPOLL_CTL_ADD, hub->bell, &rung) < 0 ||
        napi_create_threadsafe_function(env, woken, NULL, name, 0, 1, NULL, NULL, hub, on_woken,
                                        &hub->woken) != napi_ok) {
        hub_put(hub);
        return NULL;
    }
    napi_unref_threadsafe_function(env, hub->woken);
    return hub;
}

static void ring(const struct hub *hub) {
    const uint64_t one = 1;
    while (write(hub->bell, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void hub_close(struct hub *hub) {
    pthread_mutex_lock(&hub->mutex);
    hub->closed = true;
    pthread_mutex_unlock(&hub->mutex);
    ring(hub);
    if (hub->started)
        pthread_join(hub->thread, NULL);
    napi_release_threadsafe_function(hub->woken, napi_tsfn_abort);
    for (struct job *job = take_done(hub), *next; job != NULL; job = next) {
        next = job->next;
        job->drop(job);
        hub_put(hub);
    }
    hub_put(hub);
}

int hub_watch(struct hub *hub, int fd, uint32_t id) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = id};
    int r = ready(hub);
    if (r < 0)
        return r;
    if (epoll_ctl(hub->epoll, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(hub->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return -errno;
}

void hub_forget(struct hub *hub, int fd) {
    if (hub != NULL)
        epoll_ctl(hub->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void hub_hold(struct hub *hub, bool hold) {
    if (hold)
        napi_ref_threadsafe_function(hub->instance->env, hub->woken);
    else
        napi_unref_threadsafe_function(hub->instance->env, hub->woken);
}

/* ---- jobs */

static void *job_main(void *argument) {
    struct job *job = argument;
    struct hub *hub = job->hub;
    job->run(job);
    pthread_mutex_lock(&hub->mutex);
    bool closed = hub->closed;
    if (!closed) {
        job->next = hub->done;
        hub->done = job;
        ring(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
    if (closed) {
        job->drop(job);
        hub_put(hub);
    }
    return NULL;
}

napi_value hub_start(struct instance *instance, struct job *job) {
    struct hub *hub = instance->hub;
    napi_value promise = NULL;
    pthread_t thread;
    job->hub = hub;
    int r = ready(hub);
    if (r == 0 && napi_create_promise(instance->env, &job->deferred, &promise) == napi_ok) {
        pthread_mutex_lock(&hub->mutex);
        hub->references++;
        pthread_mutex_unlock(&hub->mutex);
        r = start_thread(&thread, job_main, job, false);
        if (r == 0)
            return promise;
        hub_put(hub);
    }
    job->drop(job);
    napi_throw_error(instance->env, "EAGAIN", "no thread can be started; raise the limits");
    return NULL;
}
