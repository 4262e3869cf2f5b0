/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections: opened, closed, watched, described; and raw ones, read and written.
 */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>

#define ROUNDS 1000

void section_free(struct instance *instance, struct section *section) {
    if (section->fd >= 0)
        hub_forget(instance->hub, section->fd);
    shmc_close(section->shmc);
    free(section);
}

struct section *section_argument(const struct call *call, unsigned i) {
    return handle_find(call->instance, argument_u32(call, i), HANDLE_SECTION);
}

int section_bytes(const struct call *call, unsigned i, const struct section **section, void **data,
                  size_t *bytes) {
    *section = section_argument(call, 0);
    if (*section == NULL)
        return -EBADF;
    return argument_bytes(call, i, data, bytes) ? 0 : -EINVAL;
}

/* The handle of what was opened, or -ENOMEM, and it is closed. */
static int section_add(struct instance *instance, struct segment *segment, shmc_section *shmc) {
    struct section *section = malloc(sizeof *section);
    uint32_t id = section == NULL ? 0 : handle_add(instance, HANDLE_SECTION, section);
    if (id == 0) {
        free(section);
        shmc_close(shmc);
        return -ENOMEM;
    }
    *section = (struct section){.shmc = shmc, .segment = segment, .fd = -1};
    return (int)id;
}

/* open(segment, name, kind, format, minSize): a handle.  kind is 0 for any. */
static napi_value open_section(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct instance *instance = call.instance;
    struct segment *segment = segment_argument(&call, 0);
    shmc_section *shmc = NULL;
    char *name = argument_text(&call, 1), *format = argument_text(&call, 3);
    struct shmc_expect expect = {.size = sizeof expect,
                                 .kind = (enum shmc_kind)argument_u32(&call, 2),
                                 .format = format,
                                 .min_size = (uint64_t)argument_i64(&call, 4)};
    int r = segment == NULL ? -EBADF
            : name == NULL  ? -ENOMEM
                            : shmc_open(&shmc, segment->shmc, name, &expect);
    if (r == 0)
        r = section_add(instance, segment, shmc);
    free(name);
    free(format);
    return answer_number(env, r);
}

/* The very section that this is; it may have got another name, and a new one have its. */
int section_again(const struct section *section, shmc *in, shmc_section **ret) {
    struct shmc_section_info wanted, found;
    for (int i = 0; i < ROUNDS; i++) {
        int r = shmc_section_info(section->shmc, &wanted);
        if (r == 0)
            r = shmc_open(ret, in, wanted.name, NULL);
        if (r == -ENOENT) /* in this moment */
            continue;
        if (r < 0)
            return r;
        r = shmc_section_info(*ret, &found);
        if (r == 0 && found.section_id == wanted.section_id)
            return 0;
        shmc_close(*ret);
        if (r < 0)
            return r;
    }
    return -EAGAIN;
}

/* again(section): a handle */
static napi_value open_again(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    if (section == NULL || section->segment == NULL)
        return answer_number(env, -EBADF);
    shmc_section *shmc = NULL;
    int r = section_again(section, section->segment->shmc, &shmc);
    return answer_number(env, r < 0 ? r : section_add(call.instance, section->segment, shmc));
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

/* Its size alone, for who reads a raw section: the object costs far more than the copy. */
static napi_value section_size(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_section_info found;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF : shmc_section_info(section->shmc, &found);
    return answer_number(env, r < 0 ? r : (double)found.size);
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

/* rawRead(section, offset, into), rawWrite(section, offset, data) */
static napi_value raw_read(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    ssize_t r = section_bytes(&call, 2, &section, &data, &bytes);
    if (r == 0)
        r = shmc_raw_read(section->shmc, (size_t)argument_i64(&call, 1), data, bytes);
    return answer_number(env, (double)r);
}

static napi_value raw_write(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    ssize_t r = section_bytes(&call, 2, &section, &data, &bytes);
    if (r == 0)
        r = shmc_raw_write(section->shmc, (size_t)argument_i64(&call, 1), data, bytes);
    return answer_number(env, (double)r);
}

const struct function section_functions[] = {
    {"open", open_section},        {"close", close_section}, {"sectionInfo", section_info},
    {"sectionSize", section_size}, {"watch", watch},         {"again", open_again},
    {"rawRead", raw_read},         {"rawWrite", raw_write},  {NULL, NULL}};
