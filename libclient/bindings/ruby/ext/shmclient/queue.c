/* SPDX-License-Identifier: Apache-2.0
 *
 * ShmClient::Queue.
 */
#include "binding.h"

#include <errno.h>
#include <stdlib.h>

#define TRIES 100

struct sending {
    const char *data;
    size_t bytes;
    int64_t type;
};

static ssize_t call_send(struct wait *wait, int timeout_ms) {
    const struct sending *sending = wait->argument;
    return shmc_queue_send(wait->open->handle, sending->type, sending->data, sending->bytes,
                           SHMC_INTERRUPTIBLE, timeout_ms);
}

/* _send(data, type, timeout, exception): true, or nil when there was no room */
static VALUE queue_send(VALUE self, VALUE data, VALUE type, VALUE timeout, VALUE exception) {
    StringValue(data);
    data = rb_str_new_frozen(data); /* other threads may change theirs meanwhile */
    struct sending sending = {
        .data = RSTRING_PTR(data), .bytes = (size_t)RSTRING_LEN(data), .type = NUM2LL(type)};
    struct wait wait = {.call = call_send, .section = self, .argument = &sending};
    ssize_t r = wait_for(&wait, timeout_ms_of(timeout));
    RB_GC_GUARD(data);
    if (r >= 0)
        return Qtrue;
    if (nothing_came(r) && !RTEST(exception))
        return Qnil;
    fail_section(wait.open, (int)r);
}

struct receiving {
    int64_t type;
    unsigned flags;
    const void *data; /* peeked */
    size_t bytes;
};

static ssize_t call_receive(struct wait *wait, int timeout_ms) {
    const struct receiving *receiving = wait->argument;
    struct section *section = wait->open;
    section->about = ABOUT_MESSAGE;
    return shmc_queue_receive(section->handle, receiving->type, section->buffer, section->room,
                              receiving->flags | SHMC_INTERRUPTIBLE, timeout_ms, &section->message);
}

static ssize_t call_peek(struct wait *wait, int timeout_ms) {
    struct receiving *receiving = wait->argument;
    struct section *section = wait->open;
    section->about = ABOUT_MESSAGE;
    return shmc_queue_peek(section->handle, receiving->type, &receiving->data, &receiving->bytes,
                           receiving->flags | SHMC_INTERRUPTIBLE, timeout_ms, &section->message);
}

static VALUE receive(ssize_t (*call)(struct wait *, int), VALUE self, VALUE type, VALUE flags,
                     VALUE timeout, VALUE exception) {
    struct receiving receiving = {.type = NUM2LL(type), .flags = NUM2UINT(flags)};
    struct wait wait = {.call = call, .section = self, .tries = true, .argument = &receiving};
    const int64_t timeout_ms = timeout_ms_of(timeout);
    ssize_t n = -E2BIG;
    section_room(section_get(self), 1);
    for (int i = 0; i < TRIES && n == -E2BIG; i++) {
        n = wait_for(&wait, timeout_ms);
        if (n == -E2BIG)
            section_room(wait.open, wait.open->message.length);
    }
    if (n >= 0)
        return call == call_peek ? rb_str_new(receiving.data, (long)receiving.bytes)
                                 : section_string(wait.open, n);
    if (nothing_came(n) && !RTEST(exception))
        return Qnil;
    fail_section(wait.open, (int)n);
}

/* _receive(type, flags, timeout, exception), and _peek */
static VALUE queue_receive(VALUE self, VALUE type, VALUE flags, VALUE timeout, VALUE exception) {
    return receive(call_receive, self, type, flags, timeout, exception);
}

static VALUE queue_peek(VALUE self, VALUE type, VALUE flags, VALUE timeout, VALUE exception) {
    return receive(call_peek, self, type, flags, timeout, exception);
}

static VALUE queue_ack(VALUE self) {
    const struct section *section = section_get(self);
    int r = shmc_queue_ack(section->handle);
    if (r < 0)
        fail_section(section, r);
    return self;
}

static VALUE queue_abandon(VALUE self) {
    const struct section *section = section_get(self);
    int r = shmc_queue_abandon(section->handle);
    if (r < 0)
        fail_section(section, r);
    return self;
}

/* ---- each: between a peek and the block nothing may come in, or nobody gives the message back */

struct doing {
    VALUE self, message;
    bool done;
};

static VALUE doing_yield(VALUE argument) {
    struct doing *doing = (struct doing *)argument;
    rb_yield_values(2, doing->message, section_about(doing->self));
    doing->done = true;
    return Qnil;
}

static VALUE doing_end(VALUE argument) {
    const struct doing *doing = (const struct doing *)argument;
    const struct section *section = rb_check_typeddata(doing->self, &section_type);
    if (section->handle == NULL)
        return Qnil;
    return doing->done ? queue_ack(doing->self) : queue_abandon(doing->self);
}

/* _each(type, flags, timeout) */
static VALUE queue_each(VALUE self, VALUE type, VALUE flags, VALUE timeout) {
    rb_need_block();
    struct doing doing = {.self = self};
    do {
        doing.done = false;
        doing.message = queue_peek(self, type, flags, timeout, Qtrue);
        rb_ensure(doing_yield, (VALUE)&doing, doing_end, (VALUE)&doing);
    } while (doing.done);
    return self;
}

static VALUE queue_look(VALUE self, VALUE index) {
    const size_t at = size_of(index);
    struct section *section = section_get(self);
    ssize_t n = -E2BIG;
    section_room(section, 1);
    for (int i = 0; i < TRIES && n == -E2BIG; i++) {
        section->about = ABOUT_MESSAGE;
        n = shmc_queue_look(section->handle, at, section->buffer, section->room, 0,
                            &section->message);
        if (n == -E2BIG)
            section_room(section, section->message.length);
    }
    if (n == -ENOMSG)
        return Qnil;
    if (n < 0)
        fail_section(section, (int)n);
    return section_string(section, n);
}

static VALUE queue_stat(VALUE self) {
    const struct section *section = section_get(self);
    struct shmc_queue_stat stat;
    int r = shmc_queue_stat(section->handle, &stat, NULL, NULL);
    if (r < 0)
        fail_section(section, r);
    return record_new(RECORD_QUEUE, &stat);
}

static VALUE queue_lanes(VALUE self) {
    const struct section *section = section_get(self);
    struct shmc_queue_stat stat;
    int r = shmc_queue_stat(section->handle, &stat, NULL, NULL);
    VALUE memory, list = rb_ary_new();
    size_t n = r < 0 ? 0 : stat.lanes;
    struct shmc_lane_stat *lanes = ALLOCV_N(struct shmc_lane_stat, memory, n + 1);
    if (r == 0)
        r = shmc_queue_stat(section->handle, &stat, lanes, &n);
    if (r < 0)
        fail_section(section, r);
    for (size_t i = 0; i < n && i < stat.lanes; i++)
        rb_ary_push(list, record_new(RECORD_LANE, &lanes[i]));
    ALLOCV_END(memory);
    return list;
}

void init_queue(void) {
    VALUE queue = rb_const_get(shm_module, rb_intern("Queue"));
    rb_define_const(queue, "EXCEPT", UINT2NUM(SHMC_EXCEPT));
    rb_define_private_method(queue, "_send", queue_send, 4);
    rb_define_private_method(queue, "_receive", queue_receive, 4);
    rb_define_private_method(queue, "_peek", queue_peek, 4);
    rb_define_private_method(queue, "_each", queue_each, 3);
    rb_define_method(queue, "ack", queue_ack, 0);
    rb_define_method(queue, "abandon", queue_abandon, 0);
    rb_define_method(queue, "look", queue_look, 1);
    rb_define_method(queue, "stat", queue_stat, 0);
    rb_define_method(queue, "lanes", queue_lanes, 0);
}
