/* SPDX-License-Identifier: Apache-2.0
 *
 * Attaching, and the segment as a whole.  What may have to wait for the manager, or for a worker's
 * name, is a job in a thread of its own.
 */
#include "addon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 512
#define SLICE_MS   1000

/* ---- how long an attachment lasts */

struct segment *segment_new(shmc *shmc, bool writes, uint32_t key, char *runtime_dir) {
    struct segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL)
        return NULL;
    segment->shmc = shmc;
    segment->pins = 1;
    segment->writes = writes;
    segment->key = key;
    segment->runtime_dir = runtime_dir;
    return segment;
}

void segment_pin(struct segment *segment) {
    __atomic_add_fetch(&segment->pins, 1, __ATOMIC_RELAXED);
}

void segment_unpin(struct segment *segment) {
    if (__atomic_sub_fetch(&segment->pins, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (segment->viewer != NULL)
        segment_unpin(segment->viewer);
    shmc_detach(segment->shmc);
    free(segment->runtime_dir);
    free(segment);
}

struct segment *segment_argument(const struct call *call, unsigned i) {
    return handle_find(call->instance, argument_u32(call, i), HANDLE_SEGMENT);
}

/* ---- jobs */

/* Of all kinds: which members are used is their own affair. */
struct request {
    struct job job; /* first */
    int result;
    char text[TEXT_BYTES]; /* of the error */
    struct shmc_options options;
    uint32_t id;              /* by which an attach is given up */
    bool cancelled;           /* it was */
    char *name, *runtime_dir; /* also the worker, or what the manager is asked */
    shmc *shmc;               /* attached, and not taken */
    pid_t holder;
    struct segment *segment; /* a pin of it */
    struct shmc_create_options create;
    char *format, *read_group, *write_group;
    char *reply;
};

static void drop(struct job *job) {
    struct request *request = (struct request *)job;
    shmc_detach(request->shmc);
    if (request->segment != NULL)
        segment_unpin(request->segment);
    free(request->name);
    free(request->runtime_dir);
    free(request->format);
    free(request->read_group);
    free(request->write_group);
    free(request->reply);
    free(request);
}

/* {result, text, holder, reply} */
static napi_value settle(struct instance *instance, struct job *job) {
    const struct request *request = (const struct request *)job;
    napi_env env = instance->env;
    napi_value ret;
    if (request->id != 0)
        handle_remove(instance, request->id);
    napi_create_object(env, &ret);
    napi_set_named_property(env, ret, "result", answer_number(env, request->result));
    napi_set_named_property(env, ret, "text", answer_text(env, request->text));
    napi_set_named_property(env, ret, "holder", answer_number(env, request->holder));
    if (request->reply != NULL)
        napi_set_named_property(env, ret, "reply", answer_text(env, request->reply));
    return ret;
}

static napi_value request_start(const struct call *call, const struct request *request) {
    struct request *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        napi_throw_error(call->env, "ENOMEM", "no memory");
        return NULL;
    }
    *copy = *request;
    copy->job.drop = drop;
    uint32_t id = handle_add(call->instance, HANDLE_REQUEST, copy);
    copy->id = id;
    call->instance->answer->words[9] = id;
    napi_value promise = hub_start(call->instance, &copy->job);
    if (promise == NULL && id != 0)
        handle_remove(call->instance, id);
    return promise;
}

/* cancel(request), by words[9] of when it was started; what it brings all the same is brought. */
static napi_value cancel(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct request *request = handle_find(call.instance, argument_u32(&call, 0), HANDLE_REQUEST);
    if (request != NULL)
        __atomic_store_n(&request->cancelled, true, __ATOMIC_RELAXED);
    return NULL;
}

/* The segment's last error is that of any of its threads; with one job at a time it is ours. */
static void note(struct request *request) {
    if (request->result < 0)
        snprintf(request->text, sizeof request->text, "%s",
                 shmc_last_error(request->segment->shmc));
}

/* ---- attach(key, worker, flags, runtimeDir, timeoutMs) */

static bool worth_waiting(int r) {
    return r == -ENOENT || r == -EAGAIN || r == -EBADMSG || r == -EBUSY || r == -ENOTCONN ||
           r == -ETIMEDOUT;
}

/* In slices, between which it can be given up. */
static void run_attach(struct job *job) {
    struct request *request = (struct request *)job;
    int left_ms = request->options.timeout_ms, before = 0;
    char reason[TEXT_BYTES];
    request->options.worker = request->name;
    request->options.runtime_dir = request->runtime_dir;
    request->options.holder = &request->holder;
    request->options.error = request->text;
    request->options.error_bytes = sizeof request->text;
    for (;;) {
        int slice_ms = left_ms < 0 || left_ms > SLICE_MS ? SLICE_MS : left_ms;
        request->options.timeout_ms = slice_ms;
        request->result = shmc_attach(&request->shmc, &request->options);
        if (request->result == -ETIMEDOUT && before < 0) { /* what was waited for says more */
            request->result = before;
            memcpy(request->text, reason, sizeof reason);
        }
        if (left_ms > 0)
            left_ms -= slice_ms;
        if (left_ms == 0 || !worth_waiting(request->result) || hub_closed(job->hub) ||
            __atomic_load_n(&request->cancelled, __ATOMIC_RELAXED))
            return;
        before = request->result;
        memcpy(reason, request->text, sizeof reason);
    }
}

/* The handle of what was attached, or -ENOMEM. */
static int segment_add(struct instance *instance, struct request *request) {
    bool writes = request->name != NULL || (request->options.flags & SHMC_ANONYMOUS) != 0;
    struct segment *segment =
        segment_new(request->shmc, writes, request->options.key, request->runtime_dir);
    if (segment == NULL)
        return -ENOMEM;
    request->shmc = NULL; /* the segment's now */
    request->runtime_dir = NULL;
    uint32_t id = handle_add(instance, HANDLE_SEGMENT, segment);
    if (id != 0)
        return (int)id;
    segment_unpin(segment);
    return -ENOMEM;
}

/* The same as above; where it worked `result` is the handle. */
static napi_value settle_attach(struct instance *instance, struct job *job) {
    struct request *request = (struct request *)job;
    if (request->result == 0)
        request->result = segment_add(instance, request);
    return settle(instance, job);
}

static napi_value attach(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct request request = {.job = {.run = run_attach, .settle = settle_attach},
                              .options = {.size = sizeof request.options,
                                          .key = argument_u32(&call, 0),
                                          .flags = argument_u32(&call, 2),
                                          .timeout_ms = (int)argument_i64(&call, 4)},
                              .name = argument_text(&call, 1),
                              .runtime_dir = argument_text(&call, 3)};
    return request_start(&call, &request);
}

/* Its sections are still to be closed. */
static napi_value detach(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct instance *instance = call.instance;
    struct segment *segment = segment_argument(&call, 0);
    if (segment == NULL)
        return answer_number(env, -EBADF);
    for (uint32_t i = 1; i < instance->handles_n; i++) {
        struct section *section = handle_find(instance, i, HANDLE_SECTION);
        if (section == NULL || section->segment != segment)
            continue;
        section->segment = NULL;
        if (section->fd >= 0) /* it goes with the attachment, and its number may come again */
            hub_forget(instance->hub, section->fd);
        section->fd = -1;
    }
    handle_remove(instance, argument_u32(&call, 0));
    segment_unpin(segment);
    return answer_number(env, 0);
}

static napi_value last_error(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct segment *segment = segment_argument(&call, 0);
    return answer_text(env, segment != NULL ? shmc_last_error(segment->shmc) : "");
}

/* ---- create(segment, name, options), drop(segment, name), manager(key, runtimeDir, ...) */

static void run_create(struct job *job) {
    struct request *request = (struct request *)job;
    request->create.format = request->format;
    request->create.read_group = request->read_group;
    request->create.write_group = request->write_group;
    request->result = shmc_create(request->segment->shmc, request->name, &request->create);
    note(request);
}

static void run_drop(struct job *job) {
    struct request *request = (struct request *)job;
    request->result = shmc_drop(request->segment->shmc, request->name);
    note(request);
}

static void run_manager(struct job *job) {
    struct request *request = (struct request *)job;
    request->options.runtime_dir = request->runtime_dir;
    request->options.error = request->text;
    request->options.error_bytes = sizeof request->text;
    request->result = shmc_manager(&request->options, request->name, &request->reply);
}

/* An option of that name, as argument 0. */
static struct call option(const struct call *call, napi_value options, const char *name) {
    struct call member = {.env = call->env};
    if (napi_get_named_property(call->env, options, name, &member.arguments[0]) != napi_ok)
        napi_get_undefined(call->env, &member.arguments[0]);
    return member;
}

static uint64_t option_number(const struct call *call, napi_value options, const char *name) {
    const struct call member = option(call, options, name);
    return (uint64_t)argument_i64(&member, 0);
}

static char *option_text(const struct call *call, napi_value options, const char *name) {
    const struct call member = option(call, options, name);
    return argument_text(&member, 0);
}

static napi_value start_create(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    napi_value from = call.arguments[2];
    struct request request = {.job = {.run = run_create, .settle = settle},
                              .segment = segment_argument(&call, 0)};
    if (request.segment == NULL)
        return answer_number(env, -EBADF);
    segment_pin(request.segment);
    request.name = argument_text(&call, 1);
    request.create = (struct shmc_create_options){
        .size = sizeof request.create,
        .kind = (enum shmc_kind)option_number(&call, from, "kind"),
        .count = (uint32_t)option_number(&call, from, "count"),
        .bytes = option_number(&call, from, "bytes"),
        .stale_ms = option_number(&call, from, "staleMs"),
        .stamp = (enum shmc_stamp)option_number(&call, from, "stamp"),
        .notify = (enum shmc_notify)option_number(&call, from, "notify"),
        .flags = (uint32_t)option_number(&call, from, "flags"),
    };
    request.format = option_text(&call, from, "format");
    request.read_group = option_text(&call, from, "readGroup");
    request.write_group = option_text(&call, from, "writeGroup");
    return request_start(&call, &request);
}

static napi_value start_drop(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct request request = {.job = {.run = run_drop, .settle = settle},
                              .segment = segment_argument(&call, 0)};
    if (request.segment == NULL)
        return answer_number(env, -EBADF);
    segment_pin(request.segment);
    request.name = argument_text(&call, 1);
    return request_start(&call, &request);
}

static napi_value manager(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct request request = {.job = {.run = run_manager, .settle = settle},
                              .options = {.size = sizeof request.options,
                                          .key = argument_u32(&call, 0),
                                          .timeout_ms = (int)argument_i64(&call, 3)},
                              .name = argument_text(&call, 2),
                              .runtime_dir = argument_text(&call, 1)};
    return request_start(&call, &request);
}

/* ---- looking around: an object, an array, or a negative errno */

static napi_value segment_info(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_segment_info found;
    call_begin(&call, env, info);
    const struct segment *segment = segment_argument(&call, 0);
    int r = segment == NULL ? -EBADF : shmc_segment(segment->shmc, &found);
    return r < 0 ? answer_number(env, r) : object_of(env, segment_fields, &found);
}

/* The array of what a call brought, which is freed, or the negative errno that it was. */
static napi_value list_answer(napi_env env, int r, const struct field *fields, void *found,
                              size_t n, size_t bytes) {
    napi_value ret = r < 0 ? answer_number(env, r) : objects_of(env, fields, found, n, bytes);
    free(found);
    return ret;
}

static napi_value sections(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_section_info *found = NULL;
    size_t n = 0;
    call_begin(&call, env, info);
    const struct segment *segment = segment_argument(&call, 0);
    int r = segment == NULL ? -EBADF : shmc_sections(segment->shmc, &found, &n);
    return list_answer(env, r, section_fields, found, n, sizeof *found);
}

static napi_value workers(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_worker_info *found = NULL;
    size_t n = 0;
    call_begin(&call, env, info);
    const struct segment *segment = segment_argument(&call, 0);
    int r = segment == NULL ? -EBADF : shmc_workers(segment->shmc, &found, &n);
    return list_answer(env, r, worker_fields, found, n, sizeof *found);
}

static napi_value attachments(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_attachment_info *found = NULL;
    size_t n = 0;
    call_begin(&call, env, info);
    const struct segment *segment = segment_argument(&call, 0);
    int r = segment == NULL ? -EBADF : shmc_attachments(segment->shmc, &found, &n);
    return list_answer(env, r, attachment_fields, found, n, sizeof *found);
}

const struct function segment_functions[] = {
    {"attach", attach},           {"cancel", cancel},
    {"detach", detach},           {"lastError", last_error},
    {"create", start_create},     {"drop", start_drop},
    {"manager", manager},         {"segmentInfo", segment_info},
    {"sections", sections},       {"workers", workers},
    {"attachments", attachments}, {NULL, NULL}};
