/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Raw: bytes at an offset.
 */
#include "php_shmclient.h"

/* How many bytes it has. */
static bool raw_size(struct section_object *object, size_t *ret) {
    const void *data;
    return !throw_if_error(object->attachment, shmc_raw(object->section, &data, ret));
}

PHP_METHOD(Shm_Raw, read) {
    zend_long offset = 0, bytes = 0;
    bool rest = true;
    size_t size, wanted;
    ZEND_PARSE_PARAMETERS_START(0, 2)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(offset)
    Z_PARAM_LONG_OR_NULL(bytes, rest)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !raw_size(object, &size) ||
        !part_within(offset, bytes, rest, size, 1, &wanted))
        RETURN_THROWS();
    zend_string *data = zend_string_alloc(wanted, false);
    ssize_t r = shmc_raw_read(object->section, (size_t)offset, ZSTR_VAL(data), wanted);
    if (r < 0) {
        zend_string_efree(data);
        throw_error(object->attachment, r);
        RETURN_THROWS();
    }
    ZSTR_VAL(data)[wanted] = '\0';
    RETURN_NEW_STR(data);
}

PHP_METHOD(Shm_Raw, write) {
    zend_string *data;
    zend_long offset = 0;
    size_t size;
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(data)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(offset)
    ZEND_PARSE_PARAMETERS_END();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL || !raw_size(object, &size) || !data_within(data, offset, size, 1))
        RETURN_THROWS();
    throw_if_error(object->attachment,
                   shmc_raw_write(object->section, (size_t)offset, ZSTR_VAL(data), ZSTR_LEN(data)));
}
