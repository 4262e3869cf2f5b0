/* SPDX-License-Identifier: Apache-2.0
 *
 * What doctor's files share: a finding, and the fix that may go with it.
 */
#ifndef SHM_TOOLS_DOCTOR_H
#define SHM_TOOLS_DOCTOR_H

#include "core/table.h"
#include "tool.h"

enum finding { FINE, REMARK, WRONG, FIXED };

struct doctor {
    const struct tool *tool;
    uint32_t key;
    const char *runtime_dir;
    char table_path[PATH_BYTES];
    struct table table; /* as far as it could be read; else its defaults */
    json_t *status;     /* the manager's; NULL: none answers */
    json_t *findings;
    unsigned count[FIXED + 1];
};

/* One line on what was found at `topic`; `remedy` ("": none) says what to do about it. */
void found(struct doctor *doctor, enum finding finding, const char *topic, const char *remedy,
           const char *format, ...) __attribute__((format(printf, 5, 6)));

/* ---- doctor_host.c */
void look_at_kernel(struct doctor *doctor);
void look_at_limits(struct doctor *doctor);
void look_at_groups(struct doctor *doctor);
void look_at_segment(struct doctor *doctor);
void look_at_orphans(struct doctor *doctor);

/* ---- doctor_queues.c */
void look_at_queues(struct doctor *doctor);

/* ---- doctor_files.c */
void look_at_table(struct doctor *doctor);
void look_at_runtime(struct doctor *doctor);

/* Whom the manager runs as, by his number here; false: there is no telling. */
bool manager_uid(const struct doctor *doctor, uid_t *ret);

#endif
