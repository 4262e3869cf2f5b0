/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library tells in structs, as JavaScript's objects: a table of fields for each.
 */
#include "addon.h"

#include <string.h>

#define FIELD(struct, type, name, member)                                                          \
    { name, FIELD_##type, offsetof(struct, member) }
#define END                                                                                        \
    { NULL, FIELD_TEXT, 0 }

#define S(type, name, member) FIELD(struct shmc_section_info, type, name, member)
const struct field section_fields[] = {S(TEXT, "name", name),
                                       S(TEXT, "owner", owner),
                                       S(TEXT, "format", format),
                                       S(KIND, "kind", kind),
                                       S(ALIVE, "writer", writer),
                                       S(BIG, "sectionId", section_id),
                                       S(BIG, "incarnation", incarnation),
                                       S(U64, "generation", generation),
                                       S(U64, "offset", offset),
                                       S(U64, "bytes", bytes),
                                       S(U64, "size", size),
                                       S(U32, "count", count),
                                       S(BOOL, "persist", persist),
                                       S(BOOL, "shared", shared),
                                       S(BOOL, "pinned", pinned),
                                       S(BOOL, "own", own),
                                       S(U64, "staleMs", stale_ms),
                                       S(U64, "version", version),
                                       S(U64, "length", length),
                                       S(BIG, "realNs", real_ns),
                                       S(AGE, "ageMs", age_ns),
                                       S(BOOL, "stale", stale),
                                       S(BOOL, "moving", moving),
                                       S(BOOL, "made", made),
                                       S(BOOL, "transient", transient),
                                       S(U64, "aborted", aborted),
                                       S(U64, "wakes", wakes),
                                       S(U64, "wakeErrors", wake_errors),
                                       S(U64, "messages", messages),
                                       END};

#define W(type, name, member) FIELD(struct shmc_worker_info, type, name, member)
const struct field worker_fields[] = {W(TEXT, "name", name),
                                      W(ALIVE, "state", state),
                                      W(BOOL, "granted", granted),
                                      W(U64, "epoch", epoch),
                                      W(I32, "pid", pid),
                                      W(U32, "uid", uid),
                                      W(BIG, "sinceRealNs", since_real_ns),
                                      W(BIG, "endedRealNs", ended_real_ns),
                                      W(U32, "endReason", end_reason),
                                      W(U32, "endDetail", end_detail),
                                      W(U32, "attachment", attachment),
                                      END};

#define A(type, name, member) FIELD(struct shmc_attachment_info, type, name, member)
const struct field attachment_fields[] = {A(U32, "attachment", attachment),
                                          A(BOOL, "granted", granted),
                                          A(U64, "epoch", epoch),
                                          A(I32, "pid", pid),
                                          A(U32, "uid", uid),
                                          A(BIG, "sinceRealNs", since_real_ns),
                                          END};

#define G(type, name, member) FIELD(struct shmc_segment_info, type, name, member)
const struct field segment_fields[] = {G(U32, "key", key),
                                       G(I32, "id", id),
                                       G(U32, "abi", abi),
                                       G(U32, "backend", backend),
                                       G(U64, "bytes", bytes),
                                       G(U64, "arenaBytes", arena_bytes),
                                       G(U64, "generation", generation),
                                       G(U32, "sections", sections),
                                       G(U32, "workers", workers),
                                       G(U32, "state", state),
                                       G(BOOL, "managerAlive", manager_alive),
                                       G(I32, "managerPid", manager_pid),
                                       G(AGE, "heartbeatAgeMs", heartbeat_age_ns),
                                       G(BIG, "createdRealNs", created_real_ns),
                                       END};

#define L(type, name, member) FIELD(struct shmc_slot, type, name, member)
const struct field slot_fields[] = {
    L(I32, "slot", slot),      L(I32, "pid", pid),           L(TEXT, "worker", worker),
    L(BOOL, "inUse", in_use),  L(BOOL, "held", held),        L(BOOL, "offered", offered),
    L(BOOL, "stays", stays),   L(BOOL, "hasData", has_data), L(BIG, "sinceRealNs", since_real_ns),
    L(U64, "grabs", grabs),    L(U64, "version", version),   L(U64, "length", length),
    L(BIG, "realNs", real_ns), L(AGE, "ageMs", age_ns),      END};

#define Q(type, name, member) FIELD(struct shmc_queue_stat, type, name, member)
const struct field queue_fields[] = {Q(U64, "messages", messages),
                                     Q(U64, "bytes", bytes),
                                     Q(U64, "laneMessages", lane_messages),
                                     Q(U64, "laneBytes", lane_bytes),
                                     Q(U64, "messageBytes", message_bytes),
                                     Q(U32, "lanes", lanes),
                                     Q(U32, "lanesHeld", lanes_held),
                                     Q(U32, "lanesBad", lanes_bad),
                                     Q(U64, "sent", sent),
                                     Q(U64, "received", received),
                                     Q(U64, "sentBytes", sent_bytes),
                                     Q(U64, "refused", refused),
                                     Q(AGE, "blockedMs", blocked_ns),
                                     Q(U64, "relocated", relocated),
                                     Q(U64, "takeovers", takeovers),
                                     Q(U64, "wakes", wakes),
                                     Q(U64, "highMessages", high_messages),
                                     Q(U64, "highBytes", high_bytes),
                                     Q(BIG, "oldestRealNs", oldest_real_ns),
                                     Q(I32, "lastSendPid", last_send_pid),
                                     Q(I32, "lastReceivePid", last_receive_pid),
                                     Q(BIG, "lastSendRealNs", last_send_real_ns),
                                     Q(BIG, "lastReceiveRealNs", last_receive_real_ns),
                                     Q(U64, "changedGeneration", changed_generation),
                                     Q(BIG, "changedRealNs", changed_real_ns),
                                     END};

static const char *const kinds[] = {"", "raw", "snapshot", "slots", "queue"};
static const char *const alive[] = {"gone", "alive", "unknown"};

static const char *word(const char *const *words, size_t n, int i) {
    return i >= 0 && (size_t)i < n ? words[i] : "";
}

static napi_value number_value(napi_env env, const struct field *field, const void *at) {
    int32_t i32;
    uint32_t u32;
    uint64_t u64;
    memcpy(&i32, at, sizeof i32);
    memcpy(&u32, at, sizeof u32);
    if (field->type == FIELD_I32)
        return answer_number(env, i32);
    if (field->type == FIELD_U32)
        return answer_number(env, u32);
    memcpy(&u64, at, sizeof u64);
    return answer_number(env, (double)u64);
}

static napi_value wide_value(napi_env env, const struct field *field, const void *at) {
    uint64_t u64;
    napi_value ret;
    memcpy(&u64, at, sizeof u64);
    if (field->type == FIELD_BIG)
        napi_create_bigint_uint64(env, u64, &ret);
    else if (u64 == UINT64_MAX)
        napi_get_null(env, &ret);
    else
        ret = answer_number(env, (double)u64 / 1e6);
    return ret;
}

static napi_value field_value(napi_env env, const struct field *field, const void *from) {
    const char *at = (const char *)from + field->offset;
    napi_value ret;
    switch (field->type) {
    case FIELD_TEXT:
        return answer_text(env, at);
    case FIELD_BOOL:
        napi_get_boolean(env, *(const bool *)at, &ret);
        return ret;
    case FIELD_KIND:
        return answer_text(env, word(kinds, 5, *(const int *)at));
    case FIELD_ALIVE:
        return answer_text(env, word(alive, 3, *(const int *)at));
    case FIELD_BIG:
    case FIELD_AGE:
        return wide_value(env, field, at);
    default:
        return number_value(env, field, at);
    }
}

napi_value object_of(napi_env env, const struct field *fields, const void *from) {
    napi_value ret;
    napi_create_object(env, &ret);
    for (; fields->name != NULL; fields++)
        napi_set_named_property(env, ret, fields->name, field_value(env, fields, from));
    return ret;
}

napi_value objects_of(napi_env env, const struct field *fields, const void *from, size_t n,
                      size_t bytes) {
    napi_value ret;
    napi_create_array_with_length(env, n, &ret);
    for (size_t i = 0; i < n; i++)
        napi_set_element(env, ret, (uint32_t)i,
                         object_of(env, fields, (const char *)from + i * bytes));
    return ret;
}
