/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues, without waiting: that is done by who watches the section.
 */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As ../lib/queue.js takes them. */
static void message_answer(struct instance *instance, const struct shmc_message *message) {
    struct answer *answer = instance->answer;
    answer->words[0] = (double)message->type;
    answer->words[1] = (double)message->length;
    answer->words[2] = (double)message->id;
    answer->words[3] = message->age_ns == UINT64_MAX ? -1 : (double)message->age_ns / 1e6;
    answer->words[4] = message->lane;
    answer->words[5] = message->pid;
    answer->words[6] = message->redelivered;
    answer->words[7] = message->truncated;
    answer->longs[0] = message->real_ns;
    memcpy(answer->name, message->worker, sizeof answer->name);
}

/* send(section, type, data) */
static napi_value send(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    int r = section_bytes(&call, 2, &section, &data, &bytes);
    if (r == 0)
        r = shmc_queue_send(section->shmc, argument_i64(&call, 1), data, bytes, 0, 0);
    return answer_number(env, r);
}

/* receive(section, type, flags, into): bytes; words[1] is how many it takes, also with -E2BIG. */
static napi_value receive(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    struct shmc_message message = {0};
    void *into;
    size_t room;
    call_begin(&call, env, info);
    ssize_t r = section_bytes(&call, 3, &section, &into, &room);
    if (r < 0)
        return answer_number(env, (double)r);
    r = shmc_queue_receive(section->shmc, argument_i64(&call, 1), into, room,
                           argument_u32(&call, 2), 0, &message);
    message_answer(call.instance, &message);
    return answer_number(env, (double)r);
}

/* peek(section, type, flags): a copy, so that it is still the same when it is looked at. */
static napi_value peek(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_message message = {0};
    const void *data;
    size_t bytes;
    napi_value ret;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF
                            : shmc_queue_peek(section->shmc, argument_i64(&call, 1), &data, &bytes,
                                              argument_u32(&call, 2), 0, &message);
    if (r < 0)
        return answer_number(env, r);
    if (napi_create_buffer_copy(env, bytes, data, NULL, &ret) != napi_ok) {
        shmc_queue_abandon(section->shmc);
        return answer_number(env, -ENOMEM);
    }
    message_answer(call.instance, &message);
    return ret;
}

/* settle(section, done): ack, or abandon */
static napi_value settle(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    return answer_number(env, section == NULL           ? -EBADF
                              : argument_flag(&call, 1) ? shmc_queue_ack(section->shmc)
                                                        : shmc_queue_abandon(section->shmc));
}

/* look(section, index, into) */
static napi_value look(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    struct shmc_message message = {0};
    void *into;
    size_t room;
    call_begin(&call, env, info);
    ssize_t r = section_bytes(&call, 2, &section, &into, &room);
    if (r < 0)
        return answer_number(env, (double)r);
    r = shmc_queue_look(section->shmc, (size_t)argument_i64(&call, 1), into, room, 0, &message);
    message_answer(call.instance, &message);
    return answer_number(env, (double)r);
}

static napi_value stat(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_queue_stat found;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF : shmc_queue_stat(section->shmc, &found, NULL, NULL);
    return r < 0 ? answer_number(env, r) : object_of(env, queue_fields, &found);
}

const struct function queue_functions[] = {
    {"send", send}, {"receive", receive}, {"peek", peek}, {"settle", settle},
    {"look", look}, {"queueStat", stat},  {NULL, NULL}};
