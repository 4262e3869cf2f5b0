/* SPDX-License-Identifier: Apache-2.0
 *
 * Where there is room: stretches that are taken, and the gaps between them.  The planner's
 * arithmetic, without its rules.
 */
#ifndef SHM_CORE_SPAN_H
#define SHM_CORE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    uint64_t offset;
    uint64_t bytes;
    uint32_t index; /* of what stands there; the caller's affair */
};

/* Sorted by offset; they may overlap. */
struct spans {
    struct span *at;
    size_t n, room;
};

/* Room for so many more, so that spans_add() and spans_append() can't fail; -ENOMEM. */
int spans_reserve(struct spans *spans, size_t more);
void spans_clear(struct spans *spans);

/* In its place; or at the end, for many that spans_sort() then puts right. */
void spans_add(struct spans *spans, struct span span);
void spans_append(struct spans *spans, struct span span);
void spans_sort(struct spans *spans);

/* The first that overlaps these bytes, or NULL. */
const struct span *spans_overlap(const struct spans *spans, uint64_t offset, uint64_t bytes);

/* Goes through the gaps from `from`, over which no span may reach, to `end`. */
struct gaps {
    const struct spans *spans;
    size_t i;
    uint64_t at, end;
};
struct gaps gaps_between(const struct spans *spans, uint64_t from, uint64_t end);
bool gaps_next(struct gaps *gaps, struct span *gap);

#endif
