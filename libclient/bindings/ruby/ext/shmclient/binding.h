/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this extension share.  It is a thin layer over <shmclient.h>: the Ruby beside
 * it takes keywords apart, and this checks types, keeps objects from being used in ways in which C
 * memory must not be, and waits without Ruby's lock (the GVL).
 */
#ifndef BINDING_H
#define BINDING_H

#include <ruby.h>
#include <shmclient.h>
#include <stdbool.h>
#include <stdint.h>

/* Calls that are under way without the GVL pin what they use: it can't be closed, nor used by
 * another thread.  A child of fork has none of the threads that made them. */
struct segment {
    shmc *handle; /* NULL: detached */
    pid_t pid;
    unsigned calls;
};

struct section {
    shmc_section *handle; /* NULL: closed */
    VALUE segment;
    VALUE io; /* on its descriptor; nil: not asked for */
    pid_t pid;
    unsigned calls; /* also a view: nobody else may use it */
    char *buffer;   /* that values are copied to first */
    size_t room;
    enum about { ABOUT_NOTHING, ABOUT_VALUE, ABOUT_MESSAGE } about; /* which of these is known */
    struct shmc_value value;
    struct shmc_message message;
};

extern const rb_data_type_t segment_type, section_type;
extern VALUE shm_module, shm_segment, shm_section;

/* The open ones, or an error is raised. */
struct segment *segment_get(VALUE self);
struct section *section_get(VALUE self);

/* Pins it, and its segment with it (1), or lets go (-1). */
void section_pin(struct section *section, int by);

/* ---- errors */

/* Raises Errno::* of a negative errno, with that text. */
NORETURN(void fail(int r, const char *text));
NORETURN(void fail_segment(VALUE segment, int r));
NORETURN(void fail_section(const struct section *section, int r));

/* ---- arguments */

const char *text_or_null(VALUE *text); /* a C string, or NULL of nil; freezes a copy in *text */
int64_t timeout_ms_of(VALUE seconds);  /* -1 of nil */
VALUE no_copy(VALUE self, VALUE of);   /* #initialize_copy of what can't be */
size_t size_of(VALUE number);          /* not below 0 */

/* ---- waiting */

int64_t now_ms(void); /* of the monotonic clock */

/* A call that may wait, made without the GVL. */
struct wait {
    ssize_t (*call)(struct wait *wait, int timeout_ms);
    VALUE section; /* pinned meanwhile, with its segment; nil: there is none */
    bool is_deaf;  /* no signal ends it: it is made in slices */
    bool tries;    /* it is made at once and with no time before it waits */
    void *argument;
    struct section *open; /* `section`, in the call */
    int timeout_ms;
    ssize_t result;
    bool was_made;
};

/* Waits as long, but for what Thread#kill, Timeout and signals have to say; a negative errno, or
 * what the call answered. */
ssize_t wait_for(struct wait *wait, int64_t timeout_ms);

/* A call that takes long, and can't be interrupted, with that Segment pinned; or with nil and NULL.
 */
void call_unlocked(void (*call)(shmc *segment, void *argument), VALUE segment, void *argument);

/* Is this an answer that `exception: false` turns to nil? */
bool nothing_came(ssize_t r);

/* ---- records: C structs as frozen Ruby Structs */

enum record_kind {
    RECORD_VALUE,
    RECORD_MESSAGE,
    RECORD_SLOT,
    RECORD_SECTION,
    RECORD_WORKER,
    RECORD_ATTACHMENT,
    RECORD_SEGMENT,
    RECORD_QUEUE,
    RECORD_LANE,
    RECORD_SYSV_STAT,
    RECORD_SYSV_INFO,
    RECORD_KINDS
};
VALUE record_new(enum record_kind kind, const void *data);

/* ---- sections */

VALUE section_new(VALUE segment, shmc_section *handle);
VALUE section_about(VALUE self);

/* Room for so many bytes. */
void section_room(struct section *section, size_t bytes);
VALUE section_string(const struct section *section, ssize_t bytes);

void init_records(void);
void init_segment(void);
void init_section(void);
void init_snapshot(void);
void init_slots(void);
void init_queue(void);
void init_sysv(void);

#endif
