/* SPDX-License-Identifier: Apache-2.0
 *
 * Where slotmems are: in the segment of a shm-manager, where this httpd is a worker that may make
 * sections; or in private ones.
 *
 * The lease is kept as a descriptor, of which children have copies, so that it lasts until httpd
 * and the last of its children have ended, whoever ends first; and all sections are transient, so
 * that they go then, and not before: what children have of them is plain memory, and would be
 * somebody else's.  For the same reason those of an earlier generation stay until its last child
 * has ended, which a pipe tells whose other end only they have.
 *
 * This module isn't unloaded (-z nodelete), as what is kept here outlasts the configuration.
 */
#include "slotmem.h"

#include <errno.h>
#include <fcntl.h>
#include <http_config.h>

#include <http_log.h>
#include <http_main.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define PAUSE_MS    50

struct slotmem_settings slotmem_settings = {.worker = "httpd"};

/* A segment; in a child, as it was inherited until it attaches for itself. */
struct place {
    shmc_private *memory; /* NULL: the manager's */
    pid_t creator;
    shmc *segment; /* of the process attached_by; what others left of it is let be */
    pid_t attached_by;
    bool failed; /* and that was said */
    struct shmc_private_spec *specs;
    unsigned specs_n;
    struct place *next;
};

/* A generation, of which children may be left: their end of the pipe is the writing one. */
struct generation {
    pid_t parent;
    int children, parents;
    struct place *places; /* private ones */
    char (*names)[SHMC_NAME_BYTES];
    unsigned names_n;
    bool alone; /* there is no manager for it */
    struct generation *next;
};

static struct place manager;
static struct generation *now, *before;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char error[512];

/* ---- attaching */

static struct shmc_options manager_options(void) {
    return (struct shmc_options){.size = sizeof(struct shmc_options),
                                 .key = slotmem_settings.key,
                                 .runtime_dir = slotmem_settings.runtime_dir,
                                 .error = error,
                                 .error_bytes = sizeof error};
}

/* A httpd that has just ended may hold the name still; and who insists waits for a manager that is
 * starting.  Not the library, which would wait in later calls as well. */
static bool worth_waiting(int r) {
    const bool insists = slotmem_settings.segment == SEGMENT_MANAGER;
    return r == -EBUSY || r == -EAGAIN || r == -EBADMSG ||
           (insists && (r == -ENOENT || r == -ENOTCONN));
}

/* With a name, by which sections are made. */
static int attach_worker(void) {
    struct shmc_options options = manager_options();
    options.worker = slotmem_settings.worker;
    options.flags = SHMC_LEASE_FD;
    int r = shmc_attach(&manager.segment, &options);
    for (int left = PATIENCE_MS; left > 0 && worth_waiting(r); left -= PAUSE_MS) {
        usleep(PAUSE_MS * 1000);
        r = shmc_attach(&manager.segment, &options);
    }
    if (r < 0)
        return r;
    manager.attached_by = manager.creator = getpid();
    /* For children, and not for the programs that they start. */
    fcntl(shmc_lease_fd(manager.segment), F_SETFD, FD_CLOEXEC);
    return 0;
}

static int attach_child(struct place *place) {
    struct shmc_options options = {.size = sizeof options,
                                   .flags = SHMC_ANONYMOUS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    int r;
    if (place->memory != NULL) {
        r = shmc_private_attach(&place->segment, place->memory, &options);
    } else {
        options = manager_options();
        options.flags = SHMC_ANONYMOUS;
        r = shmc_attach(&place->segment, &options);
    }
    if (r == 0)
        place->attached_by = getpid();
    return r;
}

/* Once for each process; it goes on with what it has inherited. */
static void say_failed(struct place *place, const ap_slotmem_instance_t *slotmem, int r) {
    if (!place->failed)
        ap_log_error(APLOG_MARK, APLOG_ERR, APR_FROM_OS_ERROR(-r), ap_server_conf,
                     "slotmem %s: process %ld can't attach to it, so as to grab and release: %s",
                     slotmem->name, (long)getpid(), error);
    place->failed = true;
}

static int open_section(ap_slotmem_instance_t *slotmem) {
    const int r = shmc_open(&slotmem->section, slotmem->place->segment, slotmem->name, NULL);
    if (r == 0)
        slotmem->opened_by = getpid();
    return r;
}

static int enter(ap_slotmem_instance_t *slotmem) {
    struct place *place = slotmem->place;
    const pid_t self = getpid();
    const int r = place->attached_by == self ? 0 : attach_child(place);
    if (r < 0) {
        say_failed(place, slotmem, r);
        return r;
    }
    return slotmem->opened_by == self ? 0 : open_section(slotmem);
}

int segment_enter(ap_slotmem_instance_t *slotmem) {
    pthread_mutex_lock(&lock);
    return enter(slotmem);
}

void segment_leave(void) {
    pthread_mutex_unlock(&lock);
}

int segment_in_use(ap_slotmem_instance_t *slotmem, unsigned id) {
    struct shmc_slot slot = {.in_use = false};
    int r = segment_enter(slotmem);
    if (r == 0) {
        const ssize_t n = shmc_slot_get(slotmem->section, (int)id, NULL, 0, &slot);
        r = n >= 0 || n == -ENOENT || n == -ENODATA ? slot.in_use : (int)n;
    }
    segment_leave();
    return r;
}

void segment_enter_child(ap_slotmem_instance_t *slotmems) {
    for (ap_slotmem_instance_t *slotmem = slotmems; slotmem != NULL; slotmem = slotmem->next) {
        void *slot;
        size_t bytes;
        if (slotmem->place != &manager)
            continue;
        if (segment_enter(slotmem) == 0)
            shmc_slot_ptr(slotmem->section, 0, &slot, &bytes); /* memfd: a right of the asker's */
        segment_leave();
    }
}

/* ---- generations */

static int begin(void) {
    int ends[2];
    if (now != NULL)
        return 0;
    struct generation *generation = calloc(1, sizeof *generation);
    if (generation == NULL || pipe2(ends, O_CLOEXEC) < 0) {
        free(generation);
        return generation == NULL ? -ENOMEM : -errno;
    }
    generation->parent = getpid();
    generation->parents = ends[0];
    generation->children = ends[1];
    now = generation;
    return 0;
}

/* Nobody has the other end any more. */
static bool is_over(const struct generation *generation) {
    struct pollfd end = {.fd = generation->parents};
    return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
}

/* False: the manager is away. */
static bool drop_sections(struct generation *generation) {
    for (; generation->names_n > 0; generation->names_n--) {
        const char *name = generation->names[generation->names_n - 1];
        const int r = shmc_drop(manager.segment, name);
        if (r == -ENOTCONN || r == -ETIMEDOUT)
            return false;
        if (r < 0 && r != -ENOENT)
            ap_log_error(APLOG_MARK, APLOG_NOTICE, APR_FROM_OS_ERROR(-r), ap_server_conf,
                         "slotmem %s: its section stays until httpd ends: %s", name,
                         shmc_last_error(manager.segment));
    }
    return true;
}

static void destroy(struct generation *generation) {
    while (generation->places != NULL) {
        struct place *place = generation->places;
        generation->places = place->next;
        shmc_private_destroy(place->memory);
        free(place->specs);
        free(place);
    }
    close(generation->parents);
    free(generation->names);
    free(generation);
}

/* Does any have sections that children may use? */
static bool uses_manager(void) {
    bool uses = now != NULL && now->names_n > 0;
    for (const struct generation *g = before; g != NULL; g = g->next)
        uses = uses || (g->names_n > 0 && !is_over(g));
    return uses;
}

/* All that is there goes with the lease, and with it alone where the manager is away. */
static void leave_manager(void) {
    for (struct generation *g = before; g != NULL; g = g->next)
        g->names_n = 0;
    shmc_detach(manager.segment);
    manager = (struct place){0};
}

void segment_look(void) {
    if (manager.segment != NULL && manager.creator == getpid() && !uses_manager())
        leave_manager();
    for (struct generation **at = &before; *at != NULL;) {
        struct generation *generation = *at;
        if (!is_over(generation) || !drop_sections(generation)) {
            at = &generation->next;
            continue;
        }
        *at = generation->next;
        destroy(generation);
    }
    for (struct place *p = now == NULL ? NULL : now->places; p != NULL; p = p->next)
        shmc_private_reap(p->memory);
}

void segment_retire(ap_slotmem_instance_t *slotmems) {
    if (now == NULL)
        return;
    for (ap_slotmem_instance_t *slotmem = slotmems; slotmem != NULL; slotmem = slotmem->next)
        if (slotmem->opened_by == getpid())
            shmc_close(slotmem->section);
    for (struct place *place = now->places; place != NULL; place = place->next)
        shmc_detach(place->segment);
    close(now->children);
    now->next = before;
    before = now;
    now = NULL;
    segment_look();
}

/* ---- making one */

/* Its memory, in this process and in those that it forks. */
static int lend(ap_slotmem_instance_t *slotmem, struct place *place) {
    void *first, *second;
    size_t bytes;
    slotmem->place = place;
    int r = open_section(slotmem);
    if (r == 0)
        r = shmc_slot_inherit(slotmem->section);
    if (r == 0)
        r = shmc_slot_ptr(slotmem->section, 0, &first, &bytes);
    if (r == 0 && slotmem->num > 1)
        r = shmc_slot_ptr(slotmem->section, 1, &second, &bytes);
    if (r < 0)
        return r;
    slotmem->base = first;
    slotmem->stride = slotmem->num > 1 ? (size_t)((uint8_t *)second - (uint8_t *)first) : bytes;
    return 0;
}

static uint32_t count_of(const ap_slotmem_instance_t *slotmem) {
    return slotmem->num == 0 ? 1 : slotmem->num;
}

static uint64_t bytes_of(const ap_slotmem_instance_t *slotmem) {
    return slotmem->size == 0 ? 1 : slotmem->size;
}

static int make_managed(const ap_slotmem_instance_t *slotmem) {
    const struct shmc_create_options options = {
        .size = sizeof options,
        .kind = SHMC_SLOTS,
        .count = count_of(slotmem),
        .bytes = bytes_of(slotmem),
        .flags = SHMC_CREATE_EXCLUSIVE | SHMC_CREATE_TRANSIENT | SHMC_CREATE_SHARED |
                 (slotmem_is_pregrab(slotmem) ? SHMC_CREATE_PREGRAB : 0)};
    void *names = realloc(now->names, (now->names_n + 1) * sizeof *now->names);
    if (names == NULL)
        return -ENOMEM;
    now->names = names;
    int r = shmc_create(manager.segment, slotmem->name, &options);
    if (r == 0)
        memcpy(now->names[now->names_n++], slotmem->name, sizeof slotmem->name);
    return r;
}

static int try_manager(const ap_slotmem_instance_t *slotmem) {
    int r = manager.segment == NULL ? attach_worker() : 0;
    if (r < 0)
        return r;
    r = make_managed(slotmem);
    if (r < 0)
        snprintf(error, sizeof error, "%s", shmc_last_error(manager.segment));
    return r;
}

static int in_manager(ap_slotmem_instance_t *slotmem) {
    int r = try_manager(slotmem);
    /* It was destroyed, or the lease taken back; children that are left have memory of nobody. */
    if ((r == -EIDRM || r == -EKEYREVOKED || r == -ECHILD) && now->names_n == 0) {
        leave_manager();
        r = try_manager(slotmem);
    }
    if (r == 0 && (r = lend(slotmem, &manager)) < 0)
        snprintf(error, sizeof error, "%s", shmc_last_error(manager.segment));
    return r;
}

static int add_spec(struct place *place, const ap_slotmem_instance_t *slotmem) {
    void *specs = realloc(place->specs, (place->specs_n + 1) * sizeof *place->specs);
    if (specs == NULL)
        return -ENOMEM;
    place->specs = specs;
    place->specs[place->specs_n++] = (struct shmc_private_spec){
        .size = sizeof *place->specs,
        .name = slotmem->name, /* in the generation's pool */
        .kind = SHMC_SLOTS,
        .count = count_of(slotmem),
        .bytes = bytes_of(slotmem),
        .flags = SHMC_PRIVATE_SHARED | (slotmem_is_pregrab(slotmem) ? SHMC_PRIVATE_PREGRAB : 0)};
    return 0;
}

/* One more in a private segment that has room for it; what is there stays where it is. */
static int add_private(struct place *place, const ap_slotmem_instance_t *slotmem) {
    int r = add_spec(place, slotmem);
    if (r < 0)
        return r;
    r = shmc_private_reload(place->memory, place->specs, place->specs_n);
    if (r == 0)
        return 0;
    place->specs_n--;
    snprintf(error, sizeof error, "%s", shmc_private_last_error(place->memory));
    return r;
}

static int make_private(struct place **ret, const ap_slotmem_instance_t *slotmem) {
    const struct shmc_private_options options = {
        .size = sizeof options, .error = error, .error_bytes = sizeof error};
    struct place *place = calloc(1, sizeof *place);
    int r = place == NULL ? -ENOMEM : add_spec(place, slotmem);
    if (r == 0)
        r = shmc_private_create(&place->memory, place->specs, 1, &options);
    if (r == 0 && (r = attach_child(place)) < 0)
        shmc_private_destroy(place->memory);
    if (r < 0) {
        if (place != NULL)
            free(place->specs);
        free(place);
        return r;
    }
    place->creator = getpid();
    place->next = now->places;
    *ret = now->places = place;
    return 0;
}

static int in_private(ap_slotmem_instance_t *slotmem) {
    struct place *place = now->places;
    int r = -ENOSPC;
    if (place != NULL && place->creator == getpid())
        r = add_private(place, slotmem);
    if (r == -ENOSPC)
        r = make_private(&place, slotmem);
    return r == 0 ? lend(slotmem, place) : r;
}

static int make(ap_slotmem_instance_t *slotmem) {
    const enum segment_kind wanted = slotmem_settings.segment;
    int r = begin();
    if (r < 0 || wanted == SEGMENT_PRIVATE || now->alone || now->parent != getpid())
        return r < 0 ? r : in_private(slotmem);
    r = in_manager(slotmem);
    if (r == 0 || wanted == SEGMENT_MANAGER)
        return r;
    now->alone = manager.segment == NULL; /* that may have taken its time, and won't again */
    ap_log_error(APLOG_MARK, APLOG_NOTICE, APR_FROM_OS_ERROR(-r), ap_server_conf,
                 "slotmem %s: in a private segment, as there is no manager's for it: %s",
                 slotmem->name, error);
    return in_private(slotmem);
}

apr_status_t segment_make(ap_slotmem_instance_t *slotmem) {
    pthread_mutex_lock(&lock);
    error[0] = '\0';
    const int r = make(slotmem);
    pthread_mutex_unlock(&lock);
    if (r == 0)
        return APR_SUCCESS;
    ap_log_error(APLOG_MARK, APLOG_ERR, APR_FROM_OS_ERROR(-r), ap_server_conf,
                 "slotmem %s: can't be made, %u slots of %" APR_SIZE_T_FMT " bytes: %s",
                 slotmem->name, slotmem->num, slotmem->size, error);
    return APR_FROM_OS_ERROR(-r);
}
