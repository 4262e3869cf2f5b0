/* SPDX-License-Identifier: Apache-2.0
 *
 * libshmclient: share state through the segment of a shm-manager.
 *
 *     struct shmc_options options = { .size = sizeof options, .worker = "temp-driver" };
 *     shmc *segment;
 *     shmc_section *temps;
 *     if (shmc_attach(&segment, &options) < 0 || shmc_open(&temps, segment, "temps", NULL) < 0)
 *         ...
 *     shmc_publish(temps, &state, sizeof state);
 *
 * There are two kinds of handle: `shmc`, an attached segment, and `shmc_section`, a section that
 * was opened in it.  (A third, `shmc_private`, is a segment of a process and its children alone, to
 * which they attach without a manager: see the end.)  A reader attaches with no worker name, needs
 * no running manager, and maps everything read-only.  A worker attaches by the name that the table
 * gives it and holds a lease, which lasts exactly as long as its address space: at most one live
 * process is a given worker, and only it may write the sections whose owner that worker is.  All
 * but its own arenas is mapped read-only, so that a stray store faults in the program that made it.
 *
 * Answers.  A call returns 0, a count or an index, or a negative errno; outputs stay untouched on
 * failure, but for struct shmc_value, where what is known is filled in on failures too.
 *
 *     -E2BIG            the message is longer than the buffer given, and stays in its queue
 *     -EACCES           not your worker, or not your section to write
 *     -EAGAIN           nothing new and no time given; or lapped beyond reason
 *     -EBADF            the handle was detached
 *     -EBADMSG          the shared memory holds nonsense; shmc_last_error() names the field
 *     -EBUSY            held by another process (it is named), or by another thread's publish
 *     -ECHILD           used after fork; the child attaches for itself
 *     -EDQUOT           more than the worker's may_create
 *     -EEXIST           there is a section of that name
 *     -EIDRM            the section was removed, or the segment destroyed: attach anew
 *     -EKEYREVOKED      the lease was taken back; what this process writes reaches nobody
 *     -EINTR            a signal, where SHMC_INTERRUPTIBLE was asked for
 *     -EINVAL           an argument makes no sense
 *     -EMSGSIZE         larger than the section, or than the buffer given
 *     -ENOENT           no such segment, worker or section
 *     -ENOTCONN         no manager answers, and this call needs one
 *     -ENODATA          nothing was published, or put, yet
 *     -ENOMSG           a queue has not so many messages
 *     -ENOSPC           no room in the segment; no slot is free
 *     -EPROTONOSUPPORT  the segment or the manager is of an ABI that this library can't use
 *     -EPROTOTYPE       another `format`, kind or size than expected
 *     -ESTALE           a ticket for a slot that changed hands since
 *     -ETIME            the newest value is older than the section's stale_ms
 *     -ETIMEDOUT        the time given ran out
 *     -EUSERS           all lanes of a queue, or all attachments, are held
 *
 * A segment that gets another size is replaced by a new one.  Calls go there by themselves, with
 * the same values and versions; shmc_valid() then says 0 of what was viewed before, which stays in
 * memory until the section object lends something else (shmc_view(), shmc_raw(), shmc_begin()), or
 * is closed.  A worker, if it was done by force while it held its lease, is the same worker there,
 * and commits there what it had begun.  While a manager that was killed meanwhile is awaited, calls
 * give -ENOTCONN, after some seconds, and the next call tries again.
 *
 * Time limits are in milliseconds: 0 = do not wait, -1 = for ever.  A wait that a signal interrupts
 * goes on until its deadline (a queue's can be asked to end: SHMC_INTERRUPTIBLE); a program that
 * must leave early uses shmc_fd() and its own loop.
 *
 * Threads.  A `shmc` may be used by any number of threads.  A `shmc_section` belongs to one thread
 * at a time; threads open their own.  A second publish of one section while one is under way, by
 * another thread or a signal handler, gives -EBUSY.  Publishing, reading, shmc_valid(), slots
 * (but shmc_slot_each()), and shmc_queue_send() with a section object that has no shmc_fd(), are
 * async-signal-safe; nothing else is.
 *
 * Fork.  The child has neither the lease nor (but for shmc_slot_inherit()) the writable memory: its
 * calls give -ECHILD (a read too), and it attaches for itself.  shmc_close() and shmc_detach() are
 * allowed in it and free what the child inherited.  exec gives the lease up, unless SHMC_LEASE_FD
 * was asked for.
 *
 * The library starts no thread unless shmc_fd() is called, logs nothing, installs no signal handler
 * and never ends its host.  dlclose() is safe once every handle was detached.
 */
#ifndef SHMCLIENT_H
#define SHMCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define SHMC_DEFAULT_KEY 0x53484d31u
#define SHMC_NAME_BYTES  64

typedef struct shmc shmc;
typedef struct shmc_section shmc_section;

/* ---- attaching */

/* The lease is kept as an open file descriptor that exec passes on (see shmc_lease_fd()). */
#define SHMC_LEASE_FD 0x1u
/* With `worker` NULL: an attachment without a name, by which slots and queues may be written that
 * the table lets this user write; each process has its own.  It is a lease as a worker's is. */
#define SHMC_ANONYMOUS 0x2u

struct shmc_options {
    size_t size;             /* sizeof (struct shmc_options) */
    const char *worker;      /* who we are; NULL: a reader, or anonymous */
    uint32_t key;            /* 0: $SHMC_KEY, else SHMC_DEFAULT_KEY */
    uint32_t flags;          /* SHMC_LEASE_FD, SHMC_ANONYMOUS */
    const char *runtime_dir; /* NULL: $SHMC_RUNTIME_DIR, else /run/shm-manager */
    int timeout_ms;          /* for the segment to appear, the manager to answer, a holder to go */
    pid_t *holder;           /* on -EBUSY: the process that holds the worker; may be NULL */
    char *error;             /* the text of a failed attach; may be NULL */
    size_t error_bytes;
};

/* Attaches to the segment; `options` may be NULL for a reader on the default key.  The environment
 * is not looked at in set-uid programs.
 *
 *   -ENOENT           no segment has this key (no manager ever started), or the table has no such
 *                     worker
 *   -EAGAIN           the segment is being made at this moment
 *   -EPROTONOSUPPORT  it, or the manager, is of another ABI
 *   -EBADMSG          it is damaged; a running manager repairs it within about a second
 *   -EPERM            neither root nor the manager's user made it, or its socket
 *   -EACCES           you may not attach, or not as this worker
 *   -EBUSY            the worker is held: *holder, and the text, say by which process
 *   -EUSERS           no attachment is left for this user, or anonymous ones for anybody
 *   -ENOTCONN         a worker needs the manager, and it doesn't answer
 *   -ETIMEDOUT        `timeout_ms` ran out in the midst of the hand-shake
 *   -EINVAL           the options make no sense
 *
 * With a `timeout_ms`, -ENOENT, -EAGAIN, -EBADMSG, -EBUSY and -ENOTCONN are waited out.  Without, a
 * hand-shake that the manager has begun is given five seconds. */
int shmc_attach(shmc **ret, const struct shmc_options *options);

/* Ends the attachment, gives the lease up (last of all) and frees `segment`.  Sections that are
 * still open are of no more use: their calls give -EBADF, and shmc_close() frees them.  No other
 * thread may be in a call of this segment's.  NULL is allowed. */
void shmc_detach(shmc *segment);

/* What went wrong last in this segment's calls, one line; "" when nothing did.  Valid until the
 * next failure in any thread that uses `segment`. */
const char *shmc_last_error(const shmc *segment);

/* The lease's descriptor, without FD_CLOEXEC, for a process that passes it on over exec; -ENOENT
 * without SHMC_LEASE_FD.  The environment variable SHMC_LEASE, set by the caller to the text that
 * shmc_lease_env() writes ("key:worker:attachment:epoch:fd"), lets an attach in the new program
 * take the lease over, without asking the manager.  The descriptor stays open, so that a child of
 * that program can do the same; the lease lasts until its last copy is closed and the last of these
 * has ended.  What they may do together is theirs to settle: two that publish one section at a
 * time, or send to one queue, or put one slot, spoil it, which the lease would have prevented.  One
 * without a name is taken over by the program that exec started, and not by its children. */
int shmc_lease_fd(const shmc *segment);
int shmc_lease_env(const shmc *segment, char *text, size_t bytes);

/* ---- looking around */

enum shmc_kind { SHMC_RAW = 1, SHMC_SNAPSHOT = 2, SHMC_SLOTS = 3, SHMC_QUEUE = 4 };

/* Does the process live that may write?  UNKNOWN: the manager is away, and can't say. */
enum shmc_alive { SHMC_GONE = 0, SHMC_ALIVE = 1, SHMC_UNKNOWN = 2 };

struct shmc_section_info {
    char name[SHMC_NAME_BYTES];
    char owner[SHMC_NAME_BYTES];
    char format[SHMC_NAME_BYTES];
    enum shmc_kind kind;
    enum shmc_alive writer;
    uint64_t section_id;
    uint64_t incarnation;
    uint64_t generation; /* in which it last changed */
    uint64_t offset;     /* of its extent in the segment */
    uint64_t bytes;      /* reserved in all */
    uint64_t size;       /* largest value; raw: bytes of data */
    uint32_t count;
    bool persist, shared, pinned, own;
    uint64_t stale_ms;
    uint64_t version; /* of the newest value; 0 = none (snapshot); messages ever sent (queue) */
    uint64_t length;  /* of the newest value; bytes that wait (queue) */
    uint64_t real_ns; /* when it, or the oldest message that waits, was sent; 0 = unknown */
    uint64_t age_ns;  /* UINT64_MAX = unknown */
    bool stale;
    bool moving;    /* to another place: its writer's next publish goes there */
    bool made;      /* by its owner, with shmc_create() */
    bool transient; /* made so, until its owner's lease ends */
    uint64_t aborted, wakes, wake_errors;
    uint64_t messages; /* that wait (queue); slots in use (slots) */
    uint64_t reserved[7];
};

struct shmc_worker_info {
    char name[SHMC_NAME_BYTES];
    enum shmc_alive state; /* GONE: free */
    bool granted;          /* sent, not yet acknowledged */
    uint64_t epoch;        /* counts its leases */
    pid_t pid;             /* of the holder, else of the last one; 0 = none */
    uid_t uid;
    uint64_t since_real_ns;
    uint64_t ended_real_ns;
    uint32_t end_reason; /* enum shm_end of <shm-manager/layout.h> */
    uint32_t end_detail;
    uint32_t attachment;
    uint64_t reserved[4];
};

/* A process that is attached without a name. */
struct shmc_attachment_info {
    uint32_t attachment; /* by which slots and queues name it */
    bool granted;        /* sent, not yet acknowledged */
    uint64_t epoch;      /* counts the leases of that number */
    pid_t pid;
    uid_t uid;
    uint64_t since_real_ns;
    uint64_t reserved[4];
};

struct shmc_segment_info {
    uint32_t key;
    int id; /* sysv: shmid */
    uint32_t abi;
    uint32_t backend;       /* enum shm_backend of <shm-manager/layout.h> */
    const char *protection; /* "cooperative (sysv)" */
    uint64_t bytes;         /* of the segment */
    uint64_t arena_bytes;   /* of that, in arenas */
    uint64_t generation;
    uint32_t sections;
    uint32_t workers;
    uint32_t state;     /* enum shm_state of <shm-manager/layout.h> */
    bool manager_alive; /* its heartbeat is young */
    pid_t manager_pid;
    uint64_t heartbeat_age_ns;
    uint64_t created_real_ns;
    const void *base; /* where it is mapped; offsets count from here */
    uint64_t reserved[8];
};

int shmc_segment(const shmc *segment, struct shmc_segment_info *ret);

/* Arrays sorted by name, in one allocation that the caller frees with free().  Under memfd, memory
 * that this process has not used yet comes from the manager: while that is away it is waited for
 * once, for five seconds, and the sections in it have no version. */
int shmc_sections(shmc *segment, struct shmc_section_info **ret, size_t *n);
int shmc_workers(shmc *segment, struct shmc_worker_info **ret, size_t *n);

/* Those that are attached without a name, by number; free() it. */
int shmc_attachments(shmc *segment, struct shmc_attachment_info **ret, size_t *n);

/* One section or worker; -ENOENT. */
int shmc_inspect(shmc *segment, const char *name, struct shmc_section_info *ret);
int shmc_inspect_worker(shmc *segment, const char *name, struct shmc_worker_info *ret);

/* ---- sections */

/* What the caller relies on; checked at open, and again whenever the table changes. */
struct shmc_expect {
    size_t size;         /* sizeof (struct shmc_expect) */
    enum shmc_kind kind; /* 0: any */
    uint32_t reserved;
    const char *format; /* NULL: any */
    uint64_t min_size;  /* of the section's `size`; 0: any */
};

/* Opens a section; `expect` may be NULL.
 *   -ENOENT      the segment has no section of that name
 *   -EPROTOTYPE  it isn't as expected; the text says both
 *   -EBADMSG     its descriptor or control line is damaged */
int shmc_open(shmc_section **ret, shmc *segment, const char *name,
              const struct shmc_expect *expect);

/* Frees `section`; a value that was begun and not committed is aborted.  NULL is allowed. */
void shmc_close(shmc_section *section);

int shmc_section_info(shmc_section *section, struct shmc_section_info *ret);

/* ---- sections at run time */

/* When a value is stamped with its time: to the nanosecond, to the clock's tick (4 ms), never. */
enum shmc_stamp { SHMC_STAMP_PRECISE = 0, SHMC_STAMP_COARSE = 1, SHMC_STAMP_NONE = 2 };

/* When a publish makes the wake-up call. */
enum shmc_notify { SHMC_NOTIFY_DEMAND = 0, SHMC_NOTIFY_ALWAYS = 1, SHMC_NOTIFY_NEVER = 2 };

#define SHMC_CREATE_EXCLUSIVE     0x1u  /* -EEXIST also where it is there, and as it is asked for */
#define SHMC_CREATE_TRANSIENT     0x2u  /* it goes when this lease ends, however it ends */
#define SHMC_CREATE_PERSIST       0x4u  /* its values are saved, and come back after a reboot */
#define SHMC_CREATE_SHARED        0x8u  /* raw, slots: many write in place; no whole values */
#define SHMC_CREATE_PREGRAB       0x10u /* slots: get and put are for slots in use alone */
#define SHMC_CREATE_CLEAR         0x20u /* slots: a value goes when its slot comes free */
#define SHMC_CREATE_CLEAR_RESTART 0x40u /* slots: what is restored is in use by nobody */

/* As the columns of a section's row: shm-table(5). */
struct shmc_create_options {
    size_t size;            /* sizeof (struct shmc_create_options) */
    enum shmc_kind kind;    /* 0: SHMC_SNAPSHOT */
    uint32_t count;         /* of a snapshot's buffers, of slots, of lanes; 0: 4, 16, 8 */
    uint64_t bytes;         /* of the largest value, of a slot, of a lane; raw: of the data */
    const char *format;     /* NULL: none */
    const char *read_group; /* memfd: the group that may read it; NULL: all who may attach */
    uint64_t stale_ms;      /* 0: never */
    enum shmc_stamp stamp;
    enum shmc_notify notify;
    uint32_t flags; /* SHMC_CREATE_* */
    uint32_t reserved;
    const char *write_group; /* slots, queue, shared raw: the group that may write it beside this
                                worker; NULL: all who may attach */
};

/* Makes a section, whose owner this worker is.  It counts against the worker's may_create; it is
 * there for all when the call returns, and stays until shmc_drop(), over restarts of everything,
 * but with SHMC_CREATE_TRANSIENT until the lease ends.  One that this worker made before, with the
 * same options, is there already: 0.
 *   -EACCES      attached as a reader, or the worker may make none
 *   -EDQUOT      more than may_create, together with what it has made
 *   -EEXIST      the name is another's, or was made with other options
 *   -EINVAL      the name or an option makes no sense
 *   -ENOMEM      the machine has no memory for it
 *   -ENOSPC      the segment has no room for it
 *   -ENOTCONN    no manager answers; or it went in the midst of it, and with SHMC_CREATE_EXCLUSIVE
 *                nobody can tell whether the section that is there is this one
 *   -ETIMEDOUT   it didn't in the attach's timeout_ms (five seconds at least) */
int shmc_create(shmc *segment, const char *name, const struct shmc_create_options *options);

/* Removes a section that this worker made.  Section objects of it are of no more use, in all
 * threads and processes: -EIDRM; pointers into it, from shmc_raw_writable(), must not be used any
 * more.
 *   -EACCES      it is another's, or the table's
 *   -EBUSY       it is being published at this moment, or a value is begun
 *   -ENOENT      there is none of that name
 *   and as shmc_create() */
int shmc_drop(shmc *segment, const char *name);

/* ---- raw: bytes at an offset, no protocol */

/* The section's memory.  shmc_raw() is for reading; shmc_raw_writable() is the same address, for
 * the owner: -EACCES for others.  While the owner is attached it stays where it is; otherwise an
 * edit of the table may move it, and these calls then give another address. */
int shmc_raw(shmc_section *section, const void **data, size_t *bytes);
int shmc_raw_writable(shmc_section *section, void **data, size_t *bytes);

/* Copies; both return the bytes copied, or -EINVAL when offset + bytes is beyond the section. */
ssize_t shmc_raw_read(shmc_section *section, size_t offset, void *buffer, size_t bytes);
ssize_t shmc_raw_write(shmc_section *section, size_t offset, const void *data, size_t bytes);

/* ---- snapshot: the newest complete value */

/* What is known about a value; filled in on failures as far as it is known. */
struct shmc_value {
    uint64_t version; /* 0 = nothing published yet */
    uint64_t length;
    uint64_t missed; /* versions between the one this section object returned before, and this; 0 in
                        the first */
    uint64_t real_ns; /* when it was published; 0 with stamp `none` */
    uint64_t age_ns;  /* since then; UINT64_MAX = unknown */
    enum shmc_alive writer;
    bool stale;           /* older than stale_ms */
    uint64_t incarnation; /* versions compare only within one */
    uint64_t reserved[4];
};

/* Publishes `bytes` of `data` as the next version.  It becomes visible whole, at once, or not at
 * all, whenever this process is killed.
 *   -EACCES   the section's owner is another worker
 *   -EMSGSIZE larger than the section's size
 *   -EBUSY    a publish of this section is under way
 *   -EIDRM    the section is gone, or the lease was revoked (-EKEYREVOKED) */
int shmc_publish(shmc_section *section, const void *data, size_t bytes);

/* The same in place: begin gives `room` writable bytes (their content is undefined), which nobody
 * sees until commit.  Between the two the section is busy, and an edit of the table may move it:
 * the value goes along, and is as large as the new size at most.  Abort gives up; it never fails.
 */
int shmc_begin(shmc_section *section, void **data, size_t *room);
int shmc_commit(shmc_section *section, size_t bytes);
void shmc_abort(shmc_section *section);

/* Copies the newest value into `buffer` and returns its length.  `value` may be NULL.
 *   -ENODATA  nothing was published yet
 *   -EMSGSIZE the buffer is too small; value->length says what it takes
 *   -EAGAIN   lapped again and again: raise the section's count */
ssize_t shmc_read(shmc_section *section, void *buffer, size_t bytes, struct shmc_value *value);

/* The same in place: *data points into the shared memory.  What was read there counts only if
 * shmc_valid() says so afterwards: 1 = it was the whole value, 0 = the writer came round. */
int shmc_view(shmc_section *section, const void **data, size_t *bytes, struct shmc_value *value);
int shmc_valid(shmc_section *section);

/* Waits for a value newer than the last one that this section object returned (by any of read,
 * view, next, follow), copies the newest and returns its length.  One answer says all: the value,
 * how many were missed, its age, and whether the writer lives.
 *   -ETIME     no newer value, and the last one has become older than stale_ms; said once per
 * value, whether or not value->stale said so before -ETIMEDOUT (-EAGAIN with timeout 0) no newer
 * value in that time */
ssize_t shmc_next(shmc_section *section, void *buffer, size_t bytes, int timeout_ms,
                  struct shmc_value *value);

/* As shmc_next(), but goes through the versions in order, as far as they are still there (a section
 * keeps its last count - 1); value->missed says exactly how many were not. */
ssize_t shmc_follow(shmc_section *section, void *buffer, size_t bytes, int timeout_ms,
                    struct shmc_value *value);

/* Waits until one of `n` sections has a newer value, and returns its index. */
int shmc_wait_any(shmc_section *const *sections, unsigned n, int timeout_ms);

/* Spin for this long before sleeping in a wait, in microseconds; 0 by default. */
int shmc_set_spin(shmc_section *section, unsigned microseconds);

/* A descriptor for poll and epoll: readable while there may be a value newer than the last one
 * returned, when that one becomes stale, and when the section is removed.  On readable, call
 * shmc_next() or shmc_follow() with timeout 0 until it gives -EAGAIN, which also clears the
 * descriptor.  It belongs to `section`; do not close or read it.  Of a queue: readable for its
 * owner while there may be a message such as the last receive (or peek) that gave -EAGAIN asked
 * for, and for a sender while there may be room for the message that was refused with -EAGAIN; the
 * next such answer, or a send that succeeds, clears it.  The first call in a segment starts one
 * helper thread (all signals blocked).  At most 127 sections of a segment can have one
 * (-EMFILE). */
int shmc_fd(shmc_section *section);

/* ---- queue: messages of many senders, for one receiver or several that compete */

/* Whoever may write may send: the section's write_group, as a worker or with SHMC_ANONYMOUS.  The
 * section's owner receives; where that worker has instances, all of them, each message by one of
 * them.  A process that sends has a lane of the queue, which its threads share: from its first send
 * until the last section object that sent is closed, or the process ends.
 *
 * A message is there whole or not at all, and those of one sender come in the order in which they
 * were sent, whoever is killed at whatever instruction.  What a sender that died had sent is still
 * received.  What is received is gone; with shmc_queue_peek() it stays until shmc_queue_ack(), and
 * comes again, under the same id, when the receiver dies before that.  So each message is worked
 * on at least once; for exactly once the caller stores the effect and the message's (lane, id)
 * together, and skips what it finds stored.
 *
 * Waits end with the time given; a signal doesn't end them, but with SHMC_INTERRUPTIBLE: -EINTR.
 * They spin first as shmc_set_spin() says.  Edits of the table, and the end of anybody else, are
 * no end of a wait; a section that is removed is: -EIDRM. */

#define SHMC_TRUNCATE      0x1u /* receiving: what is beyond the buffer is cut off, and lost */
#define SHMC_EXCEPT        0x2u /* receiving: any type but this one, which is > 0 */
#define SHMC_INTERRUPTIBLE 0x4u /* a signal ends the wait */

/* What is known about a message. */
struct shmc_message {
    int64_t type;
    uint64_t length; /* of the whole, also where it was cut off */
    uint64_t id;     /* counts a lane's messages, from 1; the same when it comes again */
    uint32_t lane;   /* of the sender; (lane, id) tells messages of an incarnation apart */
    pid_t pid;       /* of the sender */
    char worker[SHMC_NAME_BYTES]; /* that it is; "" = none, or it has ended since */
    uint64_t real_ns;             /* when it was sent */
    uint64_t age_ns;              /* since then */
    bool redelivered; /* somebody had it before, and ended, or gave it back, without having done */
    bool truncated;
    uint64_t reserved[4];
};

/* Sends a message of `bytes`, of a type > 0.  It is whole, and there for all, when this returns 0;
 * otherwise it isn't, and never will be.
 *   -EACCES      attached as a reader, or not in the section's write_group
 *   -EAGAIN      no room, with timeout 0; shmc_fd() tells when there is some
 *   -EBUSY       a message is reserved, or a signal handler interrupted a call of the same lane
 *   -EINTR       a signal, with SHMC_INTERRUPTIBLE
 *   -EINVAL      the type isn't > 0, or unknown flags
 *   -EMSGSIZE    longer than half the section's size
 *   -ETIMEDOUT   no room in that time
 *   -EUSERS      all lanes are held, and the text says by whom: raise the section's count */
int shmc_queue_send(shmc_section *section, int64_t type, const void *data, size_t bytes,
                    unsigned flags, int timeout_ms);

struct shmc_outgoing {
    int64_t type;
    const void *data;
    size_t bytes;
};

/* Sends several, in order, as far as there is room; waits for room for the first only.  How many
 * were sent, from the first on; or an error, and none was. */
ssize_t shmc_queue_send_batch(shmc_section *section, const struct shmc_outgoing *messages, size_t n,
                              unsigned flags, int timeout_ms);

/* A message in place: reserve gives `bytes` writable bytes (their content is undefined), which
 * nobody sees until commit, of at most as many.  Meanwhile the lane is busy.  Cancel gives up; it
 * never fails.  Errors as shmc_queue_send(); commit: -EINVAL, nothing is reserved, or there are
 * more bytes than were (it stays reserved); -EIDRM, the section, or its place, is gone, and the
 * message with it. */
int shmc_queue_reserve(shmc_section *section, size_t bytes, void **data, unsigned flags,
                       int timeout_ms);
int shmc_queue_commit(shmc_section *section, int64_t type, size_t bytes);
void shmc_queue_cancel(shmc_section *section);

/* Takes the message that was sent first, of all (type 0), of that type (> 0), or of the lowest type
 * up to -type (< 0), copies it and returns its length.  `info` may be NULL; its length is filled in
 * with -E2BIG, too.
 *   -E2BIG       it is longer than the buffer, and stays in the queue (but see SHMC_TRUNCATE)
 *   -EACCES      this process is not the section's owner
 *   -EAGAIN      no such message, with timeout 0
 *   -EBADMSG     a lane holds nonsense; the text names it.  It is skipped from now on, the other
 *                lanes go on with the next call.
 *   -EBUSY       this section object has a message peeked
 *   -EINTR       a signal, with SHMC_INTERRUPTIBLE
 *   -EINVAL      unknown flags, or SHMC_EXCEPT with a type that isn't > 0
 *   -ETIMEDOUT   none came in that time */
ssize_t shmc_queue_receive(shmc_section *section, int64_t type, void *buffer, size_t bytes,
                           unsigned flags, int timeout_ms, struct shmc_message *info);

struct shmc_incoming {
    void *buffer;
    size_t room;
    struct shmc_message message; /* length: of the message; room bytes of it at most are there */
};

/* Waits for the first, and takes with it what else is there, up to `n`.  How many; or an error, and
 * none was taken. */
ssize_t shmc_queue_receive_batch(shmc_section *section, int64_t type,
                                 struct shmc_incoming *messages, size_t n, unsigned flags,
                                 int timeout_ms);

/* Takes a message as shmc_queue_receive(), and leaves it where it is, for nobody else to have:
 * *data points into the shared memory until shmc_queue_ack() or shmc_queue_abandon().  Who sent it
 * could write there still: copy first, what must not change while it is looked at.  Ack makes it
 * gone; abandon gives it back to be received again.  A section object has one peeked message at a
 * time; closing it abandons.  Both: -EINVAL, nothing is peeked; -EIDRM, its place is gone. */
int shmc_queue_peek(shmc_section *section, int64_t type, const void **data, size_t *bytes,
                    unsigned flags, int timeout_ms, struct shmc_message *info);
int shmc_queue_ack(shmc_section *section);
int shmc_queue_abandon(shmc_section *section);

/* Copies the `index`-th message, from 0, in the order in which they would be received, and takes
 * nothing: anybody who may read the section can look.  -ENOMSG: there are not so many; -E2BIG as
 * shmc_queue_receive(). */
ssize_t shmc_queue_look(shmc_section *section, size_t index, void *buffer, size_t bytes,
                        unsigned flags, struct shmc_message *info);

/* Counters of a queue; those of a lane are kept by its senders and by receivers, and a process that
 * is killed may not have counted its last.  Times are of CLOCK_REALTIME, 0 = never. */
struct shmc_queue_stat {
    uint64_t messages, bytes; /* that wait */
    uint64_t lane_messages;   /* limits: of a lane */
    uint64_t lane_bytes;
    uint64_t message_bytes; /* of a message */
    uint32_t lanes;
    uint32_t lanes_held; /* by processes that live */
    uint32_t lanes_bad;
    uint32_t reserved1;
    uint64_t sent, received; /* since the queue was made */
    uint64_t sent_bytes;
    uint64_t refused;       /* sends that found no room, and not in their time */
    uint64_t blocked_ns;    /* that senders waited for room */
    uint64_t relocated;     /* messages put behind others, as nobody wanted their type */
    uint64_t takeovers;     /* of lanes that a process left when it died */
    uint64_t wakes;         /* of receivers, by senders */
    uint64_t high_messages; /* the most that ever waited in one lane */
    uint64_t high_bytes;
    uint64_t oldest_real_ns; /* when the oldest that waits was sent */
    pid_t last_send_pid, last_receive_pid;
    uint64_t last_send_real_ns, last_receive_real_ns;
    uint64_t changed_generation; /* of the table, in which it last changed: shmtool history */
    uint64_t changed_real_ns;    /* when that was; 0 = unknown */
    uint64_t reserved[6];
};

struct shmc_lane_stat {
    uint32_t lane;
    bool held;                    /* by a process that lives */
    bool bad;                     /* its memory holds nonsense; `trouble` names it */
    bool waiting;                 /* its sender waits for room */
    pid_t pid;                    /* who holds it, else who sent in it last */
    char worker[SHMC_NAME_BYTES]; /* that holds it */
    char trouble[SHMC_NAME_BYTES];
    uint64_t messages, bytes; /* that wait */
    uint64_t sent, received, sent_bytes;
    uint64_t refused, blocked_ns, relocated, takeovers, wakes;
    uint64_t high_messages, high_bytes;
    pid_t last_receive_pid;
    uint64_t last_send_real_ns, last_receive_real_ns;
    uint64_t reserved[4];
};

/* What there is to count.  With `lanes`, *n is how many it has room for, and then how many the
 * queue has: a larger number was cut off.  Anybody who may read the section can ask. */
int shmc_queue_stat(shmc_section *section, struct shmc_queue_stat *ret,
                    struct shmc_lane_stat *lanes, size_t *n);

/* ---- the manager */

/* Asks the manager; needs no attachment.  `request` is one of
 *     "status"        the manager, its table, clients and workers
 *     "table [WHEN]"  the table that runs: the last good one; or the one that ran in a generation
 *                     ("41") or behind an edit of the history ("edit:17")
 *     "plan"          what the table as it stands would change
 *     "history [N]"   the last N edits (20); with " --diff" behind N also the rows they changed
 *     "reload"        apply the table now            (root, the manager's user, group shm-admin)
 *     "destroy"       remove the segment and stop    (the same)
 * Returns 0 or the outcome's negative errno; *reply, when not NULL, gets a JSON object that the
 * caller frees with free() (also on failures that the manager reports).  Of `options` the key,
 * runtime_dir, timeout_ms and error buffer count.
 *   -ENOTCONN no manager answers; -EPERM not allowed; -EINVAL unknown request, or a table that was
 *   rejected (the reply says why) */
int shmc_manager(const struct shmc_options *options, const char *request, char **reply);

/* ---- slots
 *
 * A number of items, each with one writer at a time: who grabbed it, a worker or an anonymous
 * attachment that the section's write_group admits.  What somebody holds comes free when he
 * releases it, or ends, however he ends; a section says in the table whether its values stay then
 * (they do, until the next grab) or go.  A value is put and got whole, also under a concurrent put,
 * and after the holder was killed in one; readers need no right to write and wait for nobody.
 *
 * In a section that is `shared` all who may grab may also write any slot, in place, and nothing is
 * whole but what the processor makes so.  To grab one then only says that it is in use.
 *
 * These calls are async-signal-safe, but for shmc_slot_each(), as far as its callback is.  Threads
 * use section objects of their own; what one thread of a process holds, the others hold as well,
 * and while one is at a slot, another gets -EBUSY for it.  Each call may give what shmc_attach(3)
 * lists for all, and
 *   -EINVAL      no such slot
 *   -EPROTOTYPE  the section is of another kind
 * and those that write
 *   -EACCES      a reader, or not in the section's write_group
 *   -EAGAIN      the manager is taking the section to another place, for longer than 2 s
 *   -EBUSY       somebody who lives holds it (the text names the process), or another thread of
 *                this process is at it
 *   -EBADMSG     somebody wrote over the slot's owner word
 */

#define SHMC_SLOT_STAYS  0x1u /* in use until it is released, whoever lives */
#define SHMC_SLOT_IN_USE 0x2u /* shmc_slot_each(): these alone */

/* What is known of a slot.  What it says of the holder may be over when it is read. */
struct shmc_slot {
    int slot;
    pid_t pid;                    /* holder's; while nobody holds it, of who did last; 0: nobody */
    char worker[SHMC_NAME_BYTES]; /* the holder's name; "": nobody, or one who is anonymous */
    bool in_use;                  /* held, or it stays */
    bool held;                    /* by one who lives */
    bool offered;                 /* he hands it on */
    bool stays;
    bool has_data; /* something was put since it was grabbed; what follows `grabs` is of that */
    uint64_t since_real_ns; /* when it was grabbed, or handed on, last; 0: never */
    uint64_t grabs;         /* how often it was */
    uint64_t version;       /* rises with each put, over all grabs; shared: 0 */
    uint64_t length;        /* shared: the slot's size */
    uint64_t real_ns;       /* when it was put; 0: not known */
    uint64_t age_ns;        /* UINT64_MAX: not known */
    uint64_t reserved[4];
};

/* Grabs the lowest slot that is free, and returns its index.  It is empty until the first put.
 *   -ENOSPC  all are in use */
int shmc_slot_grab(shmc_section *section, unsigned flags);

/* Grabs that very slot; 0 also when this process holds it already, whose flag then is added.  One
 * that stays and whose holder has ended is taken over with its value.  Of a shared slot that stays
 * nobody asks who grabbed it. */
int shmc_slot_fgrab(shmc_section *section, int slot, unsigned flags);

/* Gives it up.  One that stays can be released by others once its holder has ended (a shared one at
 * any time).
 *   -ENOENT  it isn't in use */
int shmc_slot_release(shmc_section *section, int slot);

/* Puts a value.  A slot that isn't in use is grabbed by that, as by shmc_slot_fgrab() with no
 * flags, unless the section is `pregrab`.  In a shared section these are the first bytes, and the
 * others stay as they are.
 *   -EMSGSIZE  longer than the section's size
 *   -ENOENT    it isn't in use, and the section is pregrab */
int shmc_slot_put(shmc_section *section, int slot, const void *data, size_t bytes);

/* Copies the value, and returns its length; of a shared slot as many bytes as fit.  `info` may be
 * NULL; it is filled in on failures as well.
 *   -EAGAIN    its holder puts faster than it can be copied
 *   -EBADMSG   the slot is damaged; its holder's next put mends it
 *   -EMSGSIZE  `bytes` is too few; info->length says how many it takes
 *   -ENODATA   nothing was put since it was grabbed, or ever; or the value went with its holder
 *   -ENOENT    it isn't in use, and the section is pregrab */
ssize_t shmc_slot_get(shmc_section *section, int slot, void *buffer, size_t bytes,
                      struct shmc_slot *info);

/* The bytes of a shared slot in place, to read and to write.  They stay mapped until the section
 * object lends other ones, or is closed; a change of the table may move the slots, but not while
 * somebody holds one.
 *   -EPROTOTYPE  also: the section isn't shared */
int shmc_slot_ptr(shmc_section *section, int slot, void **ptr, size_t *bytes);

/* Lets children that are forked from now on write a shared section's slots as well, by the pointers
 * that shmc_slot_ptr() gave their parent, which they inherit: for servers that hand such addresses
 * to code that knows nothing of this library.  All other calls need an attachment of the child's
 * own.  The parent keeps `section` open and attached, and the section is to stay until these
 * children have ended: what they write would reach whoever gets its memory next.  They leave what
 * they inherited of the handle alone (shmc_detach() ends the pointers).  Of a segment that replaces
 * this one it is to be asked again.
 *   -EPROTOTYPE  also: the section isn't shared */
int shmc_slot_inherit(shmc_section *section);

/* Calls for each slot in turn, or with SHMC_SLOT_IN_USE for those in use; stops at the first answer
 * that isn't 0, and returns it. */
typedef int shmc_slot_callback(shmc_section *section, const struct shmc_slot *slot, void *argument);
int shmc_slot_each(shmc_section *section, unsigned flags, shmc_slot_callback *callback,
                   void *argument);

/* How many slots there are; how many could be grabbed now; bytes of one. */
int shmc_num_slots(shmc_section *section);
int shmc_num_free(shmc_section *section);
ssize_t shmc_slot_size(shmc_section *section);

/* Hands a slot on, with its value, to whoever has the ticket: before a fork for the child, say,
 * which attaches for itself and takes it.  Until then it stays in use, and nobody puts; who offered
 * it gets it back by shmc_slot_fgrab(), and gives it up by shmc_slot_release().  When he ends
 * before it was taken, it comes free, and the ticket is good until another one grabs it.  A ticket
 * is no secret: whoever may attach can find it in the memory.
 *   -EINVAL  take: that is no ticket
 *   -ENOENT  offer: this process doesn't hold it
 *   -ESTALE  take: it was taken, or grabbed again, or released since */
int shmc_slot_offer(shmc_section *section, int slot, uint64_t *ticket);
int shmc_slot_take(shmc_section *section, int slot, uint64_t ticket);

/* ---- System V message queues as they are
 *
 * The kernel's own queues, for talking to programs that use them already; no segment and no manager
 * is needed, and nothing is allocated but for messages above 8 KiB.  A queue is the id that
 * msgget(2) gives; it may be 0, needs no closing, and means the same in all processes of its IPC
 * namespace.  Errors are without text, and as follows:
 *
 *     -EACCES     the queue's mode doesn't allow it
 *     -EAGAIN     no such message, or no room, and no time given
 *     -EIDRM      the queue was removed, also while this call waited; or there never was one
 *     -EINVAL     an argument makes no sense
 *     -ENOMEM     no memory; the message is where it was
 *     -ETIMEDOUT  the time given ran out
 *
 * A timeout_ms of -1 is the kernel's own wait.  Its calls know no deadline, so that with one they
 * are asked again and again, at first after 50 us and at last every 2 ms: that is how late the
 * answer may be, and processes that wait in the kernel are served first.  Waits go on behind a
 * signal, but with SHMC_INTERRUPTIBLE.  All calls are safe in any thread, in signal handlers those
 * for messages of up to 8 KiB, and behind a fork. */

#define SHMC_SYSV_CREATE    0x1u /* make it, if there is none */
#define SHMC_SYSV_EXCLUSIVE 0x2u /* with CREATE: -EEXIST if there is one */
#define SHMC_SYSV_COPY      0x8u /* shmc_sysv_queue_receive(): leave it where it is (MSG_COPY) */

/* As msqid_ds.  Times are the host's, in seconds; 0 = never. */
struct shmc_sysv_stat {
    uint32_t key;  /* 0: private */
    uint32_t mode; /* the lower 9 bits */
    uid_t uid, creator_uid;
    gid_t gid, creator_gid;
    uint32_t sequence; /* tells it from an earlier queue that had its place */
    uint32_t reserved;
    uint64_t messages, bytes;         /* in it now */
    uint64_t bytes_max;               /* as many bytes, and as many messages */
    pid_t last_sender, last_receiver; /* 0: none yet */
    int64_t sent_real_s, received_real_s, changed_real_s;
};

/* As msginfo: kernel.msgmax, msgmnb and msgmni, and what of them is in use in all queues. */
struct shmc_sysv_info {
    uint64_t message_bytes_max; /* of one message */
    uint64_t queue_bytes_max;   /* of a new queue; more takes CAP_SYS_RESOURCE */
    uint32_t queues_max;
    uint32_t queues;
    uint64_t messages, bytes;
    int highest_index; /* in use; -1 and 0 look alike to the kernel */
    uint32_t reserved[5];
};

/* Finds the queue with that key, or makes it, and returns its id.  `mode` is the new queue's
 * permissions; of one that is there, without SHMC_SYSV_CREATE, it is what the caller wants to be
 * allowed: 0400 to receive, 0200 to send, 0 for whatever is.  Key 0 (IPC_PRIVATE) makes a new one
 * each time.
 *   -EACCES  it is there, and its mode doesn't allow that
 *   -EEXIST  it is there, and SHMC_SYSV_EXCLUSIVE was given
 *   -ENOENT  it isn't, and SHMC_SYSV_CREATE was not given
 *   -ENOSPC  there are kernel.msgmni queues already */
int shmc_sysv_queue_open(uint32_t key, unsigned mode, unsigned flags);

/* Sends; `type` is above 0.  flags: SHMC_INTERRUPTIBLE.
 *   -EMSGSIZE  longer than kernel.msgmax, or than this queue may ever hold (for which the plain
 *              call waits without end) */
int shmc_sysv_queue_send(int queue, int64_t type, const void *data, size_t bytes, unsigned flags,
                         int timeout_ms);

/* Takes the oldest message (type 0), the oldest of that type (above 0), or the oldest of the lowest
 * type that isn't above -type; returns its length, and its type in *ret_type (NULL: not wanted).
 * flags: SHMC_TRUNCATE (MSG_NOERROR), SHMC_EXCEPT (MSG_EXCEPT), SHMC_INTERRUPTIBLE.  With
 * SHMC_SYSV_COPY `type` is an index, 0 the oldest, and the message stays in the queue.
 *   -E2BIG   it is longer than the buffer, and stays in the queue
 *   -ENOSYS  SHMC_SYSV_COPY, and the kernel was built without it (CONFIG_CHECKPOINT_RESTORE)
 *   -EINVAL  also SHMC_SYSV_COPY with SHMC_TRUNCATE of one that would have to be cut, which the
 *            kernel doesn't do */
ssize_t shmc_sysv_queue_receive(int queue, int64_t type, void *buffer, size_t bytes, unsigned flags,
                                int timeout_ms, int64_t *ret_type);

/* IPC_STAT, for who may receive. */
int shmc_sysv_queue_stat(int queue, struct shmc_sysv_stat *ret);

/* IPC_SET: uid, gid, mode and bytes_max, and no other field of *stat; for owner, creator and root.
 *   -EPERM  you are none of them; or bytes_max is above kernel.msgmnb, without CAP_SYS_RESOURCE */
int shmc_sysv_queue_set(int queue, const struct shmc_sysv_stat *stat);

/* IPC_INFO and MSG_INFO: of this IPC namespace. */
int shmc_sysv_queue_info(struct shmc_sysv_info *ret);

/* IPC_RMID: what is in it is lost, and who waits gets -EIDRM.  -EPERM as shmc_sysv_queue_set(). */
int shmc_sysv_queue_remove(int queue);

/* ---- segments without a daemon
 *
 * The same sections in memory that a process shares with the children that it forks: no manager, no
 * key, no file, nothing to be found from outside (so that shmtool can't, either).  It goes with the
 * last process that has it.
 *
 * The process that creates it owns it: it alone may reload and reap, by one thread at a time.  Its
 * children inherit the handle, attach by it (the creator may as well), and then use the sections by
 * the calls above, as in any segment; leases are as those of a manager, and end with the process
 * that took them.  exec ends all of it. */

typedef struct shmc_private shmc_private;

enum shmc_strategy {
    SHMC_STRATEGY_AUTO = 0,         /* the first of these that is to be had */
    SHMC_STRATEGY_ANON = 1,         /* mmap(), MAP_ANONYMOUS */
    SHMC_STRATEGY_DEVZERO = 2,      /* mmap() of /dev/zero */
    SHMC_STRATEGY_SYSV_PRIVATE = 3, /* IPC_PRIVATE, removed as soon as it is attached */
};

#define SHMC_PRIVATE_SHARED  0x1u /* raw, slots: many write in place; no whole values */
#define SHMC_PRIVATE_PREGRAB 0x2u /* slots: get and put are for slots in use alone */
#define SHMC_PRIVATE_CLEAR   0x4u /* slots: a value goes when its slot comes free */

/* A section that is wanted. */
struct shmc_private_spec {
    size_t size;         /* sizeof (struct shmc_private_spec); the same in all of an array */
    const char *name;    /* 1 to 63 letters, digits, _ . -, a letter first; not "old.", "new." */
    const char *owner;   /* the worker that writes it; NULL: "master" */
    enum shmc_kind kind; /* 0: SHMC_SNAPSHOT */
    uint32_t count;      /* snapshot: buffers (0: 4); slots: items; queue: lanes; raw: 0 */
    uint64_t bytes;      /* of the largest value, of an item, of a lane; raw: of the data */
    uint32_t flags;      /* SHMC_PRIVATE_* */
    uint32_t instances;  /* of the owner, "name#1" and so on; 0: one, without a number */
    const char *format;  /* NULL: none */

    /* Fills a section that is new (it is all zeroes), before anybody can find it; NULL: nothing to
     * do.  `before` is the section of that name that it takes the place of, to read from; NULL:
     * there was none.  Both may be written and read by all calls of their kind, are closed by the
     * caller, and no shmc_private call is allowed in here.  A negative answer undoes the create or
     * the reload, and is its. */
    int (*init)(shmc_section *section, shmc_section *before, void *argument);
    void *argument;
};

struct shmc_private_options {
    size_t size; /* sizeof (struct shmc_private_options) */
    enum shmc_strategy strategy;
    uint32_t reserved;
    uint64_t
        bytes;   /* address space that the segment may ever take, of which only what is used
                    takes memory; 0: 64 MiB, and where they take much 4 times what the specs take */
    char *error; /* the text of a failed create; may be NULL */
    size_t error_bytes;
};

/* Makes a segment with these sections.
 *   -EINVAL      a spec or an option makes no sense: the text names it
 *   -ENOMEM      no memory, or no address space
 *   -ENOSPC      the specs don't fit options.bytes
 *   -ENOENT      /proc isn't mounted, and leases need it
 *   -EOPNOTSUPP  no file can carry a lease: neither memfd_create() nor /dev/shm nor /tmp
 *   and what an init answered, or the strategy's system call */
int shmc_private_create(shmc_private **ret, const struct shmc_private_spec *specs, size_t n,
                        const struct shmc_private_options *options);

/* Attaches this process, the creator or a child of its, however deep.  Of `options` worker,
 * timeout_ms, holder, error and the flag SHMC_ANONYMOUS count; NULL: a reader.
 *   -ENOENT  no spec has that owner
 *   -EBUSY   the worker is held, or all its instances are
 *   -EUSERS  all attachments are taken: raise options.bytes of the create
 *   -EBADF   the descriptor that the segment's leases need was closed in this process
 *   -EIDRM   the creator destroyed it */
int shmc_private_attach(shmc **ret, const shmc_private *segment,
                        const struct shmc_options *options);

/* Another set of sections.  What has the same name, owner, kind, bytes, count and flags stays as it
 * is, with its data.  What is new, or not the same, is made beside what there is, and filled by its
 * init; when all are, they take the places of the old ones at once.  On failures nothing changes.
 *
 * Who was attached before goes on with what it has open, also where that was removed, and finds the
 * new with its next shmc_open(); the old memory goes with the next reload or reap behind the end of
 * all these attachments.  The creator itself isn't waited for: what it has open of the old gives
 * -EIDRM then.
 *   -ECHILD  this is not the creator
 *   and as shmc_private_create() */
int shmc_private_reload(shmc_private *segment, const struct shmc_private_spec *specs, size_t n);

/* Ends the leases of processes that are gone (who looks for himself finds that, too), and gives the
 * memory back that nobody needs any more.  For behind waitpid().  Returns how many leases ended by
 * this. */
int shmc_private_reap(shmc_private *segment);

/* Which one it is. */
enum shmc_strategy shmc_private_strategy(const shmc_private *segment);

/* What went wrong last in a reload or reap; "" when nothing did. */
const char *shmc_private_last_error(const shmc_private *segment);

/* In the creator, ends the segment: calls of who is still attached give -EIDRM, and the memory goes
 * when they detach.  In a child, forgets it here; what it attached stays.  NULL is allowed. */
void shmc_private_destroy(shmc_private *segment);

/* "0.1.0" */
const char *shmc_version(void);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
