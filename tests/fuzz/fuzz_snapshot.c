/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot section with any bytes changed, also while it is read or written, under a descriptor
 * that may be wrong as well: nothing outside its memory is touched, and no call goes on for ever.
 */
#include "core/crc32c.h"
#include "core/futex.h"
#include "core/snapshot.h"
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#define SIZE   200u
#define COUNT  3u
#define STRIDE 320u
#define BYTES  (sizeof(struct shm_snapshot) + COUNT * STRIDE)
/* A reader gives up after so many laps of a handful of accesses each; half a second under
 * sanitizers, and so the run is ended before. */
#define ACCESSES 3000u

static uint8_t *memory, right[BYTES + sizeof(struct shm_section)];
static struct shm_bell bell;
static struct shm_section section;

static const struct target targets[] = {
    {0, SHM_LINE},
    {SHM_LINE, 8},
    {sizeof(struct shm_snapshot), SHM_LINE},
    {sizeof(struct shm_snapshot) + STRIDE, SHM_LINE},
    {sizeof(struct shm_snapshot) + 2 * STRIDE, SHM_LINE},
    {0, BYTES},
};

static void fix(void) {
    struct shm_control *control = (struct shm_control *)(void *)memory;
    control->crc = CRC32C_OF((const struct shm_control *)control);
}

static struct victim victim;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    section = (struct shm_section){.section_id = 7,
                                   .incarnation = 3,
                                   .bytes = BYTES,
                                   .size = SIZE,
                                   .count = COUNT,
                                   .kind = SHM_KIND_SNAPSHOT,
                                   .state = SHM_PLACE_LIVE};
    struct snapshot snapshot;
    struct snapshot_writer writer;
    const char *field;
    /* On the heap, so that the byte behind it is out of bounds. */
    MUST((memory = aligned_alloc(SHM_LINE, BYTES)) != NULL);
    memset(memory, 0, BYTES);
    snapshot_format(memory, &section);
    MUST(snapshot_bind(&snapshot, memory, &section, &bell, &field) == 0);
    MUST(snapshot_take_over(&writer, &snapshot, 1) == 0);
    for (int i = 0; i < 5; i++)
        MUST(snapshot_publish(&writer, "forty-two bytes, or so it seems to be....", 42) == 0);
    memcpy(right, memory, BYTES);
    victim = (struct victim){.memory = memory,
                             .right = right,
                             .targets = targets,
                             .targets_n = sizeof targets / sizeof *targets,
                             .fix = fix};
    return 0;
}

static void read_all(const struct snapshot *snapshot, struct input *input) {
    struct snapshot_reader reader;
    struct snapshot_value value;
    struct futex_word word;
    const void *data = NULL;
    size_t room = take_below(input, SIZE + 100);
    uint8_t *buffer = malloc(room + 1);
    snapshot_reader_init(&reader, snapshot);
    /* volatile: what is freed behind the jump */
    uint8_t *volatile kept = buffer;
    if (sigsetjmp(damage_jump, 0) == 0) {
        damage_limit(ACCESSES);
        ssize_t n = snapshot_read(&reader, buffer, room, &value);
        MUST(n <= (ssize_t)room);
        MUST(n != -EMSGSIZE || value.length > room);
        for (uint64_t version = 0; version < 8; version++) {
            n = snapshot_read_version(&reader, version, buffer, room, &value);
            MUST(n <= (ssize_t)room);
        }
        n = snapshot_read_version(&reader, take_number(input, 5), buffer, room, &value);
        MUST(n <= (ssize_t)room);
        if (snapshot_view(&reader, &data, &value) == 0) {
            volatile uint8_t sum = 0;
            MUST(value.length <= snapshot->room);
            for (uint64_t i = 0; i < value.length; i++)
                sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
            snapshot_valid(&reader, &value);
        }
        snapshot_ring(&reader);
        snapshot_arm(&reader, take(input, 1), &word);
        snapshot_version(snapshot);
    }
    damage_limit(0);
    free(kept);
}

static void write_some(struct snapshot *snapshot, struct input *input) {
    static const uint8_t value[STRIDE] = {1, 2, 3};
    struct snapshot_writer writer;
    void *data;
    size_t room;
    uint64_t version;
    if (snapshot_take_over(&writer, snapshot, 2) < 0 &&
        (!snapshot_mend(snapshot, &version) || snapshot_take_over(&writer, snapshot, 2) < 0))
        return;
    for (int i = 0; i < 6; i++) {
        size_t bytes = take_below(input, STRIDE);
        int r = snapshot_publish(&writer, value, bytes);
        MUST(r == 0 || (r == -EMSGSIZE && bytes > snapshot->size));
        bell.hint = take_number(input, writer.versions[0] << 8);
        bell.want = (uint32_t)take(input, 1);
    }
    MUST(snapshot_begin(&writer, &data, &room) == 0);
    memset(data, 9, room);
    MUST(snapshot_commit(&writer, room) == 0);
    MUST(snapshot_begin(&writer, &data, &room) == 0);
    snapshot_abort(&writer);
}

static void damage_descriptor(struct input *input, struct shm_section *s) {
    switch (take_below(input, 12)) {
    case 0: /* never more than there is: the directory sees to that */
        s->bytes =
            sizeof(struct shm_snapshot) + take(input, 2) % (BYTES - sizeof(struct shm_snapshot));
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    struct shm_section found = section;
    struct snapshot snapshot;
    const char *field = NULL;
    bool writes = take_below(&input, 2) != 0;
    victim.fixes = take_below(&input, 2) != 0;
    damage_descriptor(&input, &found);
    bell = (struct shm_bell){0};
    damage_begin(&victim, &input);
    int r = snapshot_bind(&snapshot, memory, &found, &bell, &field);
    MUST(r == 0 || (r == -EBADMSG && field != NULL));
    if (r == 0) {
        MUST(snapshot.buffers >= memory &&
             snapshot.buffers + snapshot.count * snapshot.stride <= memory + found.bytes);
        if (writes)
            write_some(&snapshot, &input);
        else
            read_all(&snapshot, &input);
    }
    memcpy(memory, right, BYTES);
    damage_end();
    return 0;
}
