/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts about processes, for messages only: a lease is decided by its lock, never by a pid.
 */
#ifndef SHM_CORE_PROCESS_H
#define SHM_CORE_PROCESS_H

#include <stdint.h>

/* Start time of a process (field 22 of /proc/PID/stat, clock ticks since boot); 0 = no such
 * process, or it can't be seen. */
uint64_t process_start(uint32_t pid);

/* Is that very process still there?  1, 0, or -errno when it can't be said. */
int process_alive(uint32_t pid, uint64_t start);

/* Its short name, "?" when it can't be seen. */
void process_name(uint32_t pid, char name[32]);

/* "process 42"; and what can be said of one whose pid is of another PID namespace (0 here). */
#define PROCESS_TEXT_BYTES 48
const char *process_text(uint32_t pid, char text[PROCESS_TEXT_BYTES]);

/* This boot's id; 0 or a negative errno. */
int process_boot_id(uint8_t ret[16]);

/* How the process behind a pidfd ended: enum shm_end and its detail; SHM_END_UNKNOWN where the
 * kernel doesn't tell (before Linux 6.15); SHM_END_RELEASED while it still runs. */
uint32_t process_end(int pidfd, uint32_t *detail);

#endif
