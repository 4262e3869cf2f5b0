/* SPDX-License-Identifier: Apache-2.0
 *
 * shmop in C: a block of shared memory, opened, read and written by offset, as PHP 8.2's shmop_*
 * functions do it; and beside any System V segment, one section of a segment of shm-manager's.
 *
 *     shmop *block = shmop_open(0x1234, "c", 0644, 100);
 *     if (block == NULL)
 *         errx(1, "%s", shmop_last_error());
 *     shmop_write(block, "hello", 5, 0);
 *     n = shmop_read(block, 0, 0, buffer, sizeof buffer);    // all 100 bytes
 *     shmop_delete(block);
 *     shmop_close(block);
 *
 * Answers are as those of shmget(2), which such programs know: NULL or -1 with errno set, and
 * shmop_last_error() has a line of text.
 *
 * Blocks are bytes without a protocol: a read beside a write may see half of it.  What is to be
 * whole is in a snapshot section, and takes shmc_read(3) and shmc_publish(3).
 *
 * Threads use blocks of their own, or one at a time.  A child that was forked uses its parent's
 * blocks as well, but not those of shmop_open_section(): ECHILD, and it opens them for itself; it
 * may close all.  There may be as many blocks open as there is memory for.  A block that is NULL,
 * as its open failed, gives EBADF.  Link with -lshmcompat.
 */
#ifndef SHMOP_H
#define SHMOP_H

#include <shmclient.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

typedef struct shmop shmop;

/* Opens the System V segment with that key, whoever made it.  `flags` is one letter:
 *     "a"  it is there; to read alone (SHM_RDONLY)
 *     "w"  it is there; to read and write
 *     "c"  it is made if it isn't there; to read and write
 *     "n"  it is made, and must not be there; to read and write
 * `mode` (the lower 9 bits) and `size` are for "c" and "n" alone.  Where "c" finds a larger one,
 * the block is all of it.  Key 0 (IPC_PRIVATE) is a new one each time, with "c" or "n".  The key of
 * an shm-manager on its System V backend gives its whole segment, which is for looking at; when it
 * gets another size, that is another segment under the same key.
 *   EACCES  its mode doesn't allow that
 *   EEXIST  "n", and it is there
 *   EINVAL  flags is another text; size is 0, or beyond kernel.shmmax, or that of a segment that is
 *           there and smaller
 *   ENOENT  "a" or "w", and it isn't there (an shm-manager on memfd isn't, either)
 *   ENOMEM, ENOSPC */
shmop *shmop_open(uint32_t key, const char *flags, unsigned mode, size_t size);

/* Opens a raw section of the segment with that key (0: $SHMC_KEY, else SHMC_DEFAULT_KEY); bounds
 * are the section's.  "a" to read, "w" to write as well: as the worker of $SHMC_LEASE, which
 * `shmtool run` sets, or of a section that is `shared` as anybody whom its write_group admits.
 *   EACCES      "w" without such a lease; or the section is another worker's
 *   EINVAL      other flags: sections are made by the table, or shmc_create(3)
 *   ENOENT      there is no such segment, or section
 *   EPROTOTYPE  it isn't raw
 *   and what shmc_attach(3) and shmc_open(3) give */
shmop *shmop_open_section(uint32_t key, const char *name, const char *flags);

/* The same in a segment that the caller has attached, as the worker he likes.  The segment stays
 * his, and is detached after the block was closed. */
shmop *shmop_open_section_in(shmc *segment, const char *name, const char *flags);

/* Bytes of the block; a section's may change by an edit of the table. */
ssize_t shmop_size(shmop *block);

/* The System V identifier of the block's segment, as ipcs(1) shows it; 0 is one.
 *   EPROTOTYPE  the block is a section */
int shmop_id(const shmop *block);

/* Copies `count` bytes, 0 for all the rest, from `offset` on to `buffer`, which has room for
 * `room`, and returns how many.  At offset = size the rest is 0 bytes.
 *   EINVAL    offset, or offset + count, is beyond the block
 *   EMSGSIZE  more than `room`
 *   and of a section what shmc_raw_read(3) gives */
ssize_t shmop_read(shmop *block, size_t offset, size_t count, void *buffer, size_t room);

/* Writes, and returns how many bytes: as many as there are up to the block's end, 0 at it.
 *   EACCES  the block was opened to read alone
 *   EINVAL  offset is beyond the block
 *   and of a section what shmc_raw_write(3) gives */
ssize_t shmop_write(shmop *block, const void *data, size_t bytes, size_t offset);

/* Removes the segment (IPC_RMID): nobody finds it any more, and who has it, this block too, goes on
 * until it is closed.
 *   EPERM  it is another user's; or the block is a section, which goes by an edit of the table, or
 *          shmc_drop(3) */
int shmop_delete(shmop *block);

/* Frees `block`; the segment stays.  NULL is allowed. */
void shmop_close(shmop *block);

/* What went wrong last in this thread's calls, one line; "" when nothing did. */
const char *shmop_last_error(void);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
