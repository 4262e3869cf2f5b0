/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library's files share: the two handles, and who looks after which part of them.
 */
#ifndef SHM_CLIENT_H
#define SHM_CLIENT_H

#include "core/futex.h"
#include "core/protocol.h"
#include "core/shared.h"
#include "core/slots.h"
#include "core/snapshot.h"
#include "mapping.h"

#include <shmclient.h>

/* ---- lock.c: exclusion within this process */

/* The thread that holds it, so that a signal handler can tell that it interrupted the holder: then
 * -EBUSY, as waiting would be for ever.  Nothing that is done under one allocates memory. */
struct lock {
    uint64_t holder;
    uint32_t waiters;
};
int lock_take(struct lock *lock);
void lock_release(struct lock *lock);

/* ---- error.c: the text that goes with an error */

#define ERROR_BYTES 640

struct error {
    struct lock lock;
    const shmc_section *noted; /* its note is newer than the text */
    char text[ERROR_BYTES];
};

/* Failures of hot paths: they cost a few stores, and become text when somebody asks. */
enum note_kind {
    NOTE_NO_DATA,
    NOTE_NOTHING_NEW,
    NOTE_TIMED_OUT,
    NOTE_STALE,
    NOTE_TOO_LARGE,
    NOTE_BUFFER_SMALL,
    NOTE_BUSY,
    NOTE_LAPPED,
    NOTE_SLOT_NO_DATA,
    NOTE_SLOT_FREE,
    NOTE_SLOT_BUSY,
    NOTE_SLOT_LAPPED,
    NOTE_NO_MESSAGE,
    NOTE_NO_MESSAGE_CAME,
    NOTE_LANE_FULL,
    NOTE_LANE_STAYED_FULL,
    NOTE_MESSAGE_LONG,
    NOTE_MESSAGE_LONGER,
    NOTE_LANE_BUSY,
    NOTE_PEEKED,
    NOTE_INTERRUPTED,
};

struct note {
    uint32_t kind;
    uint64_t first, second;
};

/* Both return `code`. */
int error_set(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int error_note(shmc_section *section, int code, enum note_kind kind, uint64_t first,
               uint64_t second);

/* Turns a note of a section that is about to go into text. */
void error_keep(struct error *error, const shmc_section *section);

/* ---- client.c */

/* What `state` points to.  In a child it is wiped to 0 by the kernel (MADV_WIPEONFORK), so that one
 * load tells a child from its parent. */
enum handle_state { HANDLE_FORKED = 0, HANDLE_ALIVE = 1, HANDLE_DETACHED = 2, HANDLE_LEFT = 3 };

/* Where its manager is, and how long that is waited for. */
struct home {
    uint32_t key;
    int timeout_ms;
    char *runtime_dir;
};

struct writer;
struct holding;
struct lane;
struct queue_side;
struct event;
struct watch;

struct shmc {
    const uint32_t *state; /* enum handle_state */
    void *page;            /* where it is */
    struct lock lock;      /* of what follows, and of the section objects' bindings */
    struct mapping *now;
    struct home home;
    struct writer *writers;
    struct holding *holdings;
    struct lane *lanes;
    struct event *event;
    struct error *error;
    uint64_t asked_ns;   /* left.c */
    uint32_t references; /* the attachment, and each section object */
};

struct shmc_section {
    shmc *segment;
    char name[SHM_NAME_BYTES]; /* as it was opened */
    enum shmc_kind wanted_kind;
    uint64_t wanted_size;
    char wanted_format[SHM_NAME_BYTES];
    bool wants_format;

    /* The binding: what the directory said.  Valid for `generation`, while `bound`. */
    bool bound;
    bool own;                /* we may write it, and it is mapped so */
    bool receives;           /* the same of a queue's claims */
    struct mapping *mapping; /* that `snapshot` or `slots` is in; never NULL */
    struct mapping *lent;    /* that the caller has an address in; NULL: none */
    uint32_t slot;
    uint64_t generation;
    struct shm_section descriptor;
    struct snapshot snapshot;
    struct snapshot before; /* snapshot.before, while the section is moving */
    struct snapshot_reader reader;
    struct writer *writer;    /* NULL: nothing published yet */
    struct writer *begun;     /* has a value of ours that is not committed */
    const void *begun_at;     /* it stands here */
    struct mapping *begun_in; /* the caller has that address; NULL: none */
    bool insists;             /* the place before won't do */
    struct slots slots;
    struct holding *holding; /* NULL: nothing was grabbed or put by this object */

    bool returned;              /* a value, ever */
    struct snapshot_value last; /* that was returned, in this incarnation */
    uint64_t stale_said;        /* version of which -ETIME was said */
    struct snapshot_value view;
    uint64_t view_generation; /* 0 = nothing in view */
    uint64_t spin_ns;
    struct queue_side *queue; /* queue.c; NULL: none of its calls was made yet */
    struct watch *watch;      /* shmc_fd() */
    struct note note;
    uint32_t calls_left, pace; /* left.c */
    uint64_t looked_ns;
};

/* An attach's options, read and checked. */
struct settings {
    uint32_t key;
    uint32_t flags;
    const char *worker;
    const char *runtime_dir;
    uint64_t deadline_ns; /* 0 = one try */
    pid_t holder;
    const shmc_private *memory; /* without a manager; NULL: with one */
};

/* Not just to read. */
static inline bool settings_write(const struct settings *settings) {
    return settings->worker != NULL || (settings->flags & SHMC_ANONYMOUS) != 0;
}

/* Copies a struct that begins with its size and may be of another version; what is beyond ours must
 * be zero.  -EINVAL; what is known of it is copied all the same. */
int options_copy(void *ret, size_t bytes, const void *from, const char *name, const char *type,
                 struct error *error);

/* What they say of who we are, checked, and then of where the manager is. */
int settings_who(struct settings *ret, const struct shmc_options *options,
                 struct shmc_options *copy, struct error *error);
int settings_read(struct settings *ret, const struct shmc_options *options,
                  struct shmc_options *copy, struct error *error);

/* May that user be the manager?  Root, ourselves, and who owns the runtime directory. */
#define UID_UNKNOWN 65534u /* what the kernel shows for a uid of another user namespace */
bool settings_trust(const struct settings *settings, uid_t uid);

/* Copies a text out for a caller who has no handle to ask. */
void settings_report(const struct shmc_options *options, const struct settings *settings,
                     const struct error *error);

/* A handle that is attached by settings that were checked; `options` say where errors go. */
int handle_attach(shmc **ret, struct settings *settings, const struct shmc_options *options);

/* Frees the handle with its last section object. */
void handle_release(shmc *segment);

static inline enum handle_state handle_state(const shmc *segment) {
    return (enum handle_state)__atomic_load_n(segment->state, __ATOMIC_RELAXED);
}

/* 0, -ECHILD, -EBADF, or -EIDRM. */
static inline int handle_usable(const shmc *segment) {
    enum handle_state state = handle_state(segment);
    return state == HANDLE_ALIVE    ? 0
           : state == HANDLE_FORKED ? -ECHILD
           : state == HANDLE_LEFT   ? -EIDRM
                                    : -EBADF;
}

static inline uint64_t deadline_after(int timeout_ms) {
    if (timeout_ms == 0)
        return 0;
    return timeout_ms < 0 ? UINT64_MAX : clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
}

/* ---- mapping.c, on segment->now */

/* Finds the segment, checks whose it is, maps it (everything read-only) and opens its directory. */
int mapping_open(shmc *segment, const struct settings *settings);
void mapping_close(struct mapping *mapping);

/* Makes what is ours alone by that generation's directory writable, and what isn't ours any more
 * read-only.  Under the lock. */
int mapping_update(shmc *segment, uint64_t generation);

/* Is that arena this worker's alone?  Then it is writable from the beginning. */
bool mapping_owns(const struct mapping *mapping, const struct shm_arena *arena);

/* Makes an arena of a bound section's writable that isn't ours alone (descriptor.arena_index, or
 * claims_arena), if `writers` lets us; it stays so for as long as it is the same arena, and is not
 * inherited over fork.  Cheap when it is so already.  -EACCES; -EKEYREVOKED; -EBUSY: in a signal
 * handler; -ENOTCONN: memfd, and no manager answers; -EAGAIN: the section is to be looked up again.
 */
int mapping_write(shmc *segment, shmc_section *section, uint32_t arena_index);

/* A section's arena, which was made writable, is so in children as well that are forked later. */
int mapping_inherit(const shmc *segment, const shmc_section *section);

/* By whom the words in memory are to be understood. */
struct attachments mapping_attachments(const struct mapping *mapping);

/* Makes sure that a section's memory is mapped, by that generation's directory.  Under the lock.
 * -EAGAIN: the generation isn't in force any more.  -ENOTCONN, without waiting for a manager that
 * is away, when segment->now->parts.hasty. */
int mapping_reach(shmc *segment, const struct shm_section *section, uint64_t generation);

/* The same, without the lock, for one that may not be had. */
bool mapping_shows(shmc *segment, const struct mapping *mapping, const struct shm_section *section,
                   uint64_t generation);

/* Room for one more. */
int ranges_reserve(struct ranges *ranges);

/* Is that in what was made writable?  Under the lock. */
bool mapping_writable(const shmc *segment, uint64_t offset, uint64_t bytes);

/* A section's doorbell, NULL when it can't be had.  Under the lock. */
struct shm_bell *mapping_bell(shmc *segment, uint32_t index);

/* A snapshot's place as it is mapped; -EBADMSG and which field is damaged. */
int mapping_bind(const struct mapping *mapping, const struct shm_section *section,
                 struct shm_bell *bell, struct snapshot *ret, const char **field);

/* ---- successor.c: a segment that is replaced, and the mappings of those before it */

/* The first one; NULL: no memory. */
struct mapping *mapping_new(void);

/* All of them, also what is still in use. */
void mapping_close_all(shmc *segment);

/* Goes to the segment that replaced this one, if it was.  Under the lock.  -ENOTCONN: it isn't
 * there as yet. */
int successor_follow(shmc *segment);

/* For a call on the segment as a whole: *ret is what is served now, and stays mapped until it is
 * given back. */
int mapping_borrow(const shmc *segment, struct mapping **ret);
void mapping_return(const shmc *segment, struct mapping *mapping);

/* A section object is bound to what is mapped now.  Under the lock. */
void mapping_take(shmc_section *section);

/* The caller of a section object gets an address: that stays mapped until it gets another, or
 * closes the object.  *lent is the object's own note of that. */
void mapping_lend(shmc_section *section, struct mapping **lent);

/* The section object goes. */
void mapping_leave(shmc_section *section);

/* ---- parts.c: a segment made of memfds */

/* -EOPNOTSUPP, without a text: the manager's is of another backend; -ENOTCONN: no manager. */
int parts_open(shmc *segment, const struct settings *settings, uint64_t *bytes);
void parts_close(struct mapping *mapping);
int parts_reach(shmc *segment, uint32_t arena_index, uint64_t generation);
int parts_update(shmc *segment, uint64_t generation);

/* Somebody has just waited for the manager in vain: of many that are looked at in a row the first
 * waits, and not each. */
bool parts_waited(const shmc *segment);

/* That arena, of the directory in force, mapped for writing. */
int parts_write(shmc *segment, uint32_t arena_index, const struct shm_arena *arena);

static inline bool parts_are(const struct mapping *mapping) {
    return mapping->parts.spare != NULL;
}

/* ---- connection.c: one conversation with the manager */

/* What to do when the manager, or its segment, isn't there: returns `ret`. */
#define REMEDY_BYTES 224
const char *connection_remedy(const struct settings *settings, char ret[REMEDY_BYTES]);

/* Is its socket there, whoever listens? */
bool connection_there(const struct settings *settings);

/* What a manager is given to answer, also with timeout_ms 0: a disk may hold it up, or the machine
 * not let it run. */
#define CONNECTION_PATIENCE_NS UINT64_C(5000000000)

/* Connects and takes the hello; *ret is the socket. */
int connection_open(int *ret, const struct settings *settings, uint64_t deadline_ns,
                    struct protocol_hello *hello, struct error *error);
int connection_send(int socket, union protocol_message *message, enum protocol_type type,
                    size_t bytes, uint64_t deadline_ns, struct error *error);
int connection_receive(int socket, union protocol_message *ret, int *fd, uint64_t deadline_ns,
                       struct error *error);

/* What the other end says may be nothing, and an error always has a text. */
static inline const char *refused_text(const struct protocol_refused *refused) {
    return refused->text[0] != '\0' ? refused->text
                                    : "the manager refused, and doesn't say why: see its journal";
}

/* ---- lease.c */

/* Becomes the worker, or somebody without a name, by taking over the lease that `shmtool run` left
 * or by asking the manager. */
int standing_take(shmc *segment, struct settings *settings);
void standing_drop(struct standing *standing);

/* In a child: frees what it inherited of it, and leaves the parent's lease alone. */
void standing_forget(struct standing *standing);

/* -EKEYREVOKED, or 0 when only the record is damaged. */
int standing_check(shmc *segment, const struct mapping *mapping);

/* Who is it?  "worker 'NAME'", or what it is instead. */
#define STANDING_BYTES (SHM_NAME_BYTES + 16)
const char *standing_text(const struct standing *standing, char ret[STANDING_BYTES]);

/* ---- private_attach.c: a segment without a manager */

int private_open(shmc *segment, const struct settings *settings, uint64_t *bytes);
int private_take(shmc *segment, struct settings *settings);

/* Unmaps the segment, then gives the lease up; in a child only what it inherited goes. */
void private_leave(struct mapping *mapping, bool child);
struct attachments private_attachments(const struct mapping *mapping);

/* ---- left.c */

/* Was the segment left behind?  Then it becomes HANDLE_LEFT. */
__attribute__((noinline, cold)) void left_look(shmc_section *section);

/* In a call whose handle is usable; the next one sees what was found. */
static inline void left_pace(shmc_section *section) {
    uint32_t left = __atomic_load_n(&section->calls_left, __ATOMIC_RELAXED); /* threads share it */
    if (left == 0)
        left_look(section);
    else
        __atomic_store_n(&section->calls_left, left - 1, __ATOMIC_RELAXED);
}

/* ---- section.c */

/* Looks the section up again; -EBADMSG leaves an earlier binding in place, and so does -ENOTCONN
 * for a writer who can't get to his new place as yet. */
int section_resolve(shmc_section *section);
int section_wrong_kind(shmc_section *section, enum shmc_kind kind);
int section_not_ours(const shmc_section *section); /* -EACCES */

/* Is the generation still the one that the section is bound by, and the segment the one that is
 * served?  Behind a read it counts for that: what the manager copies of a segment that is replaced,
 * it copies behind a full barrier behind that state, so that what was read is there.  Behind a
 * publish it tells whether that came too late to be copied, see publish_again(). */
static inline bool section_settled(const shmc_section *section) {
    const struct directory *directory = &section->mapping->directory;
    return directory_generation(directory) == section->generation &&
           directory_state(directory) != SHM_STATE_REPLACED;
}

/* Each call's beginning. */
static inline int section_ready(shmc_section *section, enum shmc_kind kind) {
    const shmc *segment = section->segment;
    int r = handle_usable(segment);
    if (r < 0)
        return r;
    left_pace(section);
    if (!section_settled(section) || !section->bound) {
        r = section_resolve(section);
        if (r < 0)
            return r;
    }
    return section->descriptor.kind == (uint32_t)kind ? 0 : section_wrong_kind(section, kind);
}

/* What section_ready_to_write() finds, mostly: all is as it was. */
static inline bool section_is_ours(const shmc_section *section, enum shmc_kind kind) {
    const shmc *segment = section->segment;
    const struct mapping *mapping = section->mapping;
    return handle_state(segment) == HANDLE_ALIVE && section_settled(section) && section->bound &&
           section->descriptor.kind == (uint32_t)kind && section->own && standing_holds(mapping);
}

/* The beginning of a call that writes.  Neither a damaged header nor an absent manager stops a
 * writer: its place can't be given to anybody else while it holds its lease. */
int section_ready_to_write(shmc_section *section, enum shmc_kind kind);

/* A second object of the same section, for the helper thread; it isn't counted as the caller's. */
shmc_section *section_double(const shmc_section *section);
void section_free_double(shmc_section *section);

/* ---- writer.c: one for each section that this process publishes */

/* Where what it writes stands, which the section objects of all threads share. */
struct writer {
    struct writer *next;
    uint32_t references;
    struct snapshot places[2]; /* core.snapshot is one, whose limits are the publishing thread's */
    struct snapshot wanted;    /* by the directory; under the lock */
    bool late;                 /* that differs from where `core` is */
    struct snapshot_writer core;
};

/* Sets section->writer, taking the section over with the first.  -EAGAIN: the table changed
 * meanwhile; the section is to be looked up again. */
int writer_open(shmc_section *section);
void writer_release(shmc *segment, struct writer *writer);

/* Still the place that the section is bound to, or the one that it is moving from?  Then it goes
 * along, and gets the limits and flags of now.  Under the lock. */
bool writer_follow(struct writer *writer, const struct snapshot *snapshot);

/* What writer_follow() couldn't do while somebody published.  `open`: it is the caller who began a
 * value. */
void writer_catch_up(shmc *segment, struct writer *writer, bool open);

/* ---- holding.c: one for each section in which this process holds slots */

struct holding {
    struct holding *next;
    size_t bytes; /* of the mapping that this is */
    uint32_t references;
    bool ordered; /* a manager sees to the order of what is put and the header's state */
    struct slots place;
    struct slots_holder holder;
};

/* Sets section->holding. */
int holding_open(shmc_section *section);
void holding_release(shmc *segment, struct holding *holding);

/* Is it still the same place? */
bool holding_suits(const struct holding *holding, const struct slots *slots);

/* ---- snapshot.c */

/* Gets the section's writer ready for a publish. */
int snapshot_ready(shmc_section *section);

/* Reads the newest, or `version` if that isn't 0, and settles what it means for the object. */
ssize_t snapshot_take(shmc_section *section, uint64_t version, void *buffer, size_t bytes,
                      struct shmc_value *value);

/* ---- value.c */

enum shmc_alive alive_worker(const struct mapping *mapping, uint32_t index);
bool stale_by(uint64_t stale_ms, uint64_t age_ns);

/* What is known about a value; `missed` is the caller's. */
void value_fill(const shmc_section *section, const struct snapshot_value *found,
                struct shmc_value *ret);

/* Before anything is known. */
void value_clear(struct shmc_value *ret);

/* When the last value that was returned becomes stale; UINT64_MAX: never, or that was said. */
uint64_t value_stale_at(const shmc_section *section);

/* ---- event.c */

/* Nothing new was found: clears the descriptor.  False: it has none.  The caller looks once more.
 */
bool event_drain(shmc_section *section);
void event_raise(shmc_section *section);
void event_forget(shmc_section *section);
void event_stop(shmc *segment);

#endif
