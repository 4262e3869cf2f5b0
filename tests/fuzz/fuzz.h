/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzzers share: taking the input apart, and memory that an input damages, before the
 * code under test looks at it or between two of its accesses.  Everything follows from the input
 * alone, so that a crash can be replayed.
 */
#ifndef SHM_TESTS_FUZZ_H
#define SHM_TESTS_FUZZ_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A property that must hold; what the fuzzer reports as a crash. */
#define MUST(condition)                                                                            \
    do                                                                                             \
        if (!(condition)) {                                                                        \
            dprintf(2, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                               \
        }                                                                                          \
    while (0)

/* ---- the input; zeroes when it is used up */

struct input {
    const uint8_t *at, *end;
};

uint64_t take(struct input *input, unsigned bytes);
uint32_t take_below(struct input *input, uint32_t limit);
size_t take_bytes(struct input *input, void *to, size_t most);

/* A number: as it comes, or one where things tend to break, or near `about`. */
uint64_t take_number(struct input *input, uint64_t about);

static inline bool input_left(const struct input *input) {
    return input->at < input->end;
}

/* ---- memory under damage */

struct target {
    size_t offset, bytes;
};

/* Memory with its right content.  `fix`, when the input wants it, makes checksums agree again: the
 * deeper checks are not reached otherwise. */
struct victim {
    uint8_t *memory;
    const uint8_t *right;
    const struct target *targets;
    size_t targets_n;
    void (*fix)(void);
    bool fixes;
};

/* Makes a run's damage from the input: the first part at once, the rest while it is accessed. */
void damage_begin(const struct victim *victim, struct input *input);

/* Puts right what was damaged, and stops. */
void damage_end(void);

/* How many accesses a run may make until it is taken out of a loop that waits for damage to go
 * away: damage_jump is jumped to.  0 = as many as it likes. */
extern sigjmp_buf damage_jump;
void damage_limit(unsigned accesses);

/* ---- texts */

/* One printable line, as every message is. */
bool one_line(const char *text);

/* A directory of this process's own in memory, gone at its end. */
const char *fuzz_directory(void);
void fuzz_write(const char *path, const void *data, size_t bytes);
size_t fuzz_read(const char *path, void *data, size_t most);

#endif
