/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's side, and what must hold.
 */
#include "office.h"
#include "backend.h"
#include "core/futex.h"
#include "office_parts.h"
#include "scenery.h"
#include "scratch.h"
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY        0x53484d5fu
#define PATIENCE_S 60 /* a stepped manager is slow, on a busy machine even more so */

uint8_t *office_segment;
bool office_anonymous;

static uint8_t *segment_before;
static struct table table;
static uid_t worker_uids[SCENERY_ROWS_MAX];
static uint32_t cam;
static char still_file[64];
static struct office_client still;

static void leases_path(char *ret, size_t bytes, const char *file) {
    snprintf(ret, bytes, "%s/%08x.leases/%s", scratch_directory, KEY, file);
}

/* ---- the directory */

/* Calls `each` (NULL: none) with the path of each lease, but that of `still`. */
static unsigned each_file(int (*each)(const char *)) {
    char path[400];
    unsigned n = 0;
    leases_path(path, sizeof path, "");
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, still_file) == 0)
            continue;
        leases_path(path, sizeof path, entry->d_name);
        n++;
        if (each != NULL)
            each(path);
    }
    if (directory != NULL)
        closedir(directory);
    return n;
}

unsigned office_files(void) {
    return each_file(NULL);
}

/* ---- the manager */

int office_manager(struct manager *m) {
    const char *field = "";
    char error[512] = "";
    struct directory directory;
    *m = (struct manager){.key = KEY,
                          .lock = -1,
                          .segment = {.backend = &backend_sysv,
                                      .id = -1,
                                      .bell_id = -1,
                                      .base = office_segment,
                                      .bytes = SCENERY_BYTES},
                          .table = table,
                          .worker_uids = worker_uids,
                          .group = getegid(),
                          .leases = {.dir_fd = -1},
                          .server = {.fd = -1}};
    snprintf(m->config.runtime_dir, sizeof m->config.runtime_dir, "%s", scratch_directory);
    int r = sd_event_new(&m->event);
    if (r >= 0)
        r = directory_open(&directory, office_segment, SCENERY_BYTES, &field);
    if (r >= 0)
        r = directory_load(&directory, &m->layout, &field);
    if (r >= 0)
        r = image_open(&m->segment.image, office_segment, SCENERY_BYTES);
    if (r >= 0) {
        image_adopt(&m->segment.image, &directory, &m->layout);
        r = leases_open(m, error, sizeof error);
    }
    return r >= 0 ? server_open(m, error, sizeof error) : r;
}

void office_leave(struct manager *m) {
    server_close(m);
    leases_close(m);
    image_close(&m->segment.image);
    layout_clear(&m->layout);
    sd_event_unref(m->event);
}

bool office_serve(struct manager *m, bool (*done)(const struct manager *, const void *),
                  const void *what) {
    const uint64_t end =
        clock_mono_ns() + (sweep_any_wrong() ? 3 : PATIENCE_S) * UINT64_C(1000000000);
    while (!done(m, what)) {
        if (clock_mono_ns() > end)
            return false;
        sd_event_run(m->event, 100000);
    }
    return true;
}

struct shm_worker office_record(void) {
    struct shm_worker record;
    memcpy(&record, office_segment + SHM_PAGE + cam * sizeof record, sizeof record);
    return record;
}

static const struct shm_attachment *attachment_at(const uint8_t *base, uint32_t i) {
    const struct shm_header *h = (const void *)base;
    return (const struct shm_attachment *)(const void *)(base + h->attachments_off) + i;
}

struct shm_attachment office_attachment(uint32_t index) {
    return *attachment_at(office_segment, index);
}

static bool is_any(enum shm_lease_state state) {
    const struct shm_header *h = (const void *)office_segment;
    for (uint32_t i = 1; i < h->attachments_capacity; i++)
        if (i != still.grant.attachment &&
            lease_word_state(attachment_at(office_segment, i)->word) == state)
            return true;
    return false;
}

bool office_is(const struct manager *manager, const void *what) {
    const enum shm_lease_state state = *(const enum shm_lease_state *)what;
    (void)manager;
    if (!office_anonymous)
        return lease_word_state(office_record().word) == state;
    return state == SHM_LEASE_FREE ? !is_any(SHM_LEASE_GRANTED) && !is_any(SHM_LEASE_LEASED)
                                   : is_any(state);
}

/* ---- the beginning */

static void make_segment(void) {
    struct layout empty, layout;
    struct image image;
    scenery_table(&table);
    scenery_add(&table, "cam", "cam", 64);
    scenery_add(&table, "still", "still", 64);
    memset(worker_uids, 0xff, sizeof worker_uids);
    office_segment =
        mmap(NULL, SCENERY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    segment_before = malloc(SCENERY_BYTES);
    if (office_segment == MAP_FAILED || segment_before == NULL ||
        layout_init(&empty, SCENERY_BYTES) < 0 ||
        image_open(&image, office_segment, SCENERY_BYTES) < 0)
        sweep_fail("a segment", -ENOMEM);
    scenery_plan(&layout, &empty, &table);
    image_create(&image, &layout, &(struct image_identity){.key = KEY, .segment_id = 7});
    image_publish(&image, &layout, clock_real_ns());
    image_reveal(&image);
    image_close(&image);
    cam = layout_worker(&layout, "cam");
    layout_clear(&layout);
}

/* The first claim of all is its. */
static void take_still(void) {
    struct manager m;
    int r = office_manager(&m);
    if (r < 0)
        sweep_fail("a manager", r);
    client_claim_as(&still, "still");
    if (!office_serve(&m, client_leased, &still))
        sweep_fail("a lease", -ETIMEDOUT);
    snprintf(still_file, sizeof still_file, "%u.%" PRIu64, still.grant.attachment,
             still.grant.attachment_epoch);
    close(still.socket);
    office_leave(&m);
}

void office_open(void) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    scratch_open();
    make_segment();
    dup2(nowhere, STDERR_FILENO); /* the manager's messages: thousands of them */
    take_still();
    memcpy(segment_before, office_segment, SCENERY_BYTES);
}

void office_reset(void) {
    memcpy(office_segment, segment_before, SCENERY_BYTES);
    each_file(unlink);
}

/* ---- what must hold */

bool office_records_fit(bool ending, char *error, size_t error_bytes) {
    const struct shm_worker w = office_record();
    const struct shm_header *h = (const void *)office_segment;
    const uint32_t us = (uint32_t)getpid();
    if (lease_word_state(w.word) != SHM_LEASE_FREE &&
        (w.pid != us || w.uid != geteuid() || w.since_real_ns == 0 || w.pid_start == 0 ||
         w.attachment == 0 || w.attachment >= h->attachments_capacity))
        return snprintf(error, error_bytes, "the record of 'cam' is held, but its fields are not"),
               false;
    for (uint32_t i = 1; i < h->attachments_capacity; i++) {
        const struct shm_attachment *a = attachment_at(office_segment, i);
        if (!ending && i != still.grant.attachment && lease_word_state(a->word) != SHM_LEASE_FREE &&
            (a->worker != (office_anonymous ? SHM_NONE : cam) || a->pid != us ||
             a->since_real_ns == 0 || a->pid_start == 0))
            return snprintf(error, error_bytes, "attachment %u is held, but its fields are not", i),
                   false;
    }
    return true;
}

static bool same(uint64_t from, uint64_t to) {
    return memcmp(office_segment + from, segment_before + from, to - from) == 0;
}

bool office_rest_is_same(char *error, size_t error_bytes) {
    const struct shm_header *h = (const void *)office_segment;
    const uint64_t record = SHM_PAGE + cam * sizeof(struct shm_worker);
    bool right = same(0, record) && same(record + sizeof(struct shm_worker), h->attachments_off) &&
                 same(h->arena_start, SCENERY_BYTES);
    for (uint32_t i = 0; right && i < h->attachments_capacity; i++) {
        const struct shm_attachment *a = attachment_at(office_segment, i);
        right = memcmp(a, attachment_at(segment_before, i), sizeof *a) == 0 ||
                (i != still.grant.attachment && lease_word_state(a->word) == SHM_LEASE_FREE);
    }
    if (!right)
        snprintf(error, error_bytes, "something else in the segment changed");
    return right;
}
