/* SPDX-License-Identifier: Apache-2.0
 *
 * The extension's beginning, errors, and waiting.
 */
#include "binding.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <ruby/thread.h>
#include <string.h>
#include <time.h>

/* The library itself looks around ten times a second in any wait. */
#define SLICE_MS 100

VALUE shm_module;
static VALUE shm_error;

/* ---- errors */

void fail(int r, const char *text) {
    /* another thread may be writing the next text at this moment */
    VALUE message = *text == '\0' ? Qnil : rb_utf8_str_new(text, (long)strnlen(text, 1024));
    VALUE error = rb_syserr_new_str(-r, message);
    rb_extend_object(error, shm_error);
    rb_exc_raise(error);
}

void fail_segment(VALUE segment, int r) {
    const struct segment *of = rb_check_typeddata(segment, &segment_type);
    fail(r, of->handle != NULL ? shmc_last_error(of->handle)
                               : "this attachment was detached; attach anew");
}

void fail_section(const struct section *section, int r) {
    fail_segment(section->segment, r);
}

bool nothing_came(ssize_t r) {
    return r == -EAGAIN || r == -ETIMEDOUT;
}

VALUE no_copy(VALUE self, VALUE of) {
    (void)of;
    rb_raise(rb_eTypeError, "can't copy %" PRIsVALUE, rb_obj_class(self));
}

/* ---- arguments */

const char *text_or_null(VALUE *text) {
    if (NIL_P(*text))
        return NULL;
    StringValue(*text);
    *text = rb_str_new_frozen(*text);
    return StringValueCStr(*text);
}

int64_t timeout_ms_of(VALUE seconds) {
    if (NIL_P(seconds))
        return -1;
    const double value = NUM2DBL(seconds);
    if (isnan(value) || value < 0)
        rb_raise(rb_eArgError,
                 "timeout: %+" PRIsVALUE " is no time; it takes seconds, or nil for ever", seconds);
    return value > 1e12 ? (int64_t)1e15 : (int64_t)ceil(value * 1000);
}

size_t size_of(VALUE number) {
    const int64_t value = NUM2LL(number);
    if (value < 0)
        rb_raise(rb_eRangeError, "%" PRId64 " is less than nothing", value);
    return (size_t)value;
}

/* ---- waiting */

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *make(void *argument) {
    struct wait *wait = argument;
    wait->was_made = true;
    wait->result = wait->call(wait, wait->timeout_ms);
    return NULL;
}

/* The plain rb_thread_call_without_gvl() would raise behind the call, and what it brought be lost.
 * This one leaves that to the caller, and doesn't call at all where something is pending. */
static ssize_t make_unlocked(struct wait *wait, int64_t timeout_ms) {
    wait->timeout_ms = timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    if (wait->is_deaf && (timeout_ms < 0 || timeout_ms > SLICE_MS))
        wait->timeout_ms = SLICE_MS;
    wait->was_made = false;
    if (wait->open != NULL)
        section_pin(wait->open, 1);
    rb_thread_call_without_gvl2(make, wait, RUBY_UBF_IO, NULL);
    if (wait->open != NULL)
        section_pin(wait->open, -1);
    return wait->was_made ? wait->result : -EINTR;
}

ssize_t wait_for(struct wait *wait, int64_t timeout_ms) {
    const int64_t deadline = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
    int64_t left = timeout_ms;
    for (bool is_first = true;; is_first = false) {
        if (!NIL_P(wait->section))
            wait->open = section_get(wait->section); /* a trap may have closed it */
        const bool at_once = left == 0 || (is_first && wait->tries);
        const ssize_t r = at_once ? wait->call(wait, 0) : make_unlocked(wait, left);
        if (r == -EAGAIN && at_once && timeout_ms != 0) {
            if (left == 0)
                return -ETIMEDOUT;
            continue;
        }
        if (r != -EINTR && r != -ETIMEDOUT)
            return r;
        if (timeout_ms > 0)
            left = deadline > now_ms() ? deadline - now_ms() : 0;
        if (left == 0 && r == -ETIMEDOUT)
            return r;
        rb_thread_check_ints();
    }
}

struct unlocked {
    void (*call)(shmc *segment, void *argument);
    shmc *segment;
    void *argument;
    bool was_made;
};

static void *make_it(void *argument) {
    struct unlocked *unlocked = argument;
    unlocked->was_made = true;
    unlocked->call(unlocked->segment, unlocked->argument);
    return NULL;
}

void call_unlocked(void (*call)(shmc *segment, void *argument), VALUE segment, void *argument) {
    struct unlocked unlocked = {.call = call, .argument = argument};
    for (;;) {
        struct segment *pinned = NIL_P(segment) ? NULL : segment_get(segment);
        if (pinned != NULL) {
            unlocked.segment = pinned->handle;
            pinned->calls++;
        }
        rb_thread_call_without_gvl2(make_it, &unlocked, RUBY_UBF_IO, NULL);
        if (pinned != NULL)
            pinned->calls--;
        if (unlocked.was_made)
            return;
        rb_thread_check_ints();
    }
}

/* ---- the module */

struct asking {
    struct shmc_options options;
    const char *request;
    char *reply;
    int result;
};

static void ask(shmc *segment, void *argument) {
    struct asking *asking = argument;
    (void)segment;
    asking->result = shmc_manager(&asking->options, asking->request, &asking->reply);
}

/* _manager(request, key, runtime_dir, timeout_ms): the reply, a String of JSON. */
static VALUE shm_manager(VALUE self, VALUE request, VALUE key, VALUE runtime_dir, VALUE timeout) {
    (void)self;
    char error[512] = "";
    struct asking asking = {.options = {.size = sizeof asking.options,
                                        .key = NIL_P(key) ? 0 : NUM2UINT(key),
                                        .runtime_dir = text_or_null(&runtime_dir),
                                        .timeout_ms = NUM2INT(timeout),
                                        .error = error,
                                        .error_bytes = sizeof error}};
    StringValue(request);
    asking.request = text_or_null(&request);
    call_unlocked(ask, Qnil, &asking);
    VALUE reply = asking.reply == NULL ? Qnil : rb_utf8_str_new_cstr(asking.reply);
    free(asking.reply);
    if (asking.result < 0)
        fail(asking.result, *error != '\0' || NIL_P(reply) ? error : StringValueCStr(reply));
    RB_GC_GUARD(runtime_dir);
    RB_GC_GUARD(request);
    return reply;
}

RUBY_FUNC_EXPORTED void Init_native(void) {
    rb_ext_ractor_safe(true);
    shm_module = rb_define_module("ShmClient");
    shm_error = rb_define_module_under(shm_module, "Error");
    rb_gc_register_mark_object(shm_module);
    rb_gc_register_mark_object(shm_error);
    rb_define_const(shm_module, "LIBRARY_VERSION",
                    rb_obj_freeze(rb_utf8_str_new_cstr(shmc_version())));
    rb_define_const(shm_module, "DEFAULT_KEY", UINT2NUM(SHMC_DEFAULT_KEY));
    rb_define_private_method(rb_singleton_class(shm_module), "_manager", shm_manager, 4);
    init_records();
    init_segment();
    init_section();
    init_snapshot();
    init_slots();
    init_queue();
    init_sysv();
}
