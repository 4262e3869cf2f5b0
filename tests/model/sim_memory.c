/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared memory in which a load may return any value that C11 lets it return.
 *
 * Each word keeps all values that were ever stored there, in order.  A process has a view: for each
 * word the oldest value that it may still read.  Reading a value moves the view of that word;
 * reading one with acquire, or with an acquire fence behind it, also merges the view that the
 * storing process gave with it (its view at a release store, or at its last release fence).  A full
 * fence exchanges views with all full fences before it.  So a fence or an order that is missing
 * shows as an old value, on any machine that this runs on.
 *
 * Not modelled: loads that return values of stores which the storing process has not come to yet
 * (no order of the library's is there for that), and nontemporal stores.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX  384u /* of one word in one schedule */
#define VIEWS_WORDS (4u << 20)

struct value {
    uint64_t bits;
    const uint16_t *view; /* NULL: nothing comes with it */
};

struct cell {
    uint64_t *at;
    uint32_t schedule; /* the values below are of this one */
    uint16_t n;
    struct value values[VALUES_MAX];
};

static struct {
    uint8_t *base;
    size_t bytes;
    uint16_t *cell_of; /* by word; 0: never touched */
    uint32_t cells_n, schedule;
    unsigned stale;
    struct view full; /* of the full fences so far */
    uint16_t *views;  /* room for those that are given with values */
    size_t views_used;
} memory;

static struct cell cells[CELLS_MAX];

void memory_open(void *base, size_t bytes) {
    free(memory.cell_of);
    memory.base = base;
    memory.bytes = bytes;
    memory.cell_of = calloc(bytes / 8 + 1, sizeof *memory.cell_of);
    memory.cells_n = 1;
    if (memory.views == NULL)
        memory.views = malloc(VIEWS_WORDS * sizeof *memory.views);
    if (memory.cell_of == NULL || memory.views == NULL)
        abort();
}

void memory_reset(const void *image, size_t bytes, unsigned stale) {
    for (uint32_t i = 1; i < memory.cells_n; i++)
        *cells[i].at = 0;
    if (image != NULL)
        memcpy(memory.base, image, bytes);
    memory.schedule++;
    memory.stale = stale;
    memory.views_used = 0;
    memset(memory.full.at, 0, memory.cells_n * sizeof *memory.full.at);
}

static uint16_t cell_index(const void *at) {
    const size_t word = (size_t)((const uint8_t *)at - memory.base) / 8;
    if (word >= memory.bytes / 8)
        abort();
    if (memory.cell_of[word] == 0) {
        if (memory.cells_n == CELLS_MAX)
            abort();
        memory.cell_of[word] = (uint16_t)memory.cells_n;
        cells[memory.cells_n++].at = (uint64_t *)(void *)(memory.base + word * 8);
    }
    const uint16_t index = memory.cell_of[word];
    struct cell *cell = &cells[index];
    if (cell->schedule != memory.schedule) {
        cell->schedule = memory.schedule;
        cell->n = 1;
        cell->values[0] = (struct value){.bits = *cell->at};
    }
    return index;
}

/* `from` may be a copy, which says first how many words it knew of. */
static void merge(struct view *to, const uint16_t *from) {
    if (from == NULL)
        return;
    const uint32_t n = from[0] != 0 ? from[0] : memory.cells_n;
    for (uint32_t i = 1; i < n; i++)
        to->at[i] = to->at[i] > from[i] ? to->at[i] : from[i];
}

static const uint16_t *view_copy(const struct view *view) {
    if (memory.views_used + CELLS_MAX > VIEWS_WORDS) {
        violation("the schedule is too long");
        memory.views_used = 0;
    }
    uint16_t *copy = memory.views + memory.views_used;
    memcpy(copy, view->at, memory.cells_n * sizeof *copy);
    copy[0] = (uint16_t)memory.cells_n;
    memory.views_used += memory.cells_n;
    return copy;
}

void thread_reset(struct thread *thread) {
    memset(thread->now.at, 0, memory.cells_n * sizeof *thread->now.at);
    memset(thread->fenced.at, 0, memory.cells_n * sizeof *thread->fenced.at);
    thread->release = thread->last = NULL;
}

void thread_join(struct thread *to, const struct thread *from) {
    merge(&to->now, from->now.at);
    merge(&to->fenced, from->now.at);
}

static void advance(struct view *view, uint16_t cell, uint16_t at) {
    if (view->at[cell] < at)
        view->at[cell] = at;
}

static void say(const char *what, const void *at, uint64_t value, unsigned behind) {
    char place[64];
    if (!tracing)
        return;
    world->describe((size_t)((const uint8_t *)at - memory.base), place, sizeof place);
    if (behind > 0)
        trace("%s %s: %" PRIx64 " (%u behind)", what, place, value, behind);
    else
        trace("%s %s: %" PRIx64, what, place, value);
}

/* One word, or a part of one. */
static uint64_t part_of(uint64_t bits, const void *at, size_t bytes) {
    const unsigned shift = (unsigned)((uintptr_t)at % 8) * 8;
    return bytes == 8 ? bits : bits >> shift & ((UINT64_C(1) << bytes * 8) - 1);
}

static uint64_t load_value(const void *at, size_t bytes, bool acquire, bool newest) {
    struct thread *thread = &current->thread;
    const uint16_t index = cell_index(at);
    const struct cell *cell = &cells[index];
    const uint16_t oldest = thread->now.at[index];
    uint16_t n = (uint16_t)(cell->n - 1);
    if (!newest && n > oldest && sim_below(256) < memory.stale)
        n = (uint16_t)(oldest + sim_below(n - oldest + 1u));
    advance(&thread->now, index, n);
    advance(&thread->fenced, index, n);
    if (thread->last != cell->values[n].view) {
        thread->last = cell->values[n].view;
        merge(&thread->fenced, thread->last);
    }
    if (acquire)
        merge(&thread->now, cell->values[n].view);
    const uint64_t value = part_of(cell->values[n].bits, at, bytes);
    say(acquire ? "load acquire" : "load", at, value, cell->n - 1u - n);
    return value;
}

static void store_value(void *at, uint64_t value, size_t bytes, bool release) {
    struct thread *thread = &current->thread;
    const uint16_t index = cell_index(at);
    struct cell *cell = &cells[index];
    if (cell->n == VALUES_MAX) {
        violation("a word is stored too often for this simulator");
        return;
    }
    memcpy(at, &value, bytes);
    advance(&thread->now, index, cell->n);
    advance(&thread->fenced, index, cell->n);
    cell->values[cell->n++] = (struct value){
        .bits = *cell->at,
        .view = release ? view_copy(&thread->now) : thread->release,
    };
    say(release ? "store release" : "store", at, value, 0);
    world->stored((size_t)((uint8_t *)at - memory.base), value);
}

uint64_t memory_load(const void *at, size_t bytes, enum memory_order order) {
    if (current == NULL) {
        uint64_t value = 0;
        memcpy(&value, at, bytes);
        return value;
    }
    process_point();
    return load_value(at, bytes, order == ACQUIRE, false);
}

void memory_store(void *at, uint64_t value, size_t bytes, enum memory_order order) {
    if (current == NULL) {
        memcpy(at, &value, bytes);
        return;
    }
    process_point();
    store_value(at, value, bytes, order == RELEASE);
}

void thread_fence(struct thread *thread) {
    merge(&thread->now, thread->fenced.at);
    merge(&thread->now, memory.full.at);
    merge(&thread->fenced, thread->now.at);
    memcpy(memory.full.at, thread->now.at, memory.cells_n * sizeof *memory.full.at);
    thread->release = view_copy(&thread->now);
}

uint64_t memory_exchange(void *at, uint64_t value, size_t bytes) {
    if (current == NULL) {
        const uint64_t plain = memory_load(at, bytes, RELAXED);
        memory_store(at, value, bytes, RELAXED);
        return plain;
    }
    process_point();
    const uint64_t before = load_value(at, bytes, true, true);
    store_value(at, value, bytes, true);
    thread_fence(&current->thread);
    return before;
}

/* One that fails stores nothing, and is a full fence all the same. */
bool memory_compare_exchange(void *at, uint64_t *expected, uint64_t value, size_t bytes) {
    if (current == NULL) {
        const uint64_t wanted = *expected;
        *expected = memory_load(at, bytes, RELAXED);
        if (*expected == wanted)
            memory_store(at, value, bytes, RELAXED);
        return *expected == wanted;
    }
    process_point();
    const uint64_t before = load_value(at, bytes, true, true);
    const bool done = before == *expected;
    if (done)
        store_value(at, value, bytes, true);
    *expected = before;
    thread_fence(&current->thread);
    return done;
}

void memory_fence(enum memory_order order) {
    if (current == NULL)
        return;
    struct thread *thread = &current->thread;
    if (order == ACQUIRE)
        merge(&thread->now, thread->fenced.at);
    else if (order == RELEASE)
        thread->release = view_copy(&thread->now);
    else
        thread_fence(thread);
    trace("fence %s", order == ACQUIRE ? "acquire" : order == RELEASE ? "release" : "full");
}

static size_t step_of(const void *at, size_t bytes) {
    const size_t to_end = 8 - (uintptr_t)at % 8;
    return bytes < to_end ? bytes : to_end;
}

void memory_copy_from(void *to, const void *at, size_t bytes) {
    uint8_t *t = to;
    const uint8_t *from = at;
    if (current == NULL) {
        memcpy(to, at, bytes);
        return;
    }
    for (size_t n; bytes > 0; t += n, from += n, bytes -= n) {
        n = step_of(from, bytes);
        process_point();
        const uint64_t value = load_value(from, n, false, false);
        memcpy(t, &value, n);
    }
}

void memory_copy_to(void *at, const void *from, size_t bytes) {
    uint8_t *to = at;
    const uint8_t *f = from;
    if (current == NULL) {
        memcpy(at, from, bytes);
        return;
    }
    for (size_t n; bytes > 0; to += n, f += n, bytes -= n) {
        n = step_of(to, bytes);
        uint64_t value = 0;
        memcpy(&value, f, n);
        process_point();
        store_value(to, value, n, false);
    }
}

/* Does the word have a value of this schedule's, or one but 0?  What earlier schedules touched must
 * make no difference, or a seed wouldn't say what happens. */
static bool is_touched(const uint8_t *at) {
    const size_t word = (size_t)(at - memory.base) / 8;
    const uint16_t index = memory.cell_of[word];
    uint64_t bits;
    memcpy(&bits, memory.base + word * 8, sizeof bits);
    return bits != 0 || (index != 0 && cells[index].schedule == memory.schedule);
}

void memory_clear(void *at, size_t bytes) {
    static const uint64_t zero;
    uint8_t *to = at;
    for (size_t n; bytes > 0; to += n, bytes -= n) {
        n = step_of(to, bytes);
        if (is_touched(to))
            memory_copy_to(to, &zero, n);
    }
}
