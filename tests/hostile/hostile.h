/* SPDX-License-Identifier: Apache-2.0
 *
 * The attacks, and what they share.  Each is run in a process of its own as the user that it names,
 * on a live manager of another user's, beside a worker and a reader of other users' again.  It
 * asserts what the kernel or the manager answered; behind each, main.c asserts that nobody was
 * harmed.
 */
#ifndef SHM_TESTS_HOSTILE_H
#define SHM_TESTS_HOSTILE_H

#include "cases.h"
#include "core/packet.h"
#include "core/protocol.h"

#include <sys/mman.h>
#include <sys/stat.h>

/* Numbers without accounts. */
#define MANAGER_UID  65520
#define VICTIM_UID   65521
#define READER_UID   65522
#define MALLORY_UID  65523
#define OUTSIDER_UID 65524
#define GROUP        65530 /* may attach */
#define SECRET_GROUP 65531 /* may read section 'secret'; the victim is in it */

#define VALUE_BYTES 4000 /* of the victim's section 'temps' */

/* Who attacks. */
enum who {
    OUTSIDER, /* in no group */
    READER,   /* in the segment's group */
    WORKER,   /* the same user, who may be worker 'mallory' */
};

/* What becomes of it under sysv.  Under memfd all are denied. */
enum outcome {
    DENIED,
    OPEN, /* the kernel can't; what the library and the manager do instead is asserted */
    NONE, /* there is no such thing to attack */
};

struct attack {
    const char *name;
    enum who who;
    enum outcome sysv;
    void (*run)(void);
};

/* One a file; the last has no name. */
extern const struct attack memory_attacks[], object_attacks[], own_attacks[], lease_attacks[],
    request_attacks[], message_attacks[], made_attacks[], many_attacks[], flood_attacks[],
    host_attacks[];

/* The call fails, and with this error. */
#define REFUSED(call, error)                                                                       \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((long)(call) == -1);                                                                 \
        CHECK_IS(errno, error);                                                                    \
    } while (0)

/* ---- main.c: what an attack may ask of its parent, which is root */

/* The table is edited and applied; the reload's result. */
int root_edits(const char *sql);

/* A request to the manager. */
int root_requests(const char *request);

/* Another user attaches, and reads the victim's value; or without a name, and sends. */
int root_attaches(void);
int root_sends(void);

/* The victim publishes, and the reader must find it. */
void victim_goes_on(void);

/* The victim's user becomes worker 'heir' and writes its section; has that what it wrote? */
void victim_succeeds(void);
int victim_has_what_it_wrote(void);

pid_t manager_pid(void), victim_pid(void);

/* Becomes that user, for good. */
void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n);

/* ---- for test_hostile.sh, which kills the manager meanwhile */

/* own.c: worker 'mallory', with nothing but random bytes in its section. */
void hold_garbage(void);

/* host.c */
void pester_keeper(void);

/* ---- peer.c: a client of one's own making */

uint32_t real_key(void);
int try_call(void);     /* connects; a negative errno */
int call_manager(void); /* and takes the hello */
void send_bytes(int socket, const void *bytes, size_t n);
void send_as(int socket, union protocol_message *m, enum protocol_type type, size_t bytes);
void take_message(int socket, union protocol_message *m, int *fd);

/* The answer is a refusal that says so. */
void refused(int socket, int result, const char *says);

/* The same for a request, over a connection of its own. */
void request_refused(const char *text, int result, const char *says);

/* Asks for a part: the descriptor, or a negative errno. */
int fetch(const struct protocol_map *wanted, uint64_t *bytes);

/* The arena of a section, as the directory names it; on both backends. */
struct protocol_map arena_of(const char *name, struct shm_section *section);

/* A section's bytes as this process has them mapped. */
uint8_t *extent_of(shmc *segment, const char *name, struct shm_section *ret);

/* The numbers of a worker's lease, which stand in the header for all to read. */
uint64_t lease_epoch(shmc *segment, const char *worker, uint32_t *attachment);

/* Attaches without the library's manners (sysv): the whole segment. */
uint8_t *attach_all(bool writable);

/* The path of a file beside the manager's socket. */
const char *beside_socket(const char *suffix);

#endif
