/* SPDX-License-Identifier: Apache-2.0
 *
 * Views: a value, or a raw section's bytes, where they lie in the shared memory.  Each has a
 * section object of its own to be lent by, in an attachment that only reads and that stays until
 * the last view was collected, whatever was closed or detached meanwhile.  So a worker's lease ends
 * when he says so, and his views stay.
 *
 * A small value is copied, which is quicker; and so is any where the runtime forbids external
 * buffers (Electron), where there are many views already, or where the attachment can't be had.
 */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES  4096
#define LENDERS_MAX 64
#define ROUNDS      1000

/* ---- lenders */

/* What one view is lent by: the library lends one place to a section object at a time. */
struct lender {
    struct instance *instance;
    struct segment *segment; /* a pin of it */
    shmc_section *shmc;      /* NULL: was given back */
    uint32_t id;
    bool raw;
    const void *base; /* raw: what it was when it was lent */
    struct shmc_section_info lent;
};

static void lender_give_back(struct lender *lender) {
    if (lender->shmc == NULL)
        return;
    shmc_close(lender->shmc);
    lender->shmc = NULL;
    lender->instance->lenders--;
    segment_unpin(lender->segment);
}

/* The buffer was collected, or its thread has ended. */
static void on_collected(napi_env env, void *data, void *hint) {
    struct lender *lender = hint;
    struct instance *instance = lender->instance;
    (void)env;
    (void)data;
    lender_give_back(lender);
    if (handle_find(instance, lender->id, HANDLE_LENDER) == lender)
        handle_remove(instance, lender->id);
    free(lender);
    instance_put(instance);
}

/* By which views are lent: the same, or where that has a lease another one. */
static struct segment *viewer_of(struct segment *segment) {
    struct shmc_options options = {
        .size = sizeof options, .key = segment->key, .runtime_dir = segment->runtime_dir};
    shmc *shmc;
    if (!segment->writes)
        return segment;
    if (segment->viewer == NULL && shmc_attach(&shmc, &options) == 0) {
        segment->viewer = segment_new(shmc, false, segment->key, NULL);
        if (segment->viewer == NULL)
            shmc_detach(shmc);
    }
    return segment->viewer;
}

static struct lender *lender_new(struct instance *instance, const struct section *section) {
    if (instance->lenders >= LENDERS_MAX || instance->no_external || section->segment == NULL)
        return NULL;
    struct segment *viewer = viewer_of(section->segment);
    struct lender *lender = viewer == NULL ? NULL : calloc(1, sizeof *lender);
    if (lender == NULL)
        return NULL;
    lender->id = handle_add(instance, HANDLE_LENDER, lender);
    if (lender->id == 0 || section_again(section, viewer->shmc, &lender->shmc) < 0) {
        if (lender->id != 0)
            handle_remove(instance, lender->id);
        free(lender);
        return NULL;
    }
    lender->instance = instance;
    lender->segment = viewer;
    segment_pin(viewer);
    instance->lenders++;
    instance->references++;
    return lender;
}

/* NULL: then the lender is gone. */
static napi_value external(struct lender *lender, const void *data, size_t bytes) {
    struct instance *instance = lender->instance;
    napi_value ret;
    /* JavaScript knows no read-only memory: a store into it faults, as the README says. */
    napi_status status =
        napi_create_external_buffer(instance->env, bytes, (void *)data, on_collected, lender, &ret);
    if (status == napi_ok)
        return ret;
    instance->no_external = status == napi_no_external_buffers_allowed;
    on_collected(instance->env, NULL, lender);
    return NULL;
}

/* ---- snapshots */

/* Looks once more, for who returns nothing of what he saw before; *value is empty at first. */
static int look(const struct section *section, const void **data, size_t *bytes,
                struct shmc_value *value) {
    struct shmc_value next;
    int r = shmc_view(section->shmc, data, bytes, &next);
    if (r < 0)
        return r;
    if (value->version != 0 && value->incarnation == next.incarnation)
        next.missed = value->missed + next.version - value->version;
    *value = next;
    return 0;
}

static napi_value copy_value(struct instance *instance, const struct section *section,
                             struct shmc_value *value) {
    const void *data;
    size_t bytes;
    for (int i = 0; i < ROUNDS; i++) {
        napi_value ret;
        int r = look(section, &data, &bytes, value);
        if (r < 0)
            return answer_number(instance->env, r);
        if (napi_create_buffer_copy(instance->env, bytes, data, NULL, &ret) != napi_ok)
            return answer_number(instance->env, -ENOMEM);
        if (shmc_valid(section->shmc) == 1)
            return ret;
    }
    return answer_number(instance->env, -EAGAIN);
}

/* The section's own object has seen that value, too, so that what waits for a newer one finds it;
 * in doubt it sees one twice, and misses none. */
static napi_value lend_value(struct instance *instance, const struct section *section,
                             struct shmc_value *value) {
    const void *data, *unused;
    struct shmc_value lent;
    size_t bytes, unused_bytes;
    struct lender *lender = lender_new(instance, section);
    if (lender == NULL)
        return NULL;
    int r;
    for (int i = 0; i < ROUNDS; i++) {
        r = shmc_view(lender->shmc, &data, &bytes, &lent);
        if (r < 0 || lent.version <= value->version)
            break;
        r = look(section, &unused, &unused_bytes, value);
        if (r < 0)
            break;
    }
    if (r < 0 || bytes < COPY_BYTES) {
        on_collected(instance->env, NULL, lender);
        return NULL;
    }
    uint64_t missed = value->missed;
    *value = lent;
    value->missed = missed;
    instance->answer->words[8] = lender->id;
    return external(lender, data, bytes);
}

/* view(section, copy): a Buffer, or a negative errno; words[8] is the lender, 0: it is a copy. */
static napi_value view(napi_env env, napi_callback_info info) {
    struct call call;
    struct shmc_value value = {0};
    const void *data;
    size_t bytes;
    napi_value ret = NULL;
    call_begin(&call, env, info);
    struct instance *instance = call.instance;
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF : look(section, &data, &bytes, &value);
    if (r < 0)
        return answer_number(env, r);
    if (bytes >= COPY_BYTES && !argument_flag(&call, 1))
        ret = lend_value(instance, section, &value);
    if (ret == NULL) {
        instance->answer->words[8] = 0;
        ret = copy_value(instance, section, &value);
    }
    value_answer(instance, &value);
    return ret;
}

/* ---- raw sections */

static const void *base_of(const struct lender *lender) {
    struct shmc_segment_info info;
    return shmc_segment(lender->segment->shmc, &info) < 0 ? NULL : info.base;
}

static napi_value lend_raw(struct instance *instance, const struct section *section) {
    const void *data;
    size_t bytes;
    struct lender *lender = lender_new(instance, section);
    if (lender == NULL)
        return NULL;
    lender->raw = true;
    if (shmc_raw(lender->shmc, &data, &bytes) < 0 || bytes == 0 ||
        shmc_section_info(lender->shmc, &lender->lent) < 0) {
        on_collected(instance->env, NULL, lender);
        return NULL;
    }
    lender->base = base_of(lender);
    instance->answer->words[8] = lender->id;
    return external(lender, data, bytes);
}

/* rawView(section, copy): as view() */
static napi_value raw_view(napi_env env, napi_callback_info info) {
    struct call call;
    const void *data;
    size_t bytes;
    napi_value ret = NULL;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF : shmc_raw(section->shmc, &data, &bytes);
    if (r < 0)
        return answer_number(env, r);
    if (!argument_flag(&call, 1))
        ret = lend_raw(call.instance, section);
    if (ret != NULL)
        return ret;
    call.instance->answer->words[8] = 0;
    if (napi_create_buffer_copy(env, bytes, data, NULL, &ret) != napi_ok)
        return answer_number(env, -ENOMEM);
    return ret;
}

/* Does the section still lie where it was lent? */
static int raw_valid(const struct lender *lender) {
    struct shmc_section_info now;
    int r = shmc_section_info(lender->shmc, &now);
    return r < 0 ? 0
                 : now.section_id == lender->lent.section_id &&
                       now.incarnation == lender->lent.incarnation &&
                       now.offset == lender->lent.offset && now.size == lender->lent.size &&
                       base_of(lender) == lender->base;
}

/* valid(lender): 1, 0, or a negative errno */
static napi_value valid(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct lender *lender = handle_find(call.instance, argument_u32(&call, 0), HANDLE_LENDER);
    if (lender == NULL || lender->shmc == NULL)
        return answer_number(env, -EBADF);
    int r = lender->raw ? raw_valid(lender) : shmc_valid(lender->shmc);
    return answer_number(env, r);
}

/* release(lender, arrayBuffer): gives it back before it is collected; it has no bytes then. */
static napi_value release(napi_env env, napi_callback_info info) {
    struct call call;
    bool gone = true;
    call_begin(&call, env, info);
    struct lender *lender = handle_find(call.instance, argument_u32(&call, 0), HANDLE_LENDER);
    if (lender == NULL || lender->shmc == NULL)
        return answer_number(env, -EBADF);
    /* One that was detached before lives on elsewhere, by transfer(): until it is collected. */
    if (napi_is_detached_arraybuffer(env, call.arguments[1], &gone) != napi_ok || gone ||
        napi_detach_arraybuffer(env, call.arguments[1]) != napi_ok)
        return answer_number(env, -EINVAL);
    lender_give_back(lender);
    return answer_number(env, 0);
}

const struct function view_functions[] = {
    {"view", view}, {"rawView", raw_view}, {"valid", valid}, {"release", release}, {NULL, NULL}};
