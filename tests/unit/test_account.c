/* SPDX-License-Identifier: Apache-2.0
 *
 * The time that one user's requests may take, and who has the most connections.
 */
#include "account.h"
#include "unit.h"

#define MS UINT64_C(1000000)

static struct account *all;

/* Asks as soon as it may, for so long; how long the answers took together. */
static uint64_t asks(uid_t uid, uint64_t from_ns, uint64_t to_ns, uint64_t each_ns) {
    uint64_t took_ns = 0;
    for (uint64_t now_ns = from_ns; now_ns < to_ns;) {
        struct account *account = account_of(&all, uid, now_ns);
        uint64_t rest_ns = account_rest(account, now_ns);
        ck_assert_uint_le(rest_ns, 1000 * MS);
        now_ns += rest_ns + each_ns;
        account_charge(account, now_ns, each_ns);
        took_ns += each_ns;
    }
    return took_ns;
}

START_TEST(a_loop_of_requests_gets_a_fifth) {
    static const uint64_t each[] = {MS / 20, MS / 5, MS, 20 * MS, 100 * MS, 240 * MS};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        uint64_t start_ns = (i + 1) * 1000000 * MS;
        uint64_t took_ns = asks(1000, start_ns, start_ns + 20000 * MS, each[i]);
        ck_assert_uint_le(took_ns, 4500 * MS); /* a fifth, and the credit */
        ck_assert_uint_ge(took_ns, 3500 * MS);
    }
    accounts_clear(&all);
}
END_TEST

START_TEST(a_request_now_and_then_never_waits) {
    for (uint64_t now_ns = MS; now_ns < 20000 * MS; now_ns += 1000 * MS) {
        ck_assert_uint_eq(account_rest(account_of(&all, 1000, now_ns), now_ns), 0);
        account_charge(account_of(&all, 1000, now_ns), now_ns, 200 * MS);
    }
    /* nor do some at a time */
    for (uint64_t now_ns = 30000 * MS; now_ns < 30020 * MS; now_ns += MS) {
        ck_assert_uint_eq(account_rest(account_of(&all, 1000, now_ns), now_ns), 0);
        account_charge(account_of(&all, 1000, now_ns), now_ns, 2 * MS);
    }
    accounts_clear(&all);
}
END_TEST

START_TEST(others_do_not_wait_for_it) {
    asks(1000, MS, 5000 * MS, 100 * MS);
    ck_assert_uint_gt(account_rest(account_of(&all, 1000, 5000 * MS), 5000 * MS), 0);
    ck_assert_uint_eq(account_rest(account_of(&all, 1001, 5000 * MS), 5000 * MS), 0);
    accounts_clear(&all);
}
END_TEST

START_TEST(a_huge_debt_is_forgiven) {
    struct account *account = account_of(&all, 1000, MS);
    account_charge(account, MS, UINT64_MAX);
    ck_assert_uint_eq(account_rest(account, MS), 1000 * MS);
    ck_assert_uint_eq(account_rest(account, 1001 * MS), 0);
    accounts_clear(&all);
}
END_TEST

START_TEST(an_account_goes_when_it_is_settled) {
    account_of(&all, 1, MS)->clients = 1;
    account_charge(account_of(&all, 2, MS), MS, 10 * MS);
    account_of(&all, 3, MS);
    ck_assert_ptr_nonnull(account_of(&all, 4, 2 * MS)); /* and 3 is gone */
    unsigned n = 0;
    for (const struct account *a = all; a != NULL; a = a->next, n++)
        ck_assert_uint_ne(a->uid, 3);
    ck_assert_uint_eq(n, 3);
    ck_assert_ptr_nonnull(account_of(&all, 5, 1000 * MS)); /* 2 and 4 are */
    n = 0;
    for (const struct account *a = all; a != NULL; a = a->next, n++)
        ck_assert(a->uid == 1 || a->uid == 5);
    ck_assert_uint_eq(n, 2);
    accounts_clear(&all);
    ck_assert_ptr_null(all);
}
END_TEST

START_TEST(who_has_the_most) {
    ck_assert_ptr_null(account_largest(all));
    account_of(&all, 1, MS);
    ck_assert_ptr_null(account_largest(all));
    account_of(&all, 2, MS)->clients = 5;
    account_of(&all, 3, MS)->clients = 7;
    account_of(&all, 4, MS)->clients = 6;
    ck_assert_uint_eq(account_largest(all)->uid, 3);
    accounts_clear(&all);
}
END_TEST

UNIT_MAIN("account", a_loop_of_requests_gets_a_fifth, a_request_now_and_then_never_waits,
          others_do_not_wait_for_it, a_huge_debt_is_forgiven, an_account_goes_when_it_is_settled,
          who_has_the_most)
