/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots with any bytes changed, also while they are grabbed, put or read, under a descriptor that
 * may be wrong as well, and images of slots that are anything: nothing outside their memory is
 * touched, no call goes on for ever, and whatever is done to one slot, the value of the next one is
 * what its holder put.
 */
#include "core/crc32c.h"
#include "core/geometry.h"
#include "core/slots.h"
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#define SIZE  120u
#define COUNT 3u
#define OURS  1u /* the slot that nobody damages, where the holder of the first is hostile */
/* A reader gives up after so many laps of a handful of accesses each; half a second under
 * sanitizers, and so the run is ended before. */
#define ACCESSES 5000u

enum { HOSTILE = 1, OTHER, DEAD, SELF, ATTACHMENTS };

static struct shm_attachment records[ATTACHMENTS];
static const struct attachments attachments = {.at = records, .capacity = ATTACHMENTS};

/* Of whole values, and shared. */
static struct kind {
    struct shm_section section;
    struct slots_geometry geometry;
    uint8_t *memory, *right;
    struct slots slots; /* as it is right */
    struct slots_holder other;
    struct slot_mine mine[COUNT];
    struct target all[8], first[4];
    struct victim victim, hostile;
} kinds[2];
static const struct kind *damaged; /* for fix() */

static const char value[SIZE] = "what the holder of the second slot put there";

static struct attachment who(uint32_t index) {
    return (struct attachment){index, index == DEAD ? 4 : 5};
}

static void fix(void) {
    struct shm_control *control = (struct shm_control *)(void *)damaged->memory;
    control->crc = CRC32C_OF((const struct shm_control *)control);
}

/* ---- slots in use */

static void hold(const struct slots *slots, uint32_t index, uint32_t by, unsigned puts,
                 struct slots_holder *holder) {
    struct attachment holds;
    holder->who = who(by);
    MUST(slots_fgrab(slots, holder, index, 0, &holds) == 0);
    for (unsigned i = 0; i < puts; i++)
        MUST(slots_put(slots, holder, index, value, sizeof value - i) == 0);
}

static void aim(struct kind *k) {
    const size_t slot = sizeof(struct shm_control), stride = k->geometry.stride;
    const struct target first[] = {
        {slot, SHM_LINE}, {slot, 16}, {slot + sizeof(struct shm_slot), 64}, {slot, stride}};
    const struct target rest[] = {{0, SHM_LINE},
                                  {slot + stride, stride},
                                  {slot + 2 * stride, SHM_LINE},
                                  {0, k->geometry.bytes}};
    memcpy(k->first, first, sizeof first);
    memcpy(k->all, first, sizeof first);
    memcpy(k->all + 4, rest, sizeof rest);
    k->victim = (struct victim){
        .memory = k->memory, .right = k->right, .targets = k->all, .targets_n = 8, .fix = fix};
    k->hostile = k->victim;
    k->hostile.targets = k->first;
    k->hostile.targets_n = 4;
}

static void make(struct kind *k, uint32_t flags) {
    const char *field;
    struct slot_mine mine[COUNT] = {0};
    struct slots_holder holder = {.mine = mine};
    MUST(slots_geometry(&k->geometry, SIZE, COUNT, (flags & SHM_SECTION_SHARED) != 0));
    k->section = (struct shm_section){.section_id = 7,
                                      .incarnation = 3,
                                      .bytes = k->geometry.bytes,
                                      .size = SIZE,
                                      .count = COUNT,
                                      .flags = flags,
                                      .kind = SHM_KIND_SLOTS,
                                      .state = SHM_PLACE_LIVE};
    /* On the heap, so that the byte behind it is out of bounds. */
    MUST((k->memory = aligned_alloc(SHM_LINE, k->geometry.bytes)) != NULL);
    MUST((k->right = malloc(k->geometry.bytes)) != NULL);
    memset(k->memory, 0, k->geometry.bytes);
    slots_format(k->memory, &k->section);
    MUST(slots_bind(&k->slots, k->memory, &k->section, &attachments, &field) == 0);
    k->other.mine = k->mine;
    hold(&k->slots, 0, HOSTILE, 3, &holder);
    hold(&k->slots, OURS, OTHER, 2, &k->other);
    memset(mine, 0, sizeof mine);
    hold(&k->slots, 2, DEAD, 1, &holder);
    memcpy(k->right, k->memory, k->geometry.bytes);
    aim(k);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    for (uint32_t i = 1; i < ATTACHMENTS; i++)
        records[i].word = 5 << 8 | SHM_LEASE_LEASED;
    records[DEAD].word = 4 << 8 | SHM_LEASE_LEASED; /* while he puts */
    make(&kinds[0], 0);
    make(&kinds[1], SHM_SECTION_SHARED);
    records[DEAD].word = 5 << 8 | SHM_LEASE_FREE;
    return 0;
}

/* ---- readers */

static uint8_t *buffer_kept; /* freed behind the jump */

static void read_all(const struct slots *slots, struct input *input) {
    const size_t room = take_below(input, 2 * SIZE);
    uint8_t *buffer = buffer_kept = malloc(room);
    struct slot_look look;
    MUST(buffer != NULL || room == 0);
    for (uint32_t i = 0; i < slots->count; i++) {
        const ssize_t n = slots_get(slots, i, buffer, room, &look);
        MUST(n <= (ssize_t)room && (n < 0 || look.has_data));
        MUST(n >= 0 || n == -ENODATA || n == -ENOENT || n == -EAGAIN || n == -EBADMSG ||
             n == -EMSGSIZE);
        MUST(n != -EMSGSIZE || look.length > room);
        MUST(!look.has_data || look.length <= slots->size);
        MUST(look.holder.index < ATTACHMENTS);
        slots_look(slots, i, &look);
        MUST(look.holder.index < ATTACHMENTS);
    }
    MUST(slots_free(slots) <= slots->count);
}

/* Whatever is done to the first, the second is what it was, and goes on. */
static void read_ours(struct kind *k, const struct slots *slots) {
    char buffer[SIZE];
    struct slot_look look;
    const bool shared = (k->section.flags & SHM_SECTION_SHARED) != 0;
    const size_t length = shared ? SIZE : SIZE - 1;
    for (unsigned i = 0; i < 3; i++) {
        MUST(slots_get(slots, OURS, buffer, sizeof buffer, &look) ==
             (ssize_t)(i == 0 ? length : SIZE));
        MUST(look.holder.index == OTHER && look.in_use && !look.stays);
        MUST(memcmp(buffer, value, length) == 0);
        MUST(slots_put(slots, &k->other, OURS, value, SIZE) == 0);
        slots_look(slots, 0, &look);
    }
    slots_get(slots, 0, buffer, sizeof buffer, &look);
}

/* ---- holders */

static void hold_some(const struct slots *slots, struct input *input) {
    static const char some[2 * SIZE] = "what we put";
    struct slot_mine mine[COUNT] = {0};
    struct slots_holder holder = {.who = who(SELF), .mine = mine};
    struct attachment by;
    uint64_t ticket = 0;
    for (unsigned i = 0; i < 24; i++) {
        const uint32_t slot = take_below(input, COUNT);
        const uint32_t flags = take_below(input, 4) == 0 ? SHM_OWNER_STAYS : 0;
        int e = 0;
        switch (take_below(input, 8)) {
        case 0:
            e = slots_grab(slots, &holder, flags);
            MUST(e < (int)COUNT);
            break;
        case 1:
            e = slots_fgrab(slots, &holder, slot, flags, &by);
            MUST(e != -EBUSY || by.index != SELF);
            break;
        case 2:
            e = slots_release(slots, &holder, slot, &by);
            break;
        case 3:
            e = slots_offer(slots, &holder, slot, &ticket);
            break;
        case 4:
            if (take_below(input, 4) == 0)
                ticket = take_number(input, ticket);
            e = slots_take(slots, &holder, slot, ticket);
            break;
        case 5:
            e = slots_seal(slots, &by);
            if (e == 0)
                slots_unseal(slots);
            break;
        default:
            e = slots_put(slots, &holder, slot, some, take_below(input, SIZE + 20));
            break;
        }
        MUST(e >= 0 || e == -ENOSPC || e == -EAGAIN || e == -EBUSY || e == -EBADMSG ||
             e == -ENOENT || e == -EMSGSIZE || e == -ESTALE || e == -EINVAL);
    }
}

/* ---- images */

static void put_image(const struct kind *k, const void *image, size_t bytes) {
    uint8_t *fresh = aligned_alloc(SHM_LINE, k->geometry.bytes);
    struct slots slots;
    struct slot_look look;
    uint8_t buffer[SIZE];
    const char *field;
    MUST(fresh != NULL);
    memset(fresh, 0, k->geometry.bytes);
    slots_format(fresh, &k->section);
    MUST(slots_bind(&slots, fresh, &k->section, &attachments, &field) == 0);
    const int e = slots_image_put(&slots, image, bytes, bytes % 2 != 0);
    MUST(e == 0 || e == -EBADMSG);
    for (uint32_t i = 0; i < COUNT; i++) {
        const ssize_t n = slots_get(&slots, i, buffer, sizeof buffer, &look);
        MUST((n >= 0 && e == 0) || n == -ENODATA || (k->section.flags & SHM_SECTION_SHARED) != 0);
        MUST(n <= (ssize_t)sizeof buffer);
    }
    free(fresh);
}

/* What was taken of damaged memory is an image all the same; then it is damaged itself. */
static void carry(const struct kind *k, const struct slots *slots, struct input *input) {
    const size_t room = slots_image_room(slots);
    uint8_t *image = calloc(1, room + 1);
    uint8_t *volatile kept = image;
    MUST(image != NULL);
    if (sigsetjmp(damage_jump, 0) == 0) {
        damage_limit(ACCESSES);
        const ssize_t n = slots_image_take(slots, image);
        damage_limit(0);
        MUST(n <= (ssize_t)room && (n >= 0 || n == -EAGAIN));
        if (n > 0) {
            put_image(k, image, (size_t)n);
            for (uint32_t i = take_below(input, 4); i > 0; i--)
                image[take_below(input, (uint32_t)n)] = (uint8_t)take(input, 1);
            const size_t cut = take_below(input, (uint32_t)n) * (size_t)take_below(input, 2);
            uint8_t *exact = malloc((size_t)n - cut); /* so that the byte behind is out of bounds */
            MUST(exact != NULL);
            memcpy(exact, image, (size_t)n - cut);
            put_image(k, exact, (size_t)n - cut);
            free(exact);
        }
    }
    damage_limit(0);
    free(kept);
}

/* ---- courses */

static void damage_descriptor(struct input *input, const struct kind *k, struct shm_section *s) {
    switch (take_below(input, 12)) {
    case 0: /* never more than there is: the directory sees to that */
        s->bytes = sizeof(struct shm_control) +
                   take(input, 2) % (k->geometry.bytes - sizeof(struct shm_control));
        break;
    case 1:
        s->size = take_number(input, s->size);
        break;
    case 2:
        s->count = (uint32_t)take_number(input, s->count);
        break;
    case 3:
        s->flags = (uint32_t)take(input, 4);
        break;
    default:
        break;
    }
}

enum course { HOSTILE_HOLDER, READS, HOLDS, CARRIES, COURSES };

static void run_course(enum course course, struct kind *k, const struct slots *slots,
                       struct input *input) {
    struct slot_mine mine[COUNT];
    memcpy(mine, k->mine, sizeof mine);
    if (course == CARRIES) {
        carry(k, slots, input);
    } else if (sigsetjmp(damage_jump, 0) == 0) {
        damage_limit(ACCESSES);
        if (course == HOSTILE_HOLDER)
            read_ours(k, slots);
        else if (course == READS)
            read_all(slots, input);
        else
            hold_some(slots, input);
    }
    damage_limit(0);
    free(buffer_kept);
    buffer_kept = NULL;
    memcpy(k->mine, mine, sizeof mine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    const enum course course = (enum course)take_below(&input, COURSES);
    struct kind *k = &kinds[take_below(&input, 2)];
    struct victim *victim = course == HOSTILE_HOLDER ? &k->hostile : &k->victim;
    struct shm_section found = k->section;
    struct slots slots;
    const char *field = NULL;
    victim->fixes = take_below(&input, 2) != 0;
    damaged = k;
    if (course == READS || course == HOLDS)
        damage_descriptor(&input, k, &found);
    damage_begin(victim, &input);
    const int r = slots_bind(&slots, k->memory, &found, &attachments, &field);
    MUST(r == 0 || (r == -EBADMSG && field != NULL));
    if (r == 0) {
        MUST(slots.items >= k->memory &&
             slots.items + slots.count * slots.stride <= k->memory + found.bytes);
        run_course(course, k, &slots, &input);
    }
    damage_end();
    memcpy(k->memory, k->right, k->geometry.bytes);
    return 0;
}
