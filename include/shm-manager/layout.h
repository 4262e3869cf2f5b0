/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment's ABI: every byte that the manager, a worker or a reader may meet in the shared
 * memory.  It relies on nothing but the fixed-width integers, so that it can be read, copied or
 * transcribed into another language on its own; shm-segment(7) is the same text as prose.
 *
 * Hosts are 64-bit and little-endian.  All offsets are bytes from the segment's first byte, all
 * times are nanoseconds, all texts are NUL-terminated and NUL-padded.  "crc" is CRC-32C
 * (Castagnoli, reflected, init and final xor 0xffffffff) over the bytes that stand before it in
 * its structure, unless a line says otherwise.
 *
 * Who writes: the manager alone writes the header arena (header, worker and attachment records,
 * directories) and each section's constant control line; the section's owner writes the rest of
 * its section; anybody writes the doorbells.  Whoever reads copies once, checks, then uses.
 */
#ifndef SHM_MANAGER_LAYOUT_H
#define SHM_MANAGER_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define SHM_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define SHM_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#define SHM_ABI            1u
#define SHM_MAGIC          UINT64_C(0x314d4745534d4853) /* the bytes "SHMSEGM1" */
#define SHM_BYTE_ORDER     0x01020304u
#define SHM_DEFAULT_KEY    0x53484d31u /* "SHM1" */
#define SHM_PAGE           4096u       /* unit of arenas and pins */
#define SHM_LINE           64u         /* unit of everything inside an arena */
#define SHM_NAME_BYTES     64u         /* a name has 1..63 bytes and a NUL */
#define SHM_SLEEP_BOUND_MS 100u        /* every sleeper looks again after this long */
#define SHM_NONE           UINT32_MAX  /* "no index" */

#define SHM_COUNT_MIN       2u /* buffers of a snapshot section */
#define SHM_COUNT_MAX       256u
#define SHM_ATTACHMENTS_MAX 16383u /* a queue's claim word has 14 bits for one; 0 is nobody */

/* Bits of shm_header.incompatible that this ABI knows.  A reader that meets a bit which it does
 * not know must not use the segment; unknown bits of shm_header.compatible are ignored. */
#define SHM_INCOMPATIBLE_KNOWN UINT64_C(0)

enum shm_backend { SHM_BACKEND_SYSV = 1, SHM_BACKEND_MEMFD = 2, SHM_BACKEND_PRIVATE = 3 };

/* shm_header.state */
enum shm_state {
    SHM_STATE_SERVING = 1,  /* a manager runs, or died without a word: see heartbeat */
    SHM_STATE_STOPPED = 2,  /* the manager stopped in order; the memory is valid */
    SHM_STATE_REPLACED = 3, /* this segment has a successor (see there), or was removed */
};

enum shm_kind { SHM_KIND_RAW = 1, SHM_KIND_SNAPSHOT = 2, SHM_KIND_SLOTS = 3, SHM_KIND_QUEUE = 4 };

/* shm_section.state and shm_arena.state */
enum shm_place {
    SHM_PLACE_FREE = 0,        /* this descriptor is unused */
    SHM_PLACE_LIVE = 1,        /* in use */
    SHM_PLACE_MOVING = 2,      /* ctl_off is the new place; the one before holds the newest value
                                  until something was published in the new one */
    SHM_PLACE_RETIRED = 3,     /* removed; the space is kept until nobody can be reading there */
    SHM_PLACE_QUARANTINED = 4, /* somebody may still write there, and the space is kept: who is
                                  moving from there, or from whom it was taken */
    SHM_PLACE_BAD = 5,         /* the section's own control line is damaged */
};

/* shm_section.flags */
#define SHM_SECTION_PERSIST       0x01u /* checkpointed */
#define SHM_SECTION_SHARED        0x02u /* raw, slots: many write in place; no whole-value promise */
#define SHM_SECTION_STAMP_COARSE  0x04u  /* times have the clock's tick (4 ms) */
#define SHM_SECTION_STAMP_NONE    0x08u  /* values carry no time */
#define SHM_SECTION_NOTIFY_ALWAYS 0x10u  /* each publish makes the wake-up call */
#define SHM_SECTION_NOTIFY_NEVER  0x20u  /* no publish does; waiting readers poll */
#define SHM_SECTION_PINNED        0x40u  /* the table fixed its offset */
#define SHM_SECTION_TRANSIENT     0x80u  /* made at run time, and goes with its worker's lease */
#define SHM_SECTION_PREGRAB       0x100u /* slots: get and put are for slots in use alone */
#define SHM_SECTION_CLEAR         0x200u /* slots: a value goes when its slot comes free */
#define SHM_SECTION_CLEAR_RESTART 0x400u /* slots: what is restored is in use by nobody */

/* shm_section.section_id: from here on of sections that a worker made at run time, which have no
 * row in the table that people write. */
#define SHM_SECTION_ID_MADE (UINT64_C(1) << 48)

/* States of an attachment and of a worker: the low 8 bits of their word (epoch << 8 | state). */
enum shm_lease_state {
    SHM_LEASE_FREE = 0,    /* nobody */
    SHM_LEASE_GRANTED = 1, /* the lease was sent, the client has not yet acknowledged it */
    SHM_LEASE_LEASED = 2,  /* held; only now may the client write */
    SHM_LEASE_REVOKED = 3, /* taken back; its old memory is quarantined */
};

/* shm_worker.end_reason */
enum shm_end {
    SHM_END_NONE = 0,       /* never ended */
    SHM_END_RELEASED = 1,   /* the lease was given up and the process lives on */
    SHM_END_EXITED = 2,     /* end_detail: exit status */
    SHM_END_KILLED = 3,     /* end_detail: signal */
    SHM_END_UNKNOWN = 4,    /* the process ended; how is not known (older kernels) */
    SHM_END_UNCLAIMED = 5,  /* the grant was never acknowledged */
    SHM_END_WHILE_AWAY = 6, /* it ended while no manager ran */
    SHM_END_REVOKED = 7,    /* the lease was taken back; the process may live on */
};

/* shm_arena.writers: whose attachment may write it. */
enum shm_writers {
    SHM_WRITERS_OWNER = 0,     /* the owner's alone */
    SHM_WRITERS_INSTANCES = 1, /* that of any instance of the owner's: a queue's claims */
    SHM_WRITERS_CLASS = 2,     /* any of write_class, and the owner's: slots, lanes, shared raw */
};

/* Where one of the two directories stands. */
struct shm_directory_place {
    uint64_t offset;
    uint64_t bytes;
};

/* Offset 0 of the segment.  Lines 0 and 1 are constant; `magic` is stored last of all at
 * creation, so that whoever sees it sees a whole header. */
struct shm_header {
    /* line 0: identity */
    uint64_t magic;
    uint32_t abi;
    uint32_t header_bytes; /* sizeof (struct shm_header) */
    uint64_t compatible;
    uint64_t incompatible;
    uint32_t byte_order; /* SHM_BYTE_ORDER */
    uint32_t key;
    uint64_t segment_bytes;
    uint32_t backend; /* enum shm_backend */
    uint32_t page_bytes;
    uint64_t segment_id; /* random, never 0: tells this segment from its successors */
    /* line 1: geometry */
    uint8_t boot_id[16];
    uint64_t created_real_ns;
    uint32_t workers_off; /* array of struct shm_worker */
    uint32_t workers_capacity;
    uint32_t attachments_off; /* array of struct shm_attachment; index 0 is nobody */
    uint32_t attachments_capacity;
    uint32_t bells_capacity; /* doorbells in the bell segment */
    uint32_t arena_start;    /* first byte behind the fixed tables */
    uint8_t reserved1[12];
    uint32_t crc; /* over the bytes before it, with magic as SHM_MAGIC */
    /* line 2: the commit word of the directory, and nothing that changes more often */
    uint64_t generation; /* directory in force: directories[generation & 1] */
    uint32_t state;      /* enum shm_state */
    uint32_t bell_id;    /* sysv: shmid of the bell segment + 1; 0 = no bells */
    struct shm_directory_place directories[2];
    uint64_t successor; /* REPLACED: segment_id of the one that took its place; 0: none did */
    uint8_t reserved2[8];
    /* line 3: the manager's pulse */
    uint64_t heartbeat_mono_ns;
    uint64_t heartbeat_real_ns;
    uint32_t heartbeat_interval_ms;
    uint32_t manager_pid;
    uint64_t manager_start; /* /proc/PID/stat field 22, in clock ticks */
    uint64_t manager_epoch; /* counts the managers that served this segment */
    uint8_t reserved3[24];
};

/* One named participant.  `word` is the commit word: the fields below it are written by the
 * manager while the state is FREE (who holds it) or LEASED (how it ended), so that a reader who
 * finds the same word before and after its copy has a consistent record. */
struct shm_worker {
    char name[SHM_NAME_BYTES]; /* "" = unused record; with instances "name#2" */
    uint64_t word;             /* epoch << 8 | enum shm_lease_state */
    uint32_t attachment;       /* index of the attachment that holds it */
    uint32_t pid;              /* of the holder, for messages only: the lease decides */
    uint64_t pid_start;        /* /proc/PID/stat field 22 of the holder */
    uint64_t since_real_ns;    /* when it was leased */
    uint64_t ended_real_ns;    /* when the last lease ended */
    uint32_t end_reason;       /* enum shm_end */
    uint32_t end_detail;
    uint32_t uid;          /* of the holder */
    uint32_t previous_pid; /* of the last lease that ended */
    uint32_t reserved;
    uint32_t name_crc; /* over name alone */
};

/* One process's standing as somebody who may write.  Slots and claims name (index, epoch). */
struct shm_attachment {
    uint64_t word;   /* epoch << 8 | enum shm_lease_state */
    uint32_t worker; /* index of the worker that it is, or SHM_NONE */
    uint32_t pid;
    uint64_t pid_start;
    uint64_t since_real_ns;
    uint32_t uid;
    uint8_t reserved[28];
};

/* First bytes of each directory.  `index` is sorted by name (bytewise) and lists the slots of the
 * LIVE and MOVING sections; slots and arena indices are stable over generations. */
struct shm_directory {
    uint64_t generation; /* equal to the header's, or this directory is not in force */
    uint64_t published_real_ns;
    uint32_t index_count; /* entries of the index */
    uint32_t slots_used;  /* descriptors in use or free, below capacity */
    uint32_t capacity;    /* descriptors that this directory has room for */
    uint32_t arenas_used;
    uint32_t arenas_capacity;
    uint32_t workers_used; /* worker records in use or free */
    uint32_t index_off;    /* from the directory's first byte; array of uint32_t */
    uint32_t sections_off; /* array of struct shm_section */
    uint32_t arenas_off;   /* array of struct shm_arena */
    uint32_t reserved;
    uint32_t index_crc; /* over the index_count entries */
    uint32_t crc;
};

/* A page-aligned run of the segment with one writer and one class of readers. */
struct shm_arena {
    uint64_t offset;
    uint64_t bytes;
    uint64_t incarnation; /* tells it from an earlier arena of the same index */
    uint64_t retired_gen;
    uint32_t owner_index; /* worker record of its writer; of instances, of the first */
    uint32_t state;       /* enum shm_place */
    uint32_t read_class;  /* 0 = all who may attach */
    uint32_t writers;     /* enum shm_writers */
    uint32_t write_class; /* SHM_WRITERS_CLASS: 0 = all who may attach; else gid + 1 */
    uint32_t reserved[2];
    uint32_t crc;
};

/* A section's descriptor. */
struct shm_section {
    char name[SHM_NAME_BYTES];
    char owner[SHM_NAME_BYTES];
    char format[SHM_NAME_BYTES]; /* free text about the payload; "" = unsaid */
    uint64_t section_id;         /* the row's id, or SHM_SECTION_ID_MADE and up; never reused */
    uint64_t incarnation;        /* versions compare only within one */
    uint64_t changed_gen;        /* generation in which this descriptor last changed */
    uint64_t offset;             /* the whole extent, control block included */
    uint64_t bytes;
    uint64_t ctl_off;     /* struct shm_control; raw: the data itself */
    uint64_t old_ctl_off; /* MOVING: the ctl_off of old_slot; else 0 */
    uint64_t retired_gen; /* RETIRED, QUARANTINED: since which generation */
    uint64_t size;        /* the table's size: largest value, or bytes of data */
    uint64_t stale_ms;    /* 0 = never stale */
    uint32_t kind;        /* enum shm_kind */
    uint32_t state;       /* enum shm_place */
    uint32_t flags;       /* SHM_SECTION_* */
    uint32_t count;       /* buffers, items or lanes; raw: 0 */
    uint32_t owner_index; /* worker record */
    uint32_t bell_index;
    uint32_t arena_index;
    uint32_t read_class;
    uint32_t old_slot; /* MOVING: descriptor of the place before, which is QUARANTINED and has the
                          same section_id and incarnation; else 0 */
    uint32_t claims_arena; /* queue: the arena of its claims, which lies behind arena_index's; else
                              0 */
    uint64_t claims_off;   /* queue: the first lane's struct shm_claims; else 0 */
    uint32_t write_class;  /* slots, queue, shared raw: as their arena's; else 0 */
    uint32_t reserved1;
    uint64_t changed_real_ns; /* when changed_gen was made; 0 = unknown */
    uint8_t reserved2[44];
    uint32_t crc;
};

/* Line 0 of every kind but raw: constants, written by the manager before the section is
 * published, and never changed within an incarnation. */
struct shm_control {
    uint32_t magic; /* SHM_CONTROL_* of its kind */
    uint32_t abi;
    uint32_t count;
    uint32_t bell_index;
    uint64_t section_id;
    uint64_t incarnation;
    uint64_t stride;  /* bytes from one buffer (item, lane) to the next */
    uint64_t buf_off; /* of the first one, from this structure's first byte */
    uint32_t flags;   /* SHM_SECTION_STAMP_*, SHM_SECTION_SHARED */
    uint32_t records; /* queue: of each lane, a power of two; else 0 */
    uint32_t reserved;
    uint32_t crc;
};
#define SHM_CONTROL_SNAPSHOT 0x50414e53u /* "SNAP" */
#define SHM_CONTROL_SLOTS    0x544f4c53u /* "SLOT" */
#define SHM_CONTROL_QUEUE    0x45554551u /* "QEUE" */

/* A snapshot section: control line, head line, writer's line, then `count` buffers. */
struct shm_snapshot {
    struct shm_control control;
    uint64_t head; /* buffer << 56 | version << 1 | moved; its low half is the futex */
    uint8_t reserved1[56];
    uint64_t epoch; /* of the worker that last took the section over */
    uint64_t aborted;
    uint64_t wakes;
    uint64_t wake_errors;
    uint8_t reserved2[32];
};
#define SHM_HEAD_MOVED         UINT64_C(1) /* the writer publishes elsewhere, and is through here */
#define SHM_HEAD_BUFFER_SHIFT  56
#define SHM_HEAD_VERSION_SHIFT 1
#define SHM_VERSION_MAX        ((UINT64_C(1) << 55) - 1)

/* shm_buffer.mono_ns of a value that was restored after a reboot: its age is told by real_ns. */
#define SHM_MONO_EARLIER_BOOT UINT64_MAX

/* A snapshot's buffer; the value starts SHM_LINE bytes behind its first byte. */
struct shm_buffer {
    uint64_t seq; /* 2 * version; odd while it is being written; 0 = never written */
    uint64_t len;
    uint64_t mono_ns; /* CLOCK_MONOTONIC at commit; 0 with stamp none; SHM_MONO_EARLIER_BOOT */
    uint64_t real_ns; /* CLOCK_REALTIME at commit; 0 with stamp none */
    uint32_t epoch;   /* low half of the writer's epoch */
    uint32_t crc;     /* of the value; 0 = none */
    uint8_t reserved[24];
};

/* Slots: the control line, then `count` items of `stride` bytes: this header and two buffers, each
 * struct shm_slot_buffer and `size` bytes rounded up to 8; with SHM_SECTION_SHARED one bare
 * buffer stands behind the header. */
struct shm_slot {
    uint64_t owner;   /* epoch << 32 | attachment << 16 | state << 8 | flags; changed by CAS only */
    uint64_t head;    /* version << 1 | buffer; 0 = nothing was ever put; goes on over grabs */
    uint64_t grabs;   /* how often it was grabbed */
    uint64_t real_ns; /* when it was grabbed, or handed on, last */
    uint32_t pid;     /* to whom */
    uint32_t reserved[7];
};
struct shm_slot_buffer {
    uint64_t seq; /* 2 * version; odd while it is being written */
    uint32_t len;
    uint32_t crc;     /* of the value; 0 = none */
    uint64_t mono_ns; /* as shm_buffer's */
    uint64_t real_ns;
};

/* Owner words, of slots and of lanes: who is named holds it for as long as the low half of his
 * attachment's epoch is this epoch; then it is free, whatever the state says. */
#define SHM_OWNER_EPOCH_SHIFT      32
#define SHM_OWNER_ATTACHMENT_SHIFT 16
#define SHM_OWNER_STATE_SHIFT      8
enum shm_owner_state {
    SHM_OWNER_FREE = 0,
    SHM_OWNER_HELD = 1,
    SHM_OWNER_OFFERED =
        2,                /* a slot that its holder hands on: whoever knows this word may take it */
    SHM_OWNER_SEALED = 3, /* the manager is taking it to another place; look the section up again */
};
/* Flags of a slot. */
#define SHM_OWNER_STAYS 0x1u /* in use until it is released, whoever lives */
#define SHM_OWNER_EMPTY                                                                            \
    0x2u /* nothing was put since it was grabbed: what head names doesn't count */

/* A queue: the control line and `count` lanes of `stride` bytes, and apart from them, in an arena
 * of the receivers', as many claims.  A lane is constants, its sender's lines, a ring of records,
 * and the payload's ring. */
struct shm_lane {
    uint32_t magic; /* SHM_CONTROL_QUEUE */
    uint32_t lane;
    uint64_t section_id;
    uint64_t incarnation;
    uint32_t records; /* a power of two */
    uint32_t max_message;
    uint64_t data_bytes;
    uint32_t reserved[5];
    uint32_t crc;
    /* what its sender adds to; nothing else stands on this line */
    uint64_t sent; /* records ever committed: the one commit word */
    uint8_t reserved1[56];
    /* what changes hands, and what he needs to get room back */
    uint64_t owner;         /* as a slot's */
    uint64_t reclaimed;     /* records before this one are his again */
    uint32_t waiting;       /* he sleeps for room */
    uint32_t relocated;     /* records appended again, as nobody took what stood before them */
    uint32_t takeovers;     /* how often a sender died and another one took the lane */
    uint32_t high_messages; /* the most that ever stood in it at once */
    uint64_t high_bytes;
    uint64_t moving; /* record that he is about to append again; 0: none */
    uint64_t reserved2[2];
    /* his counters */
    uint64_t bytes_sent;
    uint64_t refused; /* sends that found it full and did not wait, or not long enough */
    uint64_t blocked_ns;
    uint64_t wakes;
    uint64_t reserved3[4];
};
struct shm_record {
    uint64_t seq; /* position in the lane, from 1; valid when it is <= sent; ~position: gone, as it
                     was appended again */
    uint64_t id;  /* what the user sees: stays, where seq changes as it is appended again */
    uint64_t pos; /* of the payload, from its ring's first byte: a multiple of SHM_LINE */
    uint32_t len;
    uint32_t flags;      /* SHM_RECORD_* */
    int64_t type;        /* > 0 */
    uint64_t send_ns;    /* CLOCK_MONOTONIC; rises within a lane */
    uint32_t attachment; /* the sender's */
    uint32_t epoch;      /* of that, its low half */
    uint32_t pid;
    uint32_t crc; /* over the bytes before it */
};

#define SHM_RECORD_TAKEN 0x1u /* somebody had taken it where it stood before, and didn't finish */

/* What receivers write of a lane: this line, then a claim word for each record. */
struct shm_claims {
    uint32_t kick; /* futex of a sender who waits for room */
    uint32_t last_pid;
    uint64_t last_real_ns;
    uint64_t received; /* about: a receiver that is killed may not have counted its last */
    uint64_t reserved[5];
    /* uint64_t claim[records]: seq << 32 | state << 30 | attachment << 16 | epoch */
};
#define SHM_CLAIM_SEQ_SHIFT        32 /* the low half of the record's */
#define SHM_CLAIM_STATE_SHIFT      30
#define SHM_CLAIM_ATTACHMENT_SHIFT 16
enum shm_claim_state {
    SHM_CLAIM_NONE = 0,  /* also where the sequence isn't the record's: it can be taken */
    SHM_CLAIM_TAKEN = 1, /* by this attachment, while its epoch's low 16 bits are these */
    SHM_CLAIM_DONE = 2,  /* received; its sender may use the record again */
};

/* Line 0 of the bell segment; doorbell i stands at (i + 1) * SHM_LINE. */
struct shm_bells {
    uint64_t magic;
    uint32_t abi;
    uint32_t capacity;
    uint64_t segment_id; /* of the segment that they belong to */
    uint8_t reserved[40];
};
#define SHM_BELLS_MAGIC UINT64_C(0x314c4c45424d4853) /* the bytes "SHMBELL1" */

/* A doorbell: anyone writes it, no one trusts it. */
struct shm_bell {
    uint32_t want; /* somebody sleeps; a flag, never a count */
    uint32_t ring;
    uint64_t hint; /* version << 8 | buffer that a lapped reader reads */
    uint8_t reserved[48];
};

#define SHM_AT(type, member, offset)                                                               \
    SHM_STATIC_ASSERT(offsetof(struct type, member) == (offset), #type "." #member " moved")
#define SHM_IS(type, bytes) SHM_STATIC_ASSERT(sizeof(struct type) == (bytes), #type " resized")

SHM_IS(shm_directory_place, 16);
SHM_AT(shm_directory_place, offset, 0);
SHM_AT(shm_directory_place, bytes, 8);
SHM_IS(shm_header, 256);
SHM_AT(shm_header, magic, 0);
SHM_AT(shm_header, abi, 8);
SHM_AT(shm_header, header_bytes, 12);
SHM_AT(shm_header, compatible, 16);
SHM_AT(shm_header, incompatible, 24);
SHM_AT(shm_header, byte_order, 32);
SHM_AT(shm_header, key, 36);
SHM_AT(shm_header, segment_bytes, 40);
SHM_AT(shm_header, backend, 48);
SHM_AT(shm_header, page_bytes, 52);
SHM_AT(shm_header, segment_id, 56);
SHM_AT(shm_header, boot_id, 64);
SHM_AT(shm_header, created_real_ns, 80);
SHM_AT(shm_header, workers_off, 88);
SHM_AT(shm_header, workers_capacity, 92);
SHM_AT(shm_header, attachments_off, 96);
SHM_AT(shm_header, attachments_capacity, 100);
SHM_AT(shm_header, bells_capacity, 104);
SHM_AT(shm_header, arena_start, 108);
SHM_AT(shm_header, crc, 124);
SHM_AT(shm_header, generation, 128);
SHM_AT(shm_header, state, 136);
SHM_AT(shm_header, bell_id, 140);
SHM_AT(shm_header, directories, 144);
SHM_AT(shm_header, successor, 176);
SHM_AT(shm_header, heartbeat_mono_ns, 192);
SHM_AT(shm_header, heartbeat_real_ns, 200);
SHM_AT(shm_header, heartbeat_interval_ms, 208);
SHM_AT(shm_header, manager_pid, 212);
SHM_AT(shm_header, manager_start, 216);
SHM_AT(shm_header, manager_epoch, 224);
SHM_IS(shm_worker, 128);
SHM_AT(shm_worker, name, 0);
SHM_AT(shm_worker, word, 64);
SHM_AT(shm_worker, attachment, 72);
SHM_AT(shm_worker, pid, 76);
SHM_AT(shm_worker, pid_start, 80);
SHM_AT(shm_worker, since_real_ns, 88);
SHM_AT(shm_worker, ended_real_ns, 96);
SHM_AT(shm_worker, end_reason, 104);
SHM_AT(shm_worker, end_detail, 108);
SHM_AT(shm_worker, uid, 112);
SHM_AT(shm_worker, previous_pid, 116);
SHM_AT(shm_worker, name_crc, 124);
SHM_IS(shm_attachment, 64);
SHM_AT(shm_attachment, word, 0);
SHM_AT(shm_attachment, worker, 8);
SHM_AT(shm_attachment, pid, 12);
SHM_AT(shm_attachment, pid_start, 16);
SHM_AT(shm_attachment, since_real_ns, 24);
SHM_AT(shm_attachment, uid, 32);
SHM_IS(shm_directory, 64);
SHM_AT(shm_directory, generation, 0);
SHM_AT(shm_directory, published_real_ns, 8);
SHM_AT(shm_directory, index_count, 16);
SHM_AT(shm_directory, slots_used, 20);
SHM_AT(shm_directory, capacity, 24);
SHM_AT(shm_directory, arenas_used, 28);
SHM_AT(shm_directory, arenas_capacity, 32);
SHM_AT(shm_directory, workers_used, 36);
SHM_AT(shm_directory, index_off, 40);
SHM_AT(shm_directory, sections_off, 44);
SHM_AT(shm_directory, arenas_off, 48);
SHM_AT(shm_directory, index_crc, 56);
SHM_AT(shm_directory, crc, 60);
SHM_IS(shm_arena, 64);
SHM_AT(shm_arena, offset, 0);
SHM_AT(shm_arena, bytes, 8);
SHM_AT(shm_arena, incarnation, 16);
SHM_AT(shm_arena, retired_gen, 24);
SHM_AT(shm_arena, owner_index, 32);
SHM_AT(shm_arena, state, 36);
SHM_AT(shm_arena, read_class, 40);
SHM_AT(shm_arena, writers, 44);
SHM_AT(shm_arena, write_class, 48);
SHM_AT(shm_arena, crc, 60);
SHM_IS(shm_section, 384);
SHM_AT(shm_section, name, 0);
SHM_AT(shm_section, owner, 64);
SHM_AT(shm_section, format, 128);
SHM_AT(shm_section, section_id, 192);
SHM_AT(shm_section, incarnation, 200);
SHM_AT(shm_section, changed_gen, 208);
SHM_AT(shm_section, offset, 216);
SHM_AT(shm_section, bytes, 224);
SHM_AT(shm_section, ctl_off, 232);
SHM_AT(shm_section, old_ctl_off, 240);
SHM_AT(shm_section, retired_gen, 248);
SHM_AT(shm_section, size, 256);
SHM_AT(shm_section, stale_ms, 264);
SHM_AT(shm_section, kind, 272);
SHM_AT(shm_section, state, 276);
SHM_AT(shm_section, flags, 280);
SHM_AT(shm_section, count, 284);
SHM_AT(shm_section, owner_index, 288);
SHM_AT(shm_section, bell_index, 292);
SHM_AT(shm_section, arena_index, 296);
SHM_AT(shm_section, read_class, 300);
SHM_AT(shm_section, old_slot, 304);
SHM_AT(shm_section, claims_arena, 308);
SHM_AT(shm_section, claims_off, 312);
SHM_AT(shm_section, write_class, 320);
SHM_AT(shm_section, changed_real_ns, 328);
SHM_AT(shm_section, crc, 380);
SHM_IS(shm_control, 64);
SHM_AT(shm_control, magic, 0);
SHM_AT(shm_control, abi, 4);
SHM_AT(shm_control, count, 8);
SHM_AT(shm_control, bell_index, 12);
SHM_AT(shm_control, section_id, 16);
SHM_AT(shm_control, incarnation, 24);
SHM_AT(shm_control, stride, 32);
SHM_AT(shm_control, buf_off, 40);
SHM_AT(shm_control, flags, 48);
SHM_AT(shm_control, records, 52);
SHM_AT(shm_control, crc, 60);
SHM_IS(shm_snapshot, 192);
SHM_AT(shm_snapshot, control, 0);
SHM_AT(shm_snapshot, head, 64);
SHM_AT(shm_snapshot, epoch, 128);
SHM_AT(shm_snapshot, aborted, 136);
SHM_AT(shm_snapshot, wakes, 144);
SHM_AT(shm_snapshot, wake_errors, 152);
SHM_IS(shm_buffer, 64);
SHM_AT(shm_buffer, seq, 0);
SHM_AT(shm_buffer, len, 8);
SHM_AT(shm_buffer, mono_ns, 16);
SHM_AT(shm_buffer, real_ns, 24);
SHM_AT(shm_buffer, epoch, 32);
SHM_AT(shm_buffer, crc, 36);
SHM_IS(shm_slot, 64);
SHM_AT(shm_slot, owner, 0);
SHM_AT(shm_slot, head, 8);
SHM_AT(shm_slot, grabs, 16);
SHM_AT(shm_slot, real_ns, 24);
SHM_AT(shm_slot, pid, 32);
SHM_IS(shm_slot_buffer, 32);
SHM_AT(shm_slot_buffer, seq, 0);
SHM_AT(shm_slot_buffer, len, 8);
SHM_AT(shm_slot_buffer, crc, 12);
SHM_AT(shm_slot_buffer, mono_ns, 16);
SHM_AT(shm_slot_buffer, real_ns, 24);
SHM_IS(shm_lane, 256);
SHM_AT(shm_lane, magic, 0);
SHM_AT(shm_lane, lane, 4);
SHM_AT(shm_lane, section_id, 8);
SHM_AT(shm_lane, incarnation, 16);
SHM_AT(shm_lane, records, 24);
SHM_AT(shm_lane, max_message, 28);
SHM_AT(shm_lane, data_bytes, 32);
SHM_AT(shm_lane, crc, 60);
SHM_AT(shm_lane, sent, 64);
SHM_AT(shm_lane, owner, 128);
SHM_AT(shm_lane, reclaimed, 136);
SHM_AT(shm_lane, waiting, 144);
SHM_AT(shm_lane, relocated, 148);
SHM_AT(shm_lane, takeovers, 152);
SHM_AT(shm_lane, high_messages, 156);
SHM_AT(shm_lane, high_bytes, 160);
SHM_AT(shm_lane, moving, 168);
SHM_AT(shm_lane, bytes_sent, 192);
SHM_AT(shm_lane, refused, 200);
SHM_AT(shm_lane, blocked_ns, 208);
SHM_AT(shm_lane, wakes, 216);
SHM_IS(shm_record, 64);
SHM_AT(shm_record, seq, 0);
SHM_AT(shm_record, id, 8);
SHM_AT(shm_record, pos, 16);
SHM_AT(shm_record, len, 24);
SHM_AT(shm_record, flags, 28);
SHM_AT(shm_record, type, 32);
SHM_AT(shm_record, send_ns, 40);
SHM_AT(shm_record, attachment, 48);
SHM_AT(shm_record, epoch, 52);
SHM_AT(shm_record, pid, 56);
SHM_AT(shm_record, crc, 60);
SHM_IS(shm_claims, 64);
SHM_AT(shm_claims, kick, 0);
SHM_AT(shm_claims, last_pid, 4);
SHM_AT(shm_claims, last_real_ns, 8);
SHM_AT(shm_claims, received, 16);
SHM_IS(shm_bells, 64);
SHM_AT(shm_bells, magic, 0);
SHM_AT(shm_bells, abi, 8);
SHM_AT(shm_bells, capacity, 12);
SHM_AT(shm_bells, segment_id, 16);
SHM_IS(shm_bell, 64);
SHM_AT(shm_bell, want, 0);
SHM_AT(shm_bell, ring, 4);
SHM_AT(shm_bell, hint, 8);

#undef SHM_AT
#undef SHM_IS
#undef SHM_STATIC_ASSERT

#ifdef __cplusplus
}
#endif

#endif
