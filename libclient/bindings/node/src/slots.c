/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots.
 */
#include "addon.h"

#include <errno.h>

static napi_value grab(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    return answer_number(
        env, section == NULL ? -EBADF : shmc_slot_grab(section->shmc, argument_u32(&call, 1)));
}

static napi_value fgrab(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    return answer_number(env, section == NULL
                                  ? -EBADF
                                  : shmc_slot_fgrab(section->shmc, (int)argument_u32(&call, 1),
                                                    argument_u32(&call, 2)));
}

static napi_value release(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    return answer_number(env, section == NULL
                                  ? -EBADF
                                  : shmc_slot_release(section->shmc, (int)argument_u32(&call, 1)));
}

static napi_value put(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    void *data;
    size_t bytes;
    call_begin(&call, env, info);
    int r = section_bytes(&call, 2, &section, &data, &bytes);
    if (r == 0)
        r = shmc_slot_put(section->shmc, (int)argument_u32(&call, 1), data, bytes);
    return answer_number(env, r);
}

/* slotGet(section, slot, into): what is known of it, and `result`. */
static napi_value get(napi_env env, napi_callback_info info) {
    struct call call;
    const struct section *section;
    struct shmc_slot slot = {0};
    void *into;
    size_t room;
    call_begin(&call, env, info);
    ssize_t r = section_bytes(&call, 2, &section, &into, &room);
    if (r < 0)
        return answer_number(env, (double)r);
    r = shmc_slot_get(section->shmc, (int)argument_u32(&call, 1), into, room, &slot);
    napi_value ret = object_of(env, slot_fields, &slot);
    napi_set_named_property(env, ret, "result", answer_number(env, (double)r));
    return ret;
}

struct list {
    napi_env env;
    napi_value array;
    uint32_t n;
};

static int add(shmc_section *section, const struct shmc_slot *slot, void *argument) {
    struct list *list = argument;
    (void)section;
    napi_set_element(list->env, list->array, list->n++, object_of(list->env, slot_fields, slot));
    return 0;
}

static napi_value each(napi_env env, napi_callback_info info) {
    struct call call;
    struct list list = {.env = env};
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    if (section == NULL)
        return answer_number(env, -EBADF);
    napi_create_array(env, &list.array);
    int r = shmc_slot_each(section->shmc, argument_u32(&call, 1), add, &list);
    return r < 0 ? answer_number(env, r) : list.array;
}

/* slotCount(section, what): slots in all, free ones, bytes of one */
static napi_value count(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    uint32_t what = argument_u32(&call, 1);
    return answer_number(env, section == NULL ? -EBADF
                              : what == 0     ? shmc_num_slots(section->shmc)
                              : what == 1     ? shmc_num_free(section->shmc)
                                              : (double)shmc_slot_size(section->shmc));
}

/* A BigInt, or a negative errno. */
static napi_value offer(napi_env env, napi_callback_info info) {
    struct call call;
    uint64_t ticket;
    napi_value ret;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    int r = section == NULL ? -EBADF
                            : shmc_slot_offer(section->shmc, (int)argument_u32(&call, 1), &ticket);
    if (r < 0)
        return answer_number(env, r);
    napi_create_bigint_uint64(env, ticket, &ret);
    return ret;
}

static napi_value take(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const struct section *section = section_argument(&call, 0);
    return answer_number(env, section == NULL
                                  ? -EBADF
                                  : shmc_slot_take(section->shmc, (int)argument_u32(&call, 1),
                                                   argument_big(&call, 2)));
}

const struct function slot_functions[] = {
    {"slotGrab", grab}, {"slotFgrab", fgrab}, {"slotRelease", release}, {"slotPut", put},
    {"slotGet", get},   {"slotEach", each},   {"slotCount", count},     {"slotOffer", offer},
    {"slotTake", take}, {NULL, NULL}};
