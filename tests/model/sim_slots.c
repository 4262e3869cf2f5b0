/* SPDX-License-Identifier: Apache-2.0
 *
 * One or two slots: processes that grab them, put values, hand them on and release them, each of
 * which may die at any access and has a successor under its attachment's next epoch; readers; and
 * now and then a manager who seals them.
 *
 * What must hold: a slot has one writer at a time; nobody takes it from one who lives and didn't
 * offer it, nor, looking for a free one, what stays; a value is whole, was put, and by one who had
 * the slot in the grab whose holder the reader is told; a process never sees a slot's value go
 * back.
 */
#include "sim.h"

#include "slots_fixture.h"

#include <errno.h>
#include <inttypes.h>

#define SIZE    40u
#define ROLES   8u
#define HOLDERS 3u
#define VALUES  256u
#define GRABS   128u

static const struct variant {
    uint32_t count, flags;
} variants[] = {
    {1, SHM_SECTION_STAMP_NONE},
    {2, SHM_SECTION_STAMP_NONE},
    {1, SHM_SECTION_STAMP_NONE | SHM_SECTION_PREGRAB},
    {2, SHM_SECTION_STAMP_NONE | SHM_SECTION_CLEAR},
};
#define VARIANTS (sizeof variants / sizeof *variants)
#define COUNT    2u

static struct slots_fixture fixtures[VARIANTS];
static uint8_t region[8192] __attribute__((aligned(4096)));

/* The schedule that runs. */
static struct slots_fixture *fixture;
static struct slots *slots;

static struct role {
    struct slots_holder holder;
    struct slot_mine mine[COUNT];
    enum { IDLE, GRABBING, FGRABBING, TAKING } doing;
    unsigned rounds;
    uint64_t serial; /* of the value that it known */
    bool dead;
} roles[ROLES];
static unsigned roles_n;

/* What only those who watch know of each slot. */
static struct truth {
    uint64_t word;    /* owner */
    uint64_t version; /* of the head */
    uint64_t grab;    /* how many there were */
    uint64_t ticket;  /* that somebody may find; 0: none */
    unsigned had_by[GRABS];
} truths[COUNT];
static struct put {
    unsigned slot;
    uint64_t grab, version;
    bool published;
} known[VALUES];
static uint64_t serials;
static bool sealed;
static bool brisk; /* nothing but grab, put and release, often: a word comes again */

static struct slot_item {
    unsigned slot;
    size_t at;
} item_of(size_t offset) {
    const size_t in = offset - sizeof(struct shm_control);
    return (struct slot_item){(unsigned)(in / slots->stride), in % slots->stride};
}

static bool is_item(size_t offset) {
    return offset >= sizeof(struct shm_control) && offset < fixture->section.bytes;
}

static int role_of(struct attachment who) {
    for (unsigned i = 0; i < roles_n; i++)
        if (roles[i].holder.who.index == who.index && roles[i].holder.who.epoch == who.epoch)
            return (int)i;
    return -1;
}

/* ---- what the memory says */

static bool holds(const struct role *role, uint64_t word) {
    return owner_state(word) == SHM_OWNER_HELD && role_of(owner_of(word)) == (int)(role - roles);
}

static void taken(struct truth *truth, const struct role *role, uint64_t before) {
    const enum shm_owner_state state = owner_state(before);
    const int last = role_of(owner_of(before));
    const bool stays = state != SHM_OWNER_FREE && (before & SHM_OWNER_STAYS) != 0;
    const bool lives = (state == SHM_OWNER_HELD || state == SHM_OWNER_OFFERED) && last >= 0 &&
                       &roles[last] != role && !roles[last].dead;
    if (lives && !(state == SHM_OWNER_OFFERED && role->doing == TAKING))
        violation("a slot is taken from one who lives");
    if (stays && role->doing == GRABBING)
        violation("a slot that stays is found to be free");
    if (sealed)
        violation("a slot is taken that is sealed");
    if (role->doing != TAKING && !stays &&
        (last < 0 || &roles[last] != role || state == SHM_OWNER_FREE))
        truth->grab++;
    if (truth->grab >= GRABS)
        violation("so many grabs");
    else
        truth->had_by[truth->grab] |= 1u << (unsigned)(role - roles);
}

static void owner_stored(struct truth *truth, uint64_t word) {
    const struct role *role = current->argument;
    const uint64_t before = truth->word;
    truth->word = word;
    if (role != NULL && holds(role, word) && !holds(role, before))
        taken(truth, role, before);
}

static void stored(size_t offset, uint64_t value) {
    if (!is_item(offset))
        return;
    const struct slot_item item = item_of(offset);
    const struct role *role = current->argument;
    struct truth *truth = &truths[item.slot];
    if (item.at == offsetof(struct shm_slot, owner)) {
        owner_stored(truth, value);
        return;
    }
    if (role == NULL || !holds(role, truth->word)) {
        violation("somebody writes to slot %u who doesn't hold it", item.slot);
        return;
    }
    if (item.at != offsetof(struct shm_slot, head))
        return;
    const uint64_t version = value >> 1;
    if (version != truth->version + 1)
        violation("slot %u goes from version %" PRIu64 " to %" PRIu64, item.slot, truth->version,
                  version);
    truth->version = version;
    known[role->serial] =
        (struct put){.slot = item.slot, .grab = truth->grab, .version = version, .published = true};
}

/* ---- those who look */

static void check_value(unsigned slot, const uint64_t *data, ssize_t n,
                        const struct slot_look *look, uint64_t least) {
    const uint64_t serial = data[0];
    if (serial >= VALUES || !known[serial].published || known[serial].slot != slot)
        violation("slot %u: a value that wasn't put", slot);
    else if (!value_whole(data, (size_t)n, serial) || look->version != known[serial].version ||
             (size_t)n != VALUE_LEAST + serial % 3 * 8)
        violation("slot %u: value %" PRIu64 " is torn", slot, serial);
    else if (look->version < least)
        violation("slot %u: version %" PRIu64 " is read after %" PRIu64, slot, look->version,
                  least);
    else if (look->holder.index != 0 &&
             (role_of(look->holder) < 0 ||
              (truths[slot].had_by[known[serial].grab] >> role_of(look->holder) & 1) == 0))
        violation("slot %u: value %" PRIu64 " is of a grab before its holder's", slot, serial);
}

/* `own`: the caller has put a value there. */
static void look_once(unsigned slot, uint64_t *last, bool own) {
    uint64_t data[SIZE / 8];
    struct slot_look look;
    const ssize_t n = slots_get(slots, slot, data, sizeof data, &look);
    if (n >= 0) {
        check_value(slot, data, n, &look, *last);
        *last = look.version;
    } else if (own || (n != -ENODATA && n != -ENOENT && n != -EAGAIN)) {
        violation("slot %u: a get gives error %zd", slot, n);
    }
}

static void read_values(struct process *process) {
    uint64_t last[COUNT] = {0};
    (void)process;
    for (unsigned reads = brisk ? 40 : 3 + sim_below(8); reads > 0; reads--) {
        const unsigned slot = sim_below(slots->count);
        look_once(slot, &last[slot], false);
    }
}

/* ---- those who hold */

static void put(struct role *role, unsigned slot) {
    uint64_t value[SIZE / 8];
    if (serials + 1 >= VALUES)
        return;
    role->serial = ++serials;
    const size_t bytes = VALUE_LEAST + role->serial % 3 * 8;
    value_make(value, bytes, role->serial, (uint64_t)(role - roles));
    const int r = slots_put(slots, &role->holder, slot, value, bytes);
    uint64_t last = truths[slot].version;
    if (r < 0)
        violation("a put gives error %d", r);
    else if (!brisk)
        look_once(slot, &last, true);
}

static int acquire(struct role *role, unsigned *slot) {
    const uint32_t flags = !brisk && sim_below(3) == 0 ? SHM_OWNER_STAYS : 0;
    struct attachment by;
    const uint64_t ticket = truths[*slot].ticket;
    int r;
    if (ticket != 0 && sim_below(2) == 0) {
        role->doing = TAKING;
        r = slots_take(slots, &role->holder, *slot, ticket);
        if (r < 0 && r != -ESTALE && r != -EAGAIN)
            violation("taking a slot gives error %d", r);
    } else if (!brisk && sim_below(3) == 0) {
        role->doing = FGRABBING;
        r = slots_fgrab(slots, &role->holder, *slot, flags, &by);
        if (r < 0 && r != -EBUSY && r != -EAGAIN)
            violation("grabbing slot %u gives error %d", *slot, r);
    } else {
        role->doing = GRABBING;
        r = slots_grab(slots, &role->holder, flags);
        if (r < 0 && r != -ENOSPC && r != -EAGAIN)
            violation("grabbing a slot gives error %d", r);
        *slot = r >= 0 ? (unsigned)r : *slot;
    }
    role->doing = IDLE;
    return r;
}

static void give_up(struct role *role, unsigned slot) {
    struct attachment by;
    uint64_t ticket;
    if (!brisk && sim_below(3) == 0 && slots_offer(slots, &role->holder, slot, &ticket) == 0) {
        truths[slot].ticket = ticket;
        if (sim_below(2) == 0)
            return;
        /* Somebody else may have taken it. */
        const int r = slots_release(slots, &role->holder, slot, &by);
        if (r < 0 && r != -EBUSY && r != -ENOENT && r != -EAGAIN)
            violation("releasing what was offered gives error %d", r);
        return;
    }
    const int r = slots_release(slots, &role->holder, slot, &by);
    if (r < 0)
        violation("a release gives error %d", r);
}

static void hold_slots(struct process *process) {
    struct role *role = process->argument;
    for (; role->rounds > 0 && !violated(); role->rounds--) {
        unsigned slot = sim_below(slots->count);
        if (acquire(role, &slot) < 0)
            continue;
        for (unsigned n = brisk ? 1 : sim_below(4); n > 0; n--)
            put(role, slot);
        if (brisk || sim_below(8) > 0)
            give_up(role, slot);
    }
}

static void succeed(struct process *dead);

static struct process *holder_add(const char *name, uint32_t attachment, uint32_t epoch) {
    struct role *role = &roles[roles_n++];
    *role = (struct role){
        .holder = {.who = {attachment, epoch}, .pid = 1000 + roles_n, .mine = role->mine},
        .rounds = brisk ? 12 : 1 + sim_below(5),
    };
    struct process *process = process_add(name, hold_slots, role);
    if (!brisk && roles_n + HOLDERS <= ROLES && sim_below(3) > 0) {
        process->dies_in = 1 + sim_below(100);
        process->died = succeed;
    }
    return process;
}

/* The manager learns of it, counts the attachment on, and grants it to the next. */
static void end_and_hold(struct process *process) {
    const struct role *role = process->argument;
    uint64_t *word = &fixture->attachments[role->holder.who.index].word;
    const uint64_t epoch = role->holder.who.epoch;
    shared_store_release64(word, epoch << 8);
    shared_store_release64(word, epoch << 8 | SHM_LEASE_LEASED);
    hold_slots(process);
}

static void succeed(struct process *dead) {
    struct role *role = dead->argument;
    role->dead = true;
    struct process *next =
        holder_add("successor", role->holder.who.index, role->holder.who.epoch + 1);
    next->run = end_and_hold;
    next->dies_in += next->dies_in > 0 ? 3 : 0; /* not before it is granted */
    thread_join(&next->thread, &dead->thread);
}

static void seal_slots(struct process *process) {
    struct attachment by;
    (void)process;
    for (unsigned rounds = 1 + sim_below(3); rounds > 0; rounds--) {
        if (slots_seal(slots, &by) < 0)
            continue;
        sealed = true;
        for (unsigned i = 0; i < slots->count; i++)
            if (owner_state(truths[i].word) != SHM_OWNER_SEALED)
                violation("slot %u isn't sealed", i);
        read_values(process);
        sealed = false;
        slots_unseal(slots);
    }
}

/* ---- the world */

static void open_sections(void) {
    memory_open(region, sizeof region);
    for (size_t i = 0; i < VARIANTS; i++) {
        struct slots_fixture *made = &fixtures[i];
        slots_fixture_make(made, SIZE, variants[i].count, variants[i].flags);
        for (uint32_t j = 1; j <= HOLDERS; j++)
            slots_fixture_attach(made, j);
        void *image = made->memory;
        memcpy(region, image, made->bytes);
        slots_fixture_bind(made, region);
        made->memory = image;
    }
}

/* A slot goes to another and comes back while a reader takes one value, and not more often: its
 * buffer would be used again. */
static void pace(void) {
    process_at(0)->weight = process_at(1)->weight = 8;
    process_at(2)->weight = 2 + sim_below(4);
}

static void schedule(void) {
    static const unsigned stale[] = {0, 16, 64, 128};
    brisk = sim_below(4) == 0;
    fixture = &fixtures[brisk ? 0 : sim_below(VARIANTS)];
    slots = &fixture->slots;
    memory_reset(fixture->memory, fixture->bytes, stale[sim_below(4)]);
    memset(truths, 0, sizeof truths);
    memset(known, 0, sizeof known);
    serials = 0;
    roles_n = 0;
    sealed = false;
    for (uint32_t i = 1; i <= (brisk ? 2 : HOLDERS); i++)
        holder_add("holder", i, 1);
    process_add("reader 1", read_values, NULL);
    if (brisk)
        pace();
    else
        process_add("reader 2", read_values, NULL);
    if (!brisk && sim_below(4) == 0)
        process_add("manager", seal_slots, NULL);
    process_run_all();
}

static void describe(size_t offset, char *to, size_t bytes) {
    static const char *const words[] = {"owner", "head", "grabs", "since", "pid"};
    if (!is_item(offset)) {
        snprintf(to, bytes, "attachment+%zu", offset - fixture->section.bytes);
        return;
    }
    const struct slot_item item = item_of(offset);
    if (item.at / 8 < sizeof words / sizeof *words)
        snprintf(to, bytes, "slot %u %s", item.slot, words[item.at / 8]);
    else
        snprintf(to, bytes, "slot %u buffer %zu+%zu", item.slot,
                 (item.at - sizeof(struct shm_slot)) / slots->buffer_bytes,
                 (item.at - sizeof(struct shm_slot)) % slots->buffer_bytes);
}

const struct world slots_world = {
    .name = "slots",
    .open = open_sections,
    .schedule = schedule,
    .describe = describe,
    .stored = stored,
};
