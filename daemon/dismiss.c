/* SPDX-License-Identifier: Apache-2.0
 *
 * Holders of leases whom the table, as it is now, would not let be those workers: an edit gave the
 * name to another user.  Their leases are taken back; where their memory can't be (no room, a
 * pinned section), they are named.
 */
#include "journal.h"
#include "manager.h"

#include <errno.h>

static bool may_stay(const struct manager *m, const struct lease *lease) {
    const struct table_worker *worker = table_worker(&m->table, lease->record.worker);
    const uid_t uid = lease->record.uid;
    if (lease->superseded || worker == NULL)
        return true; /* only its lock is waited for; a worker that is held isn't removed */
    uid_t wanted = m->worker_uids[worker - m->table.workers];
    return wanted == (uid_t)-1 || wanted == uid || uid == 0;
}

void dismiss(struct manager *m, const char *who) {
    for (struct lease *lease = m->leases.first, *next; lease != NULL; lease = next) {
        char error[PROTOCOL_TEXT_BYTES];
        next = lease->next;
        if (may_stay(m, lease))
            continue;
        const struct lease_record record = lease->record;
        int r = revoke_worker(m, who, record.worker, error, sizeof error);
        if (r == 0)
            next = m->leases.first; /* it is gone, and a successor may have come */
        else if (r != -ESRCH)
            journal_about(LOG_WARNING, JOURNAL_TROUBLE, record.worker, record.pid,
                          "worker '%s' is another user's now, and uid %u keeps it: %s",
                          record.worker, record.uid, error);
    }
}
