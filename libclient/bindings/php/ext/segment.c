/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Segment: an attachment as a request has it.
 */
#include "php_shmclient.h"

#include <stdlib.h>

static zend_object_handlers handlers;

static inline struct segment_object *from_object(zend_object *object) {
    return (struct segment_object *)((char *)object - XtOffsetOf(struct segment_object, std));
}

static zend_object *create(zend_class_entry *class) {
    struct segment_object *object = zend_object_alloc(sizeof *object, class);
    zend_object_std_init(&object->std, class);
    object_properties_init(&object->std, class);
    object->std.handlers = &handlers;
    return &object->std;
}

static void free_object(zend_object *std) {
    struct segment_object *object = from_object(std);
    if (object->attachment != NULL)
        attachment_release(object->attachment);
    object->attachment = NULL;
    zend_object_std_dtor(std);
}

void segment_register(void) {
    Shm_Segment_ce->create_object = create;
    handlers = std_object_handlers;
    handlers.offset = XtOffsetOf(struct segment_object, std);
    handlers.free_obj = free_object;
    handlers.clone_obj = NULL;
}

struct attachment *segment_of(zval *this) {
    struct attachment *attachment = from_object(Z_OBJ_P(this))->attachment;
    if (attachment == NULL)
        throw_text(-EBADF, "this segment was not attached; use Shm\\Segment::attach()", 0);
    else if (attachment->segment == NULL)
        throw_error(attachment, -EBADF);
    else
        return attachment;
    return NULL;
}

PHP_METHOD(Shm_Segment, attach) {
    char *worker = NULL, *runtime_dir = NULL;
    size_t worker_bytes, runtime_dir_bytes;
    bool anonymous = false, no_key = true;
    zend_long key = 0, timeout = 0;
    struct wait wait;
    ZEND_PARSE_PARAMETERS_START(0, 5)
    Z_PARAM_OPTIONAL
    Z_PARAM_PATH_OR_NULL(worker, worker_bytes)
    Z_PARAM_BOOL(anonymous)
    Z_PARAM_LONG_OR_NULL(key, no_key)
    Z_PARAM_PATH_OR_NULL(runtime_dir, runtime_dir_bytes)
    Z_PARAM_LONG(timeout)
    ZEND_PARSE_PARAMETERS_END();
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .flags = anonymous ? SHMC_ANONYMOUS : 0,
                                   .runtime_dir = runtime_dir};
    if (worker != NULL && anonymous) {
        zend_argument_value_error(2, "must be false where a worker is named");
        RETURN_THROWS();
    }
    if (!key_within(key, no_key, 3, &options.key) || !wait_begin(&wait, timeout, WAIT_ATTACH_MS, 5))
        RETURN_THROWS();
    struct attachment *attachment = attachment_take(&options, &wait);
    if (attachment == NULL)
        RETURN_THROWS();
    object_init_ex(return_value, Shm_Segment_ce);
    from_object(Z_OBJ_P(return_value))->attachment = attachment;
}

PHP_METHOD(Shm_Segment, detach) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct attachment *attachment = from_object(Z_OBJ_P(ZEND_THIS))->attachment;
    if (attachment != NULL && attachment->segment != NULL)
        attachment_detach(attachment);
}

static void open_as(INTERNAL_FUNCTION_PARAMETERS, enum shmc_kind kind) {
    zend_string *name;
    char *format = NULL;
    size_t format_bytes;
    zend_long min_size = 0;
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_PATH_STR(name)
    Z_PARAM_OPTIONAL
    Z_PARAM_PATH_OR_NULL(format, format_bytes)
    Z_PARAM_LONG(min_size)
    ZEND_PARSE_PARAMETERS_END();
    if (min_size < 0) {
        zend_argument_value_error(3, "must be greater than or equal to 0");
        RETURN_THROWS();
    }
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    const struct shmc_expect expect = {
        .size = sizeof expect, .kind = kind, .format = format, .min_size = (uint64_t)min_size};
    section_open(return_value, attachment, name, &expect);
}

PHP_METHOD(Shm_Segment, open) {
    open_as(INTERNAL_FUNCTION_PARAM_PASSTHRU, 0);
}

PHP_METHOD(Shm_Segment, raw) {
    open_as(INTERNAL_FUNCTION_PARAM_PASSTHRU, SHMC_RAW);
}

PHP_METHOD(Shm_Segment, snapshot) {
    open_as(INTERNAL_FUNCTION_PARAM_PASSTHRU, SHMC_SNAPSHOT);
}

PHP_METHOD(Shm_Segment, slots) {
    open_as(INTERNAL_FUNCTION_PARAM_PASSTHRU, SHMC_SLOTS);
}

PHP_METHOD(Shm_Segment, queue) {
    open_as(INTERNAL_FUNCTION_PARAM_PASSTHRU, SHMC_QUEUE);
}

PHP_METHOD(Shm_Segment, info) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct shmc_segment_info info;
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    if (!throw_if_error(attachment, shmc_segment(attachment->segment, &info)))
        describe_segment(return_value, &info);
}

/* What the library lists, as an array: what `describe` makes of each, by its field `key`, as `add`
 * takes it. */
#define RETURN_LIST(type, list, describe, add, key)                                                \
    do {                                                                                           \
        type *infos;                                                                               \
        size_t n;                                                                                  \
        zval one;                                                                                  \
        struct attachment *attachment = segment_of(ZEND_THIS);                                     \
        if (attachment == NULL ||                                                                  \
            throw_if_error(attachment, list(attachment->segment, &infos, &n)))                     \
            RETURN_THROWS();                                                                       \
        array_init(return_value);                                                                  \
        for (size_t i = 0; i < n; i++) {                                                           \
            describe(&one, &infos[i]);                                                             \
            add(return_value, infos[i].key, &one);                                                 \
        }                                                                                          \
        free(infos);                                                                               \
        return;                                                                                    \
    } while (0)

PHP_METHOD(Shm_Segment, sections) {
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_LIST(struct shmc_section_info, shmc_sections, describe_section, add_assoc_zval, name);
}

PHP_METHOD(Shm_Segment, workers) {
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_LIST(struct shmc_worker_info, shmc_workers, describe_worker, add_assoc_zval, name);
}

PHP_METHOD(Shm_Segment, attachments) {
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_LIST(struct shmc_attachment_info, shmc_attachments, describe_attachment, add_index_zval,
                attachment);
}

PHP_METHOD(Shm_Segment, inspect) {
    char *name;
    size_t bytes;
    struct shmc_section_info info;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_PATH(name, bytes)
    ZEND_PARSE_PARAMETERS_END();
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    if (!throw_if_error(attachment, shmc_inspect(attachment->segment, name, &info)))
        describe_section(return_value, &info);
}

PHP_METHOD(Shm_Segment, inspectWorker) {
    char *name;
    size_t bytes;
    struct shmc_worker_info info;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_PATH(name, bytes)
    ZEND_PARSE_PARAMETERS_END();
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    if (!throw_if_error(attachment, shmc_inspect_worker(attachment->segment, name, &info)))
        describe_worker(return_value, &info);
}

PHP_METHOD(Shm_Segment, lastError) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct attachment *attachment = segment_of(ZEND_THIS);
    if (attachment == NULL)
        RETURN_THROWS();
    RETURN_STRING(shmc_last_error(attachment->segment));
}
