/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of state.db share: its edits (state_db.c, state_history.c), the items that an edit
 * changes (state_stage.c, state_items.c), what these say as far as that is known without reading
 * them (state_known.c), what they were before (state_past.c), and the checkpoint
 * (state_checkpoint.c).
 */
#ifndef SHM_DAEMON_STATE_PARTS_H
#define SHM_DAEMON_STATE_PARTS_H

#include "state_db.h"

#include <sqlite3.h>

struct state_known {
    bool in_force; /* stage 0 says what layout and table do */
    int64_t edit;  /* that staged these; 0: none */
    struct layout layout;
    struct table table;
};

struct state_db {
    sqlite3 *sql;
    struct state_known known;
};

/* An item is one row of the table, or one piece of the placement.  Stage 0 is in force; stage 1 is
 * what the open edit changes, a NULL for what it removes. */
extern const char state_items_schema[];
extern const char state_checkpoint_schema[];
extern const char state_past_schema[];

#define STATE_VACUUM_IN_STEPS 2 /* PRAGMA auto_vacuum */

/* Prepares a statement and binds its parameters: `types` has a letter for each, i (int64_t), t
 * (const char *; NULL allowed), b (const void *, int bytes).  NULL: an error, which
 * sqlite3_errcode() tells. */
sqlite3_stmt *state_prepare(const struct state_db *db, const char *sql, const char *types, ...);

/* The same, run to its end. */
int state_run(const struct state_db *db, const char *sql, const char *types, ...);

/* A single value, or `otherwise` when there is no row (or it is NULL); `name` NULL, or bound. */
int64_t state_number(const struct state_db *db, const char *sql, const char *name,
                     int64_t otherwise);

/* A transaction, and its end the one way or the other; `r` is what became of it so far. */
int state_begin(const struct state_db *db);
int state_finish(const struct state_db *db, int r);

/* The negative errno of SQLite's last error. */
int state_error(const struct state_db *db);

/* Within a transaction: stages what differs from stage 0. */
int state_items_stage(struct state_db *db, const struct layout *layout, const struct table *table);

/* Behind the transaction: that edit was intended, or is done, or nothing is known any more. */
void state_known_intend(struct state_db *db, const struct layout *layout, const struct table *table,
                        int64_t edit);
void state_known_done(struct state_db *db, int64_t edit);
void state_known_forget(struct state_db *db);

/* Makes it the new stage 0, or drops it. */
int state_items_commit(struct state_db *db);
int state_items_drop(struct state_db *db);

/* From here on, ids of sections that workers made. */
#define STATE_ID_MADE "281474976710656"
_Static_assert(SHM_SECTION_ID_MADE == 281474976710656, "STATE_ID_MADE is another");

/* The table as it was behind a step of the history, as people wrote it; or with STATE_NOW as it is,
 * with what workers made. */
#define STATE_NOW INT64_MAX
int state_items_table(const struct state_db *db, int64_t step, struct table *ret);

/* Within the transaction that ends an edit, before its items are made the new stage 0: gives it its
 * step, and writes down what each row of the table was that it changes. */
int state_past_record(const struct state_db *db, int64_t edit);

/* Forgets what no edit in the history needs any more, and the oldest beyond what is kept. */
int state_past_prune(const struct state_db *db);

/* Stages and flips into `db` what is whole of the checkpoint in a damaged file, and the names of
 * what isn't; how many values, or a negative errno. */
int state_saved_salvage(struct state_db *db, const char *damaged);

#endif
