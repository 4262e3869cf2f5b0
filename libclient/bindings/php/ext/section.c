/* SPDX-License-Identifier: Apache-2.0
 *
 * Shm\Section: what sections of all kinds have.
 */
#include "php_shmclient.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static zend_object_handlers handlers;

static inline struct section_object *from_object(zend_object *object) {
    return (struct section_object *)((char *)object - XtOffsetOf(struct section_object, std));
}

static zend_object *create(zend_class_entry *class) {
    struct section_object *object = zend_object_alloc(sizeof *object, class);
    zend_object_std_init(&object->std, class);
    object_properties_init(&object->std, class);
    object->std.handlers = &handlers;
    return &object->std;
}

static void close_section(struct section_object *object) {
    shmc_close(object->section);
    object->section = NULL;
    if (object->attachment != NULL)
        attachment_release(object->attachment);
    object->attachment = NULL;
}

static void free_object(zend_object *std) {
    close_section(from_object(std));
    zend_object_std_dtor(std);
}

void section_register(void) {
    zend_class_entry *const classes[] = {Shm_Section_ce, Shm_Raw_ce, Shm_Snapshot_ce, Shm_Slots_ce,
                                         Shm_Queue_ce};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        classes[i]->create_object = create;
    handlers = std_object_handlers;
    handlers.offset = XtOffsetOf(struct section_object, std);
    handlers.free_obj = free_object;
    handlers.clone_obj = NULL;
}

struct section_object *section_of(zval *this) {
    struct section_object *object = from_object(Z_OBJ_P(this));
    char text[SHMC_NAME_BYTES + 32];
    if (object->section == NULL) {
        snprintf(text, sizeof text, "section '%s': it is closed", object->name);
        throw_text(-EBADF, text, 0);
        return NULL;
    }
    if (object->attachment->segment == NULL) {
        throw_error(object->attachment, -EBADF);
        return NULL;
    }
    return object;
}

static zend_class_entry *class_of(enum shmc_kind kind) {
    switch (kind) {
    case SHMC_RAW:
        return Shm_Raw_ce;
    case SHMC_SNAPSHOT:
        return Shm_Snapshot_ce;
    case SHMC_SLOTS:
        return Shm_Slots_ce;
    case SHMC_QUEUE:
        return Shm_Queue_ce;
    }
    return NULL;
}

void section_open(zval *ret, struct attachment *attachment, zend_string *name,
                  const struct shmc_expect *expect) {
    shmc_section *section;
    struct shmc_section_info info;
    int r = shmc_open(&section, attachment->segment, ZSTR_VAL(name), expect);
    if (throw_if_error(attachment, r))
        return;
    r = shmc_section_info(section, &info);
    zend_class_entry *class = r < 0 ? NULL : class_of(info.kind);
    if (class == NULL) {
        throw_error(attachment, r < 0 ? r : -EPROTOTYPE);
        shmc_close(section);
        return;
    }
    object_init_ex(ret, class);
    struct section_object *object = from_object(Z_OBJ_P(ret));
    object->section = section;
    object->attachment = attachment;
    attachment->uses++;
    memcpy(object->name, info.name, sizeof object->name);
}

bool part_within(zend_long offset, zend_long bytes, bool rest, size_t all, uint32_t n,
                 size_t *ret) {
    if (offset < 0 || (size_t)offset > all) {
        zend_argument_value_error(n, "must be between 0 and %zu", all);
        return false;
    }
    const size_t left = all - (size_t)offset;
    if (!rest && (bytes < 0 || (size_t)bytes > left)) {
        zend_argument_value_error(n + 1, "must be between 0 and %zu, of that offset", left);
        return false;
    }
    *ret = rest ? left : (size_t)bytes;
    return true;
}

bool data_within(const zend_string *data, zend_long offset, size_t all, uint32_t n) {
    size_t left;
    if (ZSTR_LEN(data) > all) {
        zend_argument_value_error(n, "must have at most %zu bytes", all);
        return false;
    }
    return part_within(offset, 0, true, all - ZSTR_LEN(data), n + 1, &left);
}

zend_string *string_anew(zend_string *data, size_t room) {
    zend_string_efree(data);
    return zend_string_alloc(room, false);
}

zend_string *string_cut(zend_string *data, size_t bytes) {
    data = zend_string_truncate(data, bytes, false);
    ZSTR_VAL(data)[bytes] = '\0';
    return data;
}

PHP_METHOD(Shm_Section, name) {
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_STRING(from_object(Z_OBJ_P(ZEND_THIS))->name);
}

PHP_METHOD(Shm_Section, info) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct shmc_section_info info;
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    if (!throw_if_error(object->attachment, shmc_section_info(object->section, &info)))
        describe_section(return_value, &info);
}

/* A copy of the descriptor, which the stream's end closes. */
PHP_METHOD(Shm_Section, stream) {
    ZEND_PARSE_PARAMETERS_NONE();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    int r = shmc_fd(object->section);
    if (throw_if_error(object->attachment, r))
        RETURN_THROWS();
    const int copy = fcntl(r, F_DUPFD_CLOEXEC, 0);
    php_stream *stream = copy < 0 ? NULL : php_stream_fopen_from_fd(copy, "r", NULL);
    if (stream == NULL) {
        throw_text(copy < 0 ? -errno : -ENOMEM, "", 0);
        if (copy >= 0)
            close(copy);
        RETURN_THROWS();
    }
    php_stream_to_zval(stream, return_value);
}

PHP_METHOD(Shm_Section, setSpin) {
    zend_long microseconds;
    int checked;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_LONG(microseconds)
    ZEND_PARSE_PARAMETERS_END();
    if (!int_within(microseconds, 0, INT_MAX, 1, &checked))
        RETURN_THROWS();
    struct section_object *object = section_of(ZEND_THIS);
    if (object == NULL)
        RETURN_THROWS();
    throw_if_error(object->attachment, shmc_set_spin(object->section, (unsigned)checked));
}

PHP_METHOD(Shm_Section, close) {
    ZEND_PARSE_PARAMETERS_NONE();
    close_section(from_object(Z_OBJ_P(ZEND_THIS)));
}
