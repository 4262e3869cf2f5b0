/* SPDX-License-Identifier: Apache-2.0
 *
 * Stretches of the segment, sorted, and the gaps between them.
 */
#include "span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int spans_reserve(struct spans *spans, size_t more) {
    if (spans->room - spans->n >= more)
        return 0;
    const size_t room = spans->n + more;
    struct span *at = reallocarray(spans->at, room, sizeof *at);
    if (at == NULL)
        return -ENOMEM;
    spans->at = at;
    spans->room = room;
    return 0;
}

void spans_clear(struct spans *spans) {
    free(spans->at);
    *spans = (struct spans){0};
}

/* Index of the first that begins at `offset` or behind it. */
static size_t lower_bound(const struct spans *spans, uint64_t offset) {
    size_t low = 0, high = spans->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (spans->at[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void spans_add(struct spans *spans, struct span span) {
    const size_t i = lower_bound(spans, span.offset);
    memmove(&spans->at[i + 1], &spans->at[i], (spans->n - i) * sizeof *spans->at);
    spans->at[i] = span;
    spans->n++;
}

void spans_append(struct spans *spans, struct span span) {
    spans->at[spans->n++] = span;
}

static int by_offset(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void spans_sort(struct spans *spans) {
    if (spans->n > 1)
        qsort(spans->at, spans->n, sizeof *spans->at, by_offset);
}

const struct span *spans_overlap(const struct spans *spans, uint64_t offset, uint64_t bytes) {
    for (size_t i = 0; i < spans->n && spans->at[i].offset < offset + bytes; i++)
        if (spans->at[i].offset + spans->at[i].bytes > offset)
            return &spans->at[i];
    return NULL;
}

struct gaps gaps_between(const struct spans *spans, uint64_t from, uint64_t end) {
    return (struct gaps){spans, lower_bound(spans, from), from, end};
}

bool gaps_next(struct gaps *gaps, struct span *gap) {
    const struct spans *spans = gaps->spans;
    while (gaps->i < spans->n && spans->at[gaps->i].offset < gaps->end) {
        const struct span *taken = &spans->at[gaps->i++];
        const uint64_t from = gaps->at;
        if (taken->offset + taken->bytes > gaps->at)
            gaps->at = taken->offset + taken->bytes;
        if (taken->offset > from) {
            *gap = (struct span){.offset = from, .bytes = taken->offset - from};
            return true;
        }
    }
    if (gaps->at >= gaps->end)
        return false;
    *gap = (struct span){.offset = gaps->at, .bytes = gaps->end - gaps->at};
    gaps->at = gaps->end;
    return true;
}
