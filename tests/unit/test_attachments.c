/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom a word names, and whether he is still there.
 */
#include "unit.h"

#include "core/attachments.h"
#include "core/shared.h"

static struct shm_attachment records[4];
static unsigned asked;

static bool ended(void *context, uint32_t index) {
    asked++;
    return index == *(uint32_t *)context;
}

static void record(uint32_t index, uint64_t epoch, enum shm_lease_state state) {
    shared_store_release64(&records[index].word, epoch << 8 | state);
}

START_TEST(who_lives) {
    const struct attachments a = {.at = records, .capacity = 4};
    record(1, 5, SHM_LEASE_LEASED);
    ck_assert(attachments_live(&a, 1, 5, 32));
    ck_assert(!attachments_live(&a, 1, 4, 32));
    ck_assert(!attachments_live(&a, 0, 0, 32));
    ck_assert(!attachments_live(&a, 4, 5, 32));
    record(1, 6, SHM_LEASE_FREE);
    ck_assert(!attachments_live(&a, 1, 5, 32));
    ck_assert(!attachments_live(&a, 1, 6, 32));
    record(1, UINT64_C(0x30001), SHM_LEASE_LEASED);
    ck_assert(attachments_live(&a, 1, 1, 16));
    ck_assert(!attachments_live(&a, 1, 1, 32));
}
END_TEST

START_TEST(who_looks_himself_is_asked) {
    uint32_t gone = 2;
    const struct attachments a = {.at = records, .capacity = 4, .ended = ended, .context = &gone};
    record(1, 5, SHM_LEASE_LEASED);
    record(2, 5, SHM_LEASE_LEASED);
    asked = 0;
    ck_assert(attachments_live(&a, 1, 5, 32));
    ck_assert(!attachments_live(&a, 2, 5, 32));
    ck_assert_uint_eq(asked, 2);
    ck_assert(!attachments_live(&a, 2, 4, 32)); /* known already */
    ck_assert_uint_eq(asked, 2);
}
END_TEST

START_TEST(what_may_be_taken) {
    const struct attachments a = {.at = records, .capacity = 4};
    const struct attachment here = {1, 5}, gone = {1, 4};
    record(1, 5, SHM_LEASE_LEASED);
    ck_assert(owner_gone(&a, 0));
    ck_assert(!owner_gone(&a, owner_word(here, SHM_OWNER_HELD, 0)));
    ck_assert(owner_gone(&a, owner_word(gone, SHM_OWNER_HELD, 0)));
    ck_assert(owner_gone(&a, owner_word(gone, SHM_OWNER_OFFERED, 0)));
    ck_assert(!owner_gone(&a, owner_word(gone, SHM_OWNER_HELD, SHM_OWNER_STAYS)));
    ck_assert(!owner_gone(&a, owner_word(gone, SHM_OWNER_SEALED, 0)));
    ck_assert(!owner_gone(&a, owner_word(gone, (enum shm_owner_state)77, 0)));
    ck_assert_uint_eq(owner_of(owner_word(here, SHM_OWNER_HELD, 1)).index, 1);
    ck_assert_uint_eq(owner_of(owner_word(here, SHM_OWNER_HELD, 1)).epoch, 5);
}
END_TEST

UNIT_MAIN("attachments", who_lives, who_looks_himself_is_asked, what_may_be_taken)
