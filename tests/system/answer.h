/* SPDX-License-Identifier: Apache-2.0
 *
 * The manager's answer to who asks for a part of the segment by a socket of his own.
 */
#ifndef SHM_TESTS_ANSWER_H
#define SHM_TESTS_ANSWER_H

#include "cases.h"
#include "core/protocol.h"

/* The descriptor that came with it and how much it holds, or the error of a refusal. */
static inline int answer_part(const union protocol_message *m, int fd, uint64_t *bytes) {
    if (m->head.type == PROTOCOL_REFUSED) {
        CHECK(fd < 0 && m->head.result < 0 && m->refused.text[0] != '\0');
        return m->head.result;
    }
    CHECK(m->head.type == PROTOCOL_PART && fd >= 0);
    if (bytes != NULL)
        *bytes = m->map.bytes;
    return fd;
}

#endif
