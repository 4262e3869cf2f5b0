/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_move [--seed N] [--mutant NAME]
 *
 * A section moves to another place, one instruction at a time: by a writer that looked it up before
 * the move began, publishes once more in the old place, notices, and publishes in the new one; by a
 * successor that knows of the move; or by the manager, with nobody there to publish.  Four in five
 * are killed somewhere, and the next goes on over what they left.  At each place (sweep.h; here the
 * places are the changes of the section's memory) readers must find the newest value and those
 * before it; a successor must be able to go on, and leave the old place once; and a manager must be
 * able to end the move and give the old place away.
 */
#include "snapshot_fixture.h"
#include "sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define POINTS    200000u
#define SIZE      600u
#define COUNT_MAX 5u
#define VERSIONS  1048576u
#define CHECKER   9999999u /* the epoch under which the checks publish */
#define BACK      6u       /* versions that followers look for */

enum actor { UNAWARE, SUCCESSOR, MANAGER };

/* A place as it is, and the copy on which everything is tried. */
struct place {
    struct fixture real, copy;
    uint64_t head;        /* that was seen there last */
    uint64_t first, last; /* versions that are there; 0: none */
};

static struct place places[2], *old = &places[0], *new = &places[1];
static struct shm_bell *bell;
static struct watched watched;
static uint64_t newest;
static uint32_t epoch;         /* of the writer that is stepped, or was last */
static uint32_t who[VERSIONS]; /* published that version */
static enum actor actor;
static bool begun_before, fresh; /* the move has just begun */
static uint8_t scribbled[sizeof(struct shm_snapshot) + COUNT_MAX * (SHM_LINE + 640)];

static void check(void);
static void prepare(void);
static void act(void);
static bool changed(void);

static struct sweep sweep = {
    .name = "move", .prepare = prepare, .act = act, .changed = changed, .check = check};

static uint64_t version_of(uint64_t head) {
    return (head >> SHM_HEAD_VERSION_SHIFT) & SHM_VERSION_MAX;
}

static size_t length_of(uint64_t version) {
    return version % 4 == 0 ? SIZE : 64 - version % 3 * 8;
}

/* ---- who is stepped */

static void publish(struct snapshot_writer *writer, const uint64_t *value) {
    snapshot_publish(writer, value, value[2]);
}

/* Its first value goes to the old place or was begun there, its second to the new one. */
static void write_values(uint64_t values[3][SIZE / 8]) {
    static struct snapshot_writer writer;
    void *data;
    size_t room;
    struct snapshot *seen = actor == UNAWARE ? &old->real.snapshot : &new->real.snapshot;
    if (snapshot_take_over(&writer, seen, epoch) < 0)
        _Exit(1);
    unsigned i = 0;
    if (actor == UNAWARE) {
        publish(&writer, values[i++]);
        if (begun_before && snapshot_begin(&writer, &data, &room) == 0)
            memcpy(data, values[i], values[i][2]);
        snapshot_move(&writer, &new->real.snapshot);
        if (begun_before && snapshot_commit(&writer, values[i][2]) == 0)
            i++;
    }
    for (; i < 3; i++)
        publish(&writer, values[i]);
}

static void act(void) {
    static uint64_t values[3][SIZE / 8];
    for (unsigned i = 0; i < 3; i++)
        value_make(values[i], length_of(newest + 1 + i), newest + 1 + i, epoch);
    sweep_begin();
    if (actor != MANAGER) {
        write_values(values);
    } else {
        if (snapshot_carry(&new->real.snapshot) < 0)
            _Exit(1);
        snapshot_leave(old->real.snapshot.shared);
    }
    sweep_end();
}

/* ---- what it starts from */

static void *memory(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        sweep_fail("memory", -errno);
    return at;
}

static void place_make(struct place *place) {
    const uint32_t count = 2 + (uint32_t)(sweep_random() % (COUNT_MAX - 1));
    if (place->real.memory != NULL) {
        fixture_free(&place->real);
        fixture_free(&place->copy);
    }
    *place = (struct place){0};
    fixture_make(&place->real, SIZE, count, SHM_SECTION_STAMP_NONE);
    fixture_make(&place->copy, SIZE, count, SHM_SECTION_STAMP_NONE);
    place->real.snapshot.bell = place->copy.snapshot.bell = bell;
}

/* The manager ends a move that is through, and begins the next one, back into fresh memory. */
static void start_move(void) {
    struct place *left = old;
    old = new;
    new = left;
    old->real.snapshot.before = old->copy.snapshot.before = NULL;
    place_make(new);
    new->real.snapshot.before = &old->real.snapshot;
    new->copy.snapshot.before = &old->copy.snapshot;
    fresh = true;
}

static void prepare(void) {
    if (new->head != 0 && sweep_random() % 2 == 0)
        start_move();
    const bool unaware = fresh && sweep_random() % 2 == 0;
    actor = unaware ? UNAWARE : sweep_random() % 3 == 0 ? MANAGER : SUCCESSOR;
    begun_before = sweep_random() % 2 == 0;
    fresh = false; /* whoever comes now has looked the section up since */
    epoch += actor != MANAGER;
    if (newest + 8 >= VERSIONS)
        sweep_fail("so many versions", -E2BIG);
    watched_clear(&watched);
    watched_add(&watched, old->real.memory, old->real.section.bytes);
    watched_add(&watched, new->real.memory, new->real.section.bytes);
}

static bool changed(void) {
    return watched_changed(&watched);
}

/* ---- each place */

static void take_copy(void) {
    memcpy(old->copy.memory, old->real.memory, old->real.section.bytes);
    memcpy(new->copy.memory, new->real.memory, new->real.section.bytes);
}

static void observe(struct place *place) {
    const uint64_t head = shared_load_acquire64(&place->real.snapshot.shared->head);
    const uint64_t version = version_of(head);
    if (version == version_of(place->head)) {
        place->head = head;
        return;
    }
    if (version == newest + 1 && actor != MANAGER && (place == new || new->head == 0))
        who[newest = version] = epoch;
    else if (version != newest || actor != MANAGER || place != new || place->head != 0)
        sweep_violation(&sweep, "the %s head goes to version %" PRIu64 " of %" PRIu64,
                        place == old ? "old" : "new", version, newest);
    place->first = place->last == 0 ? version : place->first;
    place->last = version;
    place->head = head;
}

/* Beyond the newest it's the checks' own. */
static bool value_right(const uint64_t *data, ssize_t n, const struct snapshot_value *value) {
    const uint64_t version = value->version;
    const uint32_t by = version > newest ? CHECKER : who[version];
    return n >= 0 && (size_t)n == length_of(version) && value_whole(data, (size_t)n, version) &&
           data[1] == by && value->epoch == by;
}

static void check_reader(const struct snapshot *snapshot, uint64_t version, const char *when) {
    uint64_t data[SIZE / 8];
    struct snapshot_reader reader;
    struct snapshot_value value;
    snapshot_reader_init(&reader, snapshot);
    const ssize_t n = snapshot_read(&reader, data, sizeof data, &value);
    if (version == 0 && n == -ENODATA)
        return;
    if (n < 0 || value.version != version)
        sweep_violation(&sweep, "%s, a reader gets %zd, version %" PRIu64 " of %" PRIu64, when, n,
                        value.version, version);
    else if (!value_right(data, n, &value))
        sweep_violation(&sweep, "%s, a reader gets a wrong value of version %" PRIu64, when,
                        version);
}

static bool has(const struct place *place, uint64_t version) {
    const uint64_t kept = place->real.snapshot.count - 1;
    return place->last != 0 && version >= place->first && version <= place->last &&
           version + kept > place->last;
}

static void check_versions(uint64_t beyond, const char *when) {
    uint64_t data[SIZE / 8];
    struct snapshot_reader reader;
    struct snapshot_value value;
    snapshot_reader_init(&reader, &new->copy.snapshot);
    for (uint64_t version = newest > BACK ? newest - BACK : 1; version <= newest + 3; version++) {
        const ssize_t n = snapshot_read_version(&reader, version, data, sizeof data, &value);
        if (version > beyond ? n == -ENODATA : n == -ESTALE && beyond > newest)
            continue;
        if (n == -ESTALE && !has(old, version) && !has(new, version))
            continue;
        if (n < 0 || version > beyond || value.version != version)
            sweep_violation(&sweep, "%s, a follower gets %zd for version %" PRIu64 " of %" PRIu64,
                            when, n, version, beyond);
        else if (!value_right(data, n, &value))
            sweep_violation(&sweep, "%s, a follower gets a wrong value of version %" PRIu64, when,
                            version);
    }
}

/* What the old place's next owner has there. */
static void scribble(void) {
    const size_t bytes = old->copy.section.bytes;
    memset(scribbled, 0x5a, bytes);
    memcpy(old->copy.memory, scribbled, bytes);
}

static void check_writer(struct snapshot *snapshot, unsigned publishes, const char *when) {
    static struct snapshot_writer writer;
    uint64_t value[SIZE / 8];
    const int r = snapshot_take_over(&writer, snapshot, CHECKER);
    if (r < 0) {
        sweep_violation(&sweep, "%s, a successor gets error %d", when, r);
        return;
    }
    const bool left = snapshot->before != NULL && (old->head & SHM_HEAD_MOVED) != 0;
    if (left)
        scribble();
    for (uint64_t version = newest + 1; version <= newest + publishes; version++) {
        value_make(value, length_of(version), version, CHECKER);
        if (snapshot_publish(&writer, value, value[2]) < 0)
            sweep_violation(&sweep, "%s, a successor can't publish", when);
        check_reader(snapshot, version, when);
    }
    if (snapshot->before != NULL && !snapshot_left(snapshot->before) && !left)
        sweep_violation(&sweep, "%s, a successor doesn't leave the old place", when);
    if ((left || snapshot->before == NULL) &&
        memcmp(old->copy.memory, scribbled, old->copy.section.bytes) != 0)
        sweep_violation(&sweep, "%s, a successor writes to a place that was given away", when);
    if (snapshot->before != NULL && !left)
        check_versions(newest + publishes, when);
}

/* With nobody there to publish. */
static void check_manager(void) {
    struct snapshot *snapshot = &new->copy.snapshot;
    const int r = snapshot_carry(snapshot);
    if (r < 0) {
        sweep_violation(&sweep, "bringing the value along gives error %d", r);
        return;
    }
    check_reader(snapshot, newest, "behind the manager's part");
    check_versions(newest, "behind the manager's part");
    snapshot->before = NULL;
    scribble();
    check_reader(snapshot, newest, "behind the move");
    check_writer(snapshot, 2, "behind the move");
    snapshot->before = &old->copy.snapshot;
}

static void check(void) {
    observe(old);
    observe(new);
    if ((old->head & SHM_HEAD_MOVED) != 0 && new->head == 0 && newest > 0)
        sweep_violation(&sweep, "the old place is left, and nothing is in the new one");
    take_copy();
    check_reader(&new->copy.snapshot, newest, "at the kill");
    check_reader(&old->copy.snapshot, version_of(old->head), "at the kill, in the old place");
    check_versions(newest, "at the kill");
    /* What it publishes first is overwritten in the new place; the old one may have it unpublished.
     */
    const bool many = new->head == 0 && actor == UNAWARE;
    check_writer(&new->copy.snapshot, many ? new->copy.snapshot.count + 2 : 2, "with a successor");
    take_copy();
    check_manager();
}

int main(int argc, char **argv) {
    (void)argc;
    sweep_options(argv + 1);
    bell = memory(sizeof *bell);
    place_make(old);
    place_make(new);
    new->real.snapshot.before = &old->real.snapshot;
    new->copy.snapshot.before = &old->copy.snapshot;
    fresh = true;
    uint64_t length = 1;
    for (uint64_t round = 0; !sweep_failed(&sweep); round++) {
        const uint64_t start = sweep.points;
        if (start >= sweep_budget(POINTS))
            break;
        sweep_step(&sweep, round % 5 == 0 ? UINT64_MAX : start + 1 + sweep_random() % length);
        length = round % 5 == 0 ? sweep.points - start + 1 : length;
    }
    return sweep_report(&sweep);
}
