/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections: opened, closed, watched, described; and raw ones, read and written.
 */
#include "addon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void section_free(struct instance *instance, struct section *section) {
    if (section->fd >= 0)
        hub_forget(instance->hub, section->fd);
    shmc_close(section->shmc);
    free(section);
}

struct section *section_argument(const struct call *call, unsigned i) {
    return handle_find(call->instance, argument_u32(call, i), HANDLE_SECTION);
}

/* open(segment, name, kind, format, minSize): a handle.  kind is 0 for any. */
static napi_value open_section(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct instance *instance = call.instance;
    struct segment *segment = handle_find(instance, argument_u32(&call, 0), HANDLE_SEGMENT);
    struct section *section = calloc(1, sizeof *section);
    char *name = argument_text(&call, 1), *format = argument_text(&call, 3);
    struct shmc_expect expect = {.size = sizeof expect,
                                 .kind = (enum shmc_kind)argument_u32(&call, 2),
                                 .format = format,
                                 .min_size = (uint64_t)argument_i64(&call, 4)};
    int r = segment == NULL ? -EBADF
            : section == NULL || name == NULL
                ? -ENOMEM
                : shmc_open(&section->shmc, segment->shmc, name, &expect);
    if (r == 0) {
        section->segment = segment;
        section->fd = -1;
        snprintf(section->name, sizeof section->name, "%s", name);
        r = (int)handle_add(instance, HANDLE_SECTION, section);
        if (r == 0) {
            shmc_close(section->shmc);
            r = -ENOMEM;
        }
    }
    if (r < 0)
        free(section);
    free(name);
    free(format);
    return answer_number(env, r);
}

static napi_value close_section(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct section *section = section_argument(&call, 0);
    if (section == NULL)
        return answer_number(env, -EBADF);
    handle_remove(call.instance, argument_u32(&call, 0));
    section_free(call.instance, section);
    return answer_number(env, 0);
}

static napi_value section_info(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_section_info found;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF : shmc_section_info(section->shmc, &found);
    return r < 0 ? answer_number(env, r) : object_of(env, section_fields, &found);
}

/* Once, when there may be something new: the call that found nothing said what is looked for. */
static napi_value watch(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF : shmc_fd(section->shmc);
    if (r >= 0) {
        section->fd = r;
        r = hub_watch(call.instance->hub, r, argument_u32(&call, 0));
    }
    return answer_number(env, r);
}

static napi_value set_spin(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    return answer_number(
        env, section == NULL ? -EBADF : shmc_set_spin(section->shmc, argument_u32(&call, 1)));
}

/* rawRead(section, offset, into), rawWrite(section, offset, data) */
static napi_value raw_read(napi_env env, napi_callback_info info) {
    struct call call;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    if (section == NULL)
        return answer_number(env, -EBADF);
    if (!argument_bytes(&call, 2, &data, &bytes))
        return answer_number(env, -EINVAL);
    return answer_number(
        env, (double)shmc_raw_read(section->shmc, (size_t)argument_i64(&call, 1), data, bytes));
}

static napi_value raw_write(napi_env env, napi_callback_info info) {
    struct call call;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    if (section == NULL)
        return answer_number(env, -EBADF);
    if (!argument_bytes(&call, 2, &data, &bytes))
        return answer_number(env, -EINVAL);
    return answer_number(
        env, (double)shmc_raw_write(section->shmc, (size_t)argument_i64(&call, 1), data, bytes));
}

const struct function section_functions[] = {
    {"open", open_section},        {"close", close_section},
    {"sectionInfo", section_info}, {"watch", watch},
    {"setSpin", set_spin},         {"rawRead", raw_read},
    {"rawWrite", raw_write},       {NULL, NULL}};
