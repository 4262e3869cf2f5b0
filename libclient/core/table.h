/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table as a value: what people want.  Where it comes from (SQLite) is the daemon's
 * affair; what makes a table right is said here, once, for the daemon and the tools.
 */
#ifndef SHM_CORE_TABLE_H
#define SHM_CORE_TABLE_H

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/types.h>

#define TABLE_SEGMENT_MIN   (UINT64_C(1) << 20)
#define TABLE_SEGMENT_MAX   (UINT64_C(1) << 46)
#define TABLE_INSTANCES_MAX 1024u
#define TABLE_SLOTS_MAX     65536u                /* items of a slots section */
#define TABLE_STALE_MS_MAX  UINT64_C(31622400000) /* a year */

enum table_stamp { TABLE_STAMP_PRECISE, TABLE_STAMP_COARSE, TABLE_STAMP_NONE };
enum table_clear { TABLE_CLEAR_NEVER, TABLE_CLEAR_FREE, TABLE_CLEAR_RESTART };
enum table_notify { TABLE_NOTIFY_DEMAND, TABLE_NOTIFY_ALWAYS, TABLE_NOTIFY_NEVER };

struct table_worker {
    char name[SHM_NAME_BYTES];
    char user[SHM_NAME_BYTES]; /* "" = any that may attach; else an account or a number */
    uint32_t instances;
    uint64_t may_create; /* bytes */
};

struct table_section {
    uint64_t id;
    char name[SHM_NAME_BYTES];
    char owner[SHM_NAME_BYTES]; /* a worker, or "worker#3"; a queue's, all of its instances */
    char format[SHM_NAME_BYTES];
    char read_group[SHM_NAME_BYTES];  /* "" = all who may attach */
    char write_group[SHM_NAME_BYTES]; /* "" = the owner, or all who may attach */
    uint32_t read_class;              /* of read_group, once that was looked up: gid + 1; 0 = all */
    uint32_t write_class;             /* likewise of write_group */
    enum shm_kind kind;
    uint64_t size;
    uint32_t count;
    bool pinned;
    uint64_t offset; /* when pinned */
    bool shared;
    bool persist;
    bool transient; /* made at run time, until its worker's lease ends */
    uint64_t stale_ms;
    enum table_stamp stamp;
    enum table_notify notify;
    bool pregrab;
    enum table_clear clear;
};

struct table {
    uint32_t key;
    uint64_t size;
    enum shm_backend backend;
    uint32_t mode; /* 0660 or 0664 */
    char group_name[SHM_NAME_BYTES];
    bool lock_memory;
    bool auto_apply;
    struct table_worker *workers; /* sorted by name */
    size_t workers_n;
    struct table_section *sections; /* sorted by id */
    size_t sections_n;
};

/* Frees the arrays and zeroes the rest. */
void table_clear(struct table *table);

/* Is every row right by itself and beside the others?  0, or -EINVAL and one line that names the
 * row, what is wrong with it, and the remedy: "section 'cam': count is 1; a snapshot needs 2 to 256
 * buffers (UPDATE section SET count = 4 WHERE name = 'cam')". */
int table_check(const struct table *table, char *error, size_t error_bytes);

/* Is `name` 1-63 of letters, digits, _ . -, a letter first?  With `instance`, "#N" may follow. */
bool table_name_ok(const char *name, bool instance);

/* The words of the columns that have a few of them: "snapshot", "sysv", "coarse", "demand"; NULL
 * for a value that isn't one, and back: -EINVAL for a word that isn't one. */
enum table_words { TABLE_KINDS, TABLE_BACKENDS, TABLE_STAMPS, TABLE_NOTIFIES, TABLE_CLEARS };
const char *table_word(enum table_words words, unsigned value);
int table_value(enum table_words words, const char *word);

/* A kind's `count` where a row says none. */
uint32_t table_count(enum shm_kind kind);
bool table_count_ok(enum shm_kind kind, uint32_t count);

/* The worker row that "name" or "name#3" belongs to; NULL when there is none or the instance is
 * beyond its `instances`. */
const struct table_worker *table_worker(const struct table *table, const char *owner);

/* Where in the table the sections of that id and above begin; sections_n: there are none.  And the
 * one that has it, or NULL. */
size_t table_first(const struct table *table, uint64_t id);
const struct table_section *table_section(const struct table *table, uint64_t id);

#endif
