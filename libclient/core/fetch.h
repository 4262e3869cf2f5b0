/* SPDX-License-Identifier: Apache-2.0
 *
 * A line that is about to be read, or written, is on its way from the other core meanwhile.  These
 * are hints and no accesses: any address will do, and nothing is ordered by them.
 */
#ifndef SHM_CORE_FETCH_H
#define SHM_CORE_FETCH_H

static inline void fetch_to_read(const void *line) {
    __builtin_prefetch(line);
}

static inline void fetch_to_write(const void *line) {
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" ::"m"(*(const char *)line)); /* the builtin only reads */
#else
    __builtin_prefetch(line, 1);
#endif
}

#endif
