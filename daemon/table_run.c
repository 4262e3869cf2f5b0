/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite asks for each thing that a statement would do, while it compiles it: what isn't named here
 * is refused.  How long a statement may work is limited too, as one line of SQL can go on for ever.
 */
#include "table_run.h"
#include "table_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FAIL(result, ...) (snprintf(error, error_bytes, __VA_ARGS__), (result))

/* A statement's steps in SQLite's machine, of which one that fills the largest table takes a sixth
 * and one that never ends some seconds. */
#define STEPS_AT_ONCE 1000000
#define STEPS_MAX     200

/* ---- reading it */

int table_run_read(FILE *from, const char *name, char **ret, char *error, size_t error_bytes) {
    char *text = NULL;
    size_t room = 0, n = 0, got;
    do {
        if (room - n < 2) {
            room = room > 0 ? 2 * room : 65536;
            char *more = room <= 2 * TABLE_RUN_MAX ? realloc(text, room) : NULL;
            if (more == NULL) {
                free(text);
                return FAIL(-EFBIG, "%s can't be read, or is larger than %u MiB", name,
                            TABLE_RUN_MAX >> 20);
            }
            text = more;
        }
        errno = 0;
        got = fread(text + n, 1, room - n - 1, from);
        n += got;
    } while (got > 0);
    int r = 0;
    if (ferror(from))
        r = FAIL(errno != 0 ? -errno : -EIO, "%s can't be read: %s", name, strerror(errno));
    else if (n > TABLE_RUN_MAX)
        r = FAIL(-EFBIG, "%s is larger than %u MiB", name, TABLE_RUN_MAX >> 20);
    else if (memchr(text, '\0', n) != NULL)
        r = FAIL(-EILSEQ, "%s has a zero byte: it is no SQL text", name);
    if (r < 0) {
        free(text);
        return r;
    }
    text[n] = '\0';
    *ret = text;
    return 0;
}

/* ---- what it may do */

struct guard {
    bool controls; /* BEGIN or COMMIT: all of it is one transaction anyway */
    bool refused;
    char what[80]; /* the table or the function; "": the statement itself */
    unsigned steps;
};

static int refuse(struct guard *guard, const char *what, const char *behind) {
    if (!guard->refused)
        snprintf(guard->what, sizeof guard->what, "%.64s%s", what, behind);
    guard->refused = true;
    return SQLITE_DENY;
}

/* What changes the schema begins with its rows. */
static int rows_of(struct guard *guard, bool reads, const char *table, const char *column) {
    static const char *const ours[] = {"section", "worker", "segment"};
    static const char *const schema[] = {"sqlite_master", "sqlite_temp_master"};
    if (reads && *column == '\0') /* only how many there are, also of a WITH */
        return SQLITE_OK;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(table, ours[i]) == 0)
            return SQLITE_OK;
    for (size_t i = 0; i < sizeof schema / sizeof *schema; i++)
        if (strcasecmp(table, schema[i]) == 0 && !reads)
            return refuse(guard, "", "");
    return refuse(guard, table, "");
}

static int only_rows(void *context, int action, const char *a, const char *b, const char *c,
                     const char *d) {
    struct guard *guard = context;
    (void)c, (void)d;
    switch (action) {
    case SQLITE_TRANSACTION:
        guard->controls = true;
        return strcmp(a, "ROLLBACK") == 0 ? refuse(guard, "", "") : SQLITE_OK;
    case SQLITE_INSERT:
    case SQLITE_DELETE:
    case SQLITE_UPDATE:
        return rows_of(guard, false, a, "");
    case SQLITE_READ:
        return rows_of(guard, true, a, b);
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return b != NULL && strcasecmp(b, "load_extension") == 0 ? refuse(guard, b, "()")
                                                                 : SQLITE_OK;
    default:
        return refuse(guard, "", "");
    }
}

static int too_long(void *context) {
    struct guard *guard = context;
    return ++guard->steps > STEPS_MAX;
}

/* ---- running it */

static unsigned line_at(const char *text, const char *at) {
    unsigned line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* The statement begins behind its comments, and what is left of those before it. */
static const char *skip_comments(const char *at) {
    for (;;) {
        at += strspn(at, "; \t\r\n");
        const char *end = strncmp(at, "/*", 2) == 0 ? strstr(at + 2, "*/") : NULL;
        if (end != NULL)
            at = end + 2;
        else if (strncmp(at, "--", 2) == 0)
            at += strcspn(at, "\n");
        else
            return at;
    }
}

/* What is refused in a statement: a table or a function that it names, or what it begins with. */
static const char *culprit(struct guard *guard, const char *statement) {
    static const char *const words[] = {"SELECT", "INSERT", "UPDATE",  "DELETE",
                                        "WITH",   "VALUES", "REPLACE", "EXPLAIN"};
    const size_t n = strspn(statement, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    if (guard->what[0] != '\0')
        return guard->what;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == n && strncasecmp(statement, words[i], n) == 0)
            return "a function that is a table";
    snprintf(guard->what, sizeof guard->what, "%.*s", (int)(n < 16 ? n : 16), statement);
    return guard->what;
}

static int failed(sqlite3 *db, struct guard *guard, const char *name, const char *text,
                  const char *at, char *error, size_t error_bytes) {
    static const char check[] = "CHECK constraint failed: ";
    const char *why = sqlite3_errmsg(db);
    const int code = sqlite3_extended_errcode(db);
    at = skip_comments(at);
    const unsigned line = line_at(text, at);
    if (guard->refused)
        snprintf(error, error_bytes,
                 "%s, line %u: only INSERT, UPDATE and DELETE of rows in segment, worker and "
                 "section may stand here, not %s; shmtool table dump makes such a text",
                 name, line, culprit(guard, at));
    else if (code == SQLITE_INTERRUPT)
        snprintf(error, error_bytes, "%s, line %u: the statement comes to no end", name, line);
    else
        snprintf(error, error_bytes, "%s, line %u: %s", name, line,
                 strncmp(why, check, sizeof check - 1) == 0 ? why + sizeof check - 1 : why);
    table_one_line(error);
    return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ? -EEXIST
                                                                                    : -EINVAL;
}

static int run(sqlite3 *db, struct guard *guard, const char *name, const char *text, char *error,
               size_t error_bytes) {
    const char *next;
    for (const char *at = text; *at != '\0'; at = next) {
        sqlite3_stmt *statement = NULL;
        *guard = (struct guard){0};
        int r = sqlite3_prepare_v2(db, at, -1, &statement, &next);
        while (r == SQLITE_OK && statement != NULL && !guard->controls &&
               (r = sqlite3_step(statement)) == SQLITE_ROW)
            r = SQLITE_OK;
        r = r == SQLITE_OK || r == SQLITE_DONE
                ? 0
                : failed(db, guard, name, text, at, error, error_bytes);
        sqlite3_finalize(statement);
        if (r < 0)
            return r;
    }
    return 0;
}

int table_run(sqlite3 *db, const char *name, const char *text, char *error, size_t error_bytes) {
    struct guard guard = {0};
    sqlite3_set_authorizer(db, only_rows, &guard);
    sqlite3_progress_handler(db, STEPS_AT_ONCE, too_long, &guard);
    int r = run(db, &guard, name, text, error, error_bytes);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_set_authorizer(db, NULL, NULL);
    return r;
}
