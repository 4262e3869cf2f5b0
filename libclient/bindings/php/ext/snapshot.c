/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Snapshot: whole values.
 */
#include "php_shmclient.h"

#define LEAST_ROOM 64
#define TRIES      16

enum verb { READ, NEXT, FOLLOW };

PHP_METHOD(Shm_Snapshot, publish) {
    zend_string *data;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(data)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    throw_if_error(object->attachment,
                   shmc_publish(object->section, ZSTR_VAL(data), ZSTR_LEN(data)));
}

static ssize_t call(enum verb verb, shmc_section *section, char *buffer, size_t room, int timeout,
                    struct shmc_value *about) {
    switch (verb) {
    case NEXT:
        return shmc_next(section, buffer, room, timeout, about);
    case FOLLOW:
        return shmc_follow(section, buffer, room, timeout, about);
    default:
        return shmc_read(section, buffer, room, about);
    }
}

/* In a string as long as the last value, and in a longer one when that doesn't do.  NULL: there is
 * none in that time, or an exception was thrown. */
static zend_string *copy_value(struct section_object *object, enum verb verb, struct wait *wait,
                               struct shmc_value *about) {
    *about = (struct shmc_value){0};
    zend_string *data = zend_string_alloc(MAX(object->room, LEAST_ROOM), false);
    ssize_t r;
    for (;;) {
        r = call(verb, object->section, ZSTR_VAL(data), ZSTR_LEN(data), wait->slice, about);
        if (r == -EMSGSIZE && about->length > ZSTR_LEN(data))
            data = string_anew(data, about->length);
        else if (!wait_again(wait, &r))
            break;
    }
    if (r < 0) {
        zend_string_efree(data);
        if (verb == READ || !wait_empty(wait, r))
            throw_about(object->attachment, r, about);
        return NULL;
    }
    object->room = (size_t)r;
    return string_cut(data, (size_t)r);
}

static void get_value(zval *ret, struct section_object *object, enum verb verb, struct wait *wait) {
    struct shmc_value about;
    zend_string *data = copy_value(object, verb, wait, &about);
    if (data != NULL)
        value_object(ret, data, &about);
}

PHP_METHOD(Shm_Snapshot, read) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct wait none = {0};
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    get_value(return_value, object, READ, &none);
}

static void wait_for(INTERNAL_FUNCTION_PARAMETERS, enum verb verb) {
    zend_long timeout = -1;
    struct wait wait;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(timeout)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !wait_begin(&wait, timeout, WAIT_SLICE_MS, 1))
        RETURN_THROWS();
    get_value(return_value, object, verb, &wait);
}

PHP_METHOD(Shm_Snapshot, next) {
    wait_for(INTERNAL_FUNCTION_PARAM_PASSTHRU, NEXT);
}

PHP_METHOD(Shm_Snapshot, follow) {
    wait_for(INTERNAL_FUNCTION_PARAM_PASSTHRU, FOLLOW);
}

/* A part of what is lent, if it was all there still behind that; -EAGAIN: the writer came round. */
static ssize_t copy_part(struct section_object *object, zend_long offset, zend_long bytes,
                         bool rest, zend_string **ret) {
    const void *data;
    size_t length, wanted;
    int r = shmc_view(object->section, &data, &length, NULL);
    if (r < 0)
        return r;
    if (!part_within(offset, bytes, rest, length, 1, &wanted))
        return -EINVAL;
    zend_string *copy = zend_string_init((const char *)data + offset, wanted, false);
    r = shmc_valid(object->section);
    if (r == 1) {
        *ret = copy;
        return 0;
    }
    zend_string_efree(copy);
    return r < 0 ? r : -EAGAIN;
}

/* Of a writer who is faster than that: a reader who copies it all can have him spare the buffer. */
static void part_of_copy(zval *ret, struct section_object *object, zend_long offset,
                         zend_long bytes, bool rest) {
    struct wait none = {0};
    struct shmc_value about;
    size_t wanted;
    zend_string *whole = copy_value(object, READ, &none, &about);
    if (whole == NULL)
        return;
    if (part_within(offset, bytes, rest, ZSTR_LEN(whole), 1, &wanted))
        ZVAL_STRINGL(ret, ZSTR_VAL(whole) + offset, wanted);
    zend_string_efree(whole);
}

PHP_METHOD(Shm_Snapshot, view) {
    zend_long offset = 0, bytes = 0;
    bool rest = true;
    zend_string *copy;
    ZEND_PARSE_PARAMETERS_START(0, 2)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(offset)
    Z_PARAM_LONG_OR_NULL(bytes, rest)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    ssize_t r = -EAGAIN;
    for (unsigned i = 0; i < TRIES && r == -EAGAIN; i++)
        r = copy_part(object, offset, bytes, rest, &copy);
    if (r == 0)
        RETURN_NEW_STR(copy);
    if (r == -EAGAIN)
        part_of_copy(return_value, object, offset, bytes, rest);
    else if (!EG(exception))
        throw_error(object->attachment, r);
}

/* The sections of an array; NULL, and an exception was thrown. */
static shmc_section **sections_of(HashTable *array, struct attachment **attachment) {
    shmc_section **ret = safe_emalloc(zend_hash_num_elements(array), sizeof *ret, 1);
    uint32_t n = 0;
    zval *one;
    ZEND_HASH_FOREACH_VAL(array, one) {
        ZVAL_DEREF(one);
        struct section_object *object = NULL;
        if (Z_TYPE_P(one) != IS_OBJECT || Z_OBJCE_P(one) != Shm_Snapshot_ce)
            zend_argument_type_error(1, "must hold nothing but Shm\\Snapshot");
        else
            object = section_of(one);
        if (object == NULL) {
            efree(ret);
            return NULL;
        }
        ret[n++] = object->section;
        *attachment = object->attachment;
    }
    ZEND_HASH_FOREACH_END();
    return ret;
}

static void return_key(zval *ret, HashTable *array, ssize_t index) {
    zend_string *text;
    zend_ulong number;
    ZEND_HASH_FOREACH_KEY(array, number, text) {
        if (index-- != 0)
            continue;
        if (text != NULL)
            ZVAL_STR_COPY(ret, text);
        else
            ZVAL_LONG(ret, (zend_long)number);
        return;
    }
    ZEND_HASH_FOREACH_END();
}

PHP_METHOD(Shm_Snapshot, waitAny) {
    HashTable *array;
    zend_long timeout = -1;
    struct attachment *attachment = NULL;
    struct wait wait;
    ssize_t r;
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_ARRAY_HT(array)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(timeout)
    ZEND_PARSE_PARAMETERS_END();
    if (zend_hash_num_elements(array) == 0) {
        zend_argument_value_error(1, "must not be empty");
        RETURN_THROWS();
    }
    shmc_section **sections = sections_of(array, &attachment);
    if (sections == NULL)
        RETURN_THROWS();
    if (wait_begin(&wait, timeout, WAIT_SLICE_MS, 2)) {
        do
            r = shmc_wait_any(sections, zend_hash_num_elements(array), wait.slice);
        while (wait_again(&wait, &r));
        if (r >= 0)
            return_key(return_value, array, r);
        else if (!wait_empty(&wait, r))
            throw_error(attachment, r);
    }
    efree(sections);
}
