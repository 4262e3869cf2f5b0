/* SPDX-License-Identifier: Apache-2.0
 *
 * shmop by lines, each answered by one: "open BLOCK KEY FLAGS MODE SIZE", "size BLOCK",
 * "read BLOCK OFFSET COUNT", "write BLOCK HEX OFFSET", "delete BLOCK", "close BLOCK", as
 * shmop_script.php does it with PHP's; and of sections "section BLOCK NAME FLAGS",
 * "attach WORKER", "section-in BLOCK NAME FLAGS", "detach", "fork BLOCK", "repeat BLOCK TIMES".
 * Answers: a number, bytes in hexadecimal, "ok", or what strerror() says.  -e: with the line's
 * text.
 */
#include "../../unit/usage.h"

#include <errno.h>
#include <shmop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define BLOCKS 100
#define BYTES  (1 << 20)

static shmop *blocks[BLOCKS];
static shmc *segment;
static bool with_text;
static char buffer[BYTES];

static const char *word(void) {
    const char *next = strtok(NULL, " \n");
    return next == NULL ? "" : strcmp(next, "-") == 0 ? "" : next;
}

static size_t number(void) {
    return (size_t)strtoll(word(), NULL, 0);
}

static void answer(ssize_t r) {
    if (r >= 0)
        printf("%zd\n", r);
    else if (with_text)
        printf("%s: %s\n", strerrorname_np(errno), shmop_last_error());
    else
        printf("%s\n", strerror(errno));
}

static void open_block(unsigned i, shmop *block) {
    blocks[i] = block;
    answer(block == NULL ? -1 : shmop_size(block));
}

static void read_block(unsigned i) {
    const size_t offset = number(), count = number();
    const ssize_t n = shmop_read(blocks[i], offset, count, buffer, sizeof buffer);
    if (n < 0) {
        answer(n);
        return;
    }
    for (ssize_t k = 0; k < n; k++)
        printf("%02x", (unsigned char)buffer[k]);
    putchar('\n');
}

static void write_block(unsigned i) {
    const char *hex = word();
    size_t n = 0;
    for (unsigned byte; n < sizeof buffer && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        buffer[n] = (char)byte;
    answer(shmop_write(blocks[i], buffer, n, number()));
}

/* What a child gets of this one's block. */
static void fork_block(unsigned i) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        answer(shmop_read(blocks[i], 0, 1, buffer, 1));
        answer(shmop_write(blocks[i], "c", 1, 0));
        shmop_close(blocks[i]);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* The growth: bytes for a thousand operations, descriptors, threads. */
static void repeat(unsigned i) {
    const unsigned times = (unsigned)number();
    struct usage before = {0};
    for (unsigned k = 0; k < times + 100; k++) {
        if (k == 100)
            before = usage_now();
        if (shmop_write(blocks[i], &k, sizeof k, 0) < 0 ||
            shmop_read(blocks[i], 0, 0, buffer, sizeof buffer) < 0 ||
            shmop_read(blocks[i], BYTES, 0, buffer, sizeof buffer) >= 0) {
            answer(-1);
            return;
        }
    }
    const struct usage after = usage_now();
    printf("%ld %d %d\n", 1000 * (after.bytes - before.bytes) / times,
           (int)after.descriptors - (int)before.descriptors,
           (int)after.threads - (int)before.threads);
}

static void attach(void) {
    char error[512];
    const char *worker = word();
    const struct shmc_options options = {.size = sizeof options,
                                         .worker = worker,
                                         .timeout_ms = 30000,
                                         .error = error,
                                         .error_bytes = sizeof error};
    const int r = shmc_attach(&segment, &options);
    puts(r == 0 ? "ok" : error);
}

static void of_sections(const char *verb, unsigned i) {
    if (strcmp(verb, "section") == 0 || strcmp(verb, "section-in") == 0) {
        const char *name = word(), *flags = word();
        open_block(i, verb[7] == '\0' ? shmop_open_section(0, name, flags)
                                      : shmop_open_section_in(segment, name, flags));
    } else if (strcmp(verb, "fork") == 0)
        fork_block(i);
    else if (strcmp(verb, "repeat") == 0)
        repeat(i);
    else
        puts("?");
}

static void of_blocks(const char *verb, unsigned i) {
    if (strcmp(verb, "open") == 0) {
        const uint32_t key = (uint32_t)number();
        const char *flags = word();
        const unsigned mode = (unsigned)number();
        shmop_close(blocks[i]);
        open_block(i, shmop_open(key, flags, mode, number()));
    } else if (strcmp(verb, "size") == 0)
        answer(shmop_size(blocks[i]));
    else if (strcmp(verb, "read") == 0)
        read_block(i);
    else if (strcmp(verb, "write") == 0)
        write_block(i);
    else if (strcmp(verb, "delete") == 0)
        answer(shmop_delete(blocks[i]));
    else if (strcmp(verb, "close") == 0) {
        shmop_close(blocks[i]);
        blocks[i] = NULL;
        puts("ok");
    } else
        of_sections(verb, i);
}

int main(int argc, char **argv) {
    static char line[3 * BYTES];
    with_text = argc > 1 && strcmp(argv[1], "-e") == 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *verb = strtok(line, " \n");
        if (verb == NULL)
            continue;
        if (strcmp(verb, "attach") == 0)
            attach();
        else if (strcmp(verb, "detach") == 0) {
            shmc_detach(segment);
            puts("ok");
        } else
            of_blocks(verb, (unsigned)(number() % BLOCKS));
        fflush(stdout);
    }
    return 0;
}
