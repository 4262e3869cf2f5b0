/* SPDX-License-Identifier: Apache-2.0
 *
 * A program of somebody else's: built from the installed header and library alone.
 *
 *     worker publish WORKER SECTION COUNT BYTES   COUNT values at full speed; 0 = until killed
 *     worker check SECTION COUNT                  waits for COUNT values and looks at every byte
 *
 * A value says its number in its first 8 bytes, and is filled with the number's low byte.
 */
#include <shmclient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shmc *segment;
static shmc_section *section;

static int fail(const char *what, long result) {
    fprintf(stderr, "worker: %s: %s (%s)\n", what, strerror((int)-result),
            segment != NULL ? shmc_last_error(segment) : "");
    return EXIT_FAILURE;
}

static int attach(const char *worker, const char *name) {
    char error[256] = "";
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .timeout_ms = 30000,
                                   .error = error,
                                   .error_bytes = sizeof error};
    int result = shmc_attach(&segment, &options);
    if (result < 0)
        fprintf(stderr, "worker: %s\n", error);
    return result < 0 ? result : shmc_open(&section, segment, name, NULL);
}

static int publish(unsigned long count, size_t bytes) {
    unsigned char *value = calloc(1, bytes);
    if (value == NULL || bytes < 8)
        return EXIT_FAILURE;
    for (unsigned long i = 1; count == 0 || i <= count; i++) {
        memset(value, (int)(i & 0xff), bytes);
        memcpy(value, &i, sizeof i);
        int result = shmc_publish(section, value, bytes);
        if (result < 0)
            return fail("publish", result);
    }
    free(value);
    return EXIT_SUCCESS;
}

static int check(unsigned long count) {
    static unsigned char value[1 << 20];
    for (unsigned long i = 0; i < count; i++) {
        struct shmc_value about = {0};
        ssize_t length = shmc_next(section, value, sizeof value, 5000, &about);
        if (length < 8)
            return fail("next", length);
        unsigned long number;
        memcpy(&number, value, sizeof number);
        for (ssize_t at = 8; at < length; at++)
            if (value[at] != (number & 0xff))
                return fail("a torn value", 0);
    }
    printf("%lu values were whole\n", count);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    bool writer = argc == 6 && strcmp(argv[1], "publish") == 0;
    if (!writer && (argc != 4 || strcmp(argv[1], "check") != 0))
        return 2;
    int result = attach(writer ? argv[2] : NULL, argv[writer ? 3 : 2]);
    if (result < 0)
        return fail("attach", result);
    int status = writer ? publish(strtoul(argv[4], NULL, 0), strtoul(argv[5], NULL, 0))
                        : check(strtoul(argv[3], NULL, 0));
    shmc_close(section);
    shmc_detach(segment);
    return status;
}
