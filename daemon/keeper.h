/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper: a process that does nothing but hold the segment's memfds, so that they outlive the
 * manager, however that ends.  It takes one message of fixed size, and answers each by one.
 */
#ifndef SHM_DAEMON_KEEPER_H
#define SHM_DAEMON_KEEPER_H

#include <stdint.h>

#define KEEPER_MAGIC   0x5045454bu /* "KEEP" */
#define KEEPER_VERSION 1u

enum keeper_op {
    KEEPER_HOLD = 1, /* with a descriptor; in place of one of the same name */
    KEEPER_DROP,
    KEEPER_GET,    /* the one at `position`, with its descriptor; -ENOENT behind the last */
    KEEPER_FORGET, /* all of them */
};

enum keeper_kind { KEEPER_HEADER = 1, KEEPER_BELLS = 2, KEEPER_ARENA = 3 };

/* An object's name is (segment_id, kind, index, incarnation). */
struct keeper_message {
    uint32_t magic;
    uint16_t version;
    uint16_t op;
    int32_t result; /* of an answer */
    uint32_t kind;
    uint64_t segment_id;
    uint64_t incarnation; /* of an arena */
    uint32_t index;       /* the same */
    uint32_t position;    /* of KEEPER_GET */
    uint64_t bytes;
};

#endif
