/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's structs as frozen Ruby Structs of the same members: times as Time, ages in seconds,
 * what has no value as nil.  A member that is true or false has a method with a question mark, too.
 */
#include "binding.h"

#include <stddef.h>
#include <string.h>

enum type { NAME, TEXT, U64, U32, I64, SIGNED, BOOL, KIND, ALIVE, TIME_NS, TIME_S, AGE, PID };

struct field {
    const char *name;
    size_t offset;
    enum type type;
};

#define AS(name, member, type)                                                                     \
    { name, offsetof(STRUCT, member), type }
#define F(member, type) AS(#member, member, type)

#define STRUCT struct shmc_value
static const struct field value_fields[] = {
    F(version, U64),        F(length, U64),   F(missed, U64), AS("time", real_ns, TIME_NS),
    AS("age", age_ns, AGE), F(writer, ALIVE), F(stale, BOOL), F(incarnation, U64),
};
#undef STRUCT
#define STRUCT struct shmc_message
static const struct field message_fields[] = {
    F(type, I64),
    F(length, U64),
    F(id, U64),
    F(lane, U32),
    F(pid, PID),
    F(worker, NAME),
    AS("time", real_ns, TIME_NS),
    AS("age", age_ns, AGE),
    F(redelivered, BOOL),
    F(truncated, BOOL),
};
#undef STRUCT
#define STRUCT struct shmc_slot
static const struct field slot_fields[] = {
    AS("index", slot, SIGNED),
    F(pid, PID),
    F(worker, NAME),
    F(in_use, BOOL),
    F(held, BOOL),
    F(offered, BOOL),
    F(stays, BOOL),
    F(has_data, BOOL),
    AS("since", since_real_ns, TIME_NS),
    F(grabs, U64),
    F(version, U64),
    F(length, U64),
    AS("time", real_ns, TIME_NS),
    AS("age", age_ns, AGE),
};
#undef STRUCT
#define STRUCT struct shmc_section_info
static const struct field section_fields[] = {
    F(name, NAME),          F(owner, NAME),     F(format, NAME),     F(kind, KIND),
    F(writer, ALIVE),       F(section_id, U64), F(incarnation, U64), F(generation, U64),
    F(offset, U64),         F(bytes, U64),      F(size, U64),        F(count, U32),
    F(persist, BOOL),       F(shared, BOOL),    F(pinned, BOOL),     F(own, BOOL),
    F(stale_ms, U64),       F(version, U64),    F(length, U64),      AS("time", real_ns, TIME_NS),
    AS("age", age_ns, AGE), F(stale, BOOL),     F(moving, BOOL),     F(made, BOOL),
    F(transient, BOOL),     F(aborted, U64),    F(wakes, U64),       F(wake_errors, U64),
    F(messages, U64),
};
#undef STRUCT
#define STRUCT struct shmc_worker_info
static const struct field worker_fields[] = {
    F(name, NAME),
    F(state, ALIVE),
    F(granted, BOOL),
    F(epoch, U64),
    F(pid, PID),
    F(uid, U32),
    AS("since", since_real_ns, TIME_NS),
    AS("ended", ended_real_ns, TIME_NS),
    F(end_reason, U32),
    F(end_detail, U32),
    F(attachment, U32),
};
#undef STRUCT
#define STRUCT struct shmc_attachment_info
static const struct field attachment_fields[] = {
    F(attachment, U32), F(granted, BOOL), F(epoch, U64),
    F(pid, PID),        F(uid, U32),      AS("since", since_real_ns, TIME_NS),
};
#undef STRUCT
#define STRUCT struct shmc_segment_info
static const struct field segment_fields[] = {
    F(key, U32),
    F(id, SIGNED),
    F(abi, U32),
    F(backend, U32),
    F(protection, TEXT),
    F(bytes, U64),
    F(arena_bytes, U64),
    F(generation, U64),
    F(sections, U32),
    F(workers, U32),
    F(state, U32),
    F(manager_alive, BOOL),
    F(manager_pid, PID),
    AS("heartbeat_age", heartbeat_age_ns, AGE),
    AS("created", created_real_ns, TIME_NS),
};
#undef STRUCT
#define STRUCT struct shmc_queue_stat
static const struct field queue_fields[] = {
    F(messages, U64),
    F(bytes, U64),
    F(lane_messages, U64),
    F(lane_bytes, U64),
    F(message_bytes, U64),
    F(lanes, U32),
    F(lanes_held, U32),
    F(lanes_bad, U32),
    F(sent, U64),
    F(received, U64),
    F(sent_bytes, U64),
    F(refused, U64),
    F(blocked_ns, U64),
    F(relocated, U64),
    F(takeovers, U64),
    F(wakes, U64),
    F(high_messages, U64),
    F(high_bytes, U64),
    AS("oldest", oldest_real_ns, TIME_NS),
    F(last_send_pid, PID),
    F(last_receive_pid, PID),
    AS("last_send", last_send_real_ns, TIME_NS),
    AS("last_receive", last_receive_real_ns, TIME_NS),
    F(changed_generation, U64),
    AS("changed", changed_real_ns, TIME_NS),
};
#undef STRUCT
#define STRUCT struct shmc_lane_stat
static const struct field lane_fields[] = {
    F(lane, U32),
    F(held, BOOL),
    F(bad, BOOL),
    F(waiting, BOOL),
    F(pid, PID),
    F(worker, NAME),
    F(trouble, NAME),
    F(messages, U64),
    F(bytes, U64),
    F(sent, U64),
    F(received, U64),
    F(sent_bytes, U64),
    F(refused, U64),
    F(blocked_ns, U64),
    F(relocated, U64),
    F(takeovers, U64),
    F(wakes, U64),
    F(high_messages, U64),
    F(high_bytes, U64),
    F(last_receive_pid, PID),
    AS("last_send", last_send_real_ns, TIME_NS),
    AS("last_receive", last_receive_real_ns, TIME_NS),
};
#undef STRUCT
/* The first three as the sysvmq gem calls them. */
#define STRUCT struct shmc_sysv_stat
static const struct field sysv_stat_fields[] = {
    AS("count", messages, U64),
    AS("maximum_size", bytes_max, U64),
    AS("size", bytes, U64),
    F(key, U32),
    F(mode, U32),
    F(uid, U32),
    F(gid, U32),
    F(creator_uid, U32),
    F(creator_gid, U32),
    F(sequence, U32),
    F(last_sender, PID),
    F(last_receiver, PID),
    AS("sent", sent_real_s, TIME_S),
    AS("received", received_real_s, TIME_S),
    AS("changed", changed_real_s, TIME_S),
};
#undef STRUCT
#define STRUCT struct shmc_sysv_info
static const struct field sysv_info_fields[] = {
    AS("maximum_message_size", message_bytes_max, U64),
    AS("maximum_queue_size", queue_bytes_max, U64),
    AS("maximum_queues", queues_max, U32),
    F(queues, U32),
    AS("count", messages, U64),
    AS("size", bytes, U64),
    F(highest_index, SIGNED),
};
#undef STRUCT

#define MEMBERS(fields) fields, sizeof(fields) / sizeof *(fields)
static const struct {
    const char *name;
    const struct field *fields;
    size_t n;
} records[RECORD_KINDS] = {
    [RECORD_VALUE] = {"Value", MEMBERS(value_fields)},
    [RECORD_MESSAGE] = {"Message", MEMBERS(message_fields)},
    [RECORD_SLOT] = {"Slot", MEMBERS(slot_fields)},
    [RECORD_SECTION] = {"SectionInfo", MEMBERS(section_fields)},
    [RECORD_WORKER] = {"WorkerInfo", MEMBERS(worker_fields)},
    [RECORD_ATTACHMENT] = {"AttachmentInfo", MEMBERS(attachment_fields)},
    [RECORD_SEGMENT] = {"SegmentInfo", MEMBERS(segment_fields)},
    [RECORD_QUEUE] = {"QueueStat", MEMBERS(queue_fields)},
    [RECORD_LANE] = {"LaneStat", MEMBERS(lane_fields)},
    [RECORD_SYSV_STAT] = {"SysVStat", MEMBERS(sysv_stat_fields)},
    [RECORD_SYSV_INFO] = {"SysVInfo", MEMBERS(sysv_info_fields)},
};
#define MOST_MEMBERS 32
static VALUE classes[RECORD_KINDS];
static VALUE kinds[SHMC_QUEUE + 1], alive[SHMC_UNKNOWN + 1];

static VALUE time_of(time_t seconds, long nanoseconds) {
    return seconds == 0 && nanoseconds == 0 ? Qnil : rb_time_nano_new(seconds, nanoseconds);
}

static VALUE member(const char *at, enum type type) {
    const uint64_t *u64 = (const void *)at;
    const uint32_t *u32 = (const void *)at;
    const int *number = (const void *)at; /* and pid_t */
    switch (type) {
    case NAME:
        return *at == '\0' ? Qnil : rb_utf8_str_new(at, (long)strnlen(at, SHMC_NAME_BYTES));
    case TEXT:
        return rb_utf8_str_new_cstr(*(const char *const *)(const void *)at);
    case U64:
        return ULL2NUM(*u64);
    case U32:
        return UINT2NUM(*u32);
    case I64:
        return LL2NUM(*(const int64_t *)(const void *)at);
    case SIGNED:
        return INT2NUM(*number);
    case BOOL:
        return *(const bool *)at ? Qtrue : Qfalse;
    case KIND:
        return *u32 <= SHMC_QUEUE ? kinds[*u32] : Qnil;
    case ALIVE:
        return *u32 <= SHMC_UNKNOWN ? alive[*u32] : Qnil;
    case TIME_NS:
        return time_of((time_t)(*u64 / 1000000000), (long)(*u64 % 1000000000));
    case TIME_S:
        return time_of(*(const int64_t *)(const void *)at, 0);
    case AGE:
        return *u64 == UINT64_MAX ? Qnil : DBL2NUM((double)*u64 / 1e9);
    case PID:
        return *number == 0 ? Qnil : INT2NUM(*number);
    }
    return Qnil;
}

VALUE record_new(enum record_kind kind, const void *data) {
    VALUE members[MOST_MEMBERS]; /* on the stack, where garbage collection finds them */
    for (size_t i = 0; i < records[kind].n; i++) {
        const struct field *field = &records[kind].fields[i];
        members[i] = member((const char *)data + field->offset, field->type);
    }
    return rb_obj_freeze(rb_class_new_instance((int)records[kind].n, members, classes[kind]));
}

static void define(enum record_kind kind) {
    VALUE names[MOST_MEMBERS] = {0};
    const struct field *fields = records[kind].fields;
    RUBY_ASSERT_ALWAYS(records[kind].n <= MOST_MEMBERS);
    for (size_t i = 0; i < records[kind].n; i++)
        names[i] = ID2SYM(rb_intern(fields[i].name));
    VALUE made = rb_funcallv(rb_cStruct, rb_intern("new"), (int)records[kind].n, names);
    rb_gc_register_mark_object(made);
    rb_const_set(shm_module, rb_intern(records[kind].name), made);
    classes[kind] = made;
    for (size_t i = 0; i < records[kind].n; i++)
        if (fields[i].type == BOOL) {
            char question[64];
            snprintf(question, sizeof question, "%s?", fields[i].name);
            rb_define_alias(made, question, fields[i].name);
        }
}

static VALUE symbol(const char *name) {
    return ID2SYM(rb_intern(name));
}

void init_records(void) {
    kinds[0] = Qnil;
    kinds[SHMC_RAW] = symbol("raw");
    kinds[SHMC_SNAPSHOT] = symbol("snapshot");
    kinds[SHMC_SLOTS] = symbol("slots");
    kinds[SHMC_QUEUE] = symbol("queue");
    alive[SHMC_GONE] = symbol("gone");
    alive[SHMC_ALIVE] = symbol("alive");
    alive[SHMC_UNKNOWN] = symbol("unknown");
    for (int kind = 0; kind < RECORD_KINDS; kind++)
        define((enum record_kind)kind);
}
