/* SPDX-License-Identifier: Apache-2.0
 *
 * What shmtool's verbs share: the command line as it was understood, the exit codes, one way to
 * fail, one way to attach and to ask the manager, and plain or JSON output.
 */
#ifndef SHM_TOOLS_TOOL_H
#define SHM_TOOLS_TOOL_H

#include <jansson.h>
#include <shmclient.h>
#include <stdio.h>

/* The exit status, as the manual page states it. */
enum { TOOL_OK = 0, TOOL_NO = 1, TOOL_USAGE = 2, TOOL_ABSENT = 3 };

/* Of check, which monitoring systems understand. */
enum { CHECK_OK = 0, CHECK_WARNING = 1, CHECK_CRITICAL = 2, CHECK_UNKNOWN = 3 };

#define TOOL_MANAGER_MS 15000  /* longer than its keeper, or its watchdog, lets it wait */
#define TOOL_SAVING_MS  600000 /* but it may have gigabytes to write */

struct tool;

struct verb {
    const char *name;     /* "get", "table add" */
    const char *options;  /* the letters of options.c that it takes, beside the common ones */
    const char *operands; /* of the usage line */
    int least, most;      /* how many operands; most -1: any number */
    const char *summary;
    const char *help;
    int (*run)(const struct tool *tool);
};

struct tool {
    const struct verb *verb;
    uint32_t key; /* 0: the library's default */
    const char *runtime_dir, *state_dir, *table;
    const char *input, *output, *worker, *generation;
    const char *warning, *critical, *ignore; /* of check */
    int64_t type;                            /* of messages */
    bool except;
    bool json, hex, follow, diff, rates, reload, if_missing, yes, fix, force, help, version;
    bool every; /* given */
    double seconds;
    uint64_t count; /* 0: no limit */
    int timeout_ms; /* -1: for ever */
    bool timeout_given;
    bool several; /* sections match, and each value is headed by its name */
    bool waits;
    int wait_ms;
    int argc; /* operands */
    char **argv;
};

/* ---- main.c */
extern const struct verb verbs[];
extern const size_t verbs_n;

/* The nearest of `names` to what was typed, or NULL when none is near. */
const char *nearest(const char *typed, const char *const *names, size_t n);

/* ---- options.c */
#define OPTIONS_COMMON "kRSTjhV"

/* Reads options into `tool` and leaves the operands in it; `allowed` are the letters that may stand
 * here.  With `leading`, stops at the first operand.  TOOL_OK or TOOL_USAGE, with a message. */
int options_parse(struct tool *tool, const char *allowed, bool leading, int argc, char **argv);
void options_help(const char *letters);

/* "65536", "0x10000", "64K", "1M", "2G"; false: not a number. */
bool parse_bytes(const char *text, uint64_t *ret);

/* A message's type: "3", "-3". */
bool parse_type(const char *text, int64_t *ret);

/* ---- output.c */

/* Says what went wrong, as a line on stderr or with --json as an object on stdout; returns `code`.
 */
int fail(const struct tool *tool, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A remark on stderr; nothing with --json. */
void note(const struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the object, indented, and drops the reference. */
void print_json(json_t *object);
/* The same in one line, flushed, for streams. */
void print_json_line(json_t *object);

/* A string for certain: what is not UTF-8 in `text` becomes '?'. */
json_t *json_text(const char *text);

enum paint { PLAIN, BOLD, RED, GREEN, YELLOW };
const char *paint_on(enum paint paint); /* "" when stdout is no terminal */
const char *paint_off(void);

/* Rows of aligned columns.  A title that starts with '>' makes a column of numbers. */
struct grid {
    unsigned columns;
    size_t n;
    struct grid_cell *cells;
};
void grid_start(struct grid *ret, const char *const *titles, unsigned columns);
void grid_cell(struct grid *grid, enum paint paint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void grid_print(struct grid *grid); /* and frees */

#define TEXT_BYTES 48
const char *text_bytes(char text[TEXT_BYTES], uint64_t bytes); /* "64 MiB" */
const char *text_span(char text[TEXT_BYTES], uint64_t ns);     /* "12 s", "2 h 3 min" */
const char *text_ago(char text[TEXT_BYTES], uint64_t real_ns);

/* Well-formed UTF-8 that a terminal shows and does not obey. */
bool is_plain_text(const void *data, size_t bytes);
void print_hex(const void *data, size_t bytes);

/* To a terminal goes only what it shows; into a pipe the bytes as they are. */
void print_bytes(const struct tool *tool, const char *data, size_t bytes);

/* As text where it is plain text, else in base 64; and which of the two. */
json_t *json_bytes(const void *data, size_t bytes, const char **encoding);

#define PATH_BYTES 4096

/* ---- manager.c: attaching and asking */

/* As the library chooses them. */
uint32_t chosen_key(const struct tool *tool);
const char *chosen_runtime_dir(const struct tool *tool);

/* Is the socket of a keeper at `path`, which may hold a segment of memfds? */
bool keeper_there(const struct tool *tool, char path[PATH_BYTES]);

/* Attaches as `worker` (NULL: a reader).  TOOL_OK, or an exit code with the reason said. */
int attach(const struct tool *tool, const char *worker, uint32_t flags, int timeout_ms, shmc **ret);

/* A reader, in silence and at once: the negative errno of shmc_attach(). */
int attach_quietly(const struct tool *tool, shmc **ret, char *error, size_t error_bytes);

/* Asks the manager.  TOOL_OK and its reply, or an exit code with the reason said. */
int ask(const struct tool *tool, const char *request, json_t **reply);

/* The same, in silence: the negative errno of shmc_manager(). */
int ask_quietly(const struct tool *tool, const char *request, json_t **reply, char *error,
                size_t error_bytes);

/* What is left of --wait, when it began then: -1: no end.  wait_more() lets a moment of it pass;
 * false: there is none left. */
int wait_left(const struct tool *tool, uint64_t since_ns);
bool wait_more(const struct tool *tool, uint64_t since_ns);

/* By its status: does the manager's pid mean the same process here? */
bool shares_pids(const json_t *status);

/* What a reload changed, and the generation now in force. */
void print_reloaded(const json_t *reply);

/* What to do once the table was written: a manager applies it by itself, or when it is told to. */
const char *next_step(bool auto_apply);

/* ---- history_rows.c */
enum paint outcome_paint(const char *outcome); /* of an edit */

/* A history with what each edit changed in the table. */
void print_history_rows(const json_t *reply);

/* ---- of replies */

/* A field of an object's object (`group` NULL: of the object itself): never fails, as what comes
 * over a socket may lack it. */
const char *field_text(const json_t *object, const char *group, const char *name);
uint64_t field_number(const json_t *object, const char *group, const char *name);
bool field_true(const json_t *object, const char *group, const char *name);

/* ---- table.c: where the databases are */
int table_path(const struct tool *tool, char path[PATH_BYTES]);
int state_path(const struct tool *tool, char path[PATH_BYTES]);

struct sqlite3;
struct state_db;

/* Where no manager answers: opens its state.db, of which `what` is wanted ("its history"), when
 * this user may.  TOOL_OK, or an exit code with the reason said. */
int state_open(const struct tool *tool, const char *what, struct state_db **ret);

/* Opens the table after table_db_open() has looked at it; TOOL_OK, or an exit code with the reason
 * said. */
int table_open(const struct tool *tool, const char *path, bool write, struct sqlite3 **ret);

/* Says why SQLite refused; or that there is no such section. */
int table_failed(const struct tool *tool, struct sqlite3 *db, const char *path);
int table_no_section(const struct tool *tool, struct sqlite3 *db, const char *path,
                     const char *name);

/* Columns of `section` that people may set. */
enum column_type { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_BYTES, COLUMN_FLAG };
struct column {
    const char *name;
    enum column_type type;
    bool optional; /* "name=" makes it NULL */
};
extern const struct column table_columns[];
extern const size_t table_columns_n;

/* ---- sections.c */
struct listing {
    struct shmc_section_info *sections; /* the caller frees them */
    size_t n;
    uint64_t at_ns;
};

bool is_pattern(const char *name);

/* Is it one of the operands, which may be patterns?  Without operands everything is. */
bool wanted(const struct tool *tool, const char *name);

/* The sections that are wanted, as they are now. */
int listing_look(const struct tool *tool, shmc *segment, struct listing *ret);
void listing_print(const struct tool *tool, const struct listing *earlier,
                   const struct listing *now);

/* -ENOENT, with the name that was perhaps meant. */
int no_section(const struct tool *tool, shmc *segment, const char *name);

/* "web#*": the worker of those that shmtool was run as, else the first that is free, else the
 * first. */
int choose_worker(const struct tool *tool, const char *pattern, char name[SHMC_NAME_BYTES]);

/* A queue, and nothing else. */
int open_queue(const struct tool *tool, shmc *segment, const char *name, shmc_section **ret);

const char *kind_name(unsigned kind);
const char *alive_name(enum shmc_alive alive);
enum paint alive_paint(enum shmc_alive alive);
json_t *json_age(uint64_t age_ns);

/* ---- watch.c: a look again and again, tool->seconds apart, tool->count times or until the user
 * has had enough */
int watch_repeat(const struct tool *tool, int (*look_once)(const struct tool *, void *),
                 void *argument);

/* ---- the verbs */
int verb_status(const struct tool *tool);
int verb_list(const struct tool *tool);
int verb_workers(const struct tool *tool);
int verb_get(const struct tool *tool);
int verb_put(const struct tool *tool);
int verb_send(const struct tool *tool);
int verb_receive(const struct tool *tool);
int verb_peek(const struct tool *tool);
int verb_stat(const struct tool *tool);
int verb_slots(const struct tool *tool);
int verb_run(const struct tool *tool);
int verb_plan(const struct tool *tool);
int verb_history(const struct tool *tool);
int verb_reload(const struct tool *tool);
int verb_checkpoint(const struct tool *tool);
int verb_revoke(const struct tool *tool);
int verb_drop(const struct tool *tool);
int verb_destroy(const struct tool *tool);
int verb_table_add(const struct tool *tool);
int verb_table_set(const struct tool *tool);
int verb_table_rm(const struct tool *tool);
int verb_table_show(const struct tool *tool);
int verb_table_example(const struct tool *tool);
int verb_table_init(const struct tool *tool);
int verb_table_upgrade(const struct tool *tool);
int verb_table_dump(const struct tool *tool);
int verb_table_load(const struct tool *tool);
int verb_table_edit(const struct tool *tool);
int verb_table_include(const struct tool *tool);
int verb_table_import(const struct tool *tool);
int verb_table_revert(const struct tool *tool);
int verb_diff(const struct tool *tool);
int verb_rollback(const struct tool *tool);
int verb_check(const struct tool *tool);
int verb_doctor(const struct tool *tool);
int verb_watch(const struct tool *tool);
int verb_help(const struct tool *tool);

#endif
