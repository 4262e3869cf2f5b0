/* SPDX-License-Identifier: Apache-2.0
 *
 * ShmClient::Section: what sections of all kinds have in common, and raw ones, which have no more.
 */
#include "binding.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_ROOM 4096

VALUE shm_section;
static VALUE classes[SHMC_QUEUE + 1];
static ID for_fd, close_io, is_closed, autoclose, at_section;

static void section_mark(void *data) {
    const struct section *section = data;
    rb_gc_mark(section->segment);
    rb_gc_mark(section->io);
}

/* Its segment may have been freed just before, which shmc_close() knows of. */
static void section_free(void *data) {
    struct section *section = data;
    shmc_close(section->handle);
    xfree(section->buffer);
    xfree(section);
}

static size_t section_memsize(const void *data) {
    return data == NULL ? 0 : sizeof(struct section) + ((const struct section *)data)->room;
}

const rb_data_type_t section_type = {
    .wrap_struct_name = "ShmClient::Section",
    .function = {.dmark = section_mark, .dfree = section_free, .dsize = section_memsize},
    .flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

static bool pinned(const struct section *section) {
    return section->calls > 0 && section->pid == getpid();
}

struct section *section_get(VALUE self) {
    struct section *section = rb_check_typeddata(self, &section_type);
    if (section->handle == NULL)
        fail(-EBADF, "this section was closed; open it again");
    if (pinned(section))
        fail(-EBUSY, "another thread is in a call of this section, or a view of it is open: open "
                     "it once more for this one");
    return section;
}

void section_pin(struct section *section, int by) {
    struct segment *segment = rb_check_typeddata(section->segment, &segment_type);
    section->calls += (unsigned)by;
    segment->calls += (unsigned)by;
}

VALUE section_new(VALUE segment, shmc_section *handle) {
    struct shmc_section_info info;
    int r = shmc_section_info(handle, &info);
    if (r < 0 || info.kind < SHMC_RAW || info.kind > SHMC_QUEUE) {
        shmc_close(handle);
        fail_segment(segment, r < 0 ? r : -EPROTOTYPE);
    }
    struct section *section;
    VALUE self = TypedData_Make_Struct(classes[info.kind], struct section, &section_type, section);
    section->handle = handle;
    section->segment = segment;
    section->io = Qnil;
    section->pid = getpid();
    rb_ivar_set(
        self, rb_intern("@name"),
        rb_obj_freeze(rb_utf8_str_new(info.name, (long)strnlen(info.name, SHMC_NAME_BYTES))));
    return self;
}

void section_room(struct section *section, size_t bytes) {
    size_t room = section->room == 0 ? FIRST_ROOM : section->room;
    while (room < bytes && room < SIZE_MAX / 2)
        room *= 2;
    if (room == section->room)
        return;
    section->buffer = xrealloc(section->buffer, room);
    section->room = room;
}

VALUE section_string(const struct section *section, ssize_t bytes) {
    return rb_str_new(section->buffer, (long)bytes);
}

/* It leaves the descriptor, which isn't its own. */
static VALUE io_end(VALUE io) {
    return RTEST(rb_funcall(io, is_closed, 0)) ? Qnil : rb_funcall(io, close_io, 0);
}

static VALUE section_close(VALUE self) {
    struct section *section = rb_check_typeddata(self, &section_type);
    int state = 0;
    if (pinned(section))
        fail(-EBUSY, "this section is in use: leave the block of its view, or end the thread that "
                     "waits in it, first");
    VALUE io = section->io;
    shmc_section *handle = section->handle;
    section->io = Qnil;
    section->handle = NULL; /* closing the IO lets other threads run */
    if (!NIL_P(io))
        rb_protect(io_end, io, &state);
    shmc_close(handle);
    if (section->calls == 0) { /* of no thread of the parent's */
        xfree(section->buffer);
        section->buffer = NULL;
        section->room = 0;
    }
    if (state != 0)
        rb_jump_tag(state);
    return Qnil;
}

static VALUE section_is_closed(VALUE self) {
    const struct section *section = rb_check_typeddata(self, &section_type);
    return section->handle == NULL ? Qtrue : Qfalse;
}

static VALUE section_segment(VALUE self) {
    const struct section *section = rb_check_typeddata(self, &section_type);
    return section->segment;
}

static VALUE section_info(VALUE self) {
    const struct section *section = section_get(self);
    struct shmc_section_info info;
    int r = shmc_section_info(section->handle, &info);
    if (r < 0)
        fail_section(section, r);
    return record_new(RECORD_SECTION, &info);
}

VALUE section_about(VALUE self) {
    const struct section *section = rb_check_typeddata(self, &section_type);
    if (section->about == ABOUT_NOTHING)
        return Qnil;
    return section->about == ABOUT_MESSAGE ? record_new(RECORD_MESSAGE, &section->message)
                                           : record_new(RECORD_VALUE, &section->value);
}

static VALUE section_set_spin(VALUE self, VALUE microseconds) {
    const unsigned spin = NUM2UINT(microseconds);
    const struct section *section = section_get(self);
    int r = shmc_set_spin(section->handle, spin);
    if (r < 0)
        fail_section(section, r);
    return microseconds;
}

/* An IO that keeps the section alive, and that the section closes. */
static VALUE section_to_io(VALUE self) {
    struct section *section = section_get(self);
    if (!NIL_P(section->io))
        return section->io;
    int fd = shmc_fd(section->handle);
    if (fd < 0)
        fail_section(section, fd);
    VALUE io = rb_funcall(rb_cIO, for_fd, 1, INT2NUM(fd));
    rb_funcall(io, autoclose, 1, Qfalse);
    rb_ivar_set(io, at_section, self);
    section->io = io;
    return io;
}

/* ---- raw */

static size_t raw_size(const struct section *section) {
    const void *data;
    size_t bytes;
    int r = shmc_raw(section->handle, &data, &bytes);
    if (r < 0)
        fail_section(section, r);
    return bytes;
}

/* Before there is memory for them: the section's size may change at any moment. */
NORETURN(static void fail_beyond(VALUE self, size_t from, size_t wanted, size_t size));
static void fail_beyond(VALUE self, size_t from, size_t wanted, size_t size) {
    char text[256];
    VALUE name = rb_ivar_get(self, rb_intern("@name"));
    snprintf(text, sizeof text,
             "section '%s': %zu bytes at offset %zu are beyond its %zu: read fewer",
             StringValueCStr(name), wanted, from, size);
    fail(-EINVAL, text);
}

static VALUE raw_read(int argc, VALUE *argv, VALUE self) {
    VALUE offset, bytes;
    rb_scan_args(argc, argv, "02", &offset, &bytes);
    const size_t from = NIL_P(offset) ? 0 : size_of(offset);
    size_t wanted = NIL_P(bytes) ? 0 : size_of(bytes);
    const struct section *section = section_get(self);
    const size_t size = raw_size(section);
    if (NIL_P(bytes) && from <= size)
        wanted = size - from;
    if (from > size || wanted > size - from)
        fail_beyond(self, from, wanted, size);
    VALUE data = rb_str_new(NULL, (long)wanted);
    ssize_t n = shmc_raw_read(section->handle, from, RSTRING_PTR(data), wanted);
    if (n < 0)
        fail_section(section, (int)n);
    return data;
}

static VALUE raw_write(int argc, VALUE *argv, VALUE self) {
    VALUE data, offset;
    rb_scan_args(argc, argv, "11", &data, &offset);
    StringValue(data);
    const size_t to = NIL_P(offset) ? 0 : size_of(offset);
    const struct section *section = section_get(self);
    ssize_t n = shmc_raw_write(section->handle, to, RSTRING_PTR(data), (size_t)RSTRING_LEN(data));
    if (n < 0)
        fail_section(section, (int)n);
    RB_GC_GUARD(data);
    return SSIZET2NUM(n);
}

static VALUE raw_bytes(VALUE self) {
    return SIZET2NUM(raw_size(section_get(self)));
}

static void define_kind(enum shmc_kind kind, const char *name) {
    classes[kind] = rb_define_class_under(shm_module, name, shm_section);
    rb_gc_register_mark_object(classes[kind]);
}

void init_section(void) {
    for_fd = rb_intern("for_fd");
    close_io = rb_intern("close");
    is_closed = rb_intern("closed?");
    autoclose = rb_intern("autoclose=");
    at_section = rb_intern("@shmclient_section");
    shm_section = rb_define_class_under(shm_module, "Section", rb_cObject);
    rb_gc_register_mark_object(shm_section);
    rb_undef_alloc_func(shm_section);
    rb_undef_method(rb_singleton_class(shm_section), "new");
    rb_define_method(shm_section, "close", section_close, 0);
    rb_define_method(shm_section, "closed?", section_is_closed, 0);
    rb_define_method(shm_section, "segment", section_segment, 0);
    rb_define_method(shm_section, "info", section_info, 0);
    rb_define_method(shm_section, "to_io", section_to_io, 0);
    rb_define_method(shm_section, "spin=", section_set_spin, 1);
    define_kind(SHMC_RAW, "Raw");
    define_kind(SHMC_SNAPSHOT, "Snapshot");
    define_kind(SHMC_SLOTS, "Slots");
    define_kind(SHMC_QUEUE, "Queue");
    rb_define_method(classes[SHMC_RAW], "read", raw_read, -1);
    rb_define_method(classes[SHMC_RAW], "write", raw_write, -1);
    rb_define_method(classes[SHMC_RAW], "size", raw_bytes, 0);
    rb_define_method(classes[SHMC_SNAPSHOT], "about", section_about, 0);
    rb_define_method(classes[SHMC_QUEUE], "about", section_about, 0);
}
