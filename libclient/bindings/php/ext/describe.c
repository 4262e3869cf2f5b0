/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library tells in structures, as arrays and objects of PHP.
 */
#include "php_shmclient.h"

const char *const kind_names[] = {"?", "raw", "snapshot", "slots", "queue", NULL};

#define LONG(array, from, field) add_assoc_long(array, #field, (zend_long)(from)->field)
#define BOOL(array, from, field) add_assoc_bool(array, #field, (from)->field)
#define TEXT(array, from, field) add_assoc_string(array, #field, (from)->field)

/* null: not known */
static void set_age(zval *to, uint64_t age_ns) {
    if (age_ns == UINT64_MAX)
        ZVAL_NULL(to);
    else
        ZVAL_LONG(to, (zend_long)age_ns);
}

static void set_alive(zval *to, enum shmc_alive alive) {
    if (alive == SHMC_UNKNOWN)
        ZVAL_NULL(to);
    else
        ZVAL_BOOL(to, alive == SHMC_ALIVE);
}

static void add_age(zval *array, const char *name, uint64_t age_ns) {
    zval age;
    set_age(&age, age_ns);
    add_assoc_zval(array, name, &age);
}

static void add_alive(zval *array, const char *name, enum shmc_alive alive) {
    zval value;
    set_alive(&value, alive);
    add_assoc_zval(array, name, &value);
}

void describe_segment(zval *ret, const struct shmc_segment_info *info) {
    array_init(ret);
    LONG(ret, info, key);
    LONG(ret, info, id);
    LONG(ret, info, abi);
    LONG(ret, info, backend);
    TEXT(ret, info, protection);
    LONG(ret, info, bytes);
    LONG(ret, info, arena_bytes);
    LONG(ret, info, generation);
    LONG(ret, info, sections);
    LONG(ret, info, workers);
    LONG(ret, info, state);
    BOOL(ret, info, manager_alive);
    LONG(ret, info, manager_pid);
    add_age(ret, "heartbeat_age_ns", info->heartbeat_age_ns);
    LONG(ret, info, created_real_ns);
}

void describe_section(zval *ret, const struct shmc_section_info *info) {
    array_init(ret);
    TEXT(ret, info, name);
    TEXT(ret, info, owner);
    TEXT(ret, info, format);
    add_assoc_string(ret, "kind", kind_names[info->kind <= SHMC_QUEUE ? info->kind : 0]);
    add_alive(ret, "writer", info->writer);
    LONG(ret, info, section_id);
    LONG(ret, info, incarnation);
    LONG(ret, info, generation);
    LONG(ret, info, offset);
    LONG(ret, info, bytes);
    LONG(ret, info, size);
    LONG(ret, info, count);
    BOOL(ret, info, persist);
    BOOL(ret, info, shared);
    BOOL(ret, info, pinned);
    BOOL(ret, info, own);
    LONG(ret, info, stale_ms);
    LONG(ret, info, version);
    LONG(ret, info, length);
    LONG(ret, info, real_ns);
    add_age(ret, "age_ns", info->age_ns);
    BOOL(ret, info, stale);
    BOOL(ret, info, moving);
    BOOL(ret, info, made);
    BOOL(ret, info, transient);
    LONG(ret, info, aborted);
    LONG(ret, info, wakes);
    LONG(ret, info, wake_errors);
    LONG(ret, info, messages);
}

void describe_worker(zval *ret, const struct shmc_worker_info *info) {
    array_init(ret);
    TEXT(ret, info, name);
    add_alive(ret, "alive", info->state);
    BOOL(ret, info, granted);
    LONG(ret, info, epoch);
    LONG(ret, info, pid);
    LONG(ret, info, uid);
    LONG(ret, info, since_real_ns);
    LONG(ret, info, ended_real_ns);
    LONG(ret, info, end_reason);
    LONG(ret, info, end_detail);
    LONG(ret, info, attachment);
}

void describe_attachment(zval *ret, const struct shmc_attachment_info *info) {
    array_init(ret);
    LONG(ret, info, attachment);
    BOOL(ret, info, granted);
    LONG(ret, info, epoch);
    LONG(ret, info, pid);
    LONG(ret, info, uid);
    LONG(ret, info, since_real_ns);
}

static void describe_lane(zval *ret, const struct shmc_lane_stat *lane) {
    array_init(ret);
    LONG(ret, lane, lane);
    BOOL(ret, lane, held);
    BOOL(ret, lane, bad);
    BOOL(ret, lane, waiting);
    LONG(ret, lane, pid);
    TEXT(ret, lane, worker);
    TEXT(ret, lane, trouble);
    LONG(ret, lane, messages);
    LONG(ret, lane, bytes);
    LONG(ret, lane, sent);
    LONG(ret, lane, received);
    LONG(ret, lane, sent_bytes);
    LONG(ret, lane, refused);
    LONG(ret, lane, blocked_ns);
    LONG(ret, lane, relocated);
    LONG(ret, lane, takeovers);
    LONG(ret, lane, wakes);
    LONG(ret, lane, high_messages);
    LONG(ret, lane, high_bytes);
    LONG(ret, lane, last_receive_pid);
    LONG(ret, lane, last_send_real_ns);
    LONG(ret, lane, last_receive_real_ns);
}

void describe_queue(zval *ret, const struct shmc_queue_stat *stat,
                    const struct shmc_lane_stat *lanes, size_t n) {
    zval all, one;
    array_init(ret);
    LONG(ret, stat, messages);
    LONG(ret, stat, bytes);
    LONG(ret, stat, lane_messages);
    LONG(ret, stat, lane_bytes);
    LONG(ret, stat, message_bytes);
    LONG(ret, stat, lanes_held);
    LONG(ret, stat, lanes_bad);
    LONG(ret, stat, sent);
    LONG(ret, stat, received);
    LONG(ret, stat, sent_bytes);
    LONG(ret, stat, refused);
    LONG(ret, stat, blocked_ns);
    LONG(ret, stat, relocated);
    LONG(ret, stat, takeovers);
    LONG(ret, stat, wakes);
    LONG(ret, stat, high_messages);
    LONG(ret, stat, high_bytes);
    LONG(ret, stat, oldest_real_ns);
    LONG(ret, stat, last_send_pid);
    LONG(ret, stat, last_receive_pid);
    LONG(ret, stat, last_send_real_ns);
    LONG(ret, stat, last_receive_real_ns);
    LONG(ret, stat, changed_generation);
    LONG(ret, stat, changed_real_ns);
    array_init_size(&all, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        describe_lane(&one, &lanes[i]);
        add_next_index_zval(&all, &one);
    }
    add_assoc_zval(ret, "lanes", &all);
}

/* ---- objects, whose properties stand in the order of the stub file */

static void set_text(zval *to, const char *text) {
    if (text[0] == '\0')
        ZVAL_NULL(to);
    else
        ZVAL_STRING(to, text);
}

void value_object(zval *ret, zend_string *data, const struct shmc_value *value) {
    object_init_ex(ret, Shm_Value_ce);
    zval *property = OBJ_PROP_NUM(Z_OBJ_P(ret), 0);
    ZVAL_STR(property++, data);
    ZVAL_LONG(property++, (zend_long)value->version);
    ZVAL_LONG(property++, (zend_long)value->length);
    ZVAL_LONG(property++, (zend_long)value->missed);
    ZVAL_LONG(property++, (zend_long)value->real_ns);
    set_age(property++, value->age_ns);
    set_alive(property++, value->writer);
    ZVAL_BOOL(property++, value->stale);
    ZVAL_LONG(property, (zend_long)value->incarnation);
}

void slot_object(zval *ret, zend_string *data, const struct shmc_slot *slot) {
    object_init_ex(ret, Shm_Slot_ce);
    zval *property = OBJ_PROP_NUM(Z_OBJ_P(ret), 0);
    if (data != NULL)
        ZVAL_STR(property, data);
    else
        ZVAL_NULL(property);
    property++;
    ZVAL_LONG(property++, slot->slot);
    ZVAL_LONG(property++, slot->pid);
    set_text(property++, slot->worker);
    ZVAL_BOOL(property++, slot->in_use);
    ZVAL_BOOL(property++, slot->held);
    ZVAL_BOOL(property++, slot->offered);
    ZVAL_BOOL(property++, slot->stays);
    ZVAL_BOOL(property++, slot->has_data);
    ZVAL_LONG(property++, (zend_long)slot->since_real_ns);
    ZVAL_LONG(property++, (zend_long)slot->grabs);
    ZVAL_LONG(property++, (zend_long)slot->version);
    ZVAL_LONG(property++, (zend_long)slot->length);
    ZVAL_LONG(property++, (zend_long)slot->real_ns);
    set_age(property, slot->age_ns);
}

void message_object(zval *ret, zend_string *data, const struct shmc_message *message) {
    object_init_ex(ret, Shm_Message_ce);
    zval *property = OBJ_PROP_NUM(Z_OBJ_P(ret), 0);
    ZVAL_STR(property++, data);
    ZVAL_LONG(property++, message->type);
    ZVAL_LONG(property++, (zend_long)message->length);
    ZVAL_LONG(property++, (zend_long)message->id);
    ZVAL_LONG(property++, message->lane);
    ZVAL_LONG(property++, message->pid);
    set_text(property++, message->worker);
    ZVAL_LONG(property++, (zend_long)message->real_ns);
    ZVAL_LONG(property++, (zend_long)message->age_ns);
    ZVAL_BOOL(property++, message->redelivered);
    ZVAL_BOOL(property, message->truncated);
}
