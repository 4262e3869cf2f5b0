/* SPDX-License-Identifier: Apache-2.0
 *
 * What the command line says.
 */
#ifndef SHM_DAEMON_CONFIG_H
#define SHM_DAEMON_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SECTIONS_DIRS_MAX 16

struct config {
    bool key_given; /* else the table's */
    uint32_t key;
    bool check; /* validate and plan, change nothing */
    bool json;
    unsigned checkpoint_s; /* 0: only at the end, and when asked */
    const char *sections_dirs[CONFIG_SECTIONS_DIRS_MAX];
    size_t sections_dirs_n;
    char state_dir[PATH_MAX];
    char runtime_dir[PATH_MAX];
    char table[PATH_MAX]; /* sections.db */
    char state[PATH_MAX]; /* state.db */
};

/* Reads the options.  Returns 0 to go on, 1 when all was said (--help, --version), -EINVAL after a
 * message on stderr. */
int config_read(struct config *ret, int argc, char **argv);

#endif
