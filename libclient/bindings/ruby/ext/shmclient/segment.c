/* SPDX-License-Identifier: Apache-2.0
 *
 * ShmClient::Segment: attaching, looking around, and sections that are made at run time.
 */
#include "binding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_AGAIN_US 20000
#define ERROR_BYTES   512

VALUE shm_segment;

static void segment_free(void *data) {
    struct segment *segment = data;
    shmc_detach(segment->handle);
    xfree(segment);
}

static size_t segment_memsize(const void *data) {
    return data == NULL ? 0 : sizeof(struct segment);
}

const rb_data_type_t segment_type = {
    .wrap_struct_name = "ShmClient::Segment",
    .function = {.dfree = segment_free, .dsize = segment_memsize},
    .flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

static VALUE segment_allocate(VALUE class) {
    struct segment *segment;
    VALUE self = TypedData_Make_Struct(class, struct segment, &segment_type, segment);
    segment->pid = getpid();
    return self;
}

struct segment *segment_get(VALUE self) {
    struct segment *segment = rb_check_typeddata(self, &segment_type);
    if (segment->handle == NULL)
        fail_segment(self, -EBADF);
    return segment;
}

/* ---- attaching */

struct attaching {
    struct shmc_options options;
    shmc *handle;
    int result;
};

static void attach(shmc *segment, void *argument) {
    struct attaching *attaching = argument;
    (void)segment;
    attaching->result = shmc_attach(&attaching->handle, &attaching->options);
}

static bool may_pass(int r) {
    return r == -ENOENT || r == -EAGAIN || r == -EBADMSG || r == -EBUSY || r == -ENOTCONN;
}

static VALUE keep(VALUE self, struct segment *segment, shmc *handle) {
    if (segment->handle != NULL) { /* another thread was faster */
        shmc_detach(handle);
        rb_raise(rb_eArgError, "this segment is attached already; make another one");
    }
    segment->handle = handle;
    segment->pid = getpid();
    return self;
}

/* _attach(worker, key, flags, runtime_dir, timeout) asks again and again for as long as that is, so
 * that Thread#kill, Timeout and signals come through between. */
static VALUE segment_attach(VALUE self, VALUE worker, VALUE key, VALUE flags, VALUE runtime_dir,
                            VALUE timeout) {
    struct segment *segment = rb_check_typeddata(self, &segment_type);
    char error[ERROR_BYTES] = "";
    pid_t holder = 0;
    struct attaching attaching = {.options = {.size = sizeof attaching.options,
                                              .worker = text_or_null(&worker),
                                              .key = NIL_P(key) ? 0 : NUM2UINT(key),
                                              .flags = NUM2UINT(flags),
                                              .runtime_dir = text_or_null(&runtime_dir),
                                              .holder = &holder,
                                              .error = error,
                                              .error_bytes = sizeof error}};
    const int64_t timeout_ms = timeout_ms_of(timeout);
    const struct timeval pause = {.tv_usec = LOOK_AGAIN_US};
    if (segment->handle != NULL)
        rb_raise(rb_eArgError, "this segment is attached already; make another one");
    const int64_t start = now_ms();
    for (;;) {
        call_unlocked(attach, Qnil, &attaching);
        if (attaching.result == 0)
            return keep(self, segment, attaching.handle);
        if (!may_pass(attaching.result) || (timeout_ms >= 0 && now_ms() - start >= timeout_ms))
            break;
        rb_thread_wait_for(pause);
    }
    RB_GC_GUARD(worker);
    RB_GC_GUARD(runtime_dir);
    fail(attaching.result, error);
}

static VALUE segment_detach(VALUE self) {
    struct segment *segment = rb_check_typeddata(self, &segment_type);
    if (segment->calls > 0 && segment->pid == getpid())
        fail(-EBUSY, "another thread is in a call of this attachment, or a view of it is open: "
                     "end that first");
    shmc *handle = segment->handle;
    segment->handle = NULL;
    shmc_detach(handle);
    return Qnil;
}

static VALUE segment_is_detached(VALUE self) {
    const struct segment *segment = rb_check_typeddata(self, &segment_type);
    return segment->handle == NULL ? Qtrue : Qfalse;
}

static VALUE segment_last_error(VALUE self) {
    const char *text = shmc_last_error(segment_get(self)->handle);
    return rb_utf8_str_new(text, (long)strnlen(text, ERROR_BYTES));
}

/* ---- looking around */

static VALUE segment_info(VALUE self) {
    struct shmc_segment_info info;
    int r = shmc_segment(segment_get(self)->handle, &info);
    if (r < 0)
        fail_segment(self, r);
    return record_new(RECORD_SEGMENT, &info);
}

struct list {
    char *items;
    size_t n, size;
    enum record_kind kind;
};

static VALUE list_fill(VALUE argument) {
    const struct list *list = (const struct list *)argument;
    VALUE array = rb_ary_new_capa((long)list->n);
    for (size_t i = 0; i < list->n; i++)
        rb_ary_push(array, record_new(list->kind, list->items + i * list->size));
    return array;
}

static VALUE list_free(VALUE argument) {
    free(((struct list *)argument)->items);
    return Qnil;
}

static VALUE list_new(VALUE self, int r, void *items, size_t n, size_t size,
                      enum record_kind kind) {
    if (r < 0)
        fail_segment(self, r);
    struct list list = {.items = items, .n = n, .size = size, .kind = kind};
    return rb_ensure(list_fill, (VALUE)&list, list_free, (VALUE)&list);
}

static VALUE segment_sections(VALUE self) {
    struct shmc_section_info *items = NULL;
    size_t n = 0;
    int r = shmc_sections(segment_get(self)->handle, &items, &n);
    return list_new(self, r, items, n, sizeof *items, RECORD_SECTION);
}

static VALUE segment_workers(VALUE self) {
    struct shmc_worker_info *items = NULL;
    size_t n = 0;
    int r = shmc_workers(segment_get(self)->handle, &items, &n);
    return list_new(self, r, items, n, sizeof *items, RECORD_WORKER);
}

static VALUE segment_attachments(VALUE self) {
    struct shmc_attachment_info *items = NULL;
    size_t n = 0;
    int r = shmc_attachments(segment_get(self)->handle, &items, &n);
    return list_new(self, r, items, n, sizeof *items, RECORD_ATTACHMENT);
}

static VALUE segment_section(VALUE self, VALUE name) {
    struct shmc_section_info info;
    const char *text = StringValueCStr(name);
    int r = shmc_inspect(segment_get(self)->handle, text, &info);
    if (r < 0)
        fail_segment(self, r);
    return record_new(RECORD_SECTION, &info);
}

static VALUE segment_worker(VALUE self, VALUE name) {
    struct shmc_worker_info info;
    const char *text = StringValueCStr(name);
    int r = shmc_inspect_worker(segment_get(self)->handle, text, &info);
    if (r < 0)
        fail_segment(self, r);
    return record_new(RECORD_WORKER, &info);
}

/* ---- sections */

/* _open(name, kind, format, min_size) */
static VALUE segment_open(VALUE self, VALUE name, VALUE kind, VALUE format, VALUE min_size) {
    struct shmc_expect expect = {.size = sizeof expect,
                                 .kind = (enum shmc_kind)NUM2INT(kind),
                                 .format = text_or_null(&format),
                                 .min_size = NUM2ULL(min_size)};
    const char *text = StringValueCStr(name);
    shmc_section *handle;
    int r = shmc_open(&handle, segment_get(self)->handle, text, &expect);
    if (r < 0)
        fail_segment(self, r);
    RB_GC_GUARD(format);
    return section_new(self, handle);
}

struct making {
    const char *name;
    const struct shmc_create_options *options; /* NULL: drop it */
    int result;
};

static void make_section(shmc *segment, void *argument) {
    struct making *making = argument;
    making->result = making->options == NULL ? shmc_drop(segment, making->name)
                                             : shmc_create(segment, making->name, making->options);
}

static VALUE make_or_drop(VALUE self, VALUE name, const struct shmc_create_options *options) {
    StringValue(name);
    struct making making = {.name = text_or_null(&name), .options = options};
    call_unlocked(make_section, self, &making);
    if (making.result < 0)
        fail_segment(self, making.result);
    RB_GC_GUARD(name);
    return self;
}

/* _create(name, kind, count, bytes, format, read_group, write_group, stale_ms, stamp, notify,
 * flags) */
static VALUE segment_create(int argc, VALUE *argv, VALUE self) {
    rb_check_arity(argc, 11, 11);
    struct shmc_create_options options = {.size = sizeof options,
                                          .kind = (enum shmc_kind)NUM2INT(argv[1]),
                                          .count = NUM2UINT(argv[2]),
                                          .bytes = NUM2ULL(argv[3]),
                                          .format = text_or_null(&argv[4]),
                                          .read_group = text_or_null(&argv[5]),
                                          .write_group = text_or_null(&argv[6]),
                                          .stale_ms = NUM2ULL(argv[7]),
                                          .stamp = (enum shmc_stamp)NUM2INT(argv[8]),
                                          .notify = (enum shmc_notify)NUM2INT(argv[9]),
                                          .flags = NUM2UINT(argv[10])};
    VALUE format = argv[4], read_group = argv[5], write_group = argv[6];
    make_or_drop(self, argv[0], &options);
    RB_GC_GUARD(format);
    RB_GC_GUARD(read_group);
    RB_GC_GUARD(write_group);
    return self;
}

static VALUE segment_drop(VALUE self, VALUE name) {
    return make_or_drop(self, name, NULL);
}

void init_segment(void) {
    shm_segment = rb_define_class_under(shm_module, "Segment", rb_cObject);
    rb_gc_register_mark_object(shm_segment);
    rb_define_alloc_func(shm_segment, segment_allocate);
    rb_define_private_method(shm_segment, "initialize_copy", no_copy, 1);
    rb_define_private_method(shm_segment, "_attach", segment_attach, 5);
    rb_define_private_method(shm_segment, "_open", segment_open, 4);
    rb_define_private_method(shm_segment, "_create", segment_create, -1);
    rb_define_method(shm_segment, "drop", segment_drop, 1);
    rb_define_method(shm_segment, "detach", segment_detach, 0);
    rb_define_method(shm_segment, "detached?", segment_is_detached, 0);
    rb_define_method(shm_segment, "last_error", segment_last_error, 0);
    rb_define_method(shm_segment, "info", segment_info, 0);
    rb_define_method(shm_segment, "sections", segment_sections, 0);
    rb_define_method(shm_segment, "workers", segment_workers, 0);
    rb_define_method(shm_segment, "attachments", segment_attachments, 0);
    rb_define_method(shm_segment, "section", segment_section, 1);
    rb_define_method(shm_segment, "worker", segment_worker, 1);
}
