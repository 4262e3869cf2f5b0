/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose attachment may write which arena.
 */
#include "unit.h"

#include "core/writers.h"

static const struct writers_who driver = {.worker = 3, .name = "driver"};
static const struct writers_who second = {.worker = 7, .name = "pool#2"};
static const struct writers_who tenth = {.worker = 15, .name = "pool#10"};
static const struct writers_who other = {.worker = 4, .name = "other"};
static const struct writers_who member = {.worker = 4, .name = "other", .in_class = true};
static const struct writers_who nameless = {.worker = SHM_NONE, .name = ""};
static const struct writers_who guest = {.worker = SHM_NONE, .name = "", .in_class = true};

static struct shm_arena arena(enum shm_writers writers, uint32_t owner) {
    return (struct shm_arena){.writers = writers, .owner_index = owner};
}

START_TEST(the_owners_alone) {
    const struct shm_arena one = arena(SHM_WRITERS_OWNER, 3);
    ck_assert(writers_allow(&one, "driver", &driver));
    ck_assert(!writers_allow(&one, "driver", &other));
    ck_assert(!writers_allow(&one, "driver", &member));
    ck_assert(!writers_allow(&one, "driver", &guest));
    /* an instance's own is not the others' */
    const struct shm_arena first = arena(SHM_WRITERS_OWNER, 6);
    ck_assert(!writers_allow(&first, "pool#1", &second));
}
END_TEST

START_TEST(any_instances) {
    const struct shm_arena claims = arena(SHM_WRITERS_INSTANCES, 6);
    ck_assert(writers_allow(&claims, "pool#1", &second));
    ck_assert(writers_allow(&claims, "pool#1", &tenth));
    ck_assert(!writers_allow(&claims, "pool#1", &member));
    ck_assert(!writers_allow(&claims, "pool#1", &guest));
    ck_assert(!writers_allow(&claims, "poo", &second));
    ck_assert(!writers_allow(&claims, "pool2#1", &second));
    const struct shm_arena of_one = arena(SHM_WRITERS_INSTANCES, 3);
    ck_assert(writers_allow(&of_one, "driver", &driver));
}
END_TEST

START_TEST(a_class_and_the_owner) {
    const struct shm_arena slots = arena(SHM_WRITERS_CLASS, 6);
    ck_assert(writers_allow(&slots, "pool#1", &member));
    ck_assert(writers_allow(&slots, "pool#1", &guest));
    ck_assert(writers_allow(&slots, "pool#1", &second)); /* out of the group */
    ck_assert(!writers_allow(&slots, "pool#1", &other));
    ck_assert(!writers_allow(&slots, "pool#1", &nameless));
}
END_TEST

/* The manager's own parts have no owner, and who has no name is nobody's equal. */
START_TEST(nobodys) {
    const struct shm_arena none = arena(SHM_WRITERS_OWNER, SHM_NONE);
    ck_assert(!writers_allow(&none, "", &nameless));
    ck_assert(!writers_allow(&none, "", &guest));
    const struct shm_arena instances = arena(SHM_WRITERS_INSTANCES, SHM_NONE);
    ck_assert(!writers_allow(&instances, "", &nameless));
    const struct shm_arena unknown = arena((enum shm_writers)3, 3);
    ck_assert(!writers_allow(&unknown, "driver", &driver));
}
END_TEST

UNIT_MAIN("writers", the_owners_alone, any_instances, a_class_and_the_owner, nobodys)
