/* SPDX-License-Identifier: Apache-2.0
 *
 * A state.db of an earlier version, made of one of this.
 */
#ifndef SHM_TESTS_STATE_FORMER_H
#define SHM_TESTS_STATE_FORMER_H

/* Makes of version 3 what version 2 was: it knew no pending edits, and kept no table but the last
 * good one. */
#define STATE_FORMER                                                                               \
    "CREATE TABLE was(edit INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, "          \
    "  who TEXT NOT NULL, what TEXT NOT NULL, generation INTEGER, error TEXT, outcome TEXT NOT "   \
    "NULL CHECK(outcome IN ('intended', 'applied', 'abandoned', 'rejected'))) STRICT;"             \
    "INSERT INTO was SELECT edit, time_ns, who, what, generation, error, outcome FROM edit;"       \
    "DROP TABLE edit; ALTER TABLE was RENAME TO edit; DROP TABLE past; "                           \
    "PRAGMA user_version = 2;"

#endif
