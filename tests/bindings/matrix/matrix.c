/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix's part in C: a worker that is told by lines "write KIND SECTION FILE" what to write,
 * and "read KIND SECTION FILE" what to read, and answers "ok" or what went wrong.  Raw: from the
 * section's first byte on, and all of it.  Queue: one message, of type 1.  This one also knows
 * "storm snapshot SECTION FILE": it publishes, each time 10000 + N bytes N, until there is FILE.
 *
 *     matrix WORKER
 */
#include <shmclient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES      (1 << 20)
#define TIMEOUT_MS 60000

static char buffer[BYTES];

static ssize_t write_section(shmc_section *section, const char *kind, const char *file) {
    FILE *from = fopen(file, "rb");
    if (from == NULL)
        return -1;
    const size_t n = fread(buffer, 1, sizeof buffer, from);
    fclose(from);
    return strcmp(kind, "raw") == 0        ? shmc_raw_write(section, 0, buffer, n)
           : strcmp(kind, "snapshot") == 0 ? shmc_publish(section, buffer, n)
                                           : shmc_queue_send(section, 1, buffer, n, 0, TIMEOUT_MS);
}

static ssize_t read_section(shmc_section *section, const char *kind, const char *file) {
    struct shmc_section_info info;
    ssize_t n = shmc_section_info(section, &info);
    if (n < 0)
        return n;
    n = strcmp(kind, "raw") == 0 ? shmc_raw_read(section, 0, buffer, info.size)
        : strcmp(kind, "snapshot") == 0
            ? shmc_read(section, buffer, sizeof buffer, NULL)
            : shmc_queue_receive(section, 1, buffer, sizeof buffer, 0, TIMEOUT_MS, NULL);
    FILE *to = n < 0 ? NULL : fopen(file, "wb");
    if (to != NULL) {
        fwrite(buffer, 1, (size_t)n, to);
        fclose(to);
    }
    return n;
}

static int storm(shmc_section *section, const char *file) {
    for (unsigned i = 0; i % 64 != 0 || access(file, F_OK) < 0; i++) {
        const unsigned n = i % 256;
        memset(buffer, (int)n, 10000 + n);
        const int r = shmc_publish(section, buffer, 10000 + n);
        if (r < 0)
            return r;
    }
    return 0;
}

int main(int argc, char **argv) {
    char verb[8], kind[16], name[SHMC_NAME_BYTES], file[512], error[512];
    struct shmc_options options = {.size = sizeof options,
                                   .worker = argc > 1 ? argv[1] : NULL,
                                   .timeout_ms = TIMEOUT_MS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    shmc *segment;
    shmc_section *section;
    if (shmc_attach(&segment, &options) < 0) {
        puts(error);
        return 1;
    }
    while (scanf("%7s %15s %63s %511s", verb, kind, name, file) == 4) {
        ssize_t r = shmc_open(&section, segment, name, NULL);
        if (r == 0) {
            r = verb[0] == 's'   ? storm(section, file)
                : verb[0] == 'w' ? write_section(section, kind, file)
                                 : read_section(section, kind, file);
            puts(r < 0 ? shmc_last_error(segment) : "ok");
            shmc_close(section);
        } else
            puts(shmc_last_error(segment));
        fflush(stdout);
    }
    shmc_detach(segment);
    return 0;
}
