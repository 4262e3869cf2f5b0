/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's side of the header arena.
 */
#include "image.h"
#include "crc32c.h"
#include "mutant.h"
#include "shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int image_open(struct image *ret, void *shared, uint64_t bytes) {
    void *shadow = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shadow == MAP_FAILED)
        return -errno;
    *ret = (struct image){.shared = shared, .shadow = shadow, .bytes = bytes};
    return 0;
}

void image_close(struct image *image) {
    if (image->shadow != NULL)
        munmap(image->shadow, image->bytes);
    *image = (struct image){0};
}

static struct shm_header *shadow_header(const struct image *image) {
    return (struct shm_header *)(void *)image->shadow;
}

static struct shm_header *shared_header(const struct image *image) {
    return (struct shm_header *)(void *)image->shared;
}

const struct shm_header *image_header(const struct image *image) {
    return shadow_header(image);
}

/* Stores bytes at an offset, in both, if they are new there. */
static void put(struct image *image, uint64_t offset, const void *from, size_t bytes) {
    if (memcmp(image->shadow + offset, from, bytes) == 0)
        return;
    memcpy(image->shadow + offset, from, bytes);
    shared_copy_to(image->shared + offset, from, bytes);
}

/* The same for one word, which becomes visible after everything that was stored before it. */
#define PUT_WORD(image, member, bits, value)                                                       \
    do {                                                                                           \
        shadow_header(image)->member = (value);                                                    \
        shared_store_release##bits(&shared_header(image)->member, (value));                        \
    } while (0)

void image_create(struct image *image, const struct layout *layout,
                  const struct image_identity *identity) {
    struct shm_header h = {
        .magic = SHM_MAGIC,
        .abi = SHM_ABI,
        .header_bytes = sizeof h,
        .byte_order = SHM_BYTE_ORDER,
        .key = identity->key,
        .segment_bytes = layout->segment_bytes,
        .backend = identity->backend,
        .page_bytes = SHM_PAGE,
        .segment_id = identity->segment_id,
        .created_real_ns = identity->created_real_ns,
        .workers_off = layout->workers_off,
        .workers_capacity = layout->workers_capacity,
        .attachments_off = layout->attachments_off,
        .attachments_capacity = layout->attachments_capacity,
        .bells_capacity = layout->bells_capacity,
        .arena_start = layout->arena_start,
        .state = SHM_STATE_SERVING,
    };
    memcpy(h.boot_id, identity->boot_id, sizeof h.boot_id);
    h.crc = CRC32C_OF((const struct shm_header *)&h);
    memcpy(image->shadow, &h, sizeof h);
    const size_t magic = sizeof h.magic;
    shared_copy_to(image->shared + magic, (const uint8_t *)&h + magic, sizeof h - magic);
}

void image_reveal(struct image *image) {
    /* Pairs with the acquire load in directory_open(). */
    RELEASE64(REVEAL_RELAXED, &shared_header(image)->magic, SHM_MAGIC);
}

static void adopt_range(struct image *image, uint64_t offset, uint64_t bytes) {
    shared_copy_from(image->shadow + offset, image->shared + offset, bytes);
}

static uint64_t worker_at(const struct image *image, uint32_t index) {
    return shadow_header(image)->workers_off + (uint64_t)index * sizeof(struct shm_worker);
}

static uint64_t attachment_at(const struct image *image, uint32_t index) {
    return shadow_header(image)->attachments_off + (uint64_t)index * sizeof(struct shm_attachment);
}

/* How far the directory at a place is filled; 0 when it holds nothing that can be trusted. */
static uint64_t directory_filled(const uint8_t *base, const struct shm_directory_place *place) {
    struct shm_directory d;
    if (place->bytes < sizeof d)
        return 0;
    memcpy(&d, base + place->offset, sizeof d);
    uint64_t end = d.arenas_off + (uint64_t)d.arenas_used * sizeof(struct shm_arena);
    return d.crc == CRC32C_OF((const struct shm_directory *)&d) && end <= place->bytes ? end : 0;
}

void image_adopt_records(struct image *image, const struct layout *layout) {
    image->workers_used = layout->workers_used;
    adopt_range(image, worker_at(image, 0), image->workers_used * sizeof(struct shm_worker));
    const struct shm_attachment *shared = (const void *)(image->shared + attachment_at(image, 0));
    image->attachments_used = 0;
    for (uint32_t i = 0; i < layout->attachments_capacity; i++)
        if (shared_load_relaxed64(&shared[i].word) != 0)
            image->attachments_used = i + 1;
    adopt_range(image, attachment_at(image, 0),
                image->attachments_used * sizeof(struct shm_attachment));
}

void image_adopt(struct image *image, const struct directory *directory,
                 const struct layout *layout) {
    adopt_range(image, 0, sizeof(struct shm_header));
    memcpy(image->shadow, &directory->header, offsetof(struct shm_header, generation));
    shadow_header(image)->generation = layout->generation;
    memcpy(shadow_header(image)->directories, layout->directories, sizeof layout->directories);
    image_adopt_records(image, layout);
    /* The idle one too, whatever it holds: put() skips what the shadow says is there already. */
    for (uint64_t i = 0; i < 2; i++)
        if (!MUTANT(ADOPTS_HALF) || i == (layout->generation & 1))
            adopt_range(image, layout->directories[i].offset, layout->directories[i].bytes);
}

static int by_name(const void *a, const void *b, void *sections) {
    const struct shm_section *s = sections;
    return strcmp(s[*(const uint32_t *)a].name, s[*(const uint32_t *)b].name);
}

static uint32_t *make_index(const struct layout *layout, uint32_t *count) {
    uint32_t *index = calloc(layout->sections_used + 1, sizeof *index);
    *count = 0;
    for (uint32_t i = 0; index != NULL && i < layout->sections_used; i++)
        if (layout_place_in_force(layout->sections[i].state))
            index[(*count)++] = i;
    if (index != NULL)
        qsort_r(index, *count, sizeof *index, by_name, layout->sections);
    return index;
}

static void publish_workers(struct image *image, const struct layout *layout) {
    for (uint32_t i = 0; i < layout->workers_used; i++) {
        uint64_t at = worker_at(image, i);
        uint32_t crc = crc32c(layout->workers[i], SHM_NAME_BYTES);
        put(image, at, layout->workers[i], SHM_NAME_BYTES);
        put(image, at + offsetof(struct shm_worker, name_crc), &crc, sizeof crc);
    }
    if (layout->workers_used > image->workers_used)
        image->workers_used = layout->workers_used;
}

/* A new place may hold what stood there before. */
static void clear(struct image *image, const struct shm_directory_place *place) {
    memset(image->shadow + place->offset, 0, place->bytes);
    shared_clear(image->shared + place->offset, place->bytes);
}

/* Fills the idle directory, whose own generation is 0 while that lasts, so that a reader who comes
 * late, or the next manager, doesn't take it for whole. */
static void fill(struct image *image, const struct layout *next, uint64_t real_ns,
                 const uint32_t *index, uint32_t count) {
    const uint64_t idle = (next->generation + MUTANT(FILLS_IN_FORCE)) & 1;
    const struct shm_directory_place place = next->directories[idle];
    if (shadow_header(image)->directories[idle].offset != place.offset)
        clear(image, &place);
    struct shm_directory d = {.published_real_ns = real_ns};
    layout_directory_offsets(layout_directory_capacity(place.bytes), &d);
    put(image, place.offset, &d, sizeof d);
    shared_fence_release();
    put(image, place.offset + d.index_off, index, count * sizeof *index);
    for (uint32_t i = 0; i < next->sections_used; i++)
        put(image, place.offset + d.sections_off + (uint64_t)i * sizeof(struct shm_section),
            &next->sections[i], sizeof(struct shm_section));
    put(image, place.offset + d.arenas_off, next->arenas,
        next->arenas_used * sizeof(struct shm_arena));
    d.generation = next->generation;
    d.index_count = count;
    d.slots_used = next->sections_used;
    d.arenas_used = next->arenas_used;
    d.workers_used = next->workers_used;
    d.index_crc = crc32c(index, count * sizeof *index);
    d.crc = CRC32C_OF((const struct shm_directory *)&d);
    shared_fence_release();
    put(image, place.offset, &d, sizeof d);
    put(image, offsetof(struct shm_header, directories), next->directories,
        sizeof next->directories);
}

int image_publish(struct image *image, const struct layout *next, uint64_t real_ns) {
    uint32_t count;
    uint32_t *index = make_index(next, &count);
    if (index == NULL)
        return -ENOMEM;
    /* A reader of the generation before last may still copy from the idle directory: it finds the
     * generation changed behind its acquire fence, because the stores below come after this. */
    STEP(FILL_UNFENCED, shared_fence_release());
    if (MUTANT(FLIP_EARLY))
        PUT_WORD(image, generation, 64, next->generation);
    publish_workers(image, next);
    fill(image, next, real_ns, index, count);
    free(index);
    /* The flip.  Pairs with directory_generation(). */
    if (MUTANT(FLIP_RELAXED))
        shared_store_relaxed64(&shared_header(image)->generation, next->generation);
    PUT_WORD(image, generation, 64, next->generation);
    return 0;
}

/* No state but REPLACED has a successor, and that has one by image_replaced() alone. */
void image_state(struct image *image, enum shm_state state) {
    PUT_WORD(image, state, 32, (uint32_t)state);
    if (state != SHM_STATE_REPLACED)
        PUT_WORD(image, successor, 64, 0);
}

/* Pairs with directory_replaced(): who sees the state sees the successor. */
void image_replaced(struct image *image, uint64_t successor) {
    PUT_WORD(image, successor, 64, successor);
    image_state(image, SHM_STATE_REPLACED);
}

void image_bell(struct image *image, int bell_id) {
    PUT_WORD(image, bell_id, 32, (uint32_t)bell_id + 1);
}

void image_manager(struct image *image, uint32_t pid, uint64_t start, uint64_t epoch,
                   uint32_t interval_ms) {
    PUT_WORD(image, manager_pid, 32, pid);
    PUT_WORD(image, manager_start, 64, start);
    PUT_WORD(image, manager_epoch, 64, epoch);
    PUT_WORD(image, heartbeat_interval_ms, 32, interval_ms);
}

void image_heartbeat(struct image *image, uint64_t mono_ns, uint64_t real_ns) {
    PUT_WORD(image, heartbeat_real_ns, 64, real_ns);
    PUT_WORD(image, heartbeat_mono_ns, 64, mono_ns); /* pairs with directory_manager_alive() */
}

/* All of a record but its word; then the word, which pairs with COPY_RECORD in directory.c. */
static void put_record(struct image *image, uint64_t at, const void *record, size_t bytes,
                       size_t word_at) {
    const uint8_t *from = record;
    const size_t behind = word_at + sizeof(uint64_t);
    uint64_t word;
    memcpy(&word, from + word_at, sizeof word);
    uint64_t *shared = (uint64_t *)(void *)(image->shared + at + word_at);
    if (MUTANT(RECORD_WORD_EARLY))
        shared_store_release64(shared, word);
    /* A reader that meets a field of the new state in an old state's record finds the word changed:
     * pairs with the fence in COPY_RECORD, and orders the last word before these fields. */
    STEP(RECORD_UNFENCED, shared_fence_release());
    put(image, at, from, word_at);
    put(image, at + behind, from + behind, bytes - behind);
    memcpy(image->shadow + at + word_at, &word, sizeof word);
    RELEASE64(RECORD_WORD_RELAXED, shared, word);
}

void image_worker(struct image *image, uint32_t index, const struct shm_worker *record) {
    put_record(image, worker_at(image, index), record, sizeof *record,
               offsetof(struct shm_worker, word));
}

void image_attachment(struct image *image, uint32_t index, const struct shm_attachment *record) {
    put_record(image, attachment_at(image, index), record, sizeof *record,
               offsetof(struct shm_attachment, word));
    if (index >= image->attachments_used)
        image->attachments_used = index + 1;
}

struct shm_worker image_get_worker(const struct image *image, uint32_t index) {
    return *(const struct shm_worker *)(const void *)(image->shadow + worker_at(image, index));
}

struct shm_attachment image_get_attachment(const struct image *image, uint32_t index) {
    return *(const struct shm_attachment *)(const void *)(image->shadow +
                                                          attachment_at(image, index));
}

void image_rebase(struct image *image, void *shared) {
    image->shared = shared;
}

/* Word by word from the end, so that the magic and the generation come last. */
static size_t repair_range(struct image *image, uint64_t offset, uint64_t bytes, uint64_t *where) {
    if (memcmp(image->shared + offset, image->shadow + offset, bytes) == 0)
        return 0;
    size_t wrong = 0;
    for (uint64_t at = offset + bytes; at > offset;) {
        at -= sizeof(uint64_t);
        uint64_t *shared = (uint64_t *)(void *)(image->shared + at);
        uint64_t right = *(const uint64_t *)(const void *)(image->shadow + at);
        if (shared_load_relaxed64(shared) == right)
            continue;
        shared_store_release64(shared, right);
        wrong += sizeof right;
        *where = at;
    }
    return wrong;
}

size_t image_repair(struct image *image, uint64_t *where) {
    const struct shm_header *h = shadow_header(image);
    size_t wrong = 0;
    for (int i = 1; i >= 0; i--) {
        const struct shm_directory_place *place =
            &h->directories[(h->generation + (uint64_t)i) & 1];
        uint64_t filled = directory_filled(image->shadow, place);
        wrong += repair_range(image, place->offset, filled, where);
    }
    wrong += repair_range(image, attachment_at(image, 0),
                          image->attachments_used * sizeof(struct shm_attachment), where);
    wrong += repair_range(image, worker_at(image, 0),
                          image->workers_used * sizeof(struct shm_worker), where);
    return wrong + repair_range(image, 0, sizeof *h, where);
}
