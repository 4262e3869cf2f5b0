/* SPDX-License-Identifier: Apache-2.0
 *
 * Accounts and groups of this host, by name or as numbers.
 */
#include "resolve.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int resolve_user(const struct table_worker *worker, uid_t *uid, char *error, size_t bytes) {
    *uid = (uid_t)-1;
    if (worker->user[0] == '\0')
        return 0;
    char *end;
    unsigned long number = strtoul(worker->user, &end, 10);
    if (*end == '\0' && number < UINT32_MAX) {
        *uid = (uid_t)number;
        return 0;
    }
    const struct passwd *account = getpwnam(worker->user);
    if (account == NULL) {
        snprintf(error, bytes,
                 "worker '%s': there is no account '%s' on this host: make it, or change "
                 "worker.user",
                 worker->name, worker->user);
        return -EINVAL;
    }
    *uid = account->pw_uid;
    return 0;
}

gid_t resolve_group(const char *name, bool *missing) {
    *missing = false;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*name != '\0' && *end == '\0' && number < UINT32_MAX)
        return (gid_t)number;
    const struct group *group = *name == '\0' ? NULL : getgrnam(name);
    if (group != NULL)
        return group->gr_gid;
    *missing = true;
    return getegid();
}

int resolve_readers(struct table *table, char *error, size_t bytes) {
    for (size_t i = 0; i < table->sections_n; i++) {
        struct table_section *section = &table->sections[i];
        bool missing = false;
        section->read_class = 0;
        if (section->read_group[0] != '\0')
            section->read_class = (uint32_t)resolve_group(section->read_group, &missing) + 1;
        if (missing) {
            snprintf(error, bytes,
                     "section '%s': there is no group '%s' on this host: make it (groupadd), or "
                     "change section.read_group",
                     section->name, section->read_group);
            return -EINVAL;
        }
    }
    return 0;
}
