/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved values and their chunks.  Stage 0 is in force, stage 1 is what the next flip puts there.
 * A row has a checksum over all that it says, the bytes' own checksum among it: SQLite finds a
 * damaged page only where its structure is.
 */
#include "state_checkpoint.h"
#include "core/crc32c.h"
#include "state_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE        4096u
#define SPARE_PAGES 256 /* kept free beside as many as are in use, which the next values take */

_Static_assert(sizeof(struct saved_value) == 2 * SHM_NAME_BYTES + 72, "saved_value has padding");

const char state_checkpoint_schema[] =
    "CREATE TABLE saved(stage INTEGER NOT NULL, section_id INTEGER NOT NULL, "
    "  id INTEGER NOT NULL, name TEXT NOT NULL, format TEXT NOT NULL, kind INTEGER NOT NULL, "
    "  incarnation INTEGER NOT NULL, version INTEGER NOT NULL, bytes INTEGER NOT NULL, "
    "  mono_ns INTEGER NOT NULL, real_ns INTEGER NOT NULL, boot_id BLOB NOT NULL, "
    "  data_crc INTEGER NOT NULL, crc INTEGER NOT NULL, "
    "  PRIMARY KEY(stage, section_id)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE chunk(chunk INTEGER PRIMARY KEY, id INTEGER NOT NULL, part INTEGER NOT NULL, "
    "  data BLOB NOT NULL, UNIQUE(id, part)) STRICT;";

/* ---- saving */

int state_save_begin(struct state_db *db) {
    return state_begin(db);
}

int state_save_end(struct state_db *db, int result) {
    return state_finish(db, result);
}

int64_t state_save_id(struct state_db *db) {
    int64_t id = state_number(db,
                              "SELECT 1 + max(coalesce((SELECT max(id) FROM chunk), 0), "
                              "coalesce((SELECT max(id) FROM saved), 0))",
                              NULL, -1);
    if (id > 0)
        return id;
    int r = state_error(db);
    return r < 0 ? r : -EIO;
}

int state_save_chunk(struct state_db *db, int64_t id, uint64_t index, const void *data,
                     size_t bytes) {
    sqlite3_stmt *s = state_prepare(db, "INSERT INTO chunk(id, part, data) VALUES(?, ?, ?)", "ii",
                                    id, (int64_t)index);
    if (s == NULL)
        return state_error(db);
    int step = sqlite3_bind_blob64(s, 3, data, bytes, SQLITE_STATIC);
    if (step == SQLITE_OK)
        step = sqlite3_step(s);
    int r = step == SQLITE_DONE ? 0 : state_error(db);
    sqlite3_finalize(s);
    return r;
}

int state_save_value(struct state_db *db, int64_t id, const struct saved_value *v) {
    return state_run(db,
                     "INSERT OR REPLACE INTO saved(stage, section_id, id, name, format, kind, "
                     "incarnation, version, bytes, mono_ns, real_ns, boot_id, data_crc, crc) "
                     "VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "iittiiiiiibii", (int64_t)v->section_id, id, v->name, v->format,
                     (int64_t)v->kind, (int64_t)v->incarnation, (int64_t)v->version,
                     (int64_t)v->bytes, (int64_t)v->mono_ns, (int64_t)v->real_ns, v->boot_id,
                     (int)sizeof v->boot_id, (int64_t)v->data_crc, (int64_t)crc32c(v, sizeof *v));
}

int state_save_flip(struct state_db *db, uint64_t real_ns) {
    int r = state_run(db,
                      "DELETE FROM saved WHERE stage = 0 AND section_id IN "
                      "(SELECT section_id FROM saved WHERE stage = 1)",
                      "");
    if (r == 0)
        r = state_run(db, "UPDATE saved SET stage = 0 WHERE stage = 1", "");
    return r == 0 ? state_db_remember(db, "checkpoint_ns", (int64_t)real_ns) : r;
}

int state_save_forget(struct state_db *db, uint64_t section_id) {
    return state_run(db, "DELETE FROM saved WHERE stage IN (0, 1) AND section_id = ?", "i",
                     (int64_t)section_id);
}

int state_save_rename(struct state_db *db, const struct saved_value *v) {
    return state_run(db, "UPDATE saved SET name = ?, crc = ? WHERE stage = 0 AND section_id = ?",
                     "tii", v->name, (int64_t)crc32c(v, sizeof *v), (int64_t)v->section_id);
}

int state_save_drop(struct state_db *db) {
    return state_run(db, "DELETE FROM saved WHERE stage = 1", "");
}

int state_save_sweep(struct state_db *db, uint64_t bytes) {
    sqlite3_stmt *s = state_prepare(db,
                                    "SELECT chunk, length(data) FROM chunk "
                                    "WHERE id NOT IN (SELECT id FROM saved) ORDER BY chunk",
                                    "");
    sqlite3_stmt *remove = state_prepare(db, "DELETE FROM chunk WHERE chunk = ?", "");
    int r = s == NULL || remove == NULL ? state_error(db) : 0, step = SQLITE_DONE;
    while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW && bytes > 0) {
        const uint64_t cost = PAGE + (uint64_t)sqlite3_column_int64(s, 1);
        bytes -= cost < bytes ? cost : bytes;
        sqlite3_bind_int64(remove, 1, sqlite3_column_int64(s, 0));
        if (sqlite3_step(remove) != SQLITE_DONE)
            r = state_error(db);
        sqlite3_reset(remove);
    }
    if (r == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
        r = state_error(db);
    sqlite3_finalize(remove);
    sqlite3_finalize(s);
    return r < 0 ? r : step == SQLITE_ROW;
}

/* Files of an earlier version can't be made smaller in steps, and stay as they are. */
int state_save_shrink(struct state_db *db, uint64_t bytes) {
    char sql[64];
    const int64_t unused = state_number(db, "PRAGMA freelist_count", NULL, 0);
    const int64_t used = state_number(db, "PRAGMA page_count", NULL, 0) - unused;
    const int64_t extra = unused - used - SPARE_PAGES;
    const int64_t now = extra < (int64_t)(bytes / PAGE) ? extra : (int64_t)(bytes / PAGE);
    if (extra <= 0 || state_number(db, "PRAGMA auto_vacuum", NULL, 0) != STATE_VACUUM_IN_STEPS)
        return 0;
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%lld)", (long long)now);
    if (now > 0 && sqlite3_exec(db->sql, sql, NULL, NULL, NULL) != SQLITE_OK)
        return state_error(db);
    return extra > now;
}

/* ---- what is saved */

static bool take_name(char ret[SHM_NAME_BYTES], sqlite3_stmt *s, int column) {
    const void *text = sqlite3_column_text(s, column);
    const int bytes = sqlite3_column_bytes(s, column);
    if (text == NULL || bytes < 0 || bytes >= (int)SHM_NAME_BYTES)
        return false;
    memcpy(ret, text, (size_t)bytes);
    return true;
}

/* True: the row is what was saved. */
static bool take_row(sqlite3_stmt *s, struct saved_value *ret, int64_t *id) {
    *id = sqlite3_column_int64(s, 1);
    *ret = (struct saved_value){.section_id = (uint64_t)sqlite3_column_int64(s, 0),
                                .kind = (uint32_t)sqlite3_column_int64(s, 4),
                                .incarnation = (uint64_t)sqlite3_column_int64(s, 5),
                                .version = (uint64_t)sqlite3_column_int64(s, 6),
                                .bytes = (uint64_t)sqlite3_column_int64(s, 7),
                                .mono_ns = (uint64_t)sqlite3_column_int64(s, 8),
                                .real_ns = (uint64_t)sqlite3_column_int64(s, 9),
                                .data_crc = (uint32_t)sqlite3_column_int64(s, 11)};
    const void *boot_id = sqlite3_column_blob(s, 10);
    if (!take_name(ret->name, s, 2) || !take_name(ret->format, s, 3) ||
        sqlite3_column_bytes(s, 10) != sizeof ret->boot_id)
        return false;
    memcpy(ret->boot_id, boot_id, sizeof ret->boot_id);
    return sqlite3_column_int64(s, 12) == (int64_t)crc32c(ret, sizeof *ret);
}

typedef int take_saved(const struct saved_value *value, int64_t id, bool intact, void *where);

static int each_saved(struct state_db *db, const char *order, take_saved *take, void *where) {
    char sql[240];
    snprintf(sql, sizeof sql,
             "SELECT section_id, id, name, format, kind, incarnation, version, bytes, mono_ns, "
             "real_ns, boot_id, data_crc, crc FROM saved WHERE stage = 0 ORDER BY section_id %s",
             order);
    sqlite3_stmt *s = state_prepare(db, sql, "");
    int r = s == NULL ? state_error(db) : 0, step = SQLITE_DONE;
    while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct saved_value value;
        int64_t id;
        bool intact = take_row(s, &value, &id);
        r = take(&value, id, intact, where);
    }
    if (r == 0 && step != SQLITE_DONE)
        r = state_error(db);
    sqlite3_finalize(s);
    return r;
}

int state_saved_each(struct state_db *db, take_saved *take, void *where) {
    return each_saved(db, "ASC", take, where);
}

int state_saved_data(struct state_db *db, int64_t id, const struct saved_value *value, void *to) {
    sqlite3_stmt *s =
        state_prepare(db, "SELECT part, data FROM chunk WHERE id = ? ORDER BY part", "i", id);
    int r = s == NULL ? state_error(db) : 0, step = SQLITE_DONE;
    uint64_t at = 0;
    uint32_t crc = 0;
    for (int64_t part = 0; r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW; part++) {
        const void *data = sqlite3_column_blob(s, 1);
        const uint64_t bytes = (uint64_t)sqlite3_column_bytes(s, 1);
        if (data == NULL && sqlite3_errcode(db->sql) == SQLITE_NOMEM) {
            r = -ENOMEM;
        } else if (sqlite3_column_int64(s, 0) != part || bytes > value->bytes - at) {
            r = -EBADMSG;
        } else if (bytes > 0) {
            memcpy((uint8_t *)to + at, data, bytes);
            crc = crc32c_more(crc, data, bytes);
            at += bytes;
        }
    }
    if (r == 0 && step != SQLITE_DONE)
        r = state_error(db);
    sqlite3_finalize(s);
    return r < 0 ? r : at == value->bytes && crc == value->data_crc ? 0 : -EBADMSG;
}

/* ---- out of a damaged file */

struct salvage {
    struct state_db *from, *to;
    uint64_t room; /* no value is larger than the file that it was in */
    int values;
};

/* Its bytes as chunks in `to`.  Without them a restore says that they are damaged. */
static int salvage_data(const struct salvage *salvage, int64_t from_id, int64_t id,
                        const struct saved_value *value) {
    uint8_t *data = value->bytes > salvage->room ? NULL : malloc(value->bytes + 1);
    int r = 0;
    if (data != NULL && state_saved_data(salvage->from, from_id, value, data) == 0)
        for (uint64_t at = 0; r == 0 && at < value->bytes; at += CHECKPOINT_CHUNK_BYTES)
            r = state_save_chunk(salvage->to, id, at / CHECKPOINT_CHUNK_BYTES, data + at,
                                 value->bytes - at < CHECKPOINT_CHUNK_BYTES
                                     ? value->bytes - at
                                     : CHECKPOINT_CHUNK_BYTES);
    free(data);
    return r;
}

static int salvage_row(const struct saved_value *value, int64_t id, bool intact, void *where) {
    struct salvage *salvage = where;
    if (!intact)
        return 0;
    sqlite3_stmt *met = state_prepare(salvage->to, "SELECT 1 FROM saved WHERE section_id = ?", "i",
                                      (int64_t)value->section_id);
    const bool known = met != NULL && sqlite3_step(met) == SQLITE_ROW;
    sqlite3_finalize(met);
    if (known) /* the other way round */
        return 0;
    int64_t to_id = state_save_id(salvage->to);
    int r = to_id < 0 ? (int)to_id : salvage_data(salvage, id, to_id, value);
    if (r == 0)
        r = state_save_value(salvage->to, to_id, value);
    salvage->values += r == 0;
    return r;
}

int state_saved_salvage(struct state_db *db, const char *damaged) {
    struct state_db from = {0};
    struct salvage salvage = {.from = &from, .to = db};
    struct stat stat_of;
    if (stat(damaged, &stat_of) < 0)
        return -errno;
    salvage.room = (uint64_t)stat_of.st_size;
    int r = state_begin(db);
    if (r == 0 && sqlite3_open_v2(damaged, &from.sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOFOLLOW,
                                  NULL) == SQLITE_OK) {
        sqlite3_db_config(from.sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        /* A walk ends at a damaged page; from the other end it comes as near as it can. */
        if (each_saved(&from, "ASC", salvage_row, &salvage) < 0)
            each_saved(&from, "DESC", salvage_row, &salvage);
        if (salvage.values > 0)
            r = state_save_flip(db, state_saved_when(&from));
    }
    sqlite3_close(from.sql);
    r = state_finish(db, r);
    return r < 0 ? r : salvage.values;
}

uint64_t state_saved_when(struct state_db *db) {
    return (uint64_t)state_db_recall(db, "checkpoint_ns", 0);
}
