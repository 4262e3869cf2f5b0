/* SPDX-License-Identifier: Apache-2.0
 *
 * The options, all in one table; a verb names by letter those that it takes.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const struct row {
    char letter;
    const char *name;
    const char *argument; /* NULL: none; in brackets: may be left out */
    const char *help;
} rows[] = {
    {'k', "key", "KEY", "the segment's key, decimal or 0x... ($SHMC_KEY, else 0x53484d31)"},
    {'R', "runtime-dir", "DIR",
     "where the manager's socket is ($SHMC_RUNTIME_DIR, else " //
     SHM_RUNTIME_DIR ")"},
    {'S', "state-dir", "DIR", "where the databases are ($SHM_STATE_DIR, else as the manager says)"},
    {'T', "table", "FILE", "the section table itself"},
    {'j', "json", NULL, "print JSON"},
    {'h', "help", NULL, "this text"},
    {'V', "version", NULL, "print the version"},
    {'o', "output", "FILE", "write the value to FILE, whole or not at all"},
    {'x', "hex", NULL, "print the value as a hex dump"},
    {'f', "follow", NULL, "go on with each new value"},
    {'n', "count", "N", "stop after N values"},
    {'t', "timeout", "MS", "wait so long for a value (-1: for ever)"},
    {'q', "type", "N", "the first of type N; of the lowest up to -N, where N < 0; 0: of all"},
    {'E', "except", NULL, "the first of any type but that one"},
    {'i', "input", "FILE", "take the value from FILE instead of stdin"},
    {'w', "wait", "[MS]",
     "wait, so long or for ever: for the worker's holder to leave, for a manager to serve, for an "
     "edit to be decided, for a message, for room"},
    {'W', "worker", "NAME", "the worker to be"},
    {'r', "rates", "[SECONDS]", "measure values per second, for 1 or so many seconds"},
    {'l', "reload", NULL, "then have the manager apply the table, and report the outcome"},
    {'m', "if-missing", NULL, "leave a table that is there as it is"},
    {'y', "yes", NULL, "do not ask"},
    {'e', "every", "SECONDS", "the time between two looks (1)"},
    {'O', "force", NULL, "also what takes a section away from the worker that holds it"},
    {'G', "generation", "WHEN", "the table that ran then: a generation, or edit:N of the history"},
    {'d', "diff", NULL, "with the rows of the table that each edit changed"},
    {'F', "fix", NULL, "mend what can be mended without harm"},
    {'a', "warning", "WHAT,...", "what is a warning (table, dead)"},
    {'c', "critical", "WHAT,...", "what is critical (manager, stale)"},
    {'g', "ignore", "WHAT,...", "what is neither (empty, edited)"},
};
#define ROWS (sizeof rows / sizeof *rows)

static bool parse_u64(const char *text, uint64_t *ret) {
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 0);
    return errno == 0 && *end == '\0';
}

static bool parse_ms(const char *text, int *ret) {
    uint64_t ms;
    if (strcmp(text, "-1") == 0) {
        *ret = -1;
        return true;
    }
    if (!parse_u64(text, &ms) || ms > INT_MAX)
        return false;
    *ret = (int)ms;
    return true;
}

static bool parse_seconds(const char *text, double *ret) {
    char *end;
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && *ret >= 0.01 && *ret <= 86400;
}

static bool parse_key(const char *text, uint32_t *ret) {
    uint64_t key;
    if (!parse_u64(text, &key) || key == 0 || key > UINT32_MAX)
        return false;
    *ret = (uint32_t)key;
    return true;
}

bool parse_bytes(const char *text, uint64_t *ret) {
    static const char units[] = "KMGT";
    size_t n = strlen(text);
    char digits[24];
    unsigned shift = 0;
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, text, n + 1);
    const char *unit = strchr(units, digits[n - 1] & ~0x20);
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        digits[n - 1] = '\0';
    }
    uint64_t value;
    if (!parse_u64(digits, &value) || value > (UINT64_MAX >> shift))
        return false;
    *ret = value << shift;
    return true;
}

bool parse_type(const char *text, int64_t *ret) {
    uint64_t number;
    const bool below = *text == '-';
    if (!parse_u64(text + below, &number) || number > INT64_MAX)
        return false;
    *ret = below ? -(int64_t)number : (int64_t)number;
    return true;
}

static bool set_number(struct tool *tool, char letter, const char *text) {
    switch (letter) {
    case 'k':
        return parse_key(text, &tool->key);
    case 'n':
        return parse_u64(text, &tool->count) && tool->count > 0;
    case 'q':
        return parse_type(text, &tool->type);
    case 't':
        tool->timeout_given = true;
        return parse_ms(text, &tool->timeout_ms);
    case 'w':
        return parse_ms(text, &tool->wait_ms);
    case 'e':
        tool->every = true;
        return parse_seconds(text, &tool->seconds);
    case 'r':
        return parse_seconds(text, &tool->seconds);
    default:
        return false;
    }
}

static bool set_option(struct tool *tool, char letter, const char *text) {
    switch (letter) {
    case 'R':
        tool->runtime_dir = text;
        return true;
    case 'S':
        tool->state_dir = text;
        return true;
    case 'T':
        tool->table = text;
        return true;
    case 'o':
        tool->output = text;
        return true;
    case 'i':
        tool->input = text;
        return true;
    case 'W':
        tool->worker = text;
        return true;
    case 'G':
        tool->generation = text;
        return true;
    case 'a':
        tool->warning = text;
        return true;
    case 'c':
        tool->critical = text;
        return true;
    case 'g':
        tool->ignore = text;
        return true;
    default:
        return set_number(tool, letter, text);
    }
}

static bool *flag_of(struct tool *tool, char letter) {
    switch (letter) {
    case 'j':
        return &tool->json;
    case 'h':
        return &tool->help;
    case 'V':
        return &tool->version;
    case 'x':
        return &tool->hex;
    case 'f':
        return &tool->follow;
    case 'd':
        return &tool->diff;
    case 'r':
        return &tool->rates;
    case 'l':
        return &tool->reload;
    case 'w':
        return &tool->waits;
    case 'F':
        return &tool->fix;
    case 'O':
        return &tool->force;
    case 'E':
        return &tool->except;
    case 'm':
        return &tool->if_missing;
    default:
        return &tool->yes;
    }
}

static const struct row *row_of(int letter) {
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].letter == letter)
            return &rows[i];
    return NULL;
}

static void build(struct option *options, char *letters, bool leading) {
    if (leading)
        *letters++ = '+';
    *letters++ = ':';
    for (size_t i = 0; i < ROWS; i++) {
        const char *argument = rows[i].argument;
        int has = !argument          ? no_argument
                  : *argument == '[' ? optional_argument
                                     : required_argument;
        options[i] = (struct option){rows[i].name, has, NULL, rows[i].letter};
        *letters++ = rows[i].letter;
        for (int colons = has; colons > 0; colons--)
            *letters++ = ':';
    }
    options[ROWS] = (struct option){0};
    *letters = '\0';
}

/* "--rates 2": getopt takes an optional argument only when it is glued on, but what starts with a
 * digit can be no section's name. */
static const char *loose_argument(char letter, int argc, char **argv) {
    double seconds;
    int ms;
    if (optind >= argc ||
        !(letter == 'w' ? parse_ms(argv[optind], &ms) : parse_seconds(argv[optind], &seconds)))
        return NULL;
    return argv[optind++];
}

static int take(struct tool *tool, const struct row *row, int argc, char **argv) {
    const char *argument = optarg;
    if (!row->argument || *row->argument == '[')
        *flag_of(tool, row->letter) = true;
    if (row->argument && *row->argument == '[' && !argument)
        argument = loose_argument(row->letter, argc, argv);
    if (row->letter == 'w' && !argument)
        tool->wait_ms = -1;
    if (argument && !set_option(tool, row->letter, argument))
        return fail(tool, TOOL_USAGE, "--%s: '%s' won't do; it takes %s: %s", row->name, argument,
                    row->argument, row->help);
    return TOOL_OK;
}

static int refuse(const struct tool *tool, int letter, char **argv) {
    const struct row *row = row_of(optopt);
    if (letter == ':' && row)
        return fail(tool, TOOL_USAGE, "--%s needs its %s: %s", row->name, row->argument, row->help);
    return fail(tool, TOOL_USAGE, "unknown option '%s'; see: shmtool %s%s--help", argv[optind - 1],
                tool->verb ? tool->verb->name : "", tool->verb ? " " : "");
}

static int misplaced(const struct tool *tool, const struct row *row) {
    if (!tool->verb)
        return fail(tool, TOOL_USAGE, "--%s goes behind the verb that takes it", row->name);
    return fail(tool, TOOL_USAGE, "--%s is no option of this verb; see: shmtool %s --help",
                row->name, tool->verb->name);
}

int options_parse(struct tool *tool, const char *allowed, bool leading, int argc, char **argv) {
    struct option options[ROWS + 1];
    char letters[3 * ROWS + 3];
    build(options, letters, leading);
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int letter = getopt_long(argc, argv, letters, options, NULL);
        if (letter == -1)
            break;
        const struct row *row = row_of(letter);
        if (!row)
            return refuse(tool, letter, argv);
        if (!strchr(allowed, letter))
            return misplaced(tool, row);
        int r = take(tool, row, argc, argv);
        if (r != TOOL_OK)
            return r;
    }
    tool->argc = argc - optind;
    tool->argv = argv + optind;
    return TOOL_OK;
}

void options_help(const char *letters) {
    for (size_t i = 0; i < ROWS; i++) {
        char left[48];
        if (!strchr(letters, rows[i].letter))
            continue;
        const char *argument = rows[i].argument ? rows[i].argument : "";
        snprintf(left, sizeof left, "-%c, --%s %s", rows[i].letter, rows[i].name, argument);
        printf("  %-26s %s\n", left, rows[i].help);
    }
}
