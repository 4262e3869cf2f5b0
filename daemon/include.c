/* SPDX-License-Identifier: Apache-2.0
 *
 * As a service the manager can't write its table, and a step of the unit's does this.
 */
#include "include.h"
#include "journal.h"
#include "table_include.h"

static void tell(void *context, const char *file, enum table_included outcome, const char *error) {
    (void)context;
    if (outcome == TABLE_INCLUDED_CHANGED)
        journal(LOG_INFO, JOURNAL_APPLIED, "%s is applied to the table", file);
    else if (outcome == TABLE_INCLUDED_FAILED)
        journal(LOG_WARNING, JOURNAL_REJECTED, "%s", error);
}

void include_files(const struct config *config) {
    char error[1024];
    if (config->sections_dirs_n > 0 &&
        table_include(config->table, config->sections_dirs, config->sections_dirs_n, tell, NULL,
                      error, sizeof error) < 0)
        journal(LOG_WARNING, JOURNAL_TROUBLE, "%s", error);
}
