/* SPDX-License-Identifier: Apache-2.0
 *
 * The library as a plug-in brings it: loaded at run time, used, and unloaded again.  This program
 * isn't linked with it.
 */
#include "cases.h"

#include <dlfcn.h>

static bool is_mapped(const char *part) {
    char line[1024];
    bool found = false;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        found = found || strstr(line, part) != NULL;
    fclose(file);
    return found;
}

static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

static void use(void *library, const char *worker) {
    int (*do_attach)(shmc **, const struct shmc_options *);
    int (*do_open)(shmc_section **, shmc *, const char *, const struct shmc_expect *);
    int (*do_publish)(shmc_section *, const void *, size_t);
    int (*do_fd)(shmc_section *);
    void (*do_close)(shmc_section *);
    void (*do_detach)(shmc *);
    *(void **)&do_attach = find(library, "shmc_attach");
    *(void **)&do_open = find(library, "shmc_open");
    *(void **)&do_publish = find(library, "shmc_publish");
    *(void **)&do_fd = find(library, "shmc_fd");
    *(void **)&do_close = find(library, "shmc_close");
    *(void **)&do_detach = find(library, "shmc_detach");
    struct shmc_options options = {
        .size = sizeof options, .worker = worker, .timeout_ms = PATIENCE_MS};
    shmc *segment;
    shmc_section *section;
    CHECK_IS(do_attach(&segment, &options), 0);
    CHECK_IS(do_open(&section, segment, "temps", NULL), 0);
    if (worker != NULL)
        CHECK_IS(do_publish(section, "abc", 3), 0);
    CHECK(do_fd(section) >= 0); /* a thread that runs its code */
    do_close(section);
    do_detach(segment);
}

static void dlclose_takes_everything_along(void) {
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(getenv("SHM_TEST_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL);
        CHECK(is_mapped("libshmclient"));
        use(library, i % 2 == 0 ? "driver" : NULL);
        CHECK(dlclose(library) == 0);
        CHECK(!is_mapped("libshmclient"));
        CHECK(!is_mapped("SYSV") && !is_mapped(".leases/"));
    }
}

CASES_MAIN({"dlclose_takes_everything_along", dlclose_takes_everything_along})
