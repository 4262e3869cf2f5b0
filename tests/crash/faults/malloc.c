/* SPDX-License-Identifier: Apache-2.0
 *
 * To be preloaded: the FAULTS_MALLOC-th allocation of the process fails, and with FAULTS_MALLOC_ON
 * set to "on" all those behind it too.  FAULTS_MALLOC_COUNT names a file to write the number of
 * allocations to, at the end.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static unsigned long count, fail_at;
static bool goes_on, started;
static _Thread_local bool spared;

/* Allocations before this are the dynamic linker's and the libraries' constructors. */
__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAULTS_MALLOC"), *on = getenv("FAULTS_MALLOC_ON");
    fail_at = text == NULL ? 0 : strtoul(text, NULL, 10);
    goes_on = on != NULL && strcmp(on, "on") == 0;
    count = 0;
    started = true;
}

__attribute__((destructor)) static void end(void) {
    char text[32];
    const char *path = getenv("FAULTS_MALLOC_COUNT");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int n = snprintf(text, sizeof text, "%lu\n", count);
    if (fd >= 0 && write(fd, text, (size_t)n) != n)
        _exit(126);
}

static bool fails(void) {
    if (!started || spared)
        return false;
    unsigned long n = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    if (fail_at == 0 || n < fail_at || (n > fail_at && !goes_on))
        return false;
    errno = ENOMEM;
    return true;
}

__attribute__((visibility("default"))) void *malloc(size_t bytes) {
    return fails() ? NULL : __libc_malloc(bytes);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t bytes) {
    return fails() ? NULL : __libc_calloc(n, bytes);
}

__attribute__((visibility("default"))) void *realloc(void *at, size_t bytes) {
    return fails() ? NULL : __libc_realloc(at, bytes);
}

/* glibc's own goes to its inner realloc(). */
__attribute__((visibility("default"))) void *reallocarray(void *at, size_t n, size_t bytes) {
    size_t all;
    if (__builtin_mul_overflow(n, bytes, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(at, all);
}

__attribute__((visibility("default"))) int posix_memalign(void **ret, size_t alignment,
                                                          size_t bytes) {
    void *at = fails() ? NULL : __libc_memalign(alignment, bytes);
    if (at == NULL)
        return ENOMEM;
    *ret = at;
    return 0;
}

/* Without memory for its list of services glibc 2.36 itself crashes in these, or aborts. */
#define SPARE(type, call)                                                                          \
    __attribute__((visibility("default"))) type *call(const char *name) {                          \
        type *(*next)(const char *);                                                               \
        spared = true;                                                                             \
        *(void **)&next = dlsym(RTLD_NEXT, #call);                                                 \
        type *found = next(name);                                                                  \
        spared = false;                                                                            \
        return found;                                                                              \
    }

SPARE(struct group, getgrnam)
SPARE(struct passwd, getpwnam)
