/* SPDX-License-Identifier: Apache-2.0
 *
 * Attaching and detaching.  An attach is tried again from its beginning until the caller's
 * deadline, whatever it was that wasn't there yet: the segment, its header, the manager, the
 * worker.
 */
#include "core/table.h"
#include "queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX  4096u /* an option struct of a later version is no larger */
#define PAUSE_MIN_NS UINT64_C(1000000)
#define PAUSE_MAX_NS UINT64_C(50000000)

/* What the state is when its page is gone. */
static const uint32_t detached = HANDLE_DETACHED, forked = HANDLE_FORKED;

/* ---- options */

int options_copy(void *ret, size_t bytes, const void *from, const char *name, const char *type,
                 struct error *error) {
    const uint8_t *given = from;
    size_t size;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > OPTIONS_MAX)
        return error_set(error, -EINVAL, "%s.size is %zu; set it to sizeof (struct %s)", name, size,
                         type);
    memcpy(ret, from, size < bytes ? size : bytes);
    for (size_t i = bytes; i < size; i++)
        if (given[i] != 0)
            return error_set(error, -EINVAL,
                             "%s has fields that this library (%s) doesn't know; install a newer "
                             "one",
                             name, SHM_VERSION);
    return 0;
}

static int read_key(struct settings *ret, struct error *error) {
    const char *text = ret->key == 0 ? secure_getenv("SHMC_KEY") : NULL;
    if (ret->key != 0)
        return 0;
    ret->key = SHMC_DEFAULT_KEY;
    if (text == NULL || *text == '\0')
        return 0;
    char *end;
    errno = 0;
    unsigned long long key = strtoull(text, &end, 0);
    if (errno != 0 || *end != '\0' || key == 0 || key > UINT32_MAX || *text == '-')
        return error_set(error, -EINVAL,
                         "SHMC_KEY is '%s'; it takes a number from 1 to 0xffffffff, as 0x53484d31",
                         text);
    ret->key = (uint32_t)key;
    return 0;
}

int settings_who(struct settings *ret, const struct shmc_options *options,
                 struct shmc_options *copy, struct error *error) {
    memset(copy, 0, sizeof *copy);
    int r = options == NULL
                ? 0
                : options_copy(copy, sizeof *copy, options, "options", "shmc_options", error);
    if (r < 0)
        return r;
    *ret = (struct settings){.key = copy->key,
                             .flags = copy->flags,
                             .worker = copy->worker,
                             .runtime_dir = copy->runtime_dir,
                             .deadline_ns = deadline_after(copy->timeout_ms)};
    if ((copy->flags & ~(SHMC_LEASE_FD | SHMC_ANONYMOUS)) != 0)
        return error_set(error, -EINVAL,
                         "options.flags 0x%x has bits besides SHMC_LEASE_FD and SHMC_ANONYMOUS",
                         copy->flags);
    if (copy->worker != NULL && (copy->flags & SHMC_ANONYMOUS) != 0)
        return error_set(error, -EINVAL,
                         "options.worker is '%.80s', and options.flags has SHMC_ANONYMOUS; a "
                         "process is either a worker or has no name",
                         copy->worker);
    if (copy->worker != NULL && !table_name_ok(copy->worker, true))
        return error_set(
            error, -EINVAL,
            "options.worker is '%.80s'; a worker's name has 1 to %d letters, digits, _ "
            ". or -, a letter first (shmtool workers lists them)",
            copy->worker, SHMC_NAME_BYTES - 1);
    return 0;
}

int settings_read(struct settings *ret, const struct shmc_options *options,
                  struct shmc_options *copy, struct error *error) {
    int r = settings_who(ret, options, copy, error);
    if (r < 0)
        return r;
    if (ret->runtime_dir == NULL)
        ret->runtime_dir = secure_getenv("SHMC_RUNTIME_DIR");
    if (ret->runtime_dir == NULL || ret->runtime_dir[0] == '\0')
        ret->runtime_dir = SHM_RUNTIME_DIR;
    return read_key(ret, error);
}

/* Whoever our user namespace doesn't know is UID_UNKNOWN, so that one may be another; but where
 * only its owner (and root) can make anything in the directory, what is there is theirs. */
bool settings_trust(const struct settings *settings, uid_t uid) {
    struct stat directory;
    if (uid != UID_UNKNOWN && (uid == 0 || uid == geteuid()))
        return true;
    return stat(settings->runtime_dir, &directory) == 0 && directory.st_uid == uid &&
           (uid != UID_UNKNOWN || (directory.st_mode & 022) == 0);
}

void settings_report(const struct shmc_options *options, const struct settings *settings,
                     const struct error *error) {
    if (options->error != NULL && options->error_bytes > 0)
        snprintf(options->error, options->error_bytes, "%s", error->text);
    if (options->holder != NULL && settings->holder != 0)
        *options->holder = settings->holder;
}

/* ---- handles */

static shmc *handle_new(const struct settings *settings, int timeout_ms) {
    shmc *segment = calloc(1, sizeof *segment);
    struct error *error = calloc(1, sizeof *error);
    char *runtime_dir = strdup(settings->runtime_dir);
    struct mapping *mapping = mapping_new();
    uint32_t *state =
        mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (segment == NULL || error == NULL || runtime_dir == NULL || mapping == NULL ||
        state == MAP_FAILED || madvise(state, SHM_PAGE, MADV_WIPEONFORK) < 0) {
        free(segment);
        free(error);
        free(runtime_dir);
        if (mapping != NULL)
            munmap(mapping, SHM_PAGE);
        if (state != MAP_FAILED)
            munmap(state, SHM_PAGE);
        return NULL;
    }
    *state = HANDLE_ALIVE;
    segment->state = state;
    segment->page = state;
    segment->error = error;
    segment->now = mapping;
    segment->home.key = settings->key;
    segment->home.timeout_ms = timeout_ms;
    segment->home.runtime_dir = runtime_dir;
    segment->references = 1;
    return segment;
}

void handle_release(shmc *segment) {
    if (__atomic_sub_fetch(&segment->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    free(segment->error);
    free(segment->home.runtime_dir);
    free(segment);
}

/* From here on the calls of sections that are still open give -EBADF, or -ECHILD. */
static void retire_state(shmc *segment) {
    segment->state = *segment->state == HANDLE_FORKED ? &forked : &detached;
    munmap(segment->page, SHM_PAGE);
}

static void abort_begun(shmc *segment) {
    for (struct writer *writer = segment->writers; writer != NULL; writer = writer->next)
        if (writer->core.open != SHM_NONE)
            snapshot_abort(&writer->core);
    lanes_close(segment);
}

void shmc_detach(shmc *segment) {
    if (segment == NULL)
        return;
    bool child = handle_state(segment) == HANDLE_FORKED;
    event_stop(segment);
    if (!child)
        abort_begun(segment);
    /* The writable memory first, the lease last: who gets it next finds nobody there. */
    if (private_is(segment->now))
        private_leave(segment->now, child);
    struct standing standing = segment->now->standing;
    mapping_close_all(segment);
    if (child)
        standing_forget(&standing);
    else
        standing_drop(&standing);
    retire_state(segment);
    handle_release(segment);
}

/* ---- attaching */

static int attach_once(shmc *segment, struct settings *settings) {
    int r = mapping_open(segment, settings);
    if (r == 0 && settings->memory != NULL)
        r = private_take(segment, settings);
    else if (r < 0 || !settings_write(settings))
        return r;
    else
        r = standing_take(segment, settings);
    if (r == 0) {
        r = mapping_update(segment, directory_generation(&segment->now->directory));
        if (r == -EAGAIN) /* a newer one came: the first call looks again */
            r = 0;
        if (r < 0)
            standing_drop(&segment->now->standing);
    }
    if (r < 0)
        mapping_close(segment->now);
    return r;
}

static bool worth_waiting(int r) {
    return r == -ENOENT || r == -EAGAIN || r == -EBADMSG || r == -EBUSY || r == -ENOTCONN;
}

static void pause_until(uint64_t deadline_ns, uint64_t *pause_ns) {
    uint64_t now = clock_mono_ns(), left = deadline_ns - now;
    uint64_t ns = *pause_ns < left ? *pause_ns : left;
    nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
    *pause_ns = 2 * *pause_ns < PAUSE_MAX_NS ? 2 * *pause_ns : PAUSE_MAX_NS;
}

static int attach(shmc *segment, struct settings *settings) {
    struct error *error = segment->error;
    uint64_t pause_ns = PAUSE_MIN_NS;
    char reason[ERROR_BYTES] = "";
    for (int before = 0;;) {
        int r = attach_once(segment, settings);
        if (r == -ETIMEDOUT && before < 0) /* what was waited for is the better answer */
            return error_set(error, before, "%s", reason);
        if (!worth_waiting(r) || clock_mono_ns() >= settings->deadline_ns)
            return r;
        memcpy(reason, error->text, sizeof reason);
        before = r;
        pause_until(settings->deadline_ns, &pause_ns);
    }
}

int handle_attach(shmc **ret, struct settings *settings, const struct shmc_options *options) {
    shmc *segment = handle_new(settings, options->timeout_ms);
    if (segment == NULL)
        return -ENOMEM;
    int r = attach(segment, settings);
    if (r < 0) {
        settings_report(options, settings, segment->error);
        mapping_close_all(segment);
        retire_state(segment);
        handle_release(segment);
        return r;
    }
    segment->error->text[0] = '\0'; /* of tries that failed on the way */
    segment->now->parts.deadline_ns = 0;
    *ret = segment;
    return 0;
}

int shmc_attach(shmc **ret, const struct shmc_options *options) {
    struct error error = {0};
    struct settings settings = {0};
    struct shmc_options copy;
    int r = settings_read(&settings, options, &copy, &error);
    if (r == 0)
        return handle_attach(ret, &settings, &copy);
    settings_report(&copy, &settings, &error);
    return r;
}

const char *shmc_version(void) {
    return SHM_VERSION;
}
