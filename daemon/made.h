/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections that workers make at run time.  People's table is read-only for the manager, so they
 * stand in the table in force alone, which state.db keeps and each plan of people's table gets them
 * from.  Making one and dropping it are edits like any other: an intent, the flip, and done.
 */
#ifndef SHM_DAEMON_MADE_H
#define SHM_DAEMON_MADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manager;
struct table;

struct made {
    uint64_t next_id, ids_end; /* that were taken out of state.db, and not yet given; none is ever
                                  given twice */
    bool stuck;                /* what lapsed can't be dropped, and that was said */
};

/* Puts them into a table that is wanted.  -EINVAL and why: it leaves one of them no name, or no
 * owner; or a negative errno. */
int made_add(struct manager *manager, struct table *wanted, char *error, size_t error_bytes);

/* Makes `table` (of the rows in force and others made, and taken when all went well) what is in
 * force.  `given_up` may be the id of a section that its holder has left; 0: none.  -ENOSPC:
 * there is no room; or a negative errno; and why. */
int made_publish(struct manager *manager, const char *who, const char *what, struct table *table,
                 uint64_t given_up, char *error, size_t error_bytes);

/* A copy of the table in force; -ENOMEM. */
int made_table(const struct manager *manager, struct table *ret);

/* An id that none ever had; a negative errno of state.db. */
int made_next_id(struct manager *manager, uint64_t *ret);

/* Drops those that were to last as long as a lease that is over.  Failures were logged; the next
 * look tries again. */
void made_look(struct manager *manager);

/* The same before somebody becomes that worker. */
void made_before_grant(struct manager *manager, uint32_t worker);

/* ---- made_requests.c */

/* For who may manage.  -ENOENT, -EINVAL: it is no such section; -EBUSY: its worker holds it, and
 * `force` wasn't said; or why it failed. */
int made_drop_named(struct manager *manager, const char *who, const char *name, bool force,
                    char *error, size_t error_bytes);

#endif
