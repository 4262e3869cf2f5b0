/* SPDX-License-Identifier: Apache-2.0
 *
 * What runs, beside the rows that it should come from.
 */
#include "editor.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"?", "raw", "snapshot", "slots", "queue"};

static void note_move(struct editor *editor, const struct shmc_section_info *info) {
    const uint64_t section = info->section_id - 1;
    if (section >= board->sections)
        return;
    if (editor->incarnations[section] == info->incarnation &&
        editor->offsets[section] != info->offset) {
        editor->moves++;
        editor->held += info->writer == SHMC_ALIVE;
    }
    editor->exists[section] = true;
    editor->incarnations[section] = info->incarnation;
    editor->offsets[section] = info->offset;
}

static bool text_is(sqlite3_stmt *row, int column, const char *text) {
    return strcmp((const char *)sqlite3_column_text(row, column), text) == 0;
}

static bool number_is(sqlite3_stmt *row, int column, uint64_t number) {
    return (uint64_t)sqlite3_column_int64(row, column) == number;
}

static const char *differs(sqlite3_stmt *row, const struct shmc_section_info *info) {
    const bool pinned = sqlite3_column_type(row, 8) != SQLITE_NULL;
    return !number_is(row, 0, info->section_id)         ? "id"
           : !text_is(row, 1, info->name)               ? "name"
           : !text_is(row, 2, info->owner)              ? "owner"
           : !text_is(row, 3, kinds[info->kind])        ? "kind"
           : !number_is(row, 4, info->size)             ? "size"
           : !number_is(row, 5, info->count)            ? "count"
           : !number_is(row, 6, info->persist)          ? "persist"
           : !number_is(row, 7, info->stale_ms)         ? "stale_ms"
           : pinned != info->pinned                     ? "pinned"
           : pinned && !number_is(row, 8, info->offset) ? "offset"
           : !text_is(row, 9, info->format)             ? "format"
                                                        : NULL;
}

/* Both are sorted by name. */
static void compare(struct editor *editor, const char *rows, const struct shmc_section_info *all,
                    size_t n) {
    char sql[512];
    sqlite3_stmt *row = NULL;
    snprintf(sql, sizeof sql,
             "SELECT id, name, owner, kind, size,"
             " CASE kind WHEN 'raw' THEN 0 ELSE coalesce(count, 4) END, persist, stale_ms, offset,"
             " coalesce(format, '') FROM %s ORDER BY name COLLATE BINARY",
             rows);
    size_t i = 0;
    const char *what = NULL;
    if (sqlite3_prepare_v2(editor->table, sql, -1, &row, NULL) != SQLITE_OK)
        violate(OTHER, "%s: %s", sql, sqlite3_errmsg(editor->table));
    for (; what == NULL && row != NULL && sqlite3_step(row) == SQLITE_ROW; i++)
        what = i == n ? "number" : differs(row, &all[i]);
    if (what == NULL && i < n)
        what = "number";
    if (what != NULL)
        violate(OTHER, "behind %s: %s of %s isn't what the table says", editor->last, what,
                i > 0 && i <= n ? all[i - 1].name : "sections");
    sqlite3_finalize(row);
}

static int by_offset(const void *a, const void *b) {
    const struct shmc_section_info *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void editor_look(struct editor *editor, const char *rows) {
    struct shmc_section_info *all;
    size_t n;
    const int r = shmc_sections(editor->segment, &all, &n);
    if (r < 0) {
        violate(OTHER, "sections: %d (%s)", r, shmc_last_error(editor->segment));
        return;
    }
    memset(editor->exists, 0, sizeof editor->exists);
    compare(editor, rows, all, n);
    qsort(all, n, sizeof *all, by_offset);
    for (size_t i = 0; i < n; i++) {
        note_move(editor, &all[i]);
        if (i > 0 && all[i].offset < all[i - 1].offset + all[i - 1].bytes)
            violate(OVERLAP, "behind %s: %s and %s overlap", editor->last, all[i - 1].name,
                    all[i].name);
    }
    free(all);
}
