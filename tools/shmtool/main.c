/* SPDX-License-Identifier: Apache-2.0
 *
 * shmtool: looks into a segment, and asks its manager.  It uses the public API and the databases,
 * as any user's program could.
 */
#include "tool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_DISTANCE 2
#define NAMES_MAX     64

const struct verb verbs[] = {
    {"status", "w", "", 0, 0, "the manager, the segment and the table in force",
     "Without a manager it says what the segment itself tells.  With --wait it waits for one.\n",
     verb_status},
    {"list", "r", "[GLOB...]", 0, -1, "the sections, with version, age and writer",
     "A section's writer is alive, gone, or unknown while no manager runs.\n", verb_list},
    {"get", "oxfnt", "NAME", 1, 1, "print a section's value, or those of several",
     "NAME may be a pattern; each of several values is then headed by its section's name.\n"
     "With --follow goes on with each new value, in order, and says how many it missed; with\n"
     "--output as well, FILE has the newest value, always whole.\n",
     verb_get},
    {"put", "iw", "NAME", 1, 1, "write a section's value, as its owner",
     "Takes the owner's lease for that moment, or says who holds it.  Under shmtool run, as the\n"
     "owner, that lease is used.\n",
     verb_put},
    {"send", "iwW", "NAME [TYPE] [DATA|-]", 1, 3, "send a message to a queue",
     "TYPE is a number > 0 (1).  DATA is the message, else standard input, or FILE.\n"
     "A queue that is full is waited for with --wait.\n",
     verb_send},
    {"receive", "qEwnfxW", "NAME", 1, 1, "take a message out of a queue, as its owner",
     "Or N of them, or with --follow each that comes.  One is gone from the queue when it has\n"
     "been written out.  With --wait it waits for one, that long or for ever.\n",
     verb_receive},
    {"peek", "nx", "NAME", 1, 1, "the messages that wait in a queue; none is taken",
     "In the order in which they would be received, or the first N of them.\n", verb_peek},
    {"stat", "", "NAME", 1, 1, "a queue's counters, in all and of each lane",
     "A lane is free, held by a sender, full (and its sender waits), or bad: its memory holds\n"
     "nonsense, and receivers skip it.\n",
     verb_stat},
    {"slots", "enx", "NAME [SLOT]", 1, 2, "who holds which slot, or one slot's value",
     "A slot is held, offered to another process, free, or stays in use without a holder.\n"
     "With --every again and again, as watch does.\n",
     verb_slots},
    {"run", "Ww", "--worker NAME [--wait [MS]] -- COMMAND...", 1, -1,
     "take a worker's lease and execute a command with it",
     "NAME may be a pattern: of several that match ('web#*') it is the first that is free.\n"
     "The lease lasts until the command, and whatever child inherited its descriptor, has ended.\n",
     verb_run},
    {"workers", "", "[GLOB...]", 0, -1, "the workers: who holds them, how they last ended", "",
     verb_workers},
    {"watch", "en", "[GLOB...]", 0, -1, "the sections, again and again",
     "On a terminal q or Ctrl-C ends it; --count N ends it after N looks.\n", verb_watch},
    {"check", "acg", "[GLOB...]", 0, -1, "one line for monitoring, and its exit status",
     "Prints one line with performance data.  Exit status: 0 fine, 1 warning, 2 critical, 3\n"
     "unknown.  WHAT is of: manager (none answers), table (rejected), edited (not applied yet),\n"
     "stale, dead (its writer is gone), empty (nothing published yet).\n",
     verb_check},
    {"doctor", "F", "", 0, 0, "what is wrong on this host, and how to mend it",
     "With --fix mends what can be mended without harm to what runs.\n", verb_doctor},
    {"diff", "", "[GENERATION [GENERATION]]", 0, 2, "how the table differs from what runs, or ran",
     "With one GENERATION: from the table that ran then; with two: how the second one's differs\n"
     "from the first's.  edit:N is an edit of the history.  Exit status 1 when they differ.\n",
     verb_diff},
    {"plan", "O", "", 0, 0, "what a reload would change", "", verb_plan},
    {"reload", "O", "", 0, 0, "apply the table now, whole or not at all",
     "With segment.auto_apply (the default) the manager does so by itself after each edit.  What\n"
     "would take something away from a worker that holds it (another owner or kind, removal, less\n"
     "room) is refused, or pending until that worker is gone, but with --force.\n",
     verb_reload},
    {"checkpoint", "", "[GLOB]", 0, 1, "save the sections marked persist now",
     "Those that changed since they were last saved.  It waits until they are safely written.\n",
     verb_checkpoint},
    {"revoke", "", "WORKER|NUMBER", 1, 1, "take a worker's lease back, though its process lives",
     "Its sections move to fresh memory with their newest values, so that what the process still\n"
     "maps reaches nobody.  With the backend sysv they move to another place, and the one before\n"
     "stays unused until that process is gone.\n",
     verb_revoke},
    {"drop", "O", "NAME", 1, 1, "remove a section that a worker made at run time",
     "One that its worker holds is refused, but with --force.  (Sections of the table: table "
     "rm.)\n",
     verb_drop},
    {"history", "wd", "[N]", 0, 1, "the last N (20) edits and their outcome",
     "Without a manager its state.db is read.  With --wait it waits until the last edit is\n"
     "decided; the exit status is 1 when that was rejected, or in that time (for example as it\n"
     "is pending) not decided.\n",
     verb_history},
    {"rollback", "yO", "GENERATION", 1, 1, "put the table back as it was then, and apply it",
     "Shows what changes and what the manager would do, and asks, before anything is written.\n"
     "Rows get their ids back, so that data follows them; a section that was removed since comes\n"
     "back empty.  edit:N is an edit of the history.\n",
     verb_rollback},
    {"destroy", "y", "", 0, 0, "remove the segment and stop the manager",
     "Asks first, when there is a terminal to ask on.\n", verb_destroy},
    {"table show", "", "[NAME]", 0, 1, "print the section table, or rows of it",
     "NAME may be a pattern.\n", verb_table_show},
    {"table add", "l", "NAME OWNER SIZE [COLUMN=VALUE...]", 3, -1, "add a section",
     "Columns: kind (snapshot, raw, slots, queue) count offset persist shared stale_ms format\n"
     "stamp notify pregrab clear read_group write_group.  Sizes may end in K, M, G or T.\n",
     verb_table_add},
    {"table set", "l", "NAME COLUMN=VALUE...", 2, -1, "change columns of sections",
     "NAME may be a pattern: all of those are changed, or none.\n"
     "Columns: name owner kind size count offset persist shared stale_ms format stamp notify\n"
     "pregrab clear read_group write_group.  Sizes may end in K, M, G or T; COLUMN= takes a value "
     "away.\n",
     verb_table_set},
    {"table rm", "l", "NAME", 1, 1, "remove a section, or those of a pattern", "", verb_table_rm},
    {"table dump", "G", "", 0, 0, "print the table as SQL, the same text for the same table",
     "For git; shmtool table load takes it.\n", verb_table_dump},
    {"table load", "l", "[FILE]", 0, 1, "put the rows that FILE or stdin inserts in place of all",
     "One transaction.  Data stays with a section's name.\n", verb_table_load},
    {"table edit", "ly", "", 0, 0, "edit the table as SQL in $EDITOR",
     "Shows what changes and what the manager would do, and asks, before anything is written.\n",
     verb_table_edit},
    {"table include", "l", "[DIRECTORY...]", 0, -1, "apply the files NAME.sql of sections.d",
     "As the service does at each start, in the order of their names, each whole or not at all; a\n"
     "file hides one of the same name in a directory before its own.  Directories, unless they "
     "are\n"
     "given: " SHM_VENDOR_SECTIONS " and\n" SHM_LOCAL_SECTIONS ".\n",
     verb_table_include},
    {"table import", "l", "DATABASE", 1, 1, "put the rows of another sections.db in place of all",
     "It is checked first.  Data stays with a section's name.\n", verb_table_import},
    {"table revert", "l", "", 0, 0, "go back to the table that runs",
     "That is the last one that was applied; the rows in the file are given up.\n",
     verb_table_revert},
    {"table init", "m", "", 0, 0, "make an empty table where there is none", "", verb_table_init},
    {"table upgrade", "", "", 0, 0, "give a table that an earlier version made all columns",
     "Rows and ids stay.  Such a table is read as it is, the columns that it lacks as by "
     "default.\n",
     verb_table_upgrade},
    {"table example", "", "", 0, 0, "print an example as SQL, with comments",
     "Try it: shmtool table example | sqlite3 FILE\n", verb_table_example},
    {"help", "", "[VERB]", 0, 2, "this text, or a verb's", "", verb_help},
};
const size_t verbs_n = sizeof verbs / sizeof *verbs;

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Levenshtein's, on names of sensible length; swapped neighbours count two. */
static unsigned distance(const char *a, const char *b) {
    unsigned row[SHMC_NAME_BYTES + 1];
    size_t n = strlen(b);
    if (n > SHMC_NAME_BYTES || strlen(a) > SHMC_NAME_BYTES)
        return UINT32_MAX;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; *a; i++, a++) {
        unsigned corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned above = row[j];
            row[j] = least(least(above, row[j - 1]) + 1, corner + (*a != b[j - 1]));
            corner = above;
        }
    }
    return row[n];
}

const char *nearest(const char *typed, const char *const *names, size_t n) {
    const char *near = NULL;
    unsigned best = NEAR_DISTANCE + 1;
    for (size_t i = 0; i < n; i++) {
        bool begins = strlen(typed) >= 2 && strncmp(typed, names[i], strlen(typed)) == 0;
        unsigned far = begins ? 0 : distance(typed, names[i]);
        if (far < best && far < strlen(typed)) {
            best = far;
            near = names[i];
        }
    }
    return near;
}

static void print_usage(void) {
    puts("usage: shmtool VERB [OPTION...] [OPERAND...]\n");
    for (size_t i = 0; i < verbs_n; i++)
        printf("  %-14s %s\n", verbs[i].name, verbs[i].summary);
    puts("\noptions of every verb:");
    options_help(OPTIONS_COMMON);
    puts("\nExit status: 0 yes, 1 the answer is no, 2 usage, 3 no manager or no segment.");
}

static void print_version(void) {
    printf("shmtool %s (libshmclient %s)\n", SHM_VERSION, shmc_version());
}

static void print_verb(const struct verb *verb) {
    printf("usage: shmtool %s %s\n%s.\n", verb->name, verb->operands, verb->summary);
    if (*verb->help)
        printf("\n%s", verb->help);
    puts("\noptions:");
    if (*verb->options)
        options_help(verb->options);
    options_help(OPTIONS_COMMON);
}

static const struct verb *find(const char *name) {
    for (size_t i = 0; i < verbs_n; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int unknown_verb(const struct tool *tool, const char *name) {
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (; n < verbs_n; n++)
        names[n] = verbs[n].name;
    bool table = strncmp(name, "table", 5) == 0 && (name[5] == '\0' || name[5] == ' ');
    if (!table)
        names[n++] = "table";
    const char *near = strcmp(name, "table") == 0 ? NULL : nearest(name, names, n);
    if (near)
        return fail(tool, TOOL_USAGE, "unknown verb '%s'; did you mean '%s'?", name, near);
    if (table)
        return fail(
            tool, TOOL_USAGE,
            "table takes one of: show, add, set, rm, dump, load, edit, include, import, revert, "
            "init, example");
    return fail(tool, TOOL_USAGE, "unknown verb '%s'; shmtool --help lists them", name);
}

int verb_help(const struct tool *tool) {
    char name[64] = "";
    if (tool->argc == 0) {
        print_usage();
        return TOOL_OK;
    }
    snprintf(name, sizeof name, tool->argc > 1 ? "%s %s" : "%s", tool->argv[0],
             tool->argc > 1 ? tool->argv[1] : "");
    const struct verb *verb = find(name);
    if (!verb)
        return unknown_verb(tool, name);
    print_verb(verb);
    return TOOL_OK;
}

/* Takes options and the verb's one or two words off the front; the rest is the verb's. */
static int find_verb(struct tool *tool, int argc, char **argv) {
    char name[64];
    int code = options_parse(tool, OPTIONS_COMMON, true, argc, argv);
    if (code != TOOL_OK || tool->argc == 0)
        return code;
    snprintf(name, sizeof name, "%s", tool->argv[0]);
    if (strcmp(name, "table") == 0 && tool->argc > 1) {
        code = options_parse(tool, OPTIONS_COMMON, true, tool->argc, tool->argv);
        if (code != TOOL_OK || tool->argc == 0)
            return code;
        snprintf(name, sizeof name, "table %s", tool->argv[0]);
    }
    tool->verb = find(name);
    return tool->verb || tool->help ? TOOL_OK : unknown_verb(tool, name);
}

/* The verb's own options and operands. */
static int read_operands(struct tool *tool) {
    const struct verb *verb = tool->verb;
    char letters[64];
    snprintf(letters, sizeof letters, "%s%s", OPTIONS_COMMON, verb->options);
    int code = options_parse(tool, letters, verb->run == verb_run, tool->argc, tool->argv);
    if (code != TOOL_OK || tool->help || tool->version)
        return code;
    if (tool->argc < verb->least || (verb->most >= 0 && tool->argc > verb->most))
        return fail(tool, TOOL_USAGE, "%s operands; usage: shmtool %s %s",
                    tool->argc < verb->least ? "too few" : "too many", verb->name, verb->operands);
    return TOOL_OK;
}

static int run_verb(struct tool *tool) {
    int code = read_operands(tool);
    if (code == TOOL_USAGE && tool->verb->run == verb_check)
        return CHECK_UNKNOWN; /* to a monitoring system 2 means critical */
    if (code != TOOL_OK)
        return code;
    if (!tool->help && !tool->version)
        return tool->verb->run(tool);
    tool->version ? print_version() : print_verb(tool->verb);
    return TOOL_OK;
}

static void on_file_size(int signal) {
    (void)signal;
}

int main(int argc, char **argv) {
    struct tool tool = {.seconds = 1};
    /* A write beyond RLIMIT_FSIZE is an error to be told.  A handler, since a command that is
     * executed would keep SIG_IGN. */
    sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = on_file_size, .sa_flags = SA_RESTART},
              NULL);
    int code = find_verb(&tool, argc, argv);
    if (code != TOOL_OK)
        return code;
    if (tool.verb)
        return run_verb(&tool);
    tool.version ? print_version() : print_usage();
    return tool.version || tool.help ? TOOL_OK : TOOL_USAGE;
}
