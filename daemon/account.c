/* SPDX-License-Identifier: Apache-2.0
 *
 * One row a user, for as long as it has a connection or a debt of time.
 */
#include "account.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define SHARE     5u                   /* a request's time counts so often */
#define CREDIT_NS UINT64_C(250000000)  /* of rest, that a user needn't have had */
#define REST_NS   UINT64_C(1000000000) /* at most: less than a client's patience */

static bool is_settled(const struct account *account, uint64_t now_ns) {
    return account->clients == 0 && account->rests_until_ns <= now_ns;
}

struct account *account_of(struct account **all, uid_t uid, uint64_t now_ns) {
    for (struct account **at = all; *at != NULL;) {
        struct account *account = *at;
        if (account->uid == uid)
            return account;
        if (is_settled(account, now_ns)) {
            *at = account->next;
            free(account);
        } else {
            at = &account->next;
        }
    }
    struct account *account = calloc(1, sizeof *account);
    if (account == NULL)
        return NULL;
    *account = (struct account){.next = *all, .uid = uid};
    *all = account;
    return account;
}

uint64_t account_rest(const struct account *account, uint64_t now_ns) {
    uint64_t free_ns = now_ns + CREDIT_NS;
    return account->rests_until_ns > free_ns ? account->rests_until_ns - free_ns : 0;
}

void account_charge(struct account *account, uint64_t now_ns, uint64_t took_ns) {
    uint64_t from_ns = account->rests_until_ns > now_ns ? account->rests_until_ns : now_ns;
    uint64_t most_ns = now_ns + CREDIT_NS + REST_NS;
    uint64_t rest_ns = SHARE * (took_ns < REST_NS ? took_ns : REST_NS);
    account->rests_until_ns = from_ns + rest_ns < most_ns ? from_ns + rest_ns : most_ns;
}

struct account *account_largest(struct account *all) {
    struct account *largest = NULL;
    for (struct account *account = all; account != NULL; account = account->next)
        if (account->clients > (largest == NULL ? 0 : largest->clients))
            largest = account;
    return largest;
}

void accounts_clear(struct account **all) {
    while (*all != NULL) {
        struct account *account = *all;
        *all = account->next;
        free(account);
    }
}
