/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_adopt [--seed N] [--wrong NAME]
 *
 * What a manager does with the segment at its start, one instruction at a time: it makes one;
 * adopts one; rebuilds one whose directory is damaged, and one whose header is all zeros.  It is
 * killed at each place (sweep.h; header, records and directories are compared).  The next manager
 * must come by the same segment with the same places and values in it, or (where there was none
 * yet) by a new one, and readers must find everything when it is done.
 *
 * --wrong forgetful: state.db forgets which segment it is.
 */
#include "core/futex.h"
#include "core/snapshot.h"
#include "core/sysv.h"
#include "scenery.h"
#include "scratch.h"
#include "segment.h"
#include "state_db.h"
#include "sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KILLS    60u /* of each kind, in a run that doesn't soak */
#define VALUE    UINT64_C(0x5eed5eed5eed5eed)
#define SECTIONS 2u /* and as many workers */

static const char *const kinds[] = {"make", "adopt", "damaged", "zeroed"};
enum { MAKE, ADOPT, DAMAGED, ZEROED, KINDS };

static uint32_t key;
static char path[80];
static struct table table;
static struct layout wanted; /* what runs */
static int kind;

/* The segment as it was before, and the files beside it; in MAKE there is none. */
static int id, bell_id;
static uint64_t segment_id;
static uint8_t *real, *saved;
static struct scratch_files made, empty;

static unsigned left_behind; /* objects that a killed manager made, and no next one finds */

static struct sweep sweep;
static struct watched watched;

/* ---- the way to be wrong */

int64_t __real_state_db_recall(struct state_db *db, const char *name, int64_t otherwise);
int64_t __wrap_state_db_recall(struct state_db *db, const char *name, int64_t otherwise);

int64_t __wrap_state_db_recall(struct state_db *db, const char *name, int64_t otherwise) {
    return sweep_wrong("forgetful") ? otherwise : __real_state_db_recall(db, name, otherwise);
}

/* ---- a manager's start, as far as the segment is concerned */

struct start {
    struct segment segment;
    struct layout layout;
    struct state_db *state;
    char error[512];
};

static int open_state(struct start *s) {
    s->error[0] = '\0';
    return state_db_open(&s->state, path, s->error, sizeof s->error);
}

/* A new or a rebuilt one has no directory in force. */
static int publish(struct start *s) {
    struct layout next;
    int r = layout_copy(&next, &wanted);
    if (r < 0)
        return r;
    next.generation = s->layout.generation + 1;
    struct relocation *none;
    if (!s->segment.adopted)
        r = segment_prepare(&s->segment, &s->layout, &next, &none, s->error, sizeof s->error);
    if (r == 0)
        r = image_publish(&s->segment.image, &next, clock_real_ns());
    layout_clear(&s->layout);
    s->layout = next;
    return r;
}

static int start(struct start *s) {
    const struct segment_wish wish = {.key = key,
                                      .runtime_dir = scratch_directory,
                                      .backend = SHM_BACKEND_SYSV,
                                      .bytes = SCENERY_BYTES,
                                      .state = s->state};
    int r = segment_open(&s->segment, &wish, &s->layout, s->error, sizeof s->error);
    if (r < 0)
        return r;
    struct image *image = &s->segment.image;
    image_manager(image, (uint32_t)getpid(), 1, image_header(image)->manager_epoch + 1, 1000);
    if (image_header(image)->generation == 0)
        r = publish(s);
    image_heartbeat(image, clock_mono_ns(), clock_real_ns());
    image_state(image, SHM_STATE_SERVING);
    if (r == 0)
        segment_reveal(&s->segment, s->state);
    return r;
}

static void leave(struct start *s) {
    segment_close(&s->segment);
    layout_clear(&s->layout);
    state_db_close(s->state);
}

static void act(void) {
    static struct start s;
    if (open_state(&s) < 0)
        _exit(1);
    sweep_begin();
    if (start(&s) < 0)
        _exit(1);
    sweep_end();
}

/* ---- what there is before it */

/* All segments that this process or the last one made, but these two. */
static unsigned remove_others(int one, int two) {
    struct shmid_ds stat;
    struct shm_info info;
    unsigned n = 0;
    const int last = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);
    for (int i = 0; i <= last; i++) {
        const int other = shmctl(i, SHM_STAT, &stat);
        if (other < 0 || other == one || other == two || stat.shm_perm.cuid != geteuid() ||
            (stat.shm_cpid != getpid() && stat.shm_cpid != sweep.pid))
            continue;
        sysv_remove(other);
        n++;
    }
    return n;
}

static void let_go(void) {
    watched_clear(&watched);
    sysv_detach(real);
    real = NULL;
}

static void watch_directory(const struct shm_directory_place *place) {
    struct shm_directory d;
    layout_directory_offsets(layout_directory_capacity(place->bytes), &d);
    const uint8_t *at = real + place->offset;
    watched_add(&watched, at, d.index_off + SECTIONS * sizeof(uint32_t));
    watched_add(&watched, at + d.sections_off, SECTIONS * sizeof(struct shm_section));
    watched_add(&watched, at + d.arenas_off, SECTIONS * sizeof(struct shm_arena));
}

/* Looks on from the moment at which there is something to look at: the header, and as much of each
 * table as is used. */
static void watch(void) {
    int found;
    void *base;
    if (sysv_find(key, &found) < 0 || sysv_attach(found, true, &base) < 0)
        return;
    real = base;
    watched_add(&watched, real, sizeof(struct shm_header));
    watched_add(&watched, real + wanted.workers_off, SECTIONS * sizeof(struct shm_worker));
    watched_add(&watched, real + wanted.attachments_off, sizeof(struct shm_attachment));
    for (int i = 0; i < 2; i++)
        watch_directory(&wanted.directories[i]);
}

static bool changed(void) {
    if (real == NULL)
        watch();
    return watched_changed(&watched);
}

static void damage(void) {
    const struct shm_directory_place *place = &wanted.directories[wanted.generation & 1];
    if (kind == DAMAGED)
        real[place->offset + 9] ^= 1;
    if (kind == ZEROED)
        memset(real, 0, SHM_PAGE);
}

static void prepare(void) {
    let_go();
    if (kind == MAKE) {
        remove_others(-1, -1);
        scratch_restore(&empty);
        return;
    }
    scratch_restore(&made);
    remove_others(id, bell_id);
    watch();
    memcpy(real, saved, SCENERY_BYTES);
    damage();
}

/* ---- what must hold */

static void check_value(const struct start *s) {
    const struct shm_section *section = &wanted.sections[layout_section(&wanted, "cam")];
    const char *field = "";
    uint64_t value = 0;
    struct snapshot snapshot;
    struct snapshot_reader reader;
    struct snapshot_value about;
    if (snapshot_bind(&snapshot, (uint8_t *)s->segment.base + section->ctl_off, section, NULL,
                      &field) < 0) {
        sweep_violation(&sweep, "%s: a section is damaged (%s)", kinds[kind], field);
        return;
    }
    snapshot_reader_init(&reader, &snapshot);
    const ssize_t n = snapshot_read(&reader, &value, sizeof value, &about);
    if (kind == MAKE ? n != -ENODATA : n != sizeof value || value != VALUE || about.version != 1)
        sweep_violation(&sweep, "%s: a reader gets %zd, version %" PRIu64, kinds[kind], n,
                        about.version);
}

static void check_segment(const struct start *s, uint64_t seen) {
    const struct shm_header *h = s->segment.base;
    char error[256] = "";
    struct layout now;
    if (kind != MAKE && (s->segment.id != id || h->segment_id != segment_id))
        sweep_violation(&sweep, "%s: it is another segment", kinds[kind]);
    if (s->segment.bells == NULL || h->bell_id != (uint32_t)s->segment.bell_id + 1)
        sweep_violation(&sweep, "%s: the doorbells are lost", kinds[kind]);
    if (h->generation < seen)
        sweep_violation(&sweep, "%s: generation %" PRIu64 " follows %" PRIu64, kinds[kind],
                        h->generation, seen);
    if (layout_copy(&now, &wanted) < 0)
        sweep_fail("memory", -ENOMEM);
    now.generation = h->generation;
    const struct layout *layout = &now;
    if (scenery_read(h, &layout, 1, error, sizeof error) == NULL)
        sweep_violation(&sweep, "%s: %s", kinds[kind], error);
    layout_clear(&now);
}

static void check(void) {
    static struct start s;
    const uint64_t seen =
        real == NULL || kind == MAKE ? 0 : ((const struct shm_header *)(void *)real)->generation;
    let_go(); /* as nobody else is there when the next manager comes */
    s = (struct start){.segment = {.id = -1, .bell_id = -1}};
    int r = open_state(&s);
    if (r == 0)
        r = start(&s);
    if (r < 0) {
        sweep_violation(&sweep, "%s: the next manager doesn't start: %s", kinds[kind], s.error);
    } else {
        check_segment(&s, seen);
        check_value(&s);
        left_behind += remove_others(s.segment.id, s.segment.bell_id);
    }
    leave(&s);
}

static struct sweep sweep = {
    .name = "adopt", .prepare = prepare, .act = act, .changed = changed, .check_killed = check};

/* ---- the segment to begin with */

static void publish_value(const struct start *s) {
    static struct snapshot_writer writer;
    static const uint64_t value = VALUE;
    const struct shm_section *section = &wanted.sections[layout_section(&wanted, "cam")];
    const char *field;
    struct snapshot snapshot;
    if (snapshot_bind(&snapshot, (uint8_t *)s->segment.base + section->ctl_off, section, NULL,
                      &field) < 0 ||
        snapshot_take_over(&writer, &snapshot, 1) < 0 ||
        snapshot_publish(&writer, &value, sizeof value) < 0)
        sweep_fail("a value", -EIO);
}

static void set_up(void) {
    static struct start s;
    struct layout none;
    int64_t edit;
    scenery_table(&table);
    scenery_add(&table, "cam", "cam", 64);
    scenery_add(&table, "still", "still", 64);
    if (layout_init(&none, SCENERY_BYTES) < 0 || open_state(&s) < 0)
        sweep_fail(s.error, -EIO);
    scenery_plan(&wanted, &none, &table);
    scratch_save(&empty);
    if (start(&s) < 0 || state_db_intend(s.state, "test", "all", &wanted, &table, &edit) < 0 ||
        state_db_done(s.state, edit) < 0)
        sweep_fail(s.error, -EIO);
    publish_value(&s);
    id = s.segment.id;
    bell_id = s.segment.bell_id;
    segment_id = image_header(&s.segment.image)->segment_id;
    saved = malloc(SCENERY_BYTES);
    if (saved == NULL)
        sweep_fail("memory", -ENOMEM);
    memcpy(saved, s.segment.base, SCENERY_BYTES);
    leave(&s);
    scratch_save(&made);
}

int main(int argc, char **argv) {
    (void)argc;
    sweep_options(argv + 1);
    unshare(CLONE_NEWIPC); /* else a random key will do */
    key = 0x40000000 | (uint32_t)(sweep_random() & 0x3fffffff);
    scratch_open();
    snprintf(path, sizeof path, "%s/state.db", scratch_directory);
    set_up();
    for (int i = ADOPT; i <= KINDS && !sweep_failed(&sweep); i++) {
        const uint64_t points = sweep.points, kills = sweep.kills;
        kind = i % KINDS; /* MAKE last: it removes what the others need */
        if (!sweep_soak())
            sweep_step_moves(&sweep); /* most of it is SQLite's and libc's own */
        else
            sweep_step(&sweep, UINT64_MAX);
        sweep_kill(&sweep, sweep_soak() ? 0 : KILLS);
        printf("%s: %" PRIu64 " points, %zu places, %" PRIu64 " kills\n", kinds[kind],
               sweep.points - points, sweep.places_n, sweep.kills - kills);
    }
    let_go();
    remove_others(-1, -1);
    printf("figure: kill_leftovers.adopt %u objects\n", left_behind);
    return sweep_report(&sweep);
}
