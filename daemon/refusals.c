/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting refusals.  A period begins with a row's first refusal, and its row is free again when it
 * is over.
 */
#include "refusals.h"
#include "core/futex.h"
#include "journal.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct refusal *row_of(struct refusals *refusals, const char *worker, uid_t uid) {
    struct refusal *free_row = NULL, *last = &refusals->rows[REFUSALS_ROWS - 1];
    for (struct refusal *row = refusals->rows; row < last; row++) {
        if (row->since_ns != 0 && row->uid == uid && strcmp(row->worker, worker) == 0)
            return row;
        if (row->since_ns == 0 && free_row == NULL)
            free_row = row;
    }
    if (free_row == NULL && last->since_ns != 0)
        return last;
    struct refusal *row = free_row != NULL ? free_row : last;
    *row = (struct refusal){.uid = uid, .since_ns = clock_mono_ns()};
    snprintf(row->worker, sizeof row->worker, "%s", worker);
    return row;
}

void refusals_say(struct refusals *refusals, const char *worker, uid_t uid, unsigned pid,
                  const char *format, ...) {
    struct refusal *row = row_of(refusals, worker, uid);
    if (row->said == REFUSALS_EACH) {
        row->left_out++;
        return;
    }
    row->said++;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    journal_about(LOG_NOTICE, JOURNAL_REFUSED, worker, pid, "%s", text);
}

static void end_period(const struct refusal *row, bool shared) {
    if (row->left_out == 0)
        return;
    if (shared)
        journal(LOG_NOTICE, JOURNAL_REFUSED,
                "%u more claims of many workers and users were refused", row->left_out);
    else
        journal_about(LOG_NOTICE, JOURNAL_REFUSED, row->worker, 0,
                      "%s%s%s: %u more claims of uid %u were refused",
                      row->worker[0] != '\0' ? "worker '" : "anonymous", row->worker,
                      row->worker[0] != '\0' ? "'" : "", row->left_out, row->uid);
}

void refusals_look(struct refusals *refusals, uint64_t now_ns) {
    for (unsigned i = 0; i < REFUSALS_ROWS; i++) {
        struct refusal *row = &refusals->rows[i];
        if (row->since_ns == 0 || now_ns < row->since_ns ||
            now_ns - row->since_ns < REFUSALS_PERIOD_NS)
            continue;
        end_period(row, i == REFUSALS_ROWS - 1);
        row->since_ns = 0;
    }
}
