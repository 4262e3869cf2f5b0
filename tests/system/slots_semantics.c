/* SPDX-License-Identifier: Apache-2.0
 *
 * The same operations on slots as Apache's mod_slotmem_shm documents and does them, of which this
 * has a model, and on sections as its users would have them, shared, and with slots that stay: one
 * line for each case, "CASE|Apache|here".  APR_NOTFOUND counts as ENOENT.
 */
#include "cases.h"

#include <sys/mman.h>

#define SLOTS 4
#define BYTES 64

/* Calls return 0, an index or a number, or a negative errno. */
struct end {
    void (*make)(bool pregrab);
    void (*take_part)(void); /* in a child */
    int (*grab)(unsigned flags);
    int (*fgrab)(int slot);
    int (*release)(int slot);
    int (*put)(int slot, const char *data, size_t bytes);
    int (*get)(int slot, char *data, size_t bytes);
    int (*ptr)(int slot);
    int (*each)(int stop_at, int *n);
    int (*num_free)(void);
};

/* ---- Apache's */

struct model {
    bool pregrab;
    bool in_use[SLOTS];
    char data[SLOTS][BYTES];
};

static struct model *model;

static void apache_make(bool pregrab) {
    *model = (struct model){.pregrab = pregrab};
}

static void apache_take_part(void) {
}

static bool is_none(int slot) {
    return slot < 0 || slot >= SLOTS;
}

static int apache_fgrab(int slot) {
    if (is_none(slot))
        return -EINVAL;
    model->in_use[slot] = true;
    return 0;
}

static int apache_grab(unsigned flags) {
    (void)flags;
    for (int slot = 0; slot < SLOTS; slot++)
        if (!model->in_use[slot])
            return apache_fgrab(slot) == 0 ? slot : -EINVAL;
    return -EINVAL;
}

static int apache_release(int slot) {
    if (is_none(slot))
        return -EINVAL;
    if (!model->in_use[slot])
        return -ENOENT;
    model->in_use[slot] = false;
    return 0;
}

/* Before a put or a get, each of which puts the slot in use. */
static int apache_use(int slot) {
    if (is_none(slot))
        return -EINVAL;
    if (model->pregrab && !model->in_use[slot])
        return -ENOENT;
    return apache_fgrab(slot);
}

/* Without a look at the length; what is beyond is lost here, and is the next slot's there. */
static int apache_put(int slot, const char *data, size_t bytes) {
    const int r = apache_use(slot);
    if (r == 0)
        memcpy(model->data[slot], data, bytes < BYTES ? bytes : BYTES);
    return r;
}

static int apache_get(int slot, char *data, size_t bytes) {
    const int r = apache_use(slot);
    if (r == 0)
        memcpy(data, model->data[slot], bytes);
    return r;
}

static int apache_ptr(int slot) {
    return is_none(slot) ? -EINVAL : 0;
}

static int apache_each(int stop_at, int *n) {
    *n = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        if ((!model->pregrab || model->in_use[slot]) && ++*n == stop_at)
            return 7;
    return 0;
}

static int apache_num_free(void) {
    int n = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        n += !model->in_use[slot];
    return n;
}

static const struct end apache = {
    apache_make, apache_take_part, apache_grab, apache_fgrab, apache_release,
    apache_put,  apache_get,       apache_ptr,  apache_each,  apache_num_free,
};

/* ---- ours */

static shmc *segment;
static shmc_section *section;
static const char *name;
static bool only_in_use;

static void here_take_part(void) {
    segment = attach(NULL, SHMC_ANONYMOUS);
    section = open_section(segment, name);
}

static void here_make(bool pregrab) {
    name = pregrab ? "pregrab" : "plain";
    only_in_use = pregrab;
    here_take_part();
    for (int slot = 0; slot < SLOTS; slot++)
        shmc_slot_release(section, slot); /* an earlier case's */
    AWAIT(shmc_num_free(section) == SLOTS);
}

static int here_grab(unsigned flags) {
    return shmc_slot_grab(section, flags);
}

static int here_fgrab(int slot) {
    return shmc_slot_fgrab(section, slot, SHMC_SLOT_STAYS);
}

static int here_release(int slot) {
    return shmc_slot_release(section, slot);
}

static int here_put(int slot, const char *data, size_t bytes) {
    return shmc_slot_put(section, slot, data, bytes);
}

static int here_get(int slot, char *data, size_t bytes) {
    const ssize_t n = shmc_slot_get(section, slot, data, bytes, NULL);
    return n < 0 ? (int)n : 0;
}

static int here_ptr(int slot) {
    void *at;
    size_t bytes;
    return shmc_slot_ptr(section, slot, &at, &bytes);
}

struct count {
    int n, stop_at;
};

static int count_one(shmc_section *each, const struct shmc_slot *slot, void *argument) {
    struct count *count = argument;
    (void)each;
    (void)slot;
    return ++count->n == count->stop_at ? 7 : 0;
}

static int here_each(int stop_at, int *n) {
    struct count count = {.stop_at = stop_at};
    const int r = shmc_slot_each(section, only_in_use ? SHMC_SLOT_IN_USE : 0, count_one, &count);
    *n = count.n;
    return r;
}

static int here_num_free(void) {
    return shmc_num_free(section);
}

static const struct end here = {
    here_make, here_take_part, here_grab, here_fgrab, here_release,
    here_put,  here_get,       here_ptr,  here_each,  here_num_free,
};

/* ---- the cases */

static char told[256];

static void note(int r) {
    const size_t at = strlen(told);
    const char *comma = at == 0 ? "" : ", ";
    if (r < 0)
        snprintf(told + at, sizeof told - at, "%s%s", comma, strerrorname_np(-r));
    else
        snprintf(told + at, sizeof told - at, "%s%d", comma, r);
}

static void in_child(const struct end *end, void (*act)(const struct end *end)) {
    const pid_t pid = fork();
    int status;
    CHECK(pid >= 0);
    if (pid == 0) {
        end->take_part();
        act(end);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
}

static void grab_lowest(const struct end *end) {
    note(end->grab(SHMC_SLOT_STAYS));
    note(end->grab(SHMC_SLOT_STAYS));
    note(end->release(0));
    note(end->grab(SHMC_SLOT_STAYS));
}

static void grab_when_full(const struct end *end) {
    for (int i = 0; i < SLOTS; i++)
        CHECK_IS(end->grab(SHMC_SLOT_STAYS), i);
    note(end->grab(SHMC_SLOT_STAYS));
}

static void grab_again(const struct end *end) {
    note(end->fgrab(2));
    note(end->fgrab(2));
    note(end->num_free());
}

static void grab_none(const struct end *end) {
    note(end->fgrab(SLOTS));
}

static void release_free(const struct end *end) {
    note(end->release(1));
}

static void release_none(const struct end *end) {
    note(end->release(SLOTS));
}

static void put_ungrabbed(const struct end *end) {
    note(end->put(1, "x", 1));
    note(end->num_free());
}

static void get_ungrabbed(const struct end *end) {
    char data[BYTES];
    note(end->get(1, data, sizeof data));
    note(end->num_free());
}

static void put_too_long(const struct end *end) {
    static const char data[2 * BYTES];
    CHECK_IS(end->fgrab(1), 0);
    note(end->put(1, data, sizeof data));
}

static void get_a_part(const struct end *end) {
    char data[4] = "";
    CHECK_IS(end->fgrab(1), 0);
    CHECK_IS(end->put(1, "abcdef", 6), 0);
    note(end->get(1, data, 3));
    note(memcmp(data, "abc", 4));
}

static void in_place_ungrabbed(const struct end *end) {
    note(end->ptr(1));
    note(end->ptr(SLOTS));
}

static void each_one(const struct end *end) {
    int n;
    CHECK_IS(end->fgrab(1), 0);
    CHECK_IS(end->fgrab(3), 0);
    note(end->each(0, &n));
    note(n);
    note(end->each(2, &n));
    note(n);
}

static void release_first(const struct end *end) {
    CHECK_IS(end->release(0), 0);
}

static void released_by_another(const struct end *end) {
    CHECK_IS(end->fgrab(0), 0);
    in_child(end, release_first);
    note(end->num_free());
}

static void grab_staying(const struct end *end) {
    CHECK_IS(end->grab(SHMC_SLOT_STAYS), 0);
}

static void grab_for_life(const struct end *end) {
    CHECK_IS(end->grab(0), 0);
}

static void dead_holder(const struct end *end) {
    in_child(end, grab_staying);
    note(end->num_free());
}

static void dead_holder_for_life(const struct end *end) {
    in_child(end, grab_for_life);
    if (end == &here) /* it is the manager who tells */
        AWAIT(end->num_free() == SLOTS);
    note(end->num_free());
}

static const struct {
    const char *name;
    void (*run)(const struct end *end);
    bool pregrab;
} semantics[] = {
    {"grab the lowest", grab_lowest, false},
    {"grab when all are in use", grab_when_full, false},
    {"grab one that is one's own", grab_again, false},
    {"grab one that isn't there", grab_none, false},
    {"release one that isn't in use", release_free, false},
    {"release one that isn't there", release_none, false},
    {"put where nobody grabbed", put_ungrabbed, false},
    {"put where nobody grabbed, pregrab", put_ungrabbed, true},
    {"get where nobody grabbed", get_ungrabbed, false},
    {"get where nobody grabbed, pregrab", get_ungrabbed, true},
    {"put too much", put_too_long, false},
    {"get a part", get_a_part, false},
    {"in place where nobody grabbed", in_place_ungrabbed, false},
    {"each", each_one, false},
    {"each, pregrab", each_one, true},
    {"released by another process", released_by_another, false},
    {"a holder that died", dead_holder, false},
    {"a holder for life that died", dead_holder_for_life, false},
};

int main(void) {
    model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(model != MAP_FAILED);
    alarm(240); /* nothing hangs for ever */
    for (size_t i = 0; i < sizeof semantics / sizeof *semantics; i++) {
        printf("%s|", semantics[i].name);
        for (int ours = 0; ours < 2; ours++) {
            const struct end *end = ours ? &here : &apache;
            told[0] = '\0';
            end->make(semantics[i].pregrab);
            semantics[i].run(end);
            printf("%s%s", told, ours ? "\n" : "|");
            fflush(stdout);
        }
        shmc_close(section);
        shmc_detach(segment);
    }
    return 0;
}
