/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of sections.db.  Constraints can be switched off and records can be damaged, so that a
 * column may hold anything: its type, length and range are looked at here.
 */
#include "table_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTIONS_MAX 100000u
#define WORKERS_MAX  16384u

/* One row being read; what is wrong with it ends in `error`. */
struct row {
    sqlite3_stmt *s;
    const char *table;
    int name; /* the column that tells one from another; -1: there is but one */
    char *error;
    size_t error_bytes;
};

/* "section 'cam'", before its name is known to be fit for a terminal.  (To ask for something else
 * as a text would make it one.) */
static void put_label(const struct row *row, char label[96]) {
    const unsigned char *text = NULL;
    int n = snprintf(label, 96, "%s", row->table);
    if (row->name < 0)
        return;
    if (sqlite3_column_type(row->s, row->name) == SQLITE_TEXT)
        text = sqlite3_column_text(row->s, row->name);
    n += snprintf(label + n, 96 - (size_t)n, " '");
    for (size_t i = 0; text != NULL && text[i] != '\0' && i < SHM_NAME_BYTES; i++)
        label[n++] = (char)(text[i] < ' ' || text[i] > '~' ? '?' : text[i]);
    label[n++] = '\'';
    label[n] = '\0';
}

/* Of which row the remedy is: without, it would be of all.  By its name, if that can be copied into
 * a statement; a section has an id besides. */
static void put_where(const struct row *row, int column, char where[96]) {
    where[0] = '\0';
    if (row->name < 0)
        return;
    const char *name = sqlite3_column_type(row->s, row->name) == SQLITE_TEXT
                           ? (const char *)sqlite3_column_text(row->s, row->name)
                           : NULL;
    if (column != row->name && name != NULL && table_name_ok(name, false) &&
        strlen(name) == (size_t)sqlite3_column_bytes(row->s, row->name))
        snprintf(where, 96, " WHERE name = '%s'", name);
    else if (row->name > 0)
        snprintf(where, 96, " WHERE id = %lld", (long long)sqlite3_column_int64(row->s, 0));
}

static int wrong_type(const struct row *row, int column, const char *should) {
    char label[96], where[96];
    const char *name = sqlite3_column_name(row->s, column);
    put_label(row, label);
    put_where(row, column, where);
    if (strcmp(name, "id") == 0)
        snprintf(row->error, row->error_bytes,
                 "%s: id must be %s (DELETE FROM %s%s, and INSERT it without an id)", label, should,
                 row->table, where);
    else
        snprintf(row->error, row->error_bytes, "%s: %s must be %s (UPDATE %s SET %s = ...%s)",
                 label, name, should, row->table, name, where);
    return -EINVAL;
}

/* A text of at most 63 bytes without a NUL in it; NULL is "". */
static int read_text(const struct row *row, int column, char ret[SHM_NAME_BYTES]) {
    int type = sqlite3_column_type(row->s, column);
    ret[0] = '\0';
    if (type == SQLITE_NULL)
        return 0;
    const char *text =
        type == SQLITE_TEXT ? (const char *)sqlite3_column_text(row->s, column) : NULL;
    size_t bytes = (size_t)sqlite3_column_bytes(row->s, column);
    if (text == NULL || bytes >= SHM_NAME_BYTES || strlen(text) != bytes)
        return wrong_type(row, column, "a text of at most 63 bytes");
    memcpy(ret, text, bytes + 1);
    return 0;
}

static int read_number(const struct row *row, int column, uint64_t least, uint64_t most,
                       uint64_t *ret) {
    int64_t value = sqlite3_column_int64(row->s, column);
    if (sqlite3_column_type(row->s, column) == SQLITE_INTEGER && value >= 0 &&
        (uint64_t)value >= least && (uint64_t)value <= most) {
        *ret = (uint64_t)value;
        return 0;
    }
    char should[80];
    snprintf(should, sizeof should, "a number from %llu to %llu", (unsigned long long)least,
             (unsigned long long)most);
    return wrong_type(row, column, should);
}

static int read_count(const struct row *row, int column, uint32_t otherwise, uint32_t *ret) {
    uint64_t value = otherwise;
    if (sqlite3_column_type(row->s, column) != SQLITE_NULL) {
        int r = read_number(row, column, 0, UINT32_MAX, &value);
        if (r < 0)
            return r;
    }
    *ret = (uint32_t)value;
    return 0;
}

static int read_flag(const struct row *row, int column, bool *ret) {
    uint64_t value = 0;
    int r = read_number(row, column, 0, 1, &value);
    *ret = value == 1;
    return r;
}

static int read_word(const struct row *row, int column, enum table_words words, unsigned *ret) {
    char text[SHM_NAME_BYTES];
    int r = read_text(row, column, text);
    if (r < 0)
        return r;
    int value = table_value(words, text);
    if (value < 0)
        return wrong_type(row, column,
                          words == TABLE_KINDS      ? "raw, snapshot, slots or queue"
                          : words == TABLE_BACKENDS ? "sysv or memfd"
                          : words == TABLE_STAMPS   ? "precise, coarse or none"
                          : words == TABLE_CLEARS   ? "never, free or restart"
                                                    : "demand, always or never");
    *ret = (unsigned)value;
    return 0;
}

/* A number, or a text in decimal or hex. */
static int read_key(const struct row *row, int column, uint32_t *ret) {
    const char *text = (const char *)sqlite3_column_text(row->s, column);
    char *end = NULL;
    errno = 0;
    bool hex = text != NULL && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    unsigned long long value = text == NULL ? 0 : strtoull(text, &end, hex ? 16 : 10);
    bool ok = text != NULL && *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 &&
              value >= 1 && value <= UINT32_MAX;
    if (!ok)
        return wrong_type(row, column, "a number from 1 to 4294967295, or hex as '0x53484D31'");
    *ret = (uint32_t)value;
    return 0;
}

static int read_mode(const struct row *row, int column, uint32_t *ret) {
    char text[SHM_NAME_BYTES];
    int r = read_text(row, column, text);
    if (r < 0)
        return r;
    if (strcmp(text, "0660") != 0 && strcmp(text, "0664") != 0)
        return wrong_type(row, column, "'0660' or '0664'");
    *ret = text[3] == '0' ? 0660 : 0664;
    return 0;
}

static int take_segment(struct row *row, struct table *t) {
    unsigned backend = 0;
    row->name = -1;
    int r = read_key(row, 0, &t->key);
    if (r == 0)
        r = read_number(row, 1, 1, TABLE_SEGMENT_MAX, &t->size);
    if (r == 0)
        r = read_word(row, 2, TABLE_BACKENDS, &backend);
    if (r == 0)
        r = read_mode(row, 3, &t->mode);
    if (r == 0)
        r = read_text(row, 4, t->group_name);
    if (r == 0)
        r = read_flag(row, 5, &t->lock_memory);
    if (r == 0)
        r = read_flag(row, 6, &t->auto_apply);
    t->backend = (enum shm_backend)backend;
    return r;
}

/* Room for one more; the array doubles. */
static void *grow(void *array, size_t n, size_t bytes) {
    return (n & (n - 1)) == 0 ? reallocarray(array, n == 0 ? 1 : 2 * n, bytes) : array;
}

static int too_many(const struct row *row, unsigned most) {
    snprintf(row->error, row->error_bytes, "the table has more than %u %ss: delete some", most,
             row->table);
    return -EINVAL;
}

static int take_worker(struct row *row, struct table *t) {
    if (t->workers_n == WORKERS_MAX)
        return too_many(row, WORKERS_MAX);
    struct table_worker w = {0};
    uint64_t instances = 0;
    row->name = 0;
    int r = read_text(row, 0, w.name);
    if (r == 0)
        r = read_text(row, 1, w.user);
    if (r == 0)
        r = read_number(row, 2, 1, TABLE_INSTANCES_MAX, &instances);
    if (r == 0)
        r = read_number(row, 3, 0, TABLE_SEGMENT_MAX, &w.may_create);
    if (r < 0)
        return r;
    w.instances = (uint32_t)instances;
    void *grown = grow(t->workers, t->workers_n, sizeof w);
    if (grown == NULL)
        return -ENOMEM;
    t->workers = grown;
    t->workers[t->workers_n++] = w;
    return 0;
}

static int read_place(const struct row *row, int column, struct table_section *s) {
    s->pinned = sqlite3_column_type(row->s, column) != SQLITE_NULL;
    return s->pinned ? read_number(row, column, 0, TABLE_SEGMENT_MAX, &s->offset) : 0;
}

static int read_words(const struct row *row, struct table_section *s) {
    unsigned kind = 0, stamp = 0, notify = 0, clear = 0;
    int r = read_word(row, 3, TABLE_KINDS, &kind);
    if (r == 0)
        r = read_word(row, 13, TABLE_STAMPS, &stamp);
    if (r == 0)
        r = read_word(row, 14, TABLE_NOTIFIES, &notify);
    if (r == 0)
        r = read_word(row, 16, TABLE_CLEARS, &clear);
    s->clear = (enum table_clear)clear;
    s->kind = (enum shm_kind)kind;
    s->stamp = (enum table_stamp)stamp;
    s->notify = (enum table_notify)notify;
    return r;
}

static int take_section(struct row *row, struct table *t) {
    if (t->sections_n == SECTIONS_MAX)
        return too_many(row, SECTIONS_MAX);
    struct table_section s = {0};
    row->name = 1;
    int r = read_number(row, 0, 1, SHM_SECTION_ID_MADE - 1, &s.id);
    if (r == 0)
        r = read_text(row, 1, s.name);
    if (r == 0)
        r = read_text(row, 2, s.owner);
    if (r == 0)
        r = read_words(row, &s);
    if (r == 0)
        r = read_number(row, 4, 1, TABLE_SEGMENT_MAX, &s.size);
    if (r == 0)
        r = read_count(row, 5, table_count(s.kind), &s.count);
    if (r == 0)
        r = read_place(row, 6, &s);
    if (r == 0)
        r = read_text(row, 7, s.read_group);
    if (r == 0)
        r = read_text(row, 8, s.write_group);
    if (r == 0)
        r = read_flag(row, 9, &s.shared);
    if (r == 0)
        r = read_flag(row, 10, &s.persist);
    if (r == 0)
        r = read_number(row, 11, 0, TABLE_STALE_MS_MAX, &s.stale_ms);
    if (r == 0)
        r = read_text(row, 12, s.format);
    if (r == 0)
        r = read_flag(row, 15, &s.pregrab);
    if (r < 0)
        return r;
    void *grown = grow(t->sections, t->sections_n, sizeof s);
    if (grown == NULL)
        return -ENOMEM;
    t->sections = grown;
    t->sections[t->sections_n++] = s;
    return 0;
}

static int each(const struct table_db *db, const char *table, const char *sql,
                int (*take)(struct row *, struct table *), struct table *t, char *error,
                size_t error_bytes) {
    struct row row = {.table = table, .error = error, .error_bytes = error_bytes};
    if (sqlite3_prepare_v2(db->sql, sql, -1, &row.s, NULL) != SQLITE_OK)
        return table_sql_error(db, error, error_bytes);
    int r = 0, step = SQLITE_DONE, rows = 0;
    for (; r == 0 && (step = sqlite3_step(row.s)) == SQLITE_ROW; rows++)
        r = take(&row, t);
    if (r == -ENOMEM)
        snprintf(error, error_bytes, "%s: out of memory", db->path);
    if (r == 0 && step != SQLITE_DONE)
        r = table_sql_error(db, error, error_bytes);
    sqlite3_finalize(row.s);
    return r < 0 ? r : rows;
}

#define COLUMNS                                                                                    \
    "SELECT id, name, owner, kind, size, count, \"offset\", read_group, write_group, shared, "     \
    "persist, stale_ms, format, stamp, notify, "
#define ROWS        COLUMNS "pregrab, clear FROM section ORDER BY id"
#define FORMER_ROWS COLUMNS "0, 'never' FROM section ORDER BY id"

int table_rows(const struct table_db *db, struct table *t, char *error, size_t error_bytes) {
    int r =
        each(db, "segment",
             "SELECT key, size, backend, mode, group_name, lock_memory, auto_apply FROM segment",
             take_segment, t, error, error_bytes);
    if (r >= 0 && r != 1) {
        snprintf(error, error_bytes, "segment: there must be one row, and there are %d: %s", r,
                 r == 0 ? "INSERT INTO segment DEFAULT VALUES"
                        : "DELETE FROM segment WHERE id <> 1, after .dbconfig enable_trigger off");
        r = -EINVAL;
    }
    if (r > 0)
        r = each(
            db, "worker",
            "SELECT name, user, instances, may_create FROM worker ORDER BY name COLLATE BINARY",
            take_worker, t, error, error_bytes);
    if (r >= 0)
        r = each(db, "section",
                 table_db_schema_version(db->sql) == TABLE_DB_SCHEMA_FORMER ? FORMER_ROWS : ROWS,
                 take_section, t, error, error_bytes);
    return r < 0 ? r : 0;
}
