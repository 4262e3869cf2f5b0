/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: publish, read, and the next one without waiting.
 */
#include "addon.h"

#include <errno.h>

/* As ../lib/snapshot.js takes them. */
void value_answer(struct instance *instance, const struct shmc_value *value) {
    struct answer *answer = instance->answer;
    answer->words[0] = (double)value->version;
    answer->words[1] = (double)value->length;
    answer->words[2] = (double)value->missed;
    answer->words[3] = value->age_ns == UINT64_MAX ? -1 : (double)value->age_ns / 1e6;
    answer->words[4] = value->writer;
    answer->words[5] = value->stale;
    answer->longs[0] = value->real_ns;
    answer->longs[1] = value->incarnation;
}

static napi_value publish(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    int r = section_bytes(&call, 1, &section, &data, &bytes);
    if (r == 0)
        r = shmc_publish(section->shmc, data, bytes);
    return answer_number(env, r);
}

enum how { READ_NEWEST = 0, READ_NEXT = 1, READ_FOLLOWING = 2 };

/* read(section, into, how): bytes; words[1] is how many it takes, also with -EMSGSIZE. */
static napi_value read_value(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    struct shmc_value value = {0};
    void *into;
    size_t room;
    call_begin(&call, env, info);
    ssize_t r = section_bytes(&call, 1, &section, &into, &room);
    if (r < 0)
        return answer_number(env, (double)r);
    switch ((enum how)argument_u32(&call, 2)) {
    case READ_NEXT:
        r = shmc_next(section->shmc, into, room, 0, &value);
        break;
    case READ_FOLLOWING:
        r = shmc_follow(section->shmc, into, room, 0, &value);
        break;
    default:
        r = shmc_read(section->shmc, into, room, &value);
    }
    value_answer(call.instance, &value);
    return answer_number(env, (double)r);
}

/* 0: there is something newer than the last that was read; or as shmc_next().  It takes nothing,
 * but for a value of no bytes that comes in this moment. */
static napi_value changed(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    if (section == NULL)
        return answer_number(env, -EBADF);
    int r = shmc_wait_any(&section->shmc, 1, 0);
    if (r == -EAGAIN || r == -ETIMEDOUT || r == -ETIME) {
        char nothing;
        r = (int)shmc_next(section->shmc, &nothing, 0, 0, NULL); /* why; clears the watch */
        if (r == -EMSGSIZE)
            r = 0;
    }
    return answer_number(env, r);
}

const struct function value_functions[] = {
    {"publish", publish}, {"read", read_value}, {"changed", changed}, {NULL, NULL}};
