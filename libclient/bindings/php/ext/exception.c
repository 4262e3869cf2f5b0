/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call answered, as an exception.
 */
#include "php_shmclient.h"

#include <zend_exceptions.h>

#include <string.h>

static void throw_all(ssize_t error, const char *text, pid_t holder,
                      const struct shmc_value *value) {
    const int number = (int)-error;
    const char *name = strerrorname_np(number);
    zval known;
    ZVAL_NULL(&known);
    zend_object *exception = zend_throw_exception_ex(Shm_Exception_ce, number, "%s",
                                                     text[0] != '\0' ? text : strerror(number));
    if (exception == NULL)
        return;
    zend_update_property_string(Shm_Exception_ce, exception, ZEND_STRL("name"),
                                name != NULL ? name : "?");
    if (holder != 0)
        ZVAL_LONG(&known, holder);
    zend_update_property(Shm_Exception_ce, exception, ZEND_STRL("holder"), &known);
    ZVAL_NULL(&known);
    if (value != NULL)
        value_object(&known, ZSTR_EMPTY_ALLOC(), value);
    zend_update_property(Shm_Exception_ce, exception, ZEND_STRL("value"), &known);
    zval_ptr_dtor(&known);
}

void throw_text(ssize_t error, const char *text, pid_t holder) {
    throw_all(error, text, holder, NULL);
}

void throw_about(struct attachment *attachment, ssize_t error, const struct shmc_value *value) {
    if (error == -EINTR) { /* the handler may have thrown, or closed this */
        if (EG(exception) == NULL)
            throw_all(error, "a signal ended the wait", 0, NULL);
        return;
    }
    attachment->revoked |= error == -EKEYREVOKED;
    if (attachment->segment == NULL)
        throw_all(-EBADF, "this was detached; attach anew", 0, value);
    else
        throw_all(error, shmc_last_error(attachment->segment), 0, value);
}

void throw_error(struct attachment *attachment, ssize_t error) {
    throw_about(attachment, error, NULL);
}

bool throw_if_error(struct attachment *attachment, ssize_t result) {
    if (result < 0)
        throw_error(attachment, result);
    return result < 0;
}

bool long_within(zend_long value, zend_long least, zend_long most, uint32_t n) {
    const bool within = value >= least && value <= most;
    if (!within)
        zend_argument_value_error(n, "must be between " ZEND_LONG_FMT " and " ZEND_LONG_FMT, least,
                                  most);
    return within;
}

bool int_within(zend_long value, zend_long least, zend_long most, uint32_t n, int *ret) {
    if (!long_within(value, least, most, n))
        return false;
    *ret = (int)value;
    return true;
}

bool key_within(zend_long key, bool none, uint32_t n, uint32_t *ret) {
    if (!none && (key < 1 || key > UINT32_MAX)) {
        zend_argument_value_error(n, "must be a key of 32 bits above 0");
        return false;
    }
    *ret = none ? 0 : (uint32_t)key;
    return true;
}
