/* SPDX-License-Identifier: Apache-2.0
 *
 * A section that moves while it is written and read: a writer that may die at any access, with its
 * successors; a manager that may die likewise, which moves the section to and fro, brings the value
 * along where nobody holds the lease, and gives the place that was left to others; and those who
 * look (sim_move_look.c).  The directory is one word here; sim_directory.c is about the rest of it.
 *
 * What must hold, beside what sim_snapshot.c says: no version is lost or given twice; nobody but
 * its new owner writes to a place that was given away; a value found under a generation that still
 * holds is right.
 */
#include "sim_move.h"

#include "core/mutant.h"

#include <errno.h>
#include <inttypes.h>

#define WRITERS     3u
#define MANAGERS    3u
#define GENERATIONS 12u
#define WRAP        ((UINT64_C(1) << 31) - 3)

static const struct variant {
    uint32_t counts[2];
    uint32_t flags;
    uint64_t base;
} variants[] = {
    {{3, 3}, SHM_SECTION_STAMP_NONE, 0},    {{2, 4}, SHM_SECTION_STAMP_NONE, 5},
    {{4, 2}, SHM_SECTION_STAMP_NONE, 5},    {{2, 2}, SHM_SECTION_NOTIFY_ALWAYS, 1},
    {{3, 2}, SHM_SECTION_STAMP_NONE, WRAP},
};
#define VARIANTS (sizeof variants / sizeof *variants)

/* Generation, doorbell, and from OFFSET on the places. */
#define OFFSET  1024u
#define SPACING 1024u
static uint8_t region[OFFSET + 2 * SPACING] __attribute__((aligned(4096)));
static uint8_t images[VARIANTS][sizeof region];
static struct move_place kinds[VARIANTS][2];
static uint64_t *const generation_word = (uint64_t *)(void *)region;
static struct shm_bell *const bell = (struct shm_bell *)(void *)(region + 128);

struct move move;

/* What the generations say. */
static struct stage {
    unsigned place;
    bool moving; /* from the other one */
} stages[GENERATIONS];

static bool held; /* the lease */
static unsigned writers_n, managers_n;
static bool managed;       /* there is a manager, or will be */
static struct thread gone; /* what holders of the lease had seen when it ended */

static struct role {
    bool manages;
    uint32_t epoch;
    unsigned publishes;
    struct snapshot_writer writer;
    struct move_looked looked[2]; /* the one that `at` says is the writer's */
    unsigned at;
} roles[WRITERS + MANAGERS];

/* ---- the directory */

bool move_is_new(uint64_t generation, unsigned place) {
    return stages[generation].place == place;
}

bool move_in_force(uint64_t generation, unsigned place) {
    return stages[generation].moving || move_is_new(generation, place);
}

void move_look_up(struct move_looked *ret) {
    /* Acquire pairs with the manager's store of the generation, as in the directory. */
    ret->generation = shared_load_acquire64(generation_word);
    const struct stage *stage = &stages[ret->generation];
    ret->now = move.places[stage->place].snapshot;
    ret->before = move.places[!stage->place].snapshot;
    ret->now.before = stage->moving ? &ret->before : NULL;
}

bool move_changed(const struct move_looked *looked) {
    shared_fence_acquire();
    return shared_load_relaxed64(generation_word) != looked->generation;
}

static void flip(unsigned place, bool moving) {
    const uint64_t next = move.generation + 1;
    stages[next] = (struct stage){place, moving};
    move.places[place].given = false;
    shared_store_release64(generation_word, next);
}

/* ---- the writers */

static void publish(struct role *role);

static void lease_ends(const struct process *process) {
    thread_join(&gone, &process->thread);
    held = false;
}

static void take_over(struct role *role) {
    struct move_looked *looked = &role->looked[role->at];
    do {
        move_look_up(looked);
        const int r = snapshot_take_over(&role->writer, &looked->now, role->epoch);
        if (r < 0 && !move_changed(looked))
            violation("a take-over gives error %d", r);
    } while (!MUTANT(TAKEN_UNCHECKED) && move_changed(looked) && !violated());
}

/* As the library does it when it sees another generation. */
static void follow_directory(struct role *role) {
    struct move_looked *looked = &role->looked[role->at], *next = &role->looked[!role->at];
    if (!move_changed(looked))
        return;
    move_look_up(next);
    if (next->now.shared == looked->now.shared) {
        looked->generation = next->generation;
    } else {
        role->at = !role->at;
        snapshot_move(&role->writer, &next->now);
    }
}

static void write_values(struct process *process) {
    struct role *role = process->argument;
    take_over(role);
    for (; role->publishes > 0 && !violated(); role->publishes--) {
        if (sim_below(4) > 0)
            follow_directory(role);
        publish(role);
    }
    lease_ends(process);
}

static void publish(struct role *role) {
    uint64_t value[MOVE_SIZE / 8];
    void *data;
    size_t room;
    const uint64_t version = move.newest + 1;
    const size_t bytes = VALUE_LEAST + version % 3 * 8;
    const unsigned how = sim_below(8);
    value_make(value, bytes, version, role->epoch);
    if (how == 0 && snapshot_begin(&role->writer, &data, &room) == 0) {
        shared_copy_to(data, value, bytes - 8);
        follow_directory(role);
        snapshot_abort(&role->writer);
    }
    if (how < 3) {
        snapshot_begin(&role->writer, &data, &room);
        shared_copy_to(data, value, bytes);
        follow_directory(role);
        if (snapshot_commit(&role->writer, bytes) < 0)
            violation("a commit fails");
    } else if (snapshot_publish(&role->writer, value, bytes) < 0) {
        violation("a publish fails");
    }
    if (move.newest != version)
        violation("version %" PRIu64 " was not published", version);
    move.returned = version;
    move_check_sleepers();
}

static void writer_died(struct process *dead);

/* The manager gives the lease to whoever is next. */
static void grant(const struct thread *granter) {
    if (held || writers_n == WRITERS || violated())
        return;
    struct role *role = &roles[writers_n++];
    *role = (struct role){.epoch = 100 + writers_n, .publishes = 1 + sim_below(5)};
    struct process *process = process_add("writer", write_values, role);
    held = true;
    thread_join(&process->thread, &gone);
    if (granter != NULL)
        thread_join(&process->thread, granter);
    if (writers_n < WRITERS && sim_below(4) > 0) {
        process->dies_in = 1 + sim_below(30 * role->publishes + 20);
        process->died = writer_died;
    }
}

static void writer_died(struct process *dead) {
    lease_ends(dead);
    if (!managed)
        grant(NULL);
}

/* ---- the manager */

static void give(struct move_place *place) {
    STEP(REUSE_UNFENCED, shared_fence_release()); /* as the daemon before it touches new places */
    place->given = true;
    place->given_at = move.generation;
}

/* The place is another section's meanwhile: one that looks like a snapshot, or like nothing. */
static void reuse(struct move_place *place) {
    const struct snapshot *snapshot = &place->snapshot;
    give(place);
    shared_store_relaxed64(&snapshot->shared->head, 0);
    for (uint32_t i = 0; i < snapshot->count; i++) {
        struct shm_buffer *buffer = (void *)(snapshot->buffers + i * snapshot->stride);
        shared_store_relaxed64(&buffer->seq, 2 * (move.newest + i));
        shared_store_relaxed64(&buffer->len, sim_below(2) == 0 ? UINT64_MAX : VALUE_LEAST);
        shared_store_relaxed64((uint64_t *)(void *)(buffer + 1), sim_random());
    }
    const uint64_t index = sim_below(2) == 0 ? 0 : snapshot->count;
    shared_store_relaxed64(&snapshot->shared->head,
                           index << SHM_HEAD_BUFFER_SHIFT | move.newest << SHM_HEAD_VERSION_SHIFT);
}

static void format(struct move_place *place) {
    uint64_t *head = &place->snapshot.shared->head;
    give(place);
    shared_clear(head, place->fixture.section.bytes - offsetof(struct shm_snapshot, head));
    place->first = place->last = 0;
}

static void carry(unsigned to) {
    struct snapshot snapshot = move.places[to].snapshot;
    snapshot.before = &move.places[!to].snapshot;
    thread_join(&current->thread, &gone); /* the kernel told of the lease's end */
    const int r = snapshot_carry(&snapshot);
    if (r < 0)
        violation("bringing the value along gives error %d", r);
}

/* Nobody publishes there.  A manager that dies between the flip and this leaves sleepers to their
 * bound. */
static void leave(unsigned place) {
    snapshot_leave(move.places[place].snapshot.shared);
    move.forgotten = false;
}

static void begin_move(unsigned from) {
    struct move_place *to = &move.places[!from];
    const bool unheld = !held && sim_below(2) == 0;
    if (sim_below(2) == 0)
        reuse(to);
    format(to);
    if (unheld) {
        carry(!from);
        to->first = to->last = move.newest;
        to->head = move.newest << SHM_HEAD_VERSION_SHIFT;
        move.forgotten = true;
    }
    flip(!from, !unheld);
    if (unheld)
        leave(from);
}

static void end_move(unsigned place) {
    const bool left = snapshot_left(&move.places[!place].snapshot);
    if (!left && held && !MUTANT(CARRIES_HELD) && !MUTANT(FINISHES_EARLY))
        return;
    if (!left && !MUTANT(FINISHES_EARLY))
        carry(place);
    move.forgotten = true;
    if (MUTANT(REUSES_EARLY))
        reuse(&move.places[!place]);
    flip(place, false);
    leave(!place); /* also what its writer has marked, who may have died before waking */
}

static void manage(struct process *process) {
    for (unsigned rounds = 4 + sim_below(16); rounds > 0 && !violated(); rounds--) {
        for (unsigned idle = sim_below(24); idle > 0; idle--)
            (void)shared_load_relaxed64(generation_word);
        const struct stage *stage = &stages[move.generation];
        if (move.generation + 1 < GENERATIONS && sim_below(4) > 0) {
            if (stage->moving)
                end_move(stage->place);
            else
                begin_move(stage->place);
        }
        if (sim_below(2) == 0)
            grant(&process->thread);
    }
    managed = false;
    thread_join(&gone, &process->thread); /* for those whom it will have let in */
    grant(NULL);
}

static void manager_died(struct process *dead);

static struct process *manager_add(void) {
    struct role *role = &roles[WRITERS + managers_n++];
    *role = (struct role){.manages = true};
    struct process *process = process_add("manager", manage, role);
    if (managers_n < MANAGERS && sim_below(2) == 0) {
        process->dies_in = 1 + sim_below(300);
        process->died = manager_died;
    }
    return process;
}

static void manager_died(struct process *dead) {
    thread_join(&manager_add()->thread, &dead->thread);
}

/* ---- what is stored */

static void published(struct move_place *place, unsigned index, uint64_t value, uint32_t epoch) {
    const uint64_t version = (value >> SHM_HEAD_VERSION_SHIFT) & SHM_VERSION_MAX;
    const bool new = move_is_new(move.generation, index);
    if (!move_in_force(move.generation, index))
        violation("version %" PRIu64 " is published where nobody looks", version);
    else if (!new &&move.places[!index].head != 0)
        violation("version %" PRIu64 " is published in the place that was left", version);
    else if (version != move.newest + 1 || version - move.base >= MOVE_VERSIONS)
        violation("the head goes from version %" PRIu64 " to %" PRIu64, move.newest, version);
    else
        move.who[version - move.base] = epoch;
    if (violated())
        return;
    move.newest = version;
    place->first = place->last == 0 ? version : place->first;
    place->last = version;
    place->head = value;
}

static void head_stored(struct move_place *place, unsigned index, uint64_t value) {
    const struct role *role = current->argument;
    if (place->given) {
        place->head = value;
    } else if (value == (place->head | SHM_HEAD_MOVED)) {
        if (!role->manages && (place->head & SHM_HEAD_MOVED) != 0)
            violation("a place is marked as left twice");
        place->head = value;
    } else if (!role->manages) {
        published(place, index, value, role->epoch);
    } else if (place->head != 0 || value != move.newest << SHM_HEAD_VERSION_SHIFT) {
        violation("the manager stores head %" PRIx64 " over %" PRIx64, value, place->head);
    } else {
        place->first = place->last = move.newest;
        place->head = value;
    }
}

static void stored(size_t offset, uint64_t value) {
    const uint8_t *at = region + offset;
    if (at == (uint8_t *)generation_word)
        move.generation = value;
    if (at == (uint8_t *)&bell->hint)
        move.hinted = true;
    if (offset < OFFSET)
        return;
    const unsigned index = offset >= OFFSET + SPACING;
    struct move_place *place = &move.places[index];
    if (place->given && !((const struct role *)current->argument)->manages)
        violation("a place that was given away is written to");
    else if (at == (uint8_t *)&place->snapshot.shared->head)
        head_stored(place, index, value);
}

/* ---- the world */

static void open_places(void) {
    memory_open(region, sizeof region);
    for (size_t i = 0; i < VARIANTS; i++) {
        for (unsigned p = 0; p < 2; p++) {
            struct move_place *place = &kinds[i][p];
            const size_t offset = OFFSET + p * SPACING;
            fixture_make(&place->fixture, MOVE_SIZE, variants[i].counts[p], variants[i].flags);
            if (p == 0 && variants[i].base > 0)
                fixture_put_base(&place->fixture, variants[i].base);
            struct fixture copy = place->fixture;
            memcpy(images[i] + offset, copy.memory, copy.section.bytes);
            memcpy(region + offset, copy.memory, copy.section.bytes);
            fixture_bind(&copy, region + offset);
            copy.snapshot.bell = bell;
            place->snapshot = copy.snapshot;
        }
    }
}

static void check_end(void) {
    const struct stage *stage = &stages[move.generation];
    const uint64_t head = move.places[stage->place].head;
    const uint64_t last = head == 0 && stage->moving ? move.places[!stage->place].head : head;
    if (!violated() && ((last >> SHM_HEAD_VERSION_SHIFT) & SHM_VERSION_MAX) != move.newest)
        violation("version %" PRIu64 " is lost, the head is %" PRIx64, move.newest, last);
}

static void schedule(void) {
    static const unsigned stale[] = {0, 16, 64, 128};
    const unsigned chosen = sim_below(VARIANTS);
    const uint64_t base = variants[chosen].base;
    memory_reset(images[chosen], sizeof region, stale[sim_below(4)]);
    thread_reset(&gone);
    move = (struct move){.base = base, .newest = base, .returned = base};
    memcpy(move.places, kinds[chosen], sizeof move.places);
    move.places[0].first = move.places[0].last = base;
    move.places[0].head = base << SHM_HEAD_VERSION_SHIFT;
    stages[0] = (struct stage){0, false};
    held = false;
    managed = true;
    writers_n = managers_n = 0;
    grant(NULL);
    manager_add();
    move_add_lookers();
    process_run_all();
    check_end();
}

static void describe(size_t offset, char *to, size_t bytes) {
    const struct snapshot *snapshot = &move.places[offset >= OFFSET + SPACING].snapshot;
    const uint8_t *at = region + offset, *buffers = snapshot->buffers;
    const char letter = offset >= OFFSET + SPACING ? 'B' : 'A';
    const size_t in = at >= buffers ? (size_t)(at - buffers) : 0;
    if (offset < OFFSET)
        snprintf(to, bytes, offset == 0 ? "generation" : "bell+%zu", offset - 128);
    else if (at >= buffers)
        snprintf(to, bytes, "%c buffer %zu %s+%zu", letter, in / snapshot->stride,
                 in % snapshot->stride == 0 ? "seq" : "", in % snapshot->stride);
    else
        snprintf(to, bytes, "%c %s+%zu", letter,
                 at == (uint8_t *)&snapshot->shared->head ? "head" : "control",
                 (size_t)(at - (uint8_t *)snapshot->shared));
}

const struct world move_world = {
    .name = "move",
    .open = open_places,
    .schedule = schedule,
    .describe = describe,
    .stored = stored,
};
