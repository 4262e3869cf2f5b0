/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots: a value put and got while nobody else does; beside the same under a robust mutex for each
 * slot, and under a System V semaphore that is undone at its holder's end, as is usual there.
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <shmclient.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sem.h>

#define SAMPLES_MAX 20000
#define BATCH       64

enum act { PUT, GET };

struct locked {
    pthread_mutex_t mutex;
    _Alignas(LINE) uint8_t value[];
};

static struct locked *locked;
static int semaphore = -1;

/* One way of having slots; `act` puts from or gets to that memory. */
struct way {
    void (*open)(const struct bench *bench);
    void (*act)(enum act act, uint8_t *value, size_t bytes);
    void (*close)(void);
};

static double acts(const struct bench *bench, const struct way *way, enum act act) {
    static double samples[SAMPLES_MAX];
    const double wanted = bench->effort * 2000;
    const size_t n = wanted < 10 ? 10 : (size_t)wanted;
    way->open(bench);
    value_stamp(bench->from, bench->bytes, 1);
    way->act(PUT, bench->from, bench->bytes);
    for (size_t i = 0; i < n; i++) {
        const uint64_t started = time_ticks();
        for (size_t j = 0; j < BATCH; j++)
            way->act(act, act == PUT ? bench->from : bench->to, bench->bytes);
        samples[i] = time_span(started) / BATCH;
    }
    way->act(GET, bench->to, bench->bytes);
    if (value_check(bench->to, bench->bytes, "a slot") != 1)
        bench_die("a slot: another value than was put");
    way->close();
    return median(samples, n);
}

static void copy(enum act act, uint8_t *value, size_t bytes) {
    memcpy(act == PUT ? locked->value : value, act == PUT ? value : locked->value, bytes);
}

static void memory_open(const struct bench *bench) {
    void *at = mmap(NULL, sizeof *locked + bench->bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        bench_die("no memory");
    locked = at;
}

static void memory_close(void) {
    munmap(locked, sizeof *locked);
}

/* ---- ours */

static shmc_section *section;
static int slot;

static void slot_grab(const char *prefix, const struct bench *bench) {
    section = library_section(prefix, bench->bytes);
    slot = shmc_slot_grab(section, 0);
    library_must(slot);
}

static void slot_open(const struct bench *bench) {
    slot_grab("slots", bench);
}

/* With the time of the put, as is the table's default. */
static void stamped_open(const struct bench *bench) {
    slot_grab("stamped-slots", bench);
}

static void slot_act(enum act act, uint8_t *value, size_t bytes) {
    library_must(act == PUT ? shmc_slot_put(section, slot, value, bytes)
                            : shmc_slot_get(section, slot, value, bytes, NULL));
}

static void slot_close(void) {
    library_must(shmc_slot_release(section, slot));
    shmc_close(section);
}

#define stamped_act   slot_act
#define stamped_close slot_close

/* ---- a mutex */

static void mutex_open(const struct bench *bench) {
    pthread_mutexattr_t attributes;
    memory_open(bench);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (pthread_mutex_init(&locked->mutex, &attributes) != 0)
        bench_die("no robust mutex is to be had");
    pthread_mutexattr_destroy(&attributes);
}

static void mutex_act(enum act act, uint8_t *value, size_t bytes) {
    if (pthread_mutex_lock(&locked->mutex) != 0)
        bench_die("the mutex can't be locked");
    copy(act, value, bytes);
    pthread_mutex_unlock(&locked->mutex);
}

static void mutex_close(void) {
    pthread_mutex_destroy(&locked->mutex);
    memory_close();
}

/* ---- a semaphore */

static void semaphore_by(short how) {
    struct sembuf buf = {.sem_op = how, .sem_flg = SEM_UNDO};
    if (semop(semaphore, &buf, 1) < 0)
        bench_die("semop: %s", strerror(errno));
}

static void semaphore_open(const struct bench *bench) {
    memory_open(bench);
    semaphore = semget(IPC_PRIVATE, 1, 0600);
    if (semaphore < 0)
        bench_die("semget: %s", strerror(errno));
    semaphore_by(1);
}

static void semaphore_act(enum act act, uint8_t *value, size_t bytes) {
    semaphore_by(-1);
    copy(act, value, bytes);
    semaphore_by(1);
}

static void semaphore_close(void) {
    semctl(semaphore, 0, IPC_RMID);
    memory_close();
}

/* ---- the list */

#define WAY(name)                                                                                  \
    static const struct way way_##name = {name##_open, name##_act, name##_close};                  \
    static double name##_put(const struct bench *bench, const struct channel *channel) {           \
        (void)channel;                                                                             \
        return acts(bench, &way_##name, PUT);                                                      \
    }                                                                                              \
    static double name##_get(const struct bench *bench, const struct channel *channel) {           \
        (void)channel;                                                                             \
        return acts(bench, &way_##name, GET);                                                      \
    }

WAY(slot)
WAY(stamped)
WAY(mutex)
WAY(semaphore)

#define MEASURES(called, way, put_to, get_to)                                                      \
    {.name = called ".put", .limit = (put_to), .unit = "ns", .run = {way##_put, NULL}}, {          \
        .name = called ".get", .limit = (get_to), .unit = "ns", .run = { way##_get, NULL }         \
    }

const struct measure slot_measures[] = {
    MEASURES("slot", slot, "memcpy", "memcpy"),
    MEASURES("slot-stamped", stamped, "memcpy", "memcpy"),
    MEASURES("mutex", mutex, "slot.put", "slot.get"),
    MEASURES("semaphore", semaphore, "slot.put", "slot.get"),
    {.name = NULL},
};
