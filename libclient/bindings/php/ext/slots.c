/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Slots: items that processes grab.
 */
#include "php_shmclient.h"

#include <string.h>

/* The slot that argument `n` means: there is one of that number, or a ValueError. */
static bool slot_within(struct section_object *object, zend_long slot, uint32_t n, int *ret) {
    const int slots = shmc_num_slots(object->section);
    return !throw_if_error(object->attachment, slots) && int_within(slot, 0, slots - 1, n, ret);
}

PHP_METHOD(Shm_Slots, grab) {
    bool stays = false;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(stays)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    int r = shmc_slot_grab(object->section, stays ? SHMC_SLOT_STAYS : 0);
    throw_if_error(object->attachment, r);
    RETVAL_LONG(r);
}

PHP_METHOD(Shm_Slots, fgrab) {
    zend_long wanted;
    int slot;
    bool stays = false;
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_LONG(wanted)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(stays)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !slot_within(object, wanted, 1, &slot))
        RETURN_THROWS();
    throw_if_error(object->attachment,
                   shmc_slot_fgrab(object->section, slot, stays ? SHMC_SLOT_STAYS : 0));
}

PHP_METHOD(Shm_Slots, release) {
    zend_long wanted;
    int slot;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_LONG(wanted)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !slot_within(object, wanted, 1, &slot))
        RETURN_THROWS();
    throw_if_error(object->attachment, shmc_slot_release(object->section, slot));
}

PHP_METHOD(Shm_Slots, put) {
    zend_long wanted;
    int slot;
    zend_string *data;
    ZEND_PARSE_PARAMETERS_START(2, 2)
    Z_PARAM_LONG(wanted)
    Z_PARAM_STR(data)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !slot_within(object, wanted, 1, &slot))
        RETURN_THROWS();
    throw_if_error(object->attachment,
                   shmc_slot_put(object->section, slot, ZSTR_VAL(data), ZSTR_LEN(data)));
}

PHP_METHOD(Shm_Slots, get) {
    zend_long wanted;
    int slot;
    struct shmc_slot about = {0};
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_LONG(wanted)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !slot_within(object, wanted, 1, &slot))
        RETURN_THROWS();
    const ssize_t room = shmc_slot_size(object->section);
    if (throw_if_error(object->attachment, room))
        RETURN_THROWS();
    zend_string *data = zend_string_alloc((size_t)room, false);
    ssize_t r = shmc_slot_get(object->section, slot, ZSTR_VAL(data), (size_t)room, &about);
    if (r < 0) {
        zend_string_efree(data);
        throw_error(object->attachment, r);
        RETURN_THROWS();
    }
    slot_object(return_value, string_cut(data, (size_t)r), &about);
}

struct found {
    struct shmc_slot *slots;
    uint32_t n, room;
};

/* The library waits below this: nothing here may end the request. */
static int add_found(shmc_section *section, const struct shmc_slot *slot, void *argument) {
    struct found *found = argument;
    (void)section;
    if (found->n == found->room)
        return -ERANGE;
    found->slots[found->n++] = *slot;
    return 0;
}

PHP_METHOD(Shm_Slots, each) {
    bool in_use = false;
    zval one;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(in_use)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    int r = shmc_num_slots(object->section);
    if (throw_if_error(object->attachment, r))
        RETURN_THROWS();
    struct found found = {.room = (uint32_t)r};
    found.slots = safe_emalloc(found.room, sizeof *found.slots, 1);
    r = shmc_slot_each(object->section, in_use ? SHMC_SLOT_IN_USE : 0, add_found, &found);
    if (r >= 0 || r == -ERANGE) { /* more than a moment ago: those are told of the next time */
        array_init_size(return_value, found.n);
        for (uint32_t i = 0; i < found.n; i++) {
            slot_object(&one, NULL, &found.slots[i]);
            add_index_zval(return_value, (zend_ulong)found.slots[i].slot, &one);
        }
    } else
        throw_error(object->attachment, r);
    efree(found.slots);
}

/* A shared slot's bytes in place; NULL, and an exception was thrown. */
static char *place_of(struct section_object *object, zend_long wanted, size_t *bytes) {
    void *place;
    int slot;
    if (!slot_within(object, wanted, 1, &slot) ||
        throw_if_error(object->attachment, shmc_slot_ptr(object->section, slot, &place, bytes)))
        return NULL;
    return place;
}

PHP_METHOD(Shm_Slots, peek) {
    zend_long slot, offset = 0, bytes = 0;
    bool rest = true;
    size_t size, wanted;
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_LONG(slot)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(offset)
    Z_PARAM_LONG_OR_NULL(bytes, rest)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    const char *place = object == NULL ? NULL : place_of(object, slot, &size);
    if (place == NULL || !part_within(offset, bytes, rest, size, 2, &wanted))
        RETURN_THROWS();
    RETURN_STRINGL(place + offset, wanted);
}

PHP_METHOD(Shm_Slots, poke) {
    zend_long slot, offset = 0;
    zend_string *data;
    size_t size;
    ZEND_PARSE_PARAMETERS_START(2, 3)
    Z_PARAM_LONG(slot)
    Z_PARAM_STR(data)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(offset)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    char *place = object == NULL ? NULL : place_of(object, slot, &size);
    if (place == NULL || !data_within(data, offset, size, 2))
        RETURN_THROWS();
    memcpy(place + offset, ZSTR_VAL(data), ZSTR_LEN(data));
}

PHP_METHOD(Shm_Slots, offer) {
    zend_long wanted;
    int slot;
    uint64_t ticket = 0;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_LONG(wanted)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !slot_within(object, wanted, 1, &slot))
        RETURN_THROWS();
    throw_if_error(object->attachment, shmc_slot_offer(object->section, slot, &ticket));
    RETVAL_LONG((zend_long)ticket);
}

PHP_METHOD(Shm_Slots, take) {
    zend_long wanted, ticket;
    int slot;
    ZEND_PARSE_PARAMETERS_START(2, 2)
    Z_PARAM_LONG(wanted)
    Z_PARAM_LONG(ticket)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !slot_within(object, wanted, 1, &slot))
        RETURN_THROWS();
    throw_if_error(object->attachment, shmc_slot_take(object->section, slot, (uint64_t)ticket));
}

static void count(INTERNAL_FUNCTION_PARAMETERS, int (*function)(shmc_section *)) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    const int r = function(object->section);
    throw_if_error(object->attachment, r);
    RETVAL_LONG(r);
}

PHP_METHOD(Shm_Slots, numSlots) {
    count(INTERNAL_FUNCTION_PARAM_PASSTHRU, shmc_num_slots);
}

PHP_METHOD(Shm_Slots, numFree) {
    count(INTERNAL_FUNCTION_PARAM_PASSTHRU, shmc_num_free);
}

PHP_METHOD(Shm_Slots, slotSize) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    const ssize_t r = shmc_slot_size(object->section);
    throw_if_error(object->attachment, r);
    RETVAL_LONG(r);
}
