/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as they come from a socket: protocol_check() reads no further than what came, and what it
 * accepts is whole and ended.
 */
#include "core/protocol.h"
#include "fuzz.h"

#include <errno.h>
#include <string.h>

static const size_t sizes[] = {
    sizeof(struct protocol_head),    sizeof(struct protocol_hello), sizeof(struct protocol_claim),
    sizeof(struct protocol_refused), sizeof(struct protocol_grant), sizeof(struct protocol_ack),
    sizeof(struct protocol_request), sizeof(struct protocol_map),   100};

static bool ended(const char *text, size_t bytes) {
    return memchr(text, '\0', bytes) != NULL;
}

static void check_accepted(const union protocol_message *m, size_t bytes) {
    MUST(m->head.magic == PROTOCOL_MAGIC && m->head.version == PROTOCOL_VERSION);
    MUST(m->head.bytes == bytes && bytes <= sizeof *m);
    MUST(m->head.type != PROTOCOL_CLAIM || ended(m->claim.worker, SHM_NAME_BYTES));
    MUST(m->head.type != PROTOCOL_GRANT || ended(m->grant.worker, SHM_NAME_BYTES));
    MUST(m->head.type != PROTOCOL_REQUEST || ended(m->request.text, PROTOCOL_REQUEST_BYTES));
    MUST(m->head.type != PROTOCOL_REFUSED || ended(m->refused.text, PROTOCOL_TEXT_BYTES));
    MUST(m->head.type >= PROTOCOL_HELLO && m->head.type <= PROTOCOL_PART);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    bool forged = take_below(&input, 4) != 0;
    size_t n = forged ? sizes[take_below(&input, sizeof sizes / sizeof *sizes)]
                      : (size_t)(input.end - input.at);
    /* As long as the message and no longer: what is read behind it is out of bounds. */
    uint8_t *copy = calloc(1, n + 1);
    MUST(copy != NULL);
    union protocol_message *m = (void *)copy;
    if (forged) {
        struct protocol_head head;
        protocol_fill(&head, (enum protocol_type)take_below(&input, PROTOCOL_PART + 2), n, 0);
        take_bytes(&input, copy + sizeof head, n - sizeof head);
        memcpy(copy, &head, sizeof head);
    } else {
        take_bytes(&input, copy, n);
    }
    int r = protocol_check(m, n);
    MUST(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
    if (r == 0)
        check_accepted(m, n);
    free(copy);
    return 0;
}
