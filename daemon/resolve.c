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

/* The class of who is in that group: gid + 1; 0, of all. */
static int resolve_class(const struct table_section *section, const char *column, const char *name,
                         uint32_t *ret, char *error, size_t bytes) {
    bool missing = false;
    *ret = name[0] == '\0' ? 0 : (uint32_t)resolve_group(name, &missing) + 1;
    if (!missing)
        return 0;
    snprintf(error, bytes,
             "section '%s': there is no group '%s' on this host: make it (groupadd), or change "
             "section.%s",
             section->name, name, column);
    return -EINVAL;
}

int resolve_groups(struct table *table, char *error, size_t bytes) {
    for (size_t i = 0; i < table->sections_n; i++) {
        struct table_section *s = &table->sections[i];
        /* Both, as made sections go on without their groups. */
        int w = resolve_class(s, "write_group", s->write_group, &s->write_class, error, bytes);
        int r = resolve_class(s, "read_group", s->read_group, &s->read_class, error, bytes);
        if (r < 0 || w < 0)
            return -EINVAL;
    }
    return 0;
}
