/* SPDX-License-Identifier: Apache-2.0
 *
 * The module itself: an instance for each thread of JavaScript that loads it, its table of handles,
 * and how arguments are taken.
 */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments and answers */

void call_begin(struct call *call, napi_env env, napi_callback_info info) {
    size_t n = ARGUMENTS_MAX;
    void *data = NULL;
    call->env = env;
    napi_get_cb_info(env, info, &n, call->arguments, NULL, &data);
    call->instance = (struct instance *)data;
}

napi_value answer_number(napi_env env, double number) {
    napi_value ret = NULL;
    napi_create_double(env, number, &ret);
    return ret;
}

napi_value answer_text(napi_env env, const char *text) {
    napi_value ret = NULL;
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &ret);
    return ret;
}

uint32_t argument_u32(const struct call *call, unsigned i) {
    uint32_t ret = 0;
    napi_get_value_uint32(call->env, call->arguments[i], &ret);
    return ret;
}

int64_t argument_i64(const struct call *call, unsigned i) {
    int64_t ret = 0;
    napi_get_value_int64(call->env, call->arguments[i], &ret);
    return ret;
}

uint64_t argument_big(const struct call *call, unsigned i) {
    uint64_t ret = 0;
    bool lossless;
    napi_get_value_bigint_uint64(call->env, call->arguments[i], &ret, &lossless);
    return ret;
}

bool argument_flag(const struct call *call, unsigned i) {
    bool ret = false;
    napi_get_value_bool(call->env, call->arguments[i], &ret);
    return ret;
}

bool argument_bytes(const struct call *call, unsigned i, void **data, size_t *bytes) {
    static char nothing[1];
    bool is = false;
    *data = NULL;
    *bytes = 0;
    if (napi_is_buffer(call->env, call->arguments[i], &is) != napi_ok || !is ||
        napi_get_buffer_info(call->env, call->arguments[i], data, bytes) != napi_ok)
        return false;
    if (*data == NULL ||
        *bytes == 0) { /* empty, or detached: an address that is none of anything */
        *data = nothing;
        *bytes = 0;
    }
    return true;
}

char *argument_text(const struct call *call, unsigned i) {
    size_t bytes = 0;
    if (napi_get_value_string_utf8(call->env, call->arguments[i], NULL, 0, &bytes) != napi_ok)
        return NULL;
    char *ret = malloc(bytes + 1);
    if (ret != NULL)
        napi_get_value_string_utf8(call->env, call->arguments[i], ret, bytes + 1, &bytes);
    return ret;
}

/* ---- handles */

uint32_t handle_add(struct instance *instance, enum handle_kind kind, void *pointer) {
    uint32_t id = instance->handles_free;
    if (id == 0) {
        uint32_t n = instance->handles_n;
        struct handle *more = realloc(instance->handles, 2 * n * sizeof *more);
        if (more == NULL)
            return 0;
        instance->handles = more;
        for (uint32_t i = 2 * n; i-- > n; id = i)
            more[i] = (struct handle){.kind = HANDLE_FREE, .next = id};
        instance->handles_n = 2 * n;
    }
    struct handle *handle = &instance->handles[id];
    instance->handles_free = handle->next;
    handle->kind = kind;
    handle->segment = pointer; /* any of them */
    return id;
}

void *handle_find(const struct instance *instance, uint32_t id, enum handle_kind kind) {
    if (id >= instance->handles_n || instance->handles[id].kind != kind)
        return NULL;
    return instance->handles[id].segment;
}

void handle_remove(struct instance *instance, uint32_t id) {
    instance->handles[id] = (struct handle){.kind = HANDLE_FREE, .next = instance->handles_free};
    instance->handles_free = id;
}

/* ---- the instance */

static napi_value hold(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    hub_hold(call.instance->hub, argument_flag(&call, 0));
    return NULL;
}

static napi_value error_name(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *name = strerrorname_np((int)argument_i64(&call, 0));
    return answer_text(env, name != NULL ? name : "EUNKNOWN");
}

static napi_value error_text(napi_env env, napi_callback_info info) {
    struct call call;
    char text[128];
    call_begin(&call, env, info);
    return answer_text(env, strerror_r((int)argument_i64(&call, 0), text, sizeof text));
}

static napi_value version(napi_env env, napi_callback_info info) {
    (void)info;
    return answer_text(env, shmc_version());
}

static const struct function own_functions[] = {{"hold", hold},
                                                {"errorName", error_name},
                                                {"errorText", error_text},
                                                {"version", version},
                                                {NULL, NULL}};

void instance_put(struct instance *instance) {
    if (--instance->references > 0)
        return;
    free(instance->handles);
    free(instance);
}

/* JavaScript has ended in this thread.  Views that live on are given back by their finalizers. */
static void clean_up(void *argument) {
    struct instance *instance = argument;
    hub_close(instance->hub);
    instance->hub = NULL;
    napi_delete_reference(instance->env, instance->answer_ref);
    for (uint32_t i = 1; i < instance->handles_n; i++)
        if (instance->handles[i].kind == HANDLE_SECTION)
            section_free(instance, instance->handles[i].section);
    for (uint32_t i = 1; i < instance->handles_n; i++) {
        if (instance->handles[i].kind == HANDLE_SEGMENT)
            segment_unpin(instance->handles[i].segment);
        else if (instance->handles[i].kind == HANDLE_BLOCK)
            block_close(instance->handles[i].block);
        instance->handles[i].kind = HANDLE_FREE;
    }
    instance_put(instance);
}

static bool export(napi_env env, napi_value exports, const struct function *functions,
                   struct instance *instance) {
    for (; functions->name != NULL; functions++) {
        napi_value function;
        if (napi_create_function(env, functions->name, NAPI_AUTO_LENGTH, functions->call, instance,
                                 &function) != napi_ok ||
            napi_set_named_property(env, exports, functions->name, function) != napi_ok)
            return false;
    }
    return true;
}

static bool export_all(napi_env env, napi_value exports, struct instance *instance) {
    static const struct function *const modules[] = {
        own_functions,  segment_functions, section_functions, value_functions,
        slot_functions, queue_functions,   view_functions,    shmop_functions,
    };
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (!export(env, exports, modules[i], instance))
            return false;
    return true;
}

static struct instance *instance_new(napi_env env) {
    struct instance *instance = calloc(1, sizeof *instance);
    struct handle *handles = calloc(2, sizeof *handles);
    if (instance == NULL || handles == NULL) {
        free(instance);
        free(handles);
        return NULL;
    }
    instance->references = 1;
    instance->env = env;
    instance->handles = handles;
    instance->handles_n = 2;
    instance->handles_free = 1;
    return instance;
}

/* start(woken, exports), once: adds the calls to `exports`, and gives the ArrayBuffer in which they
 * answer (struct answer).  woken(id) is called for a section that was watched. */
static napi_value start(napi_env env, napi_callback_info info) {
    struct call call;
    napi_value buffer;
    void *memory;
    call_begin(&call, env, info);
    struct instance *instance = call.instance;
    if (instance->hub != NULL) {
        napi_throw_error(env, NULL, "the addon was started already");
        return NULL;
    }
    if (napi_create_arraybuffer(env, sizeof(struct answer), &memory, &buffer) != napi_ok ||
        napi_create_reference(env, buffer, 1, &instance->answer_ref) != napi_ok ||
        (instance->hub = hub_new(instance, call.arguments[0])) == NULL ||
        !export_all(env, call.arguments[1], instance)) {
        napi_throw_error(env, "ENOMEM", "no memory or descriptors for the shmclient addon");
        return NULL;
    }
    instance->answer = memory;
    napi_add_env_cleanup_hook(env, clean_up, instance);
    return buffer;
}

NAPI_MODULE_INIT() {
    static const struct function first[] = {{"start", start}, {NULL, NULL}};
    struct instance *instance = instance_new(env);
    if (instance == NULL || !export(env, exports, first, instance)) {
        napi_throw_error(env, "ENOMEM", "no memory for the shmclient addon");
        return NULL;
    }
    return exports;
}
