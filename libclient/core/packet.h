/* SPDX-License-Identifier: Apache-2.0
 *
 * One message a packet on a SOCK_SEQPACKET socket, with at most one descriptor.
 */
#ifndef SHM_CORE_PACKET_H
#define SHM_CORE_PACKET_H

#include <sys/types.h>

/* Sends it, with a descriptor when fd >= 0, without waiting unless the socket has a time for that.
 * 0, or a negative errno (-EAGAIN: the peer doesn't read). */
int packet_send(int socket, const void *message, size_t bytes, int fd, int flags);

/* Receives one: its length, or -EAGAIN, -ECONNRESET (ended), -EMSGSIZE (longer than `room`).  `fd`
 * NULL: none is taken (the kernel then has nothing to install); else *fd is the one that came, or
 * -1, on failures too. */
ssize_t packet_receive(int socket, void *ret, size_t room, int *fd, int flags);

#endif
