/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of the extension.  An attachment is the process's and outlives the request;
 * the objects of a request hold it while they are there, and a section object is its own.
 */
#ifndef PHP_SHMCLIENT_H
#define PHP_SHMCLIENT_H

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <php.h>
#include <shmclient.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- attachment.c */

struct attachment {
    struct attachment *next;
    shmc *segment; /* NULL: it was detached */
    pid_t pid;     /* whose it is */
    unsigned uses; /* objects that have it */
    bool kept;     /* for who attaches alike */
    bool revoked;  /* a call said so: it is of no more use */
    char alike[];  /* what it was asked for */
};

struct wait;

/* NULL: an exception was thrown. */
struct attachment *attachment_take(const struct shmc_options *options, struct wait *wait);
void attachment_release(struct attachment *attachment);
void attachment_detach(struct attachment *attachment);
void attachment_end_all(void);

/* ---- exception.c */

/* Of a call that gave `error`, negative; -EINTR: of any. */
void throw_error(struct attachment *attachment, ssize_t error);
void throw_about(struct attachment *attachment, ssize_t error, const struct shmc_value *value);
void throw_text(ssize_t error, const char *text, pid_t holder);

/* Of a call that gave `result`, if that is an error.  Is it? */
bool throw_if_error(struct attachment *attachment, ssize_t result);

/* A ValueError about argument `n` unless it lies within. */
bool long_within(zend_long value, zend_long least, zend_long most, uint32_t n);

/* The same, as an int. */
bool int_within(zend_long value, zend_long least, zend_long most, uint32_t n, int *ret);

/* The same of a key, which is 0 where there is none. */
bool key_within(zend_long key, bool none, uint32_t n, uint32_t *ret);

/* ---- objects */

struct segment_object {
    struct attachment *attachment;
    zend_object std;
};

struct section_object {
    struct attachment *attachment;
    shmc_section *section; /* NULL: closed */
    char name[SHMC_NAME_BYTES];
    size_t room; /* that the last value took: a guess for the next */
    zend_object std;
};

extern zend_class_entry *Shm_Exception_ce, *Shm_Value_ce, *Shm_Slot_ce, *Shm_Message_ce,
    *Shm_Segment_ce, *Shm_Section_ce, *Shm_Raw_ce, *Shm_Snapshot_ce, *Shm_Slots_ce, *Shm_Queue_ce;

void segment_register(void);
void section_register(void);

/* Of $this, or NULL, and an exception was thrown: it is closed, or detached. */
struct attachment *segment_of(zval *this);
struct section_object *section_of(zval *this);

/* Opens a section of that kind (0: any) as an object of its class. */
void section_open(zval *ret, struct attachment *attachment, zend_string *name,
                  const struct shmc_expect *expect);

/* Offset and bytes (null: the rest) within what there is, or a ValueError about argument `n`. */
bool part_within(zend_long offset, zend_long bytes, bool rest, size_t all, uint32_t n, size_t *ret);
/* The same of data to be written there, which is argument `n`, the offset being the next. */
bool data_within(const zend_string *data, zend_long offset, size_t all, uint32_t n);

/* What is read goes to a string with room for it: another one, with more room; and no more of it
 * than was read. */
zend_string *string_anew(zend_string *data, size_t room);
zend_string *string_cut(zend_string *data, size_t bytes);

/* ---- wait.c: waits look every now and then whether PHP wants something else */

#define WAIT_SLICE_MS  200
#define WAIT_ATTACH_MS 20 /* then the segment, or its worker, is looked at again */

struct wait {
    int slice; /* the time to give to the next call */
    int most;  /* that it may be */
    bool endless;
    int64_t end_ms;
};

bool wait_begin(struct wait *wait, zend_long timeout, int most, uint32_t n);
/* Shall it be called again, behind `result`?  That becomes -EINTR where PHP had a signal, whose
 * handler has run, and may have closed the objects. */
bool wait_again(struct wait *wait, ssize_t *result);
/* It found nothing in its time, which is no error. */
bool wait_empty(const struct wait *wait, ssize_t result);

/* ---- describe.c */

void describe_segment(zval *ret, const struct shmc_segment_info *info);
void describe_section(zval *ret, const struct shmc_section_info *info);
void describe_worker(zval *ret, const struct shmc_worker_info *info);
void describe_attachment(zval *ret, const struct shmc_attachment_info *info);
void describe_queue(zval *ret, const struct shmc_queue_stat *stat,
                    const struct shmc_lane_stat *lanes, size_t n);

/* These take the string over. */
void value_object(zval *ret, zend_string *data, const struct shmc_value *value);
void slot_object(zval *ret, zend_string *data, const struct shmc_slot *slot);
void message_object(zval *ret, zend_string *data, const struct shmc_message *message);

extern const char *const kind_names[]; /* by enum shmc_kind; NULL ends it */

#endif
