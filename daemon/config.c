/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of shm-manager.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "shm-manager - divides a shared-memory segment into sections, as a SQLite table says\n"
    "\n"
    "Usage: shm-manager [OPTIONS]\n"
    "\n"
    "  --key KEY          the segment's key, decimal or 0x hex (default: the table's)\n"
    "  --state-dir DIR    where state.db is (default: " SHM_STATE_DIR ")\n"
    "  --table FILE       the section table (default: STATE-DIR/sections.db)\n"
    "  --sections-dir DIR apply its files NAME.sql to the table first; may be given several "
    "times,\n"
    "                     and a file hides one of the same name in a directory before its own\n"
    "  --runtime-dir DIR  where the socket and the leases are (default: " SHM_RUNTIME_DIR ")\n"
    "  --checkpoint-every SECONDS\n"
    "                     look for changed sections to save so often (default: 60; 0: never,\n"
    "                     but when stopping and for shmtool checkpoint)\n"
    "  --check            validate the table, print what it would change, and exit:\n"
    "                     0 it can be applied, 1 it can't\n"
    "  --json             print that as JSON\n"
    "  --help, --version\n"
    "\n"
    "It runs in the foreground, logs to stderr or the journal, and needs no privileges.  SIGTERM "
    "ends\n"
    "it and leaves the segment in place (shmtool destroy takes it away); SIGHUP applies the "
    "table.\n";

static int read_key(const char *text, uint32_t *key) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 0);
    if (errno != 0 || *end != '\0' || end == text || *text == '-' || value == 0 ||
        value > UINT32_MAX)
        return -EINVAL;
    *key = (uint32_t)value;
    return 0;
}

static int read_seconds(const char *text, unsigned *seconds) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || value > 86400)
        return -EINVAL;
    *seconds = (unsigned)value;
    return 0;
}

/* Copies a directory and makes it absolute, so that messages and status can be acted on. */
static int read_path(char ret[PATH_MAX], const char *text) {
    char cwd[PATH_MAX] = "";
    if (text[0] != '/' && getcwd(cwd, sizeof cwd) == NULL)
        return -errno;
    int n = snprintf(ret, PATH_MAX, "%s%s%s", cwd, text[0] == '/' ? "" : "/", text);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int join(char ret[PATH_MAX], const char *dir, const char *file) {
    return snprintf(ret, PATH_MAX, "%s/%s", dir, file) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int complain(const char *what, const char *value) {
    fprintf(stderr, "shm-manager: %s: %s (see shm-manager --help)\n", value, what);
    return -EINVAL;
}

int config_read(struct config *ret, int argc, char **argv) {
    static const struct option options[] = {
        {"key", required_argument, NULL, 'k'},
        {"state-dir", required_argument, NULL, 's'},
        {"table", required_argument, NULL, 't'},
        {"runtime-dir", required_argument, NULL, 'r'},
        {"check", no_argument, NULL, 'c'},
        {"checkpoint-every", required_argument, NULL, 'e'},
        {"json", no_argument, NULL, 'j'},
        {"sections-dir", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct config c = {
        .state_dir = SHM_STATE_DIR, .runtime_dir = SHM_RUNTIME_DIR, .checkpoint_s = 60};
    for (int o; (o = getopt_long(argc, argv, "hk:", options, NULL)) != -1;) {
        int r = 0;
        switch (o) {
        case 'k':
            c.key_given = true;
            if (read_key(optarg, &c.key) < 0)
                return complain("a key is a number from 1 to 0xffffffff", optarg);
            break;
        case 's':
            r = read_path(c.state_dir, optarg);
            break;
        case 't':
            r = read_path(c.table, optarg);
            break;
        case 'r':
            r = read_path(c.runtime_dir, optarg);
            break;
        case 'd':
            if (c.sections_dirs_n == CONFIG_SECTIONS_DIRS_MAX)
                return complain("there are too many directories before it", optarg);
            c.sections_dirs[c.sections_dirs_n++] = optarg;
            break;
        case 'c':
            c.check = true;
            break;
        case 'e':
            if (read_seconds(optarg, &c.checkpoint_s) < 0)
                return complain("it takes seconds, from 0 to 86400", optarg);
            break;
        case 'j':
            c.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 1;
        case 'v':
            puts("shm-manager " SHM_VERSION);
            return 1;
        default:
            return -EINVAL; /* getopt has said what */
        }
        if (r < 0)
            return complain(strerror(-r), optarg);
    }
    if (optind < argc)
        return complain("is not an option", argv[optind]);
    if (c.table[0] == '\0' && join(c.table, c.state_dir, "sections.db") < 0)
        return complain("the path is too long", c.state_dir);
    if (join(c.state, c.state_dir, "state.db") < 0)
        return complain("the path is too long", c.state_dir);
    *ret = c;
    return 0;
}
