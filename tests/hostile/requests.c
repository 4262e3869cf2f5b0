/* SPDX-License-Identifier: Apache-2.0
 *
 * What the manager does for those alone who may manage, and what it can't be asked.
 */
#include "hostile.h"

static void not_managing(const char *request) {
    request_refused(request, -EPERM, "takes root, the manager's user");
}

static void request_reload(void) {
    not_managing("reload");
}

static void request_destroy(void) {
    not_managing("destroy");
}

static void request_checkpoint(void) {
    not_managing("checkpoint");
    not_managing("checkpoint temps");
}

static void request_revoke(void) {
    not_managing("revoke driver");
    not_managing("revoke mallory"); /* not even oneself */
}

static void request_drop(void) {
    not_managing("drop temps");
    not_managing("drop --force temps");
}

static void manage_uninvited(void) {
    not_managing("reload");
    not_managing("destroy");
    not_managing("revoke driver");
}

static void unknown_requests(void) {
    static const char *const requests[] = {"",         "RELOAD",   " reload",
                                           "reload\n", "destroy;", "%n%n%n%n",
                                           "status2",  "shutdown", "\xff\xfe"};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        request_refused(requests[i], -EINVAL, "knows no such request");
}

static void history_of_any_length(void) {
    static const char *const requests[] = {
        "history 0",   "history -1", "history 1001",   "history 99999999999999999999",
        "history 1;2", "history x",  "history --diff", "history 1 --diff 2"};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        request_refused(requests[i], -EINVAL, "from 1 to 1000");
}

static void table_of_any_time(void) {
    static const char *const requests[] = {
        "table -1",  "table edit:", "table edit:-1",     "table 99999999999999999999",
        "table 1;2", "table %n%n",  "table edit:1 OR 1", "table EDIT:1"};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        request_refused(requests[i], -EINVAL, "is neither a generation, as 41, nor an edit");
    request_refused("table 999999999999999999", -ENOENT, "is not kept");
    request_refused("table edit:999999999999999999", -ENOENT, "the history has no edit");
}

const struct attack request_attacks[] = {
    {"request_reload", READER, DENIED, request_reload},
    {"request_destroy", READER, DENIED, request_destroy},
    {"request_checkpoint", WORKER, DENIED, request_checkpoint},
    {"request_revoke", WORKER, DENIED, request_revoke},
    {"request_drop", WORKER, DENIED, request_drop},
    {"request_as_outsider", OUTSIDER, DENIED, manage_uninvited},
    {"request_unknown", READER, DENIED, unknown_requests},
    {"request_endless_history", READER, DENIED, history_of_any_length},
    {"request_any_table", READER, DENIED, table_of_any_time},
    {0}};
