/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Queue: messages.
 */
#include "php_shmclient.h"

#define LEAST_ROOM 256
/* Each is counted as a send that was refused; a signal ends it as well. */
#define SEND_SLICE_MS 10000

static bool type_to_send(zend_long type, uint32_t n) {
    if (type <= 0)
        zend_argument_value_error(n, "must be greater than 0");
    return type > 0;
}

static bool type_to_receive(zend_long type, bool except, uint32_t n) {
    if (except && type <= 0)
        zend_argument_value_error(n, "must be false, as the type isn't greater than 0");
    return !except || type > 0;
}

PHP_METHOD(Shm_Queue, send) {
    zend_string *data;
    zend_long type = 1, timeout = -1;
    struct wait wait;
    ssize_t r;
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_STR(data)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(type)
    Z_PARAM_LONG(timeout)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !type_to_send(type, 2) || !wait_begin(&wait, timeout, SEND_SLICE_MS, 3))
        RETURN_THROWS();
    do
        r = shmc_queue_send(object->section, type, ZSTR_VAL(data), ZSTR_LEN(data),
                            SHMC_INTERRUPTIBLE, wait.slice);
    while (wait_again(&wait, &r));
    throw_if_error(object->attachment, r);
}

/* NULL, and an exception was thrown. */
static struct shmc_outgoing *messages_of(HashTable *array, zend_long type) {
    struct shmc_outgoing *ret = safe_emalloc(zend_hash_num_elements(array), sizeof *ret, 1);
    uint32_t n = 0;
    zval *one;
    ZEND_HASH_FOREACH_VAL(array, one) {
        ZVAL_DEREF(one);
        if (Z_TYPE_P(one) != IS_STRING) {
            zend_argument_type_error(1, "must hold nothing but strings");
            efree(ret);
            return NULL;
        }
        ret[n++] = (struct shmc_outgoing){type, Z_STRVAL_P(one), Z_STRLEN_P(one)};
    }
    ZEND_HASH_FOREACH_END();
    return ret;
}

PHP_METHOD(Shm_Queue, sendBatch) {
    HashTable *array;
    zend_long type = 1, timeout = -1;
    struct wait wait;
    ssize_t r;
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_ARRAY_HT(array)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(type)
    Z_PARAM_LONG(timeout)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !type_to_send(type, 2) || !wait_begin(&wait, timeout, SEND_SLICE_MS, 3))
        RETURN_THROWS();
    const uint32_t n = zend_hash_num_elements(array);
    struct shmc_outgoing *messages = messages_of(array, type);
    if (messages == NULL)
        RETURN_THROWS();
    do
        r = n == 0 ? 0
                   : shmc_queue_send_batch(object->section, messages, n, SHMC_INTERRUPTIBLE,
                                           wait.slice);
    while (wait_again(&wait, &r));
    efree(messages);
    throw_if_error(object->attachment, r);
    RETVAL_LONG(r);
}

struct asked {
    zend_long type;
    unsigned flags;
    bool whole; /* as long as it is; else no more than `room` */
    size_t room;
};

/* Receives into a string that grows until the message fits. */
static void get_message(zval *ret, struct section_object *object, const struct asked *asked,
                        struct wait *wait) {
    struct shmc_message about = {0};
    const size_t room = asked->whole ? MAX(object->room, LEAST_ROOM) : asked->room;
    zend_string *data = zend_string_alloc(room, false);
    ssize_t r;
    for (;;) {
        r = shmc_queue_receive(object->section, asked->type, ZSTR_VAL(data), ZSTR_LEN(data),
                               asked->flags, wait->slice, &about);
        if (r == -E2BIG && asked->whole && about.length > ZSTR_LEN(data))
            data = string_anew(data, about.length);
        else if (!wait_again(wait, &r))
            break;
    }
    if (r < 0) {
        zend_string_efree(data);
        if (!wait_empty(wait, r))
            throw_error(object->attachment, r);
        return;
    }
    if (asked->whole)
        object->room = (size_t)r;
    message_object(ret, string_cut(data, (size_t)r), &about);
}

PHP_METHOD(Shm_Queue, receive) {
    zend_long type = 0, timeout = -1, truncate = 0;
    bool except = false, whole = true;
    struct wait wait;
    ZEND_PARSE_PARAMETERS_START(0, 4)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(type)
    Z_PARAM_LONG(timeout)
    Z_PARAM_BOOL(except)
    Z_PARAM_LONG_OR_NULL(truncate, whole)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !type_to_receive(type, except, 3) ||
        !wait_begin(&wait, timeout, WAIT_SLICE_MS, 2))
        RETURN_THROWS();
    if (!whole && !long_within(truncate, 0, INT_MAX, 4))
        RETURN_THROWS();
    const struct asked asked = {.type = type,
                                .flags = SHMC_INTERRUPTIBLE | (except ? SHMC_EXCEPT : 0) |
                                         (whole ? 0 : SHMC_TRUNCATE),
                                .whole = whole,
                                .room = (size_t)truncate};
    get_message(return_value, object, &asked, &wait);
}

PHP_METHOD(Shm_Queue, peek) {
    zend_long type = 0, timeout = -1;
    bool except = false;
    struct wait wait;
    const void *data;
    size_t bytes;
    struct shmc_message about;
    ssize_t r;
    ZEND_PARSE_PARAMETERS_START(0, 3)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(type)
    Z_PARAM_LONG(timeout)
    Z_PARAM_BOOL(except)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !type_to_receive(type, except, 3) ||
        !wait_begin(&wait, timeout, WAIT_SLICE_MS, 2))
        RETURN_THROWS();
    do
        r = shmc_queue_peek(object->section, type, &data, &bytes,
                            SHMC_INTERRUPTIBLE | (except ? SHMC_EXCEPT : 0), wait.slice, &about);
    while (wait_again(&wait, &r));
    if (r >= 0)
        message_object(return_value, zend_string_init(data, bytes, false), &about);
    else if (!wait_empty(&wait, r))
        throw_error(object->attachment, r);
}

static void settle(INTERNAL_FUNCTION_PARAMETERS, int (*function)(shmc_section *)) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    throw_if_error(object->attachment, function(object->section));
}

PHP_METHOD(Shm_Queue, ack) {
    settle(INTERNAL_FUNCTION_PARAM_PASSTHRU, shmc_queue_ack);
}

PHP_METHOD(Shm_Queue, abandon) {
    settle(INTERNAL_FUNCTION_PARAM_PASSTHRU, shmc_queue_abandon);
}

PHP_METHOD(Shm_Queue, look) {
    zend_long index;
    struct shmc_message about = {0};
    ssize_t r;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_LONG(index)
    ZEND_PARSE_PARAMETERS_END();
    if (index < 0) {
        zend_argument_value_error(1, "must be greater than or equal to 0");
        RETURN_THROWS();
    }
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    zend_string *data = zend_string_alloc(LEAST_ROOM, false);
    for (;;) {
        r = shmc_queue_look(object->section, (size_t)index, ZSTR_VAL(data), ZSTR_LEN(data), 0,
                            &about);
        if (r != -E2BIG || about.length <= ZSTR_LEN(data))
            break;
        data = string_anew(data, about.length);
    }
    if (r >= 0) {
        message_object(return_value, string_cut(data, (size_t)r), &about);
        return;
    }
    zend_string_efree(data);
    if (r != -ENOMSG)
        throw_error(object->attachment, r);
}

PHP_METHOD(Shm_Queue, stat) {
    struct shmc_queue_stat stat;
    ZEND_PARSE_PARAMETERS_NONE();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    int r = shmc_queue_stat(object->section, &stat, NULL, NULL);
    if (throw_if_error(object->attachment, r))
        RETURN_THROWS();
    const size_t room = stat.lanes;
    size_t n = room;
    struct shmc_lane_stat *lanes = safe_emalloc(room, sizeof *lanes, sizeof *lanes);
    r = shmc_queue_stat(object->section, &stat, lanes, &n);
    if (!throw_if_error(object->attachment, r))
        describe_queue(return_value, &stat, lanes, n < room ? n : room);
    efree(lanes);
}
