/* SPDX-License-Identifier: Apache-2.0
 *
 * A manager without databases: the daemon's own server, claims and leases (daemon/server.c,
 * attach.c, leases.c) on a segment in memory that is shared with the process that is stepped; and
 * clients, which say to it what the library says.
 *
 * There are the workers `cam`, whom it is all about, and `still`, who holds a lease all the while;
 * or it is about attachments without a name.
 */
#ifndef SHM_TESTS_OFFICE_H
#define SHM_TESTS_OFFICE_H

#include "manager.h"

enum client_state {
    CLIENT_NONE,
    CLIENT_CLAIMS,
    CLIENT_WAITS,
    CLIENT_GRANTED,
    CLIENT_LEASED,
    CLIENT_REFUSED,
    CLIENT_CUT_OFF
};

struct office_client {
    enum client_state state;
    int socket;
    void *map;    /* of the lease; NULL: none, or a holder's */
    pid_t holder; /* the process that keeps the lease; 0: this one */
    struct protocol_grant grant;
};

extern uint8_t *office_segment;

/* It is about attachments without a name, and no `cam`. */
extern bool office_anonymous;

/* Makes the segment and takes the lease of `still`; all goes at exit. */
void office_open(void);

/* Everything as it was behind office_open(). */
void office_reset(void);

/* A manager that finds what there is; what it says goes nowhere.  0, or a negative errno. */
int office_manager(struct manager *ret);
void office_leave(struct manager *manager);

/* Runs it until `done`; false: that takes more than a minute. */
bool office_serve(struct manager *manager, bool (*done)(const struct manager *, const void *),
                  const void *what);

/* Its record of `cam`, as it stands in the segment. */
struct shm_worker office_record(void);

/* As it stands in the segment. */
struct shm_attachment office_attachment(uint32_t index);

/* Does the record have that state; without a name: any of them, and for FREE all of them?  For
 * office_serve(), with a pointer to the state. */
bool office_is(const struct manager *manager, const void *state);

/* ---- clients */

/* Connects, and claims `cam`, ready to wait for it; or no name. */
void client_claim(struct office_client *client);

/* Takes what has come: maps and acknowledges a grant. */
void client_look(struct office_client *client);

/* The same, but a process of its own gets the lease. */
void client_hand_on(struct office_client *client);

/* Gives up, or dies. */
void client_drop(struct office_client *client);

/* May it write, as the segment says? */
bool client_holds(const struct office_client *client);

/* For office_serve(), with the client: has it got a word on its claim, or its lease? */
bool client_answered(const struct manager *manager, const void *client);
bool client_leased(const struct manager *manager, const void *client);

/* ---- what must hold; false, and why */

/* Whatever stands in the records of `cam` and of its attachment belongs together.  At a lease's end
 * the attachment's fields go before its word does. */
bool office_records_fit(bool ending, char *error, size_t error_bytes);

/* Nothing but the record of `cam` and unused attachments is another than behind office_open(). */
bool office_rest_is_same(char *error, size_t error_bytes);

/* Lease files that there are. */
unsigned office_files(void);

#endif
