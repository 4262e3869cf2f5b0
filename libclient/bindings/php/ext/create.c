/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Segment::create() and drop(): sections that a worker makes for itself.
 */
#include "php_shmclient.h"

#include <string.h>

static const char *const stamps[] = {"precise", "coarse", "none", NULL};
static const char *const notifies[] = {"demand", "always", "never", NULL};
static const char *const clears[] = {"never", "free", "restart", NULL};
static const unsigned clear_flags[] = {0, SHMC_CREATE_CLEAR, SHMC_CREATE_CLEAR_RESTART};

/* The number of a word, or a ValueError about argument `n`. */
static bool word_number(const char *const words[], const char *word, uint32_t n, unsigned *ret) {
    for (unsigned i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0) {
            *ret = i;
            return true;
        }
    zend_argument_value_error(n, "must be a word that shm-table(5) has for it, not \"%s\"", word);
    return false;
}

PHP_METHOD(Shm_Segment, create) {
    char *name, *kind = "snapshot", *format = NULL, *clear = "never", *stamp = "precise",
                *notify = "demand", *read_group = NULL, *write_group = NULL;
    size_t length;
    zend_long bytes, count = 0, stale_ms = 0;
    bool transient = false, persist = false, shared = false, exclusive = false, pregrab = false;
    unsigned kind_number, clear_number, stamp_number, notify_number;
    ZEND_PARSE_PARAMETERS_START(2, 16)
    Z_PARAM_PATH(name, length)
    Z_PARAM_LONG(bytes)
    Z_PARAM_OPTIONAL
    Z_PARAM_PATH(kind, length)
    Z_PARAM_LONG(count)
    Z_PARAM_PATH_OR_NULL(format, length)
    Z_PARAM_LONG(stale_ms)
    Z_PARAM_BOOL(transient)
    Z_PARAM_BOOL(persist)
    Z_PARAM_BOOL(shared)
    Z_PARAM_BOOL(exclusive)
    Z_PARAM_BOOL(pregrab)
    Z_PARAM_PATH(clear, length)
    Z_PARAM_PATH(stamp, length)
    Z_PARAM_PATH(notify, length)
    Z_PARAM_PATH_OR_NULL(read_group, length)
    Z_PARAM_PATH_OR_NULL(write_group, length)
    ZEND_PARSE_PARAMETERS_END();
    if (!long_within(bytes, 0, ZEND_LONG_MAX, 2) ||
        !word_number(kind_names + SHMC_RAW, kind, 3, &kind_number) ||
        !long_within(count, 0, UINT32_MAX, 4) || !long_within(stale_ms, 0, ZEND_LONG_MAX, 6) ||
        !word_number(clears, clear, 12, &clear_number) ||
        !word_number(stamps, stamp, 13, &stamp_number) ||
        !word_number(notifies, notify, 14, &notify_number))
        RETURN_THROWS();
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    const struct shmc_create_options options = {
        .size = sizeof options,
        .kind = (enum shmc_kind)(kind_number + SHMC_RAW),
        .count = (uint32_t)count,
        .bytes = (uint64_t)bytes,
        .format = format,
        .read_group = read_group,
        .stale_ms = (uint64_t)stale_ms,
        .stamp = (enum shmc_stamp)stamp_number,
        .notify = (enum shmc_notify)notify_number,
        .flags = (transient ? SHMC_CREATE_TRANSIENT : 0) | (persist ? SHMC_CREATE_PERSIST : 0) |
                 (shared ? SHMC_CREATE_SHARED : 0) | (exclusive ? SHMC_CREATE_EXCLUSIVE : 0) |
                 (pregrab ? SHMC_CREATE_PREGRAB : 0) | clear_flags[clear_number],
        .write_group = write_group,
    };
    throw_if_error(attachment, shmc_create(attachment->segment, name, &options));
}

PHP_METHOD(Shm_Segment, drop) {
    char *name;
    size_t bytes;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_PATH(name, bytes)
    ZEND_PARSE_PARAMETERS_END();
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    throw_if_error(attachment, shmc_drop(attachment->segment, name));
}
