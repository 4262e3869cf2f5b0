/* SPDX-License-Identifier: Apache-2.0
 *
 * System V message queues as the kernel has them, for talking to programs that use them already.
 * Thin: no handle, no text of an error, nothing remembered.  What it adds is what the plain calls
 * get wrong: one errno per remedy, a deadline, and waits that a signal doesn't end.
 */
#include "client.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <time.h>

#ifndef MSG_EXCEPT
#define MSG_EXCEPT 020000
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

#define SMALL_BYTES  8192    /* the kernel's own largest message, unless it was raised */
#define NAP_LEAST_NS 50000   /* while somebody answers at once, that is how late we hear of it; */
#define NAP_MOST_NS  2000000 /* while nobody does, it costs 500 calls a second */

static const unsigned receive_flags =
    SHMC_TRUNCATE | SHMC_EXCEPT | SHMC_INTERRUPTIBLE | SHMC_SYSV_COPY;

/* As the system calls have a message: the type, and its bytes behind. */
struct text {
    long type;
    char bytes[];
};

struct small_text {
    _Alignas(struct text) char memory[sizeof(struct text) + SMALL_BYTES];
};

static struct text *text_for(struct small_text *small, size_t bytes) {
    if (bytes <= SMALL_BYTES)
        return (struct text *)(void *)small->memory;
    return bytes > SSIZE_MAX - sizeof(struct text) ? NULL : malloc(sizeof(struct text) + bytes);
}

static void text_free(struct text *text, const struct small_text *small) {
    if ((const void *)text != small->memory)
        free(text);
}

/* ---- waiting */

struct wait {
    bool asks; /* the system call isn't to wait */
    bool at_once, interruptible;
    uint64_t deadline_ns, nap_ns;
};

/* The system calls know no deadline, and only a signal would end one; a library has none to send.
 * So what has a deadline asks again and again. */
static struct wait wait_begin(int timeout_ms, unsigned flags) {
    return (struct wait){
        .asks = timeout_ms >= 0 || (flags & SHMC_SYSV_COPY) != 0, /* which never waits */
        .at_once = timeout_ms == 0,
        .interruptible = (flags & SHMC_INTERRUPTIBLE) != 0,
        .deadline_ns = deadline_after(timeout_ms),
        .nap_ns = NAP_LEAST_NS,
    };
}

static int nap(struct wait *wait) {
    const uint64_t now = clock_mono_ns();
    if (now >= wait->deadline_ns)
        return -ETIMEDOUT;
    const uint64_t left = wait->deadline_ns - now;
    const struct timespec span = {.tv_nsec = (long)(wait->nap_ns < left ? wait->nap_ns : left)};
    wait->nap_ns = wait->nap_ns * 2 < NAP_MOST_NS ? wait->nap_ns * 2 : NAP_MOST_NS;
    return -clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

/* A call came back with `error`, which is `nothing` when it would have waited: 0 = call again, or
 * what the caller is told. */
static int wait_more(struct wait *wait, int error, int nothing) {
    int r = -error;
    if (error == nothing)
        r = wait->at_once ? -EAGAIN : nap(wait);
    return r == -EINTR && !wait->interruptible ? 0 : r;
}

/* ---- the calls */

/* The kernel says EINVAL also of an id that nothing has any more. */
static int gone(int error) {
    return error == EINVAL ? -EIDRM : -error;
}

static int find(uint32_t key, int permissions) {
    const int queue = msgget((key_t)key, permissions);
    return queue < 0 ? -errno : queue;
}

int shmc_sysv_queue_open(uint32_t key, unsigned mode, unsigned flags) {
    const unsigned known = SHMC_SYSV_CREATE | SHMC_SYSV_EXCLUSIVE;
    if ((flags & ~known) != 0 || mode > 0777)
        return -EINVAL;
    if (key == (uint32_t)IPC_PRIVATE || (flags & known) == known)
        return find(key, (int)mode | IPC_CREAT | IPC_EXCL);
    if ((flags & SHMC_SYSV_CREATE) == 0)
        return find(key, (int)mode);
    /* Of one that is there, `mode` would be a request, and refused to who may only send to it. */
    for (;;) {
        int queue = find(key, 0);
        if (queue != -ENOENT)
            return queue;
        queue = find(key, (int)mode | IPC_CREAT | IPC_EXCL);
        if (queue != -EEXIST)
            return queue;
    }
}

static bool is_there(int queue) {
    struct msqid_ds stat;
    return msgctl(queue, IPC_STAT, &stat) == 0 || errno == EACCES;
}

/* Is that message too large for this queue ever to take?  The kernel would wait for ever. */
static bool too_large(int queue, size_t bytes) {
    struct msqid_ds stat;
    return msgctl(queue, IPC_STAT, &stat) == 0 && bytes > stat.msg_qbytes;
}

static int send_text(int queue, const struct text *text, size_t bytes, struct wait *wait) {
    for (;;) {
        if (msgsnd(queue, text, bytes, wait->asks ? IPC_NOWAIT : 0) == 0)
            return 0;
        const int error = errno;
        if (error == EINVAL) /* type and flags are right */
            return is_there(queue) ? -EMSGSIZE : -EIDRM;
        if (error == EAGAIN && too_large(queue, bytes))
            return -EMSGSIZE;
        const int r = wait_more(wait, error, EAGAIN);
        if (r < 0)
            return r;
    }
}

int shmc_sysv_queue_send(int queue, int64_t type, const void *data, size_t bytes, unsigned flags,
                         int timeout_ms) {
    struct small_text small;
    if (type <= 0 || type > LONG_MAX || timeout_ms < -1 || (flags & ~SHMC_INTERRUPTIBLE) != 0)
        return -EINVAL;
    struct text *text = text_for(&small, bytes);
    if (text == NULL)
        return bytes > SSIZE_MAX - sizeof *text ? -EMSGSIZE : -ENOMEM;
    text->type = (long)type;
    memcpy(text->bytes, data, bytes);
    struct wait wait = wait_begin(timeout_ms, flags);
    int r = 0;
    if (!wait.asks && too_large(queue, bytes))
        r = -EMSGSIZE;
    if (r == 0)
        r = send_text(queue, text, bytes, &wait);
    text_free(text, &small);
    return r;
}

static ssize_t receive_text(int queue, int64_t type, struct text *text, size_t bytes,
                            unsigned flags, struct wait *wait) {
    const int how = ((flags & SHMC_TRUNCATE) != 0 ? MSG_NOERROR : 0) |
                    ((flags & SHMC_EXCEPT) != 0 ? MSG_EXCEPT : 0) |
                    ((flags & SHMC_SYSV_COPY) != 0 ? MSG_COPY : 0) | (wait->asks ? IPC_NOWAIT : 0);
    for (;;) {
        const ssize_t n = msgrcv(queue, text, bytes, (long)type, how);
        if (n >= 0)
            return n;
        const int error = errno;
        if (error == EINVAL) /* the arguments are right */
            return is_there(queue) ? -EINVAL : -EIDRM;
        const int r = wait_more(wait, error, ENOMSG);
        if (r < 0)
            return r;
    }
}

ssize_t shmc_sysv_queue_receive(int queue, int64_t type, void *buffer, size_t bytes, unsigned flags,
                                int timeout_ms, int64_t *ret_type) {
    struct small_text small;
    const bool copy = (flags & SHMC_SYSV_COPY) != 0;
    if ((flags & ~receive_flags) != 0 || timeout_ms < -1 || type < LONG_MIN || type > LONG_MAX)
        return -EINVAL;
    if (copy && ((flags & SHMC_EXCEPT) != 0 || type < 0 || type > INT_MAX))
        return -EINVAL;
    if (bytes > SSIZE_MAX - sizeof(struct text))
        bytes = SSIZE_MAX - sizeof(struct text);
    struct text *text = text_for(&small, bytes);
    if (text == NULL)
        return -ENOMEM;
    struct wait wait = wait_begin(timeout_ms, flags);
    const ssize_t n = receive_text(queue, type, text, bytes, flags, &wait);
    if (n >= 0) {
        memcpy(buffer, text->bytes, (size_t)n);
        if (ret_type != NULL)
            *ret_type = text->type;
    }
    text_free(text, &small);
    return n;
}

int shmc_sysv_queue_stat(int queue, struct shmc_sysv_stat *ret) {
    struct msqid_ds stat;
    if (msgctl(queue, IPC_STAT, &stat) < 0)
        return gone(errno);
    *ret = (struct shmc_sysv_stat){
        .key = (uint32_t)stat.msg_perm.__key,
        .mode = stat.msg_perm.mode & 0777,
        .uid = stat.msg_perm.uid,
        .gid = stat.msg_perm.gid,
        .creator_uid = stat.msg_perm.cuid,
        .creator_gid = stat.msg_perm.cgid,
        .sequence = stat.msg_perm.__seq,
        .messages = stat.msg_qnum,
        .bytes = stat.__msg_cbytes,
        .bytes_max = stat.msg_qbytes,
        .last_sender = stat.msg_lspid,
        .last_receiver = stat.msg_lrpid,
        .sent_real_s = stat.msg_stime,
        .received_real_s = stat.msg_rtime,
        .changed_real_s = stat.msg_ctime,
    };
    return 0;
}

int shmc_sysv_queue_set(int queue, const struct shmc_sysv_stat *stat) {
    struct msqid_ds set;
    if (stat->mode > 0777)
        return -EINVAL;
    memset(&set, 0, sizeof set);
    set.msg_perm.uid = stat->uid;
    set.msg_perm.gid = stat->gid;
    set.msg_perm.mode = (__typeof__(set.msg_perm.mode))stat->mode;
    set.msg_qbytes = stat->bytes_max;
    if (msgctl(queue, IPC_SET, &set) == 0)
        return 0;
    const int error = errno;
    return error == EINVAL && (stat->uid == (uid_t)-1 || stat->gid == (gid_t)-1) ? -EINVAL
                                                                                 : gone(error);
}

static int ask_limits(int command, struct msginfo *ret) {
    union { /* by the prototype it would be the former */
        struct msqid_ds stat;
        struct msginfo info;
    } answer;
    const int highest = msgctl(0, command, &answer.stat);
    if (highest < 0)
        return -errno;
    *ret = answer.info;
    return highest;
}

int shmc_sysv_queue_info(struct shmc_sysv_info *ret) {
    struct msginfo limits = {0}, use = {0};
    int r = ask_limits(IPC_INFO, &limits);
    if (r >= 0)
        r = ask_limits(MSG_INFO, &use);
    if (r < 0)
        return r;
    *ret = (struct shmc_sysv_info){
        .message_bytes_max = (uint64_t)limits.msgmax,
        .queue_bytes_max = (uint64_t)limits.msgmnb,
        .queues_max = (uint32_t)limits.msgmni,
        .queues = (uint32_t)use.msgpool,
        .messages = (uint64_t)use.msgmap,
        .bytes = (uint64_t)use.msgtql,
        .highest_index = r,
    };
    return 0;
}

int shmc_sysv_queue_remove(int queue) {
    return msgctl(queue, IPC_RMID, NULL) == 0 ? 0 : gone(errno);
}
