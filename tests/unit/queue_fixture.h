/* SPDX-License-Identifier: Apache-2.0
 *
 * What the queue's tests share: a queue with its doorbell and the attachments' records in memory
 * that threads and forked processes see, and senders and receivers who can be declared dead.
 */
#ifndef SHM_TESTS_QUEUE_FIXTURE_H
#define SHM_TESTS_QUEUE_FIXTURE_H

#include "core/queue.h"
#include "core/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define QUEUE_FIXTURE_PEOPLE 64u

struct queue_fixture {
    struct shm_section section;
    struct queue queue;
    struct shm_attachment *people; /* behind the doorbell */
    uint8_t *memory;
    size_t bytes;
};

static inline void queue_fixture_fail(const char *what) {
    fprintf(stderr, "queue fixture: %s\n", what);
    abort();
}

static inline void *queue_fixture_zeroed(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (memory == NULL)
        queue_fixture_fail("no memory");
    return memory;
}

/* Binds `ret` to a queue at `memory`; doorbell and people stand behind it. */
static inline void queue_fixture_bind(struct queue_fixture *ret, void *memory) {
    const char *field = NULL;
    struct shm_bell *bell = (void *)((uint8_t *)memory + ret->section.bytes);
    ret->memory = memory;
    ret->people = (void *)(bell + 1);
    const struct attachments attachments = {.at = ret->people, .capacity = QUEUE_FIXTURE_PEOPLE};
    if (queue_bind(&ret->queue, memory, &ret->section, bell, &attachments, &field) < 0)
        queue_fixture_fail(field);
}

static inline void queue_fixture_make(struct queue_fixture *ret, uint64_t size, uint32_t lanes,
                                      uint32_t flags) {
    struct queue_geometry g;
    if (!queue_geometry(&g, size, lanes))
        queue_fixture_fail("size");
    *ret = (struct queue_fixture){
        .section = {.section_id = 7,
                    .incarnation = 3,
                    .bytes = g.bytes,
                    .size = size,
                    .count = lanes,
                    .kind = SHM_KIND_QUEUE,
                    .state = SHM_PLACE_LIVE,
                    .flags = flags,
                    .claims_off = g.lanes_bytes,
                    .bell_index = 5},
    };
    ret->bytes =
        g.bytes + sizeof(struct shm_bell) + QUEUE_FIXTURE_PEOPLE * sizeof(struct shm_attachment);
    void *memory =
        mmap(NULL, ret->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        queue_fixture_fail("no memory");
    queue_format(memory, &ret->section);
    queue_fixture_bind(ret, memory);
}

static inline void queue_fixture_free(struct queue_fixture *fixture) {
    munmap(fixture->memory, fixture->bytes);
}

/* Somebody with this index, whose lease has this epoch. */
static inline struct attachment queue_fixture_person(struct queue_fixture *fixture, uint32_t index,
                                                     uint32_t epoch) {
    shared_store_release64(&fixture->people[index].word, (uint64_t)epoch << 8 | SHM_LEASE_LEASED);
    return (struct attachment){index, epoch};
}

static inline void queue_fixture_dies(struct queue_fixture *fixture, struct attachment who) {
    shared_store_release64(&fixture->people[who.index].word,
                           (uint64_t)(who.epoch + 1) << 8 | SHM_LEASE_FREE);
}

/* The result of queue_sender_open(); `ret` has its memory until queue_fixture_leave(). */
static inline int queue_fixture_try_sender(struct queue_fixture *fixture, struct queue_sender *ret,
                                           struct attachment who) {
    void *memory = queue_fixture_zeroed(queue_sender_bytes(&fixture->queue));
    const int r = queue_sender_open(ret, &fixture->queue, who, memory, NULL, NULL);
    if (r < 0)
        free(memory);
    return r;
}

static inline void queue_fixture_sender(struct queue_fixture *fixture, struct queue_sender *ret,
                                        struct attachment who) {
    if (queue_fixture_try_sender(fixture, ret, who) < 0)
        queue_fixture_fail("no lane");
}

/* Without closing it: as if it had died. */
static inline void queue_fixture_leave(struct queue_sender *sender) {
    free(sender->used);
}

static inline void queue_fixture_receiver(struct queue_fixture *fixture, struct queue_receiver *ret,
                                          struct attachment who) {
    queue_receiver_init(ret, &fixture->queue, who,
                        queue_fixture_zeroed(queue_receiver_bytes(&fixture->queue)));
}

static inline void queue_fixture_part(struct queue_receiver *receiver) {
    free(receiver->cursors);
}

#endif
