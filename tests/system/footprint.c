/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client holds: descriptors, and mappings of shared memory.  Both may grow with the arenas
 * that it uses, and with nothing else.
 *
 *     footprint ARENAS EACH [WORKER]
 *
 * opens sections a1-s1 to aARENAS-sEACH, worker aI being the owner of those of arena I.
 */
#include "cases.h"

#include <dirent.h>

struct held {
    unsigned fds, maps;
};

static struct held held_now(void) {
    struct held held = {0};
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        held.maps += strstr(line, "/SYSV") != NULL || strstr(line, "/memfd:") != NULL;
    fclose(maps);
    DIR *fds = opendir("/proc/self/fd");
    CHECK(fds != NULL);
    while (readdir(fds) != NULL)
        held.fds++;
    closedir(fds);
    return held;
}

#define OPENED_MAX 4096u
static shmc_section *opened[OPENED_MAX];
static unsigned opened_n;

static void open_one(shmc *segment, unsigned arena, unsigned number) {
    char name[SHMC_NAME_BYTES];
    shmc_section *section;
    snprintf(name, sizeof name, "a%u-s%u", arena, number);
    int r = shmc_open(&section, segment, name, NULL);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", name, shmc_last_error(segment));
    CHECK_IS(r, 0);
    CHECK(opened_n < OPENED_MAX);
    opened[opened_n++] = section;
}

static void close_all(void) {
    while (opened_n > 0)
        shmc_close(opened[--opened_n]);
}

/* One more arena splits what it is mapped over: itself, and what is left behind it. */
static void use_arenas(shmc *segment, unsigned arenas) {
    struct held before = held_now();
    for (unsigned i = 1; i <= arenas; i++) {
        open_one(segment, i, 1);
        struct held now = held_now();
        CHECK(now.maps <= before.maps + 2);
        CHECK_IS(now.fds, before.fds);
        before = now;
    }
}

int main(int argc, char **argv) {
    CHECK(argc > 2);
    unsigned arenas = (unsigned)atoi(argv[1]), each = (unsigned)atoi(argv[2]);
    const char *worker = argc > 3 ? argv[3] : NULL;
    struct held empty = held_now();
    shmc *segment = attach(worker, 0);
    struct held attached = held_now();
    /* A worker's lease is a mapping without a descriptor; so is all else. */
    CHECK_IS(attached.fds, empty.fds);
    CHECK_IS(empty.maps, 0);
    CHECK(attached.maps <= 6);
    use_arenas(segment, arenas);
    struct held used = held_now();
    if (on_memfd())
        CHECK(used.maps >= attached.maps + arenas - 1);
    else
        CHECK(used.maps <= attached.maps + 1); /* the bells, with the first */
    for (unsigned i = 1; i <= arenas; i++)
        for (unsigned j = 2; j <= each; j++)
            open_one(segment, i, j);
    struct held all = held_now();
    CHECK_IS(all.fds, empty.fds);
    CHECK_IS(all.maps, used.maps);
    close_all();
    shmc_detach(segment);
    struct held after = held_now();
    CHECK_IS(after.fds, empty.fds);
    CHECK_IS(after.maps, 0);
    printf("%u %u %u\n", attached.maps, all.maps, all.fds - empty.fds);
}
