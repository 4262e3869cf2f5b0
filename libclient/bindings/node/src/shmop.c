/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of System V memory, by libshmcompat, for ../lib/nodejs-shm.js.  Their answers are as its
 * own: -1, and shmopError() has the text.
 */
#include "addon.h"

#include <shmop.h>
#include <stdlib.h>

void block_close(void *block) {
    shmop_close(block);
}

static shmop *block_argument(const struct call *call) {
    return handle_find(call->instance, argument_u32(call, 0), HANDLE_BLOCK);
}

/* shmopOpen(key, flags, mode, size): a handle */
static napi_value open_block(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    char *flags = argument_text(&call, 1);
    shmop *block = shmop_open(argument_u32(&call, 0), flags, argument_u32(&call, 2),
                              (size_t)argument_i64(&call, 3));
    free(flags);
    uint32_t id = block == NULL ? 0 : handle_add(call.instance, HANDLE_BLOCK, block);
    if (id == 0)
        shmop_close(block);
    return answer_number(env, id == 0 ? -1 : (double)id);
}

static napi_value block_id(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    return answer_number(env, shmop_id(block_argument(&call)));
}

static napi_value block_size(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    return answer_number(env, (double)shmop_size(block_argument(&call)));
}

/* shmopRead(block, offset, into): all of `into`, of which no bytes are none. */
static napi_value read_block(napi_env env, napi_callback_info info) {
    struct call call;
    void *into;
    size_t bytes;
    call_begin(&call, env, info);
    size_t offset = (size_t)argument_i64(&call, 1);
    shmop *block = block_argument(&call);
    if (!argument_bytes(&call, 2, &into, &bytes))
        return answer_number(env, -1);
    if (bytes == 0 && shmop_size(block) >= (ssize_t)offset)
        return answer_number(env, 0);
    return answer_number(env, (double)shmop_read(block, offset, bytes, into, bytes));
}

/* shmopWrite(block, data, offset) */
static napi_value write_block(napi_env env, napi_callback_info info) {
    struct call call;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    if (!argument_bytes(&call, 1, &data, &bytes))
        return answer_number(env, -1);
    return answer_number(env, (double)shmop_write(block_argument(&call), data, bytes,
                                                  (size_t)argument_i64(&call, 2)));
}

static napi_value delete_block(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    return answer_number(env, shmop_delete(block_argument(&call)));
}

static napi_value close_block(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    shmop *block = block_argument(&call);
    if (block != NULL)
        handle_remove(call.instance, argument_u32(&call, 0));
    shmop_close(block);
    return NULL;
}

static napi_value error(napi_env env, napi_callback_info info) {
    (void)info;
    return answer_text(env, shmop_last_error());
}

const struct function shmop_functions[] = {
    {"shmopOpen", open_block},   {"shmopId", block_id},       {"shmopSize", block_size},
    {"shmopRead", read_block},   {"shmopWrite", write_block}, {"shmopDelete", delete_block},
    {"shmopClose", close_block}, {"shmopError", error},       {NULL, NULL}};
