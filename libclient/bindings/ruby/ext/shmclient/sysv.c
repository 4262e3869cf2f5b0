/* SPDX-License-Identifier: Apache-2.0
 *
 * ShmClient::SysVQueue: a queue of the kernel's, for lib/sysvmq.rb.  It is an id and no more, so
 * that any number of threads and children use one object.  Answers are those of msgsnd(2) and
 * msgrcv(2), which programs that rescue them know: ENOMSG where nothing waits, and EINVAL where the
 * queue is gone before the call.
 */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

/* As much as the library receives without allocating memory; more, when it is needed. */
#define FIRST_ROOM 8192

struct sysv {
    int id; /* -1: not opened */
};

static size_t sysv_memsize(const void *data) {
    return data == NULL ? 0 : sizeof(struct sysv);
}

static const rb_data_type_t sysv_type = {
    .wrap_struct_name = "ShmClient::SysVQueue",
    .function = {.dfree = RUBY_DEFAULT_FREE, .dsize = sysv_memsize},
    .flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

static VALUE sysv_allocate(VALUE class) {
    struct sysv *sysv;
    VALUE self = TypedData_Make_Struct(class, struct sysv, &sysv_type, sysv);
    sysv->id = -1;
    return self;
}

static int queue_id(VALUE self) {
    const struct sysv *sysv = rb_check_typeddata(self, &sysv_type);
    if (sysv->id < 0)
        fail(-EINVAL, "this queue was never opened");
    return sysv->id;
}

static const char *why(int r) {
    switch (-r) {
    case E2BIG:
        return "the message is longer than the buffer, and stays: make it with a larger buffer";
    case EACCES:
        return "its mode doesn't allow it";
    case EAGAIN:
        return "no room; wait, or come back later";
    case EIDRM:
    case EINVAL:
        return "it was removed, or the type isn't above 0";
    case EMSGSIZE:
        return "longer than kernel.msgmax, or than the queue's maximum_size";
    case ENOMSG:
        return "no such message waits";
    case EPERM:
        return "you are neither its owner nor its creator, or maximum_size is above kernel.msgmnb";
    case ETIMEDOUT:
        return "nothing came, or no room, in the time given";
    default:
        return "it was refused";
    }
}

NORETURN(static void fail_queue(int id, int r));
static void fail_queue(int id, int r) {
    char text[256];
    snprintf(text, sizeof text, "System V queue %d: %s", id, why(r));
    fail(r, text);
}

/* new(key, mode, flags) */
static VALUE sysv_initialize(VALUE self, VALUE key, VALUE mode, VALUE flags) {
    const uint32_t wanted = NUM2UINT(key);
    const unsigned permissions = NUM2UINT(mode), asked = NUM2UINT(flags);
    struct sysv *sysv = rb_check_typeddata(self, &sysv_type);
    int r = shmc_sysv_queue_open(wanted, permissions, asked);
    if (r < 0) {
        char text[256];
        snprintf(text, sizeof text, "System V queue of key 0x%08x: %s", wanted,
                 r == -ENOENT   ? "there is none; IPC_CREAT makes it"
                 : r == -EEXIST ? "there is one, and IPC_EXCL refuses it"
                 : r == -EACCES ? "it is there, and its mode doesn't allow you to"
                 : r == -ENOSPC ? "there are kernel.msgmni queues already; ipcs -q lists them"
                                : "it can't be opened");
        fail(r, text);
    }
    sysv->id = r;
    return self;
}

static VALUE sysv_id(VALUE self) {
    return INT2NUM(queue_id(self));
}

/* ---- messages */

struct transfer {
    int id;
    int64_t type, got;
    unsigned flags;
    char *data;
    size_t bytes;
};

static ssize_t call_send(struct wait *wait, int timeout_ms) {
    const struct transfer *transfer = wait->argument;
    return shmc_sysv_queue_send(transfer->id, transfer->type, transfer->data, transfer->bytes,
                                SHMC_INTERRUPTIBLE, timeout_ms);
}

static ssize_t call_receive(struct wait *wait, int timeout_ms) {
    struct transfer *transfer = wait->argument;
    return shmc_sysv_queue_receive(transfer->id, transfer->type, transfer->data, transfer->bytes,
                                   transfer->flags | SHMC_INTERRUPTIBLE, timeout_ms,
                                   &transfer->got);
}

/* The first try is made with no time: what it finds removed was so before. */
static ssize_t transfer(struct wait *wait, VALUE timeout) {
    const int64_t timeout_ms = timeout_ms_of(timeout);
    ssize_t n = wait->call(wait, 0);
    if (n == -EIDRM)
        return -EINVAL;
    return n == -EAGAIN && timeout_ms != 0 ? wait_for(wait, timeout_ms) : n;
}

/* send(data, type, timeout) */
static VALUE sysv_send(VALUE self, VALUE data, VALUE type, VALUE timeout) {
    StringValue(data);
    data = rb_str_new_frozen(data);
    struct transfer sending = {.type = NUM2LL(type),
                               .data = RSTRING_PTR(data),
                               .bytes = (size_t)RSTRING_LEN(data),
                               .id = queue_id(self)};
    struct wait wait = {.call = call_send, .section = Qnil, .argument = &sending};
    ssize_t r = transfer(&wait, timeout);
    RB_GC_GUARD(data);
    if (r < 0)
        fail_queue(sending.id, (int)r);
    return Qnil;
}

/* receive(type, flags, buffer_size, timeout): [message, type].  The buffer is a String, so that
 * nothing leaks where Thread#kill ends the wait. */
static VALUE sysv_receive(VALUE self, VALUE type, VALUE flags, VALUE buffer_size, VALUE timeout) {
    const size_t most = size_of(buffer_size) < INT_MAX ? size_of(buffer_size) : INT_MAX;
    struct transfer receiving = {.type = NUM2LL(type), .id = queue_id(self)};
    const unsigned asked = NUM2UINT(flags);
    size_t room = most < FIRST_ROOM ? most : FIRST_ROOM;
    struct wait wait = {.call = call_receive, .section = Qnil, .argument = &receiving};
    for (;;) {
        VALUE buffer = rb_str_buf_new((long)room);
        receiving.flags = room == most ? asked : asked & ~SHMC_TRUNCATE;
        receiving.data = RSTRING_PTR(buffer);
        receiving.bytes = room;
        const ssize_t n = transfer(&wait, timeout);
        if (n >= 0) {
            VALUE message = rb_str_new(receiving.data, (long)n);
            rb_str_resize(buffer, 0);
            return rb_assoc_new(message, LL2NUM(receiving.got));
        }
        rb_str_resize(buffer, 0);
        if (n != -E2BIG || room == most)
            fail_queue(receiving.id, n == -EAGAIN ? -ENOMSG : (int)n);
        room = room < most / 8 ? room * 8 : most;
    }
}

/* ---- control */

static VALUE sysv_stat(VALUE self) {
    struct shmc_sysv_stat stat;
    const int id = queue_id(self);
    int r = shmc_sysv_queue_stat(id, &stat);
    if (r < 0)
        fail_queue(id, r == -EIDRM ? -EINVAL : r);
    return record_new(RECORD_SYSV_STAT, &stat);
}

/* set(uid, gid, mode, bytes_max): nil leaves it as it is */
static VALUE sysv_set(VALUE self, VALUE uid, VALUE gid, VALUE mode, VALUE bytes_max) {
    struct shmc_sysv_stat stat;
    const int id = queue_id(self);
    int r = shmc_sysv_queue_stat(id, &stat);
    if (!NIL_P(uid))
        stat.uid = NUM2UINT(uid);
    if (!NIL_P(gid))
        stat.gid = NUM2UINT(gid);
    if (!NIL_P(mode))
        stat.mode = NUM2UINT(mode);
    if (!NIL_P(bytes_max))
        stat.bytes_max = NUM2ULL(bytes_max);
    if (r == 0)
        r = shmc_sysv_queue_set(id, &stat);
    if (r < 0)
        fail_queue(id, r == -EIDRM ? -EINVAL : r);
    return Qnil;
}

static VALUE sysv_info(VALUE self) {
    struct shmc_sysv_info info;
    int r = shmc_sysv_queue_info(&info);
    if (r < 0)
        fail_queue(queue_id(self), r);
    return record_new(RECORD_SYSV_INFO, &info);
}

static VALUE sysv_remove(VALUE self) {
    const int id = queue_id(self);
    int r = shmc_sysv_queue_remove(id);
    if (r < 0)
        fail_queue(id, r == -EIDRM ? -EINVAL : r);
    return Qnil;
}

void init_sysv(void) {
    VALUE sysv = rb_define_class_under(shm_module, "SysVQueue", rb_cObject);
    rb_define_alloc_func(sysv, sysv_allocate);
    rb_define_private_method(sysv, "initialize_copy", no_copy, 1);
    rb_define_const(sysv, "CREATE", UINT2NUM(SHMC_SYSV_CREATE));
    rb_define_const(sysv, "EXCLUSIVE", UINT2NUM(SHMC_SYSV_EXCLUSIVE));
    rb_define_const(sysv, "TRUNCATE", UINT2NUM(SHMC_TRUNCATE));
    rb_define_const(sysv, "EXCEPT", UINT2NUM(SHMC_EXCEPT));
    rb_define_const(sysv, "COPY", UINT2NUM(SHMC_SYSV_COPY));
    rb_define_method(sysv, "initialize", sysv_initialize, 3);
    rb_define_method(sysv, "id", sysv_id, 0);
    rb_define_method(sysv, "send", sysv_send, 3);
    rb_define_method(sysv, "receive", sysv_receive, 4);
    rb_define_method(sysv, "stat", sysv_stat, 0);
    rb_define_method(sysv, "set", sysv_set, 4);
    rb_define_method(sysv, "info", sysv_info, 0);
    rb_define_method(sysv, "remove", sysv_remove, 0);
}
