/* SPDX-License-Identifier: Apache-2.0
 *
 * ShmClient::Slots.
 */
#include "binding.h"

#include <errno.h>

#define TRIES 100

static VALUE slots_grab(VALUE self, VALUE flags) {
    const unsigned asked = NUM2UINT(flags);
    const struct section *section = section_get(self);
    int r = shmc_slot_grab(section->handle, asked);
    if (r < 0)
        fail_section(section, r);
    return INT2NUM(r);
}

static VALUE slots_fgrab(VALUE self, VALUE slot, VALUE flags) {
    const int index = NUM2INT(slot);
    const unsigned asked = NUM2UINT(flags);
    const struct section *section = section_get(self);
    int r = shmc_slot_fgrab(section->handle, index, asked);
    if (r < 0)
        fail_section(section, r);
    return INT2NUM(index);
}

static VALUE slots_release(VALUE self, VALUE slot) {
    const int index = NUM2INT(slot);
    const struct section *section = section_get(self);
    int r = shmc_slot_release(section->handle, index);
    if (r < 0)
        fail_section(section, r);
    return self;
}

static VALUE slots_put(VALUE self, VALUE slot, VALUE data) {
    const int index = NUM2INT(slot);
    StringValue(data);
    const struct section *section = section_get(self);
    int r = shmc_slot_put(section->handle, index, RSTRING_PTR(data), (size_t)RSTRING_LEN(data));
    if (r < 0)
        fail_section(section, r);
    RB_GC_GUARD(data);
    return self;
}

/* Of a shared slot all of it, of another its value. */
static ssize_t get(struct section *section, int index, struct shmc_slot *about) {
    ssize_t bytes = shmc_slot_size(section->handle), n = -EMSGSIZE;
    if (bytes < 0)
        return bytes;
    section_room(section, (size_t)bytes);
    for (int i = 0; i < TRIES && n == -EMSGSIZE; i++) {
        n = shmc_slot_get(section->handle, index, section->buffer, section->room, about);
        if (n == -EMSGSIZE)
            section_room(section, about->length);
    }
    return n;
}

static VALUE slots_get(VALUE self, VALUE slot) {
    const int index = NUM2INT(slot);
    struct section *section = section_get(self);
    struct shmc_slot about = {0};
    ssize_t n = get(section, index, &about);
    if (n < 0)
        fail_section(section, (int)n);
    return section_string(section, n);
}

/* What is known of a slot, whether or not there is a value. */
static VALUE slots_slot(VALUE self, VALUE slot) {
    const int index = NUM2INT(slot);
    struct section *section = section_get(self);
    struct shmc_slot about = {.slot = -1};
    ssize_t n = get(section, index, &about);
    if (n < 0 && n != -ENODATA && n != -ENOENT && n != -EAGAIN)
        fail_section(section, (int)n);
    return record_new(RECORD_SLOT, &about);
}

/* ---- each: it is looked at first and yielded then, as a block may leave in many ways, or, in a
 * Fiber, not come back at all, and the library isn't to be left in the midst of a call */

struct walk {
    struct shmc_slot *slots;
    size_t n, room;
};

static int note_slot(shmc_section *handle, const struct shmc_slot *slot, void *argument) {
    struct walk *walk = argument;
    (void)handle;
    if (walk->n == walk->room)
        return -EAGAIN; /* more than there were */
    walk->slots[walk->n++] = *slot;
    return 0;
}

/* _each(flags): an Array */
static VALUE slots_each(VALUE self, VALUE flags) {
    const unsigned asked = NUM2UINT(flags);
    struct section *section = section_get(self);
    int r = shmc_num_slots(section->handle);
    if (r < 0)
        fail_section(section, r);
    VALUE memory, list = rb_ary_new();
    struct walk walk = {.room = (size_t)r};
    walk.slots = ALLOCV_N(struct shmc_slot, memory, walk.room + 1);
    r = shmc_slot_each(section->handle, asked, note_slot, &walk);
    if (r < 0 && r != -EAGAIN)
        fail_section(section, r);
    for (size_t i = 0; i < walk.n; i++)
        rb_ary_push(list, record_new(RECORD_SLOT, &walk.slots[i]));
    ALLOCV_END(memory);
    return list;
}

static VALUE slots_count(VALUE self) {
    const struct section *section = section_get(self);
    int r = shmc_num_slots(section->handle);
    if (r < 0)
        fail_section(section, r);
    return INT2NUM(r);
}

static VALUE slots_free(VALUE self) {
    const struct section *section = section_get(self);
    int r = shmc_num_free(section->handle);
    if (r < 0)
        fail_section(section, r);
    return INT2NUM(r);
}

static VALUE slots_size(VALUE self) {
    const struct section *section = section_get(self);
    ssize_t r = shmc_slot_size(section->handle);
    if (r < 0)
        fail_section(section, (int)r);
    return SSIZET2NUM(r);
}

static VALUE slots_offer(VALUE self, VALUE slot) {
    const int index = NUM2INT(slot);
    const struct section *section = section_get(self);
    uint64_t ticket;
    int r = shmc_slot_offer(section->handle, index, &ticket);
    if (r < 0)
        fail_section(section, r);
    return ULL2NUM(ticket);
}

static VALUE slots_take(VALUE self, VALUE slot, VALUE ticket) {
    const int index = NUM2INT(slot);
    const uint64_t number = NUM2ULL(ticket);
    const struct section *section = section_get(self);
    int r = shmc_slot_take(section->handle, index, number);
    if (r < 0)
        fail_section(section, r);
    return INT2NUM(index);
}

void init_slots(void) {
    VALUE slots = rb_const_get(shm_module, rb_intern("Slots"));
    rb_define_const(slots, "STAYS", UINT2NUM(SHMC_SLOT_STAYS));
    rb_define_const(slots, "IN_USE", UINT2NUM(SHMC_SLOT_IN_USE));
    rb_define_private_method(slots, "_grab", slots_grab, 1);
    rb_define_private_method(slots, "_fgrab", slots_fgrab, 2);
    rb_define_private_method(slots, "_each", slots_each, 1);
    rb_define_method(slots, "release", slots_release, 1);
    rb_define_method(slots, "put", slots_put, 2);
    rb_define_method(slots, "get", slots_get, 1);
    rb_define_method(slots, "slot", slots_slot, 1);
    rb_define_method(slots, "num_slots", slots_count, 0);
    rb_define_method(slots, "num_free", slots_free, 0);
    rb_define_method(slots, "slot_size", slots_size, 0);
    rb_define_method(slots, "offer", slots_offer, 1);
    rb_define_method(slots, "take", slots_take, 2);
}
