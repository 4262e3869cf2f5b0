/* SPDX-License-Identifier: Apache-2.0
 *
 * Is there memory for what a plan wants?  Asked before anything is touched, because in a memory
 * cgroup going over is a kill, not an error.
 */
#ifndef SHM_DAEMON_MEMORY_H
#define SHM_DAEMON_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct memory_range {
    void *at;
    size_t bytes;
};

/* Bytes that can be had: the least of MemAvailable and what the memory cgroups above us leave;
 * UINT64_MAX when nobody says. */
uint64_t memory_available(void);

/* Touches the ranges for writing, in a child that the kernel prefers to kill: 0, or -ENOMEM. */
int memory_touch(const struct memory_range *ranges, size_t n);

#endif
