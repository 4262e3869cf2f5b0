/* SPDX-License-Identifier: Apache-2.0
 *
 * Arenas and attachments.
 */
#include "writers.h"

#include <string.h>

bool writers_same_worker(const char *a, const char *b) {
    const size_t n = strcspn(a, "#");
    return n > 0 && n == strcspn(b, "#") && memcmp(a, b, n) == 0;
}

bool writers_allow(const struct shm_arena *arena, const char *owner,
                   const struct writers_who *who) {
    /* Two that are nobody aren't the same one. */
    const bool is_owner = who->worker != SHM_NONE && who->worker == arena->owner_index;
    switch (arena->writers) {
    case SHM_WRITERS_OWNER:
        return is_owner;
    case SHM_WRITERS_INSTANCES:
        return is_owner || writers_same_worker(owner, who->name);
    case SHM_WRITERS_CLASS:
        return is_owner || who->in_class || writers_same_worker(owner, who->name);
    default:
        return false;
    }
}
