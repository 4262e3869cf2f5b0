/* SPDX-License-Identifier: Apache-2.0
 *
 * The native half of the Node binding: numbers and bytes in, numbers out.  What is an object, an
 * error or a promise for users is made of that in ../lib.
 *
 * JavaScript names what is open by a number, an index of the instance's table, so that nothing that
 * it may pass is ever taken for a pointer.  An instance is that of one thread of JavaScript (the
 * main one, or a worker_thread); there is nothing global.  A call's answer is the library's: a
 * negative errno, or a count.
 */
#ifndef ADDON_H
#define ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <pthread.h>
#include <shmclient.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;
struct job;
struct lender;
struct request;

/* An attachment.  It ends when nobody needs it any more, whoever is the last: JavaScript, a job
 * that is under way in a thread, or a view of its memory that wasn't collected as yet. */
struct segment {
    shmc *shmc;
    unsigned pins;
    bool writes;            /* has a lease, which ends when JavaScript says so */
    struct segment *viewer; /* by which views are lent, when this one writes; NULL: none as yet */
    uint32_t key;
    char *runtime_dir; /* NULL: the default */
};

struct section {
    shmc_section *shmc;
    struct segment *segment; /* NULL: it was detached */
    int fd;                  /* that the hub waits on; -1: none */
};

enum handle_kind {
    HANDLE_FREE,
    HANDLE_SEGMENT,
    HANDLE_SECTION,
    HANDLE_LENDER,
    HANDLE_REQUEST,
    HANDLE_BLOCK
};

struct handle {
    enum handle_kind kind;
    union {
        struct segment *segment;
        struct section *section;
        struct lender *lender;
        struct request *request;
        void *block;   /* of shmop.h */
        uint32_t next; /* HANDLE_FREE */
    };
};

/* Where a call says more than its answer: doubles first, then 64-bit words, then a name. */
enum { WORDS = 16, LONGS = 8 };
struct answer {
    double words[WORDS];
    uint64_t longs[LONGS];
    char name[SHMC_NAME_BYTES];
};

struct instance {
    unsigned references; /* JavaScript, and the lenders */
    napi_env env;
    struct hub *hub;
    struct answer *answer;
    napi_ref answer_ref;
    struct handle *handles; /* [0] is nobody's */
    uint32_t handles_n, handles_free;
    unsigned lenders;
    bool no_external; /* the runtime refused */
};

/* ---- addon.c: arguments and answers */

#define ARGUMENTS_MAX 6
struct call {
    napi_env env;
    struct instance *instance;
    napi_value arguments[ARGUMENTS_MAX]; /* missing ones are undefined */
};

void call_begin(struct call *call, napi_env env, napi_callback_info info);
napi_value answer_number(napi_env env, double number);
napi_value answer_text(napi_env env, const char *text);

/* What isn't of that type is 0, NULL or nothing: types are checked in JavaScript, and here nothing
 * comes of wrong ones but -EINVAL. */
uint32_t argument_u32(const struct call *call, unsigned i);
int64_t argument_i64(const struct call *call, unsigned i);
uint64_t argument_big(const struct call *call, unsigned i);
bool argument_flag(const struct call *call, unsigned i);
bool argument_bytes(const struct call *call, unsigned i, void **data, size_t *bytes);
char *argument_text(const struct call *call, unsigned i); /* free() it */

/* 0: no memory. */
uint32_t handle_add(struct instance *instance, enum handle_kind kind, void *pointer);
void *handle_find(const struct instance *instance, uint32_t id, enum handle_kind kind);
void handle_remove(struct instance *instance, uint32_t id);
void instance_put(struct instance *instance);

/* ---- hub.c: what happens elsewhere.  One thread that sleeps on the sections' descriptors, and one
 * for each call that may take long; none of Node's own threads is held up. */

struct job {
    struct job *next;
    struct hub *hub;
    napi_deferred deferred;
    void (*run)(struct job *job);                                     /* in a thread */
    napi_value (*settle)(struct instance *instance, struct job *job); /* what it resolves to */
    void (*drop)(struct job *job); /* frees it, and what nobody took of it */
};

/* NULL: no memory, or no descriptor. */
struct hub *hub_new(struct instance *instance, napi_value woken);

/* Ends the thread; what jobs bring later is dropped by them. */
void hub_close(struct hub *hub);

/* Calls woken(id) once when `fd` is readable. */
int hub_watch(struct hub *hub, int fd, uint32_t id);
void hub_forget(struct hub *hub, int fd);

/* The event loop goes on while it holds. */
void hub_hold(struct hub *hub, bool hold);

/* In a job's thread: JavaScript has ended, and nobody waits for it any more. */
bool hub_closed(struct hub *hub);

/* A promise of what the job brings; frees it when there is none: NULL. */
napi_value hub_start(struct instance *instance, struct job *job);

/* ---- fields.c: structs as objects */

enum field_type {
    FIELD_TEXT,
    FIELD_BOOL,
    FIELD_I32, /* and enums */
    FIELD_U32,
    FIELD_U64, /* a number */
    FIELD_BIG, /* a BigInt: what may be above 2^53 */
    FIELD_AGE, /* ns, as milliseconds; UINT64_MAX is null */
    FIELD_KIND,
    FIELD_ALIVE,
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
};

extern const struct field section_fields[], worker_fields[], attachment_fields[], segment_fields[],
    slot_fields[], queue_fields[];
napi_value object_of(napi_env env, const struct field *fields, const void *from);
napi_value objects_of(napi_env env, const struct field *fields, const void *from, size_t n,
                      size_t bytes);

/* ---- the calls, by what they are about; each module names its own */

struct function {
    const char *name;
    napi_callback call;
};
extern const struct function segment_functions[], section_functions[], value_functions[],
    slot_functions[], queue_functions[], view_functions[], shmop_functions[];

/* segment.c */
void segment_pin(struct segment *segment);
void segment_unpin(struct segment *segment);
struct segment *segment_new(shmc *shmc, bool writes, uint32_t key, char *runtime_dir);
struct segment *segment_argument(const struct call *call, unsigned i);

/* section.c */
void section_free(struct instance *instance, struct section *section);
struct section *section_argument(const struct call *call, unsigned i);

/* The section that is argument 0, and the bytes that are argument i: 0, -EBADF or -EINVAL. */
int section_bytes(const struct call *call, unsigned i, const struct section **section, void **data,
                  size_t *bytes);
int section_again(const struct section *section, shmc *in, shmc_section **ret);

/* shmop.c */
void block_close(void *block);

/* values.c */
void value_answer(struct instance *instance, const struct shmc_value *value);

#endif
