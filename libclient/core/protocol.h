/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages on the manager's socket (SOCK_SEQPACKET, one message a packet).
 *
 *   manager                       client
 *   HELLO            ------>
 *                    <------      CLAIM worker    ("": an attachment without a name)
 *   WAITING          ------>      (held by another, and the client said that it waits)
 *   GRANT + lease fd ------>
 *                    <------      ACK             (the lease is mapped)
 *   LEASED           ------>      (the header says so too, and that is what counts)
 *
 *                    <------      MAP part        (memfd: any number of times)
 *   PART + fd        ------>      (or REFUSED; what came before must have been taken)
 *
 *                    <------      CREATE or DROP a section
 *   DONE             ------>
 *
 *                    <------      REQUEST "status"
 *   REPLY, REPLY...  ------>      (pieces of a JSON text)
 *   DONE result      ------>
 *
 *   REFUSED result   ------>      (instead of GRANT, or of a reply; the connection ends)
 */
#ifndef SHM_CORE_PROTOCOL_H
#define SHM_CORE_PROTOCOL_H

#include <shm-manager/layout.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#define PROTOCOL_MAGIC         0x43534d53u /* "SMSC" */
#define PROTOCOL_VERSION       1u
#define PROTOCOL_TEXT_BYTES    400u
#define PROTOCOL_REQUEST_BYTES 256u
#define PROTOCOL_PIECE_BYTES   16384u
#define PROTOCOL_REPLY_MAX     (64u << 20) /* a client takes no longer reply */

enum protocol_type {
    PROTOCOL_HELLO = 1,
    PROTOCOL_CLAIM,
    PROTOCOL_WAITING,
    PROTOCOL_GRANT,
    PROTOCOL_ACK,
    PROTOCOL_LEASED,
    PROTOCOL_REFUSED,
    PROTOCOL_REQUEST,
    PROTOCOL_REPLY,
    PROTOCOL_DONE,
    PROTOCOL_MAP,
    PROTOCOL_PART,
    PROTOCOL_CREATE,
    PROTOCOL_DROP,
};

/* First bytes of each message. */
struct protocol_head {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
    uint32_t bytes; /* of the whole message */
    int32_t result; /* 0 or a negative errno */
};

struct protocol_hello {
    struct protocol_head head;
    uint32_t abi;
    uint32_t key;
    uint32_t manager_pid; /* the listener may be systemd */
    uint32_t backend;     /* enum shm_backend */
    uint64_t segment_id;
};

#define PROTOCOL_CLAIM_WAIT 0x1u
struct protocol_claim {
    struct protocol_head head;
    char worker[SHM_NAME_BYTES];
    uint32_t flags;
    uint32_t reserved;
};

/* WAITING and REFUSED */
struct protocol_refused {
    struct protocol_head head;
    uint32_t holder; /* pid, with -EBUSY; 0 = not known */
    uint32_t reserved;
    char text[PROTOCOL_TEXT_BYTES];
};

struct protocol_grant {
    struct protocol_head head;
    char worker[SHM_NAME_BYTES]; /* the instance that was chosen, with instances; "" */
    uint32_t worker_index;       /* SHM_NONE: without a name; and worker_epoch 0 */
    uint32_t attachment;
    uint64_t worker_epoch;
    uint64_t attachment_epoch;
};

/* ACK and LEASED */
struct protocol_ack {
    struct protocol_head head;
    uint32_t attachment;
    uint32_t reserved;
    uint64_t attachment_epoch;
};

/* MAP and PART.  An arena is named as the directory in force does; to have it writable takes its
 * owner's lease. */
enum protocol_part { PROTOCOL_PART_HEADER = 1, PROTOCOL_PART_BELLS, PROTOCOL_PART_ARENA };
struct protocol_map {
    struct protocol_head head;
    uint32_t part;
    uint32_t index; /* of an arena */
    uint64_t incarnation;
    uint32_t writable;
    uint32_t attachment; /* the lease, to have it writable */
    uint64_t attachment_epoch;
    uint64_t bytes; /* PART: of the object */
};

/* A section at run time, for who holds that lease; fields and flags as shmc_create() has them. */
#define PROTOCOL_CREATE_EXCLUSIVE 0x1u
#define PROTOCOL_CREATE_TRANSIENT 0x2u
#define PROTOCOL_CREATE_PERSIST   0x4u
#define PROTOCOL_CREATE_SHARED    0x8u
#define PROTOCOL_CREATE_PREGRAB   0x10u
#define PROTOCOL_CREATE_CLEAR     0x20u
#define PROTOCOL_CREATE_RESTART   0x40u
struct protocol_create {
    struct protocol_head head;
    char name[SHM_NAME_BYTES];
    char format[SHM_NAME_BYTES];
    char read_group[SHM_NAME_BYTES];
    char write_group[SHM_NAME_BYTES];
    uint64_t size;
    uint64_t stale_ms;
    uint32_t kind;
    uint32_t count;
    uint32_t stamp;
    uint32_t notify;
    uint32_t flags;
    uint32_t attachment;
    uint64_t attachment_epoch;
};

struct protocol_drop {
    struct protocol_head head;
    char name[SHM_NAME_BYTES];
    uint32_t attachment;
    uint32_t reserved;
    uint64_t attachment_epoch;
};

struct protocol_request {
    struct protocol_head head;
    char text[PROTOCOL_REQUEST_BYTES];
};

struct protocol_piece {
    struct protocol_head head;
    char text[PROTOCOL_PIECE_BYTES]; /* head.bytes says how much of it */
};

union protocol_message {
    struct protocol_head head;
    struct protocol_hello hello;
    struct protocol_claim claim;
    struct protocol_refused refused;
    struct protocol_grant grant;
    struct protocol_ack ack;
    struct protocol_map map;
    struct protocol_create create;
    struct protocol_drop drop;
    struct protocol_request request;
    struct protocol_piece piece;
};

/* Fills the head of a message of `bytes` bytes. */
void protocol_fill(struct protocol_head *head, enum protocol_type type, size_t bytes, int result);

/* Is what was received (`bytes` of it) a message of its type, whole, its texts ended?  0, -EBADMSG,
 * or -EPROTONOSUPPORT for another version. */
int protocol_check(const union protocol_message *message, size_t bytes);

/* Sends a message, with a descriptor when fd >= 0.  Returns 0, or a negative errno (-EAGAIN: the
 * peer doesn't read). */
int protocol_send(int socket, const union protocol_message *message, int fd);

/* Receives one; 0, -EAGAIN, -ECONNRESET (ended), -EBADMSG, -EPROTONOSUPPORT.  `fd` NULL: none is
 * taken (the kernel then has nothing to install); else *fd is the one that came, or -1. */
int protocol_receive(int socket, union protocol_message *ret, int *fd);

/* RUNTIME_DIR/KEY.sock; -ENAMETOOLONG. */
int protocol_address(struct sockaddr_un *ret, const char *runtime_dir, uint32_t key);

#endif
