/* SPDX-License-Identifier: Apache-2.0
 *
 * What the manager has to say: structured entries when there is a journal at the other end of
 * stderr, readable lines otherwise.
 */
#ifndef SHM_DAEMON_JOURNAL_H
#define SHM_DAEMON_JOURNAL_H

#include <syslog.h>

/* Message ids; one for each kind of event, stable for ever.  systemd/shm-manager.catalog explains
 * each. */
#define JOURNAL_STARTED    "7a3d7cac267444d78d21617a1ead3906"
#define JOURNAL_STOPPED    "47ba6043aa594972a848fc2c5a404540"
#define JOURNAL_LEFT       "8cd8e2ff4f3648a0b744245481ceb4fc"
#define JOURNAL_SEGMENT    "e7b0cde7106b44fab4c5a355b58cc26d"
#define JOURNAL_APPLIED    "4ecdf5c75e7a4083a303d9a68d0ea6f3"
#define JOURNAL_REJECTED   "1785fb9ba1b949d08ceade14f33df87d"
#define JOURNAL_PENDING    "97d65a3164f74ed0909bbf0177a7aaea"
#define JOURNAL_LEASED     "77ea021229f2468da5a2e6791f918c60"
#define JOURNAL_ENDED      "ddb23041803f4ba2abab5ae14101ce38"
#define JOURNAL_REFUSED    "a6b66cb2009544a9897e3c004d4477c5"
#define JOURNAL_REPAIRED   "222c2b0020364a9cb74a778f3c339a65"
#define JOURNAL_REMOVED    "8b1b532b71ea40ac995babd07d61e4bb"
#define JOURNAL_STALE      "ef9784cfc0ae42939c9b162aa59717be"
#define JOURNAL_FRESH      "1b8dbcb8b31a4bd9b1a005242e9b70f1"
#define JOURNAL_SAVED      "5f7fe8869aed4d818552ee45e11080e9"
#define JOURNAL_UNSAVED    "a101c298ad9749b7b513123225268dfd"
#define JOURNAL_RESTORED   "6699eb0c9cac4984885071ec7636c04e"
#define JOURNAL_UNRESTORED "1b2feb7c82fc42b394035ea8c107d985"
#define JOURNAL_TROUBLE    "780c031c4682491b8d82af67e32cc21f"

/* One line.  `worker` (NULL: none) becomes the field SHM_WORKER, `pid` (0: none) SHM_PID. */
void journal_about(int priority, const char *id, const char *worker, unsigned pid,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same about a section: the fields SHM_SECTION and SHM_WORKER. */
void journal_section(int priority, const char *id, const char *section, const char *worker,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Before an early end: the journal looks up which unit a sender belongs to when it reads the entry,
 * and finds none for one that is gone by then, so that `systemctl status` would not show why. */
void journal_settle(void);

#define journal(priority, id, ...) journal_about((priority), (id), NULL, 0, __VA_ARGS__)

#endif
