/* SPDX-License-Identifier: Apache-2.0
 *
 * ShmClient::Snapshot: the newest complete value; and ShmClient::View, which lends it in place.
 */
#include "binding.h"

#include <errno.h>
#include <stdio.h>

/* Anew when the value outgrew the buffer, which is rare, and when the writer came round. */
#define TRIES 100

static VALUE shm_view;

static VALUE snapshot_publish(VALUE self, VALUE data) {
    StringValue(data);
    const struct section *section = section_get(self);
    int r = shmc_publish(section->handle, RSTRING_PTR(data), (size_t)RSTRING_LEN(data));
    if (r < 0)
        fail_section(section, r);
    RB_GC_GUARD(data);
    return self;
}

static VALUE snapshot_read(VALUE self) {
    struct section *section = section_get(self);
    ssize_t n = -EMSGSIZE;
    section_room(section, 1);
    for (int i = 0; i < TRIES && n == -EMSGSIZE; i++) {
        section->about = ABOUT_VALUE;
        n = shmc_read(section->handle, section->buffer, section->room, &section->value);
        if (n == -EMSGSIZE)
            section_room(section, section->value.length);
    }
    if (n < 0)
        fail_section(section, (int)n);
    return section_string(section, n);
}

/* ---- waiting */

static ssize_t call_next(struct wait *wait, int timeout_ms) {
    struct section *section = wait->open;
    section->about = ABOUT_VALUE;
    return shmc_next(section->handle, section->buffer, section->room, timeout_ms, &section->value);
}

static ssize_t call_follow(struct wait *wait, int timeout_ms) {
    struct section *section = wait->open;
    section->about = ABOUT_VALUE;
    return shmc_follow(section->handle, section->buffer, section->room, timeout_ms,
                       &section->value);
}

/* The wait was made in slices, and the library's text would say how long the last was. */
NORETURN(static void fail_late(VALUE self, const struct section *section, int64_t timeout_ms));
static void fail_late(VALUE self, const struct section *section, int64_t timeout_ms) {
    char text[256];
    VALUE name = rb_ivar_get(self, rb_intern("@name"));
    snprintf(text, sizeof text,
             "section '%s': nothing newer than version %llu came in %lld ms; does its owner run?",
             StringValueCStr(name), (unsigned long long)section->value.version,
             (long long)timeout_ms);
    fail(-ETIMEDOUT, text);
}

/* _next(follow, timeout, exception) */
static VALUE snapshot_next(VALUE self, VALUE follow, VALUE timeout, VALUE exception) {
    struct wait wait = {.call = RTEST(follow) ? call_follow : call_next,
                        .section = self,
                        .is_deaf = true,
                        .tries = true};
    const int64_t timeout_ms = timeout_ms_of(timeout);
    ssize_t n = -EMSGSIZE;
    section_room(section_get(self), 1);
    for (int i = 0; i < TRIES && n == -EMSGSIZE; i++) {
        n = wait_for(&wait, timeout_ms);
        if (n == -EMSGSIZE)
            section_room(wait.open, wait.open->value.length);
    }
    if (n >= 0)
        return section_string(wait.open, n);
    if (nothing_came(n) && !RTEST(exception))
        return Qnil;
    if (n == -ETIMEDOUT)
        fail_late(self, wait.open, timeout_ms);
    fail_section(wait.open, (int)n);
}

struct any {
    shmc_section **handles;
    struct section **sections;
    struct wait wait;
    int64_t timeout_ms;
    ssize_t result;
    unsigned n, pinned;
};

static ssize_t call_wait_any(struct wait *wait, int timeout_ms) {
    const struct any *any = wait->argument;
    return shmc_wait_any(any->handles, any->n, timeout_ms);
}

static VALUE any_wait(VALUE argument) {
    struct any *any = (struct any *)argument;
    any->result = wait_for(&any->wait, any->timeout_ms);
    return Qnil;
}

static VALUE any_unpin(VALUE argument) {
    struct any *any = (struct any *)argument;
    for (unsigned i = 0; i < any->pinned; i++)
        section_pin(any->sections[i], -1);
    return Qnil;
}

/* _wait_any(sections, timeout): the one that has a newer value; nil: none in that time */
static VALUE shm_wait_any(VALUE self, VALUE list, VALUE timeout) {
    (void)self;
    VALUE sections = rb_ary_dup(rb_convert_type(list, T_ARRAY, "Array", "to_ary")), memory;
    const long n = RARRAY_LEN(sections);
    if (n == 0 || n > 4096)
        rb_raise(rb_eArgError, "wait_any: %ld sections; it takes 1 to 4096", n);
    void **pointers = ALLOCV_N(void *, memory, 2 * n);
    struct any any = {
        .handles = (shmc_section **)pointers,
        .sections = (struct section **)(pointers + n),
        .n = (unsigned)n,
        .timeout_ms = timeout_ms_of(timeout),
        .wait = {.call = call_wait_any, .section = Qnil, .is_deaf = true, .tries = true}};
    any.wait.argument = &any;
    for (long i = 0; i < n; i++) {
        any.sections[i] = section_get(RARRAY_AREF(sections, i));
        any.handles[i] = any.sections[i]->handle;
        segment_get(any.sections[i]->segment);
    }
    for (; any.pinned < any.n; any.pinned++)
        section_pin(any.sections[any.pinned], 1);
    rb_ensure(any_wait, (VALUE)&any, any_unpin, (VALUE)&any);
    VALUE first = RARRAY_AREF(sections, 0);
    const struct section *in = any.sections[0];
    if (!nothing_came(any.result) && any.result < 0)
        fail_section(in, (int)any.result);
    VALUE found = any.result < 0 ? Qnil : RARRAY_AREF(sections, any.result);
    ALLOCV_END(memory);
    RB_GC_GUARD(first);
    RB_GC_GUARD(sections);
    return found;
}

/* ---- views */

/* It may outlive its block, where that is in a Fiber that nobody resumes; and a child that is
 * forked in the block may close the section. */
struct view {
    const char *data; /* NULL: the block ended */
    size_t bytes;
    VALUE section;
};

static void view_mark(void *data) {
    rb_gc_mark(((const struct view *)data)->section);
}

static size_t view_memsize(const void *data) {
    return data == NULL ? 0 : sizeof(struct view);
}

static const rb_data_type_t view_type = {
    .wrap_struct_name = "ShmClient::View",
    .function = {.dmark = view_mark, .dfree = RUBY_DEFAULT_FREE, .dsize = view_memsize},
    .flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

static bool is_open(VALUE self) {
    const struct section *section = rb_check_typeddata(self, &section_type);
    const struct segment *segment = rb_check_typeddata(section->segment, &segment_type);
    return section->handle != NULL && segment->handle != NULL;
}

static const struct view *view_get(VALUE self) {
    const struct view *view = rb_check_typeddata(self, &view_type);
    if (view->data == NULL || !is_open(view->section))
        fail(-EBADF, "this view ended with its block; copy there what is needed behind it");
    return view;
}

static VALUE view_size(VALUE self) {
    return SIZET2NUM(view_get(self)->bytes);
}

static VALUE view_getbyte(VALUE self, VALUE index) {
    const size_t at = size_of(index);
    const struct view *view = view_get(self);
    return at < view->bytes ? INT2FIX((unsigned char)view->data[at]) : Qnil;
}

/* As String's: shorter at the end, nil behind it. */
static VALUE view_byteslice(VALUE self, VALUE offset, VALUE bytes) {
    const size_t at = size_of(offset), wanted = size_of(bytes);
    const struct view *view = view_get(self);
    if (at > view->bytes)
        return Qnil;
    const size_t rest = view->bytes - at;
    return rb_str_new(view->data + at, (long)(wanted < rest ? wanted : rest));
}

static VALUE view_to_s(VALUE self) {
    const struct view *view = view_get(self);
    return rb_str_new(view->data, (long)view->bytes);
}

struct viewing {
    struct section *section;
    struct view *view; /* of `object` */
    VALUE object;
};

static VALUE viewing_yield(VALUE argument) {
    const struct viewing *viewing = (const struct viewing *)argument;
    return rb_yield(viewing->object);
}

static VALUE viewing_end(VALUE argument) {
    const struct viewing *viewing = (const struct viewing *)argument;
    viewing->view->data = NULL;
    section_pin(viewing->section, -1);
    return Qnil;
}

/* Yields a View of the newest value, and returns the block's result; the block is called anew when
 * the writer came round meanwhile. */
static VALUE snapshot_view(VALUE self) {
    rb_need_block();
    for (int i = 0; i < TRIES; i++) {
        struct section *section = section_get(self);
        struct viewing viewing = {.section = section};
        segment_get(section->segment);
        viewing.object = TypedData_Make_Struct(shm_view, struct view, &view_type, viewing.view);
        const void *data;
        size_t bytes;
        int r = shmc_view(section->handle, &data, &bytes, &section->value);
        if (r < 0)
            fail_section(section, r);
        section->about = ABOUT_VALUE;
        *viewing.view = (struct view){.data = data, .bytes = bytes, .section = self};
        section_pin(section, 1);
        VALUE result = rb_ensure(viewing_yield, (VALUE)&viewing, viewing_end, (VALUE)&viewing);
        section = section_get(self); /* a child that was forked in the block may have closed it */
        r = shmc_valid(section->handle);
        if (r > 0)
            return result;
        if (r < 0)
            fail_section(section, r);
    }
    fail(-EAGAIN, "view: the writer came round in each of 100 tries; read() copies, or raise the "
                  "section's count");
}

void init_snapshot(void) {
    VALUE snapshot = rb_const_get(shm_module, rb_intern("Snapshot"));
    rb_define_method(snapshot, "publish", snapshot_publish, 1);
    rb_define_method(snapshot, "read", snapshot_read, 0);
    rb_define_method(snapshot, "view", snapshot_view, 0);
    rb_define_private_method(snapshot, "_next", snapshot_next, 3);
    rb_define_private_method(rb_singleton_class(shm_module), "_wait_any", shm_wait_any, 2);
    shm_view = rb_define_class_under(shm_module, "View", rb_cObject);
    rb_gc_register_mark_object(shm_view);
    rb_undef_alloc_func(shm_view);
    rb_define_method(shm_view, "size", view_size, 0);
    rb_define_method(shm_view, "getbyte", view_getbyte, 1);
    rb_define_method(shm_view, "byteslice", view_byteslice, 2);
    rb_define_method(shm_view, "to_s", view_to_s, 0);
}
