/* SPDX-License-Identifier: Apache-2.0
 *
 * state.db, the manager's own memory: the placement, the history of edits, the last good table.
 * An edit is an intent row with the placement that it leads to, then the flip in the segment, then
 * a done row: a manager that is killed anywhere in between finds out which of the two holds by the
 * generation in the segment's header.
 */
#ifndef SHM_DAEMON_STATE_DB_H
#define SHM_DAEMON_STATE_DB_H

#include "core/layout.h"
#include "core/table.h"

struct json_t;
struct state_db;

/* Opens, and makes when missing, 0600.  A damaged file is set aside as PATH.damaged-TIME and a new
 * one made; `error` then tells so although 0 is returned. */
int state_db_open(struct state_db **ret, const char *path, char *error, size_t error_bytes);
void state_db_close(struct state_db *db);

/* One edit begins: a history row `intended` with what changes, the placement and the table that it
 * leads to, in one transaction.  *edit identifies it. */
int state_db_intend(struct state_db *db, const char *who, const char *what,
                    const struct layout *next, const struct table *table, int64_t *edit);

/* It is done (the flip was made): its table is now the last good one, its placement in force. */
int state_db_done(struct state_db *db, int64_t edit);

/* A table was refused: a history row `rejected` with the reason.  The same reason as the newest
 * row's only renews that row's time. */
int state_db_rejected(struct state_db *db, const char *who, const char *why);

/* The same for one that waits: `pending`; `waited` once the next edit is decided. */
int state_db_pending(struct state_db *db, const char *who, const char *why);

/* At start, when an intended edit was left open: it was `done` or `abandoned`, as the generation
 * that runs says. */
int state_db_settle(struct state_db *db, uint64_t running_generation);

/* The placement in force (of the newest done edit); -ENOENT when there is none yet. */
int state_db_placement(struct state_db *db, struct layout *ret);

/* The last good table; -ENOENT. */
int state_db_good_table(struct state_db *db, struct table *ret);

/* The highest generation ever intended; 0 = none. */
uint64_t state_db_generation(struct state_db *db);

/* A number by name, beside the tables: what the manager must find again although the segment's
 * header was destroyed ("shmid", "segment_id"). */
int state_db_remember(struct state_db *db, const char *name, int64_t value);
int64_t state_db_recall(struct state_db *db, const char *name, int64_t otherwise);

/* Several, all or none. */
struct state_number {
    const char *name;
    int64_t value;
};
int state_db_remember_all(struct state_db *db, const struct state_number *numbers, size_t n);

/* {"edits":[{"edit":7,"time":"2026-11-20T23:36:27Z","who":"uid 0 pid 71","outcome":"applied",
 *            "generation":41,"what":"added 'cam'", ...}]}, newest first. */
int state_db_history(struct state_db *db, unsigned limit, struct json_t **ret);

/* Adds to each edit of a history "changes":
 * [{"row":"section","id":3,"name":"cam","from":{"size":64}, "to":{"size":128}}], with the columns
 * that differ, or null for a row that there wasn't; and "more": true where there are more. */
int state_db_history_changes(struct state_db *db, struct json_t *history);

/* The table as it was: `when` is a generation ("41": its last edit), or an edit ("edit:17"); as
 * table_json() has it, and "generation", "edit", and in "taken" the ids that are other sections' by
 * now.  -ENOENT: it was never in force, or is not kept; -EINVAL: it is neither. */
int state_db_table_at(struct state_db *db, const char *when, struct json_t **ret, char *error,
                      size_t error_bytes);

#endif
