/* SPDX-License-Identifier: Apache-2.0
 *
 * The attachments of this process, which outlive the request that made them: who asks for the same
 * worker of the same segment gets what is there.  A child of a fork has none of its parent's, and
 * an attachment that came to nothing (the segment was destroyed, the lease revoked) is left by the
 * next that asks.
 */
#include "php_shmclient.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shm-manager/layout.h>

#define TEXT_BYTES 512

ZEND_TLS struct attachment *attachments;

/* The environment decides where options don't, and a script may change it. */
static char *alike(const struct shmc_options *options) {
    const char *text = options->key == 0 ? getenv("SHMC_KEY") : NULL;
    unsigned long long key = options->key != 0 ? options->key : SHMC_DEFAULT_KEY;
    const char *dir = options->runtime_dir;
    char *ret = NULL, *rest = "";
    if (text != NULL && *text != '\0')
        key = strtoull(text, &rest, 0);
    if (dir == NULL)
        dir = getenv("SHMC_RUNTIME_DIR");
    if (asprintf(&ret, "%llx%s\n%s\n%x %s%s", key, rest, dir != NULL ? dir : "", options->flags,
                 options->worker != NULL ? "=" : "",
                 options->worker != NULL ? options->worker : "") < 0)
        return NULL;
    return ret;
}

static void forget(struct attachment *attachment) {
    for (struct attachment **at = &attachments; *at != NULL; at = &(*at)->next)
        if (*at == attachment) {
            *at = attachment->next;
            break;
        }
    attachment->kept = false;
}

static void free_unused(struct attachment *attachment) {
    if (attachment->uses > 0 || attachment->kept)
        return;
    shmc_detach(attachment->segment);
    free(attachment);
}

void attachment_release(struct attachment *attachment) {
    attachment->uses--;
    free_unused(attachment);
}

void attachment_detach(struct attachment *attachment) {
    forget(attachment);
    shmc_detach(attachment->segment);
    attachment->segment = NULL;
}

static bool of_use(const struct attachment *attachment) {
    struct shmc_segment_info info;
    if (attachment->revoked)
        return false;
    int r = shmc_segment(attachment->segment, &info);
    return r == 0 ? info.state != SHM_STATE_REPLACED : r != -EIDRM;
}

static struct attachment *find(const char *text) {
    struct attachment *next;
    for (struct attachment *at = attachments; at != NULL; at = next) {
        next = at->next;
        if (at->pid != getpid()) { /* a parent's: its objects may be there still */
            forget(at);
            free_unused(at);
        } else if (strcmp(at->alike, text) == 0) {
            if (of_use(at))
                return at;
            attachment_detach(at);
            free_unused(at);
        }
    }
    return NULL;
}

static bool may_pass(int r) {
    return r == -ENOENT || r == -EAGAIN || r == -EBADMSG || r == -EBUSY || r == -ENOTCONN;
}

/* The library's own wait would go on behind signals. */
static int attach_in_time(shmc **ret, const struct shmc_options *options, struct wait *wait) {
    for (;;) {
        int r = shmc_attach(ret, options);
        ssize_t paused = -ETIMEDOUT;
        if (!may_pass(r) || wait->slice == 0)
            return r;
        usleep((useconds_t)wait->slice * 1000);
        if (!wait_again(wait, &paused) && paused == -EINTR)
            return -EINTR;
    }
}

static struct attachment *attach(const struct shmc_options *wanted, struct wait *wait,
                                 const char *text) {
    char error[TEXT_BYTES] = "";
    pid_t holder = 0;
    shmc *segment;
    struct shmc_options options = *wanted;
    options.error = error;
    options.error_bytes = sizeof error;
    options.holder = &holder;
    int r = attach_in_time(&segment, &options, wait);
    if (r == -EINTR) {
        throw_error(NULL, r);
        return NULL;
    }
    struct attachment *attachment = r < 0 ? NULL : calloc(1, sizeof *attachment + strlen(text) + 1);
    if (attachment == NULL) {
        if (r >= 0)
            shmc_detach(segment);
        throw_text(r < 0 ? r : -ENOMEM, error, holder);
        return NULL;
    }
    strcpy(attachment->alike, text);
    attachment->segment = segment;
    attachment->pid = getpid();
    attachment->kept = true;
    attachment->next = attachments;
    attachments = attachment;
    return attachment;
}

struct attachment *attachment_take(const struct shmc_options *options, struct wait *wait) {
    char *text = alike(options);
    if (text == NULL) {
        throw_text(-ENOMEM, "", 0);
        return NULL;
    }
    struct attachment *attachment = find(text);
    if (attachment == NULL)
        attachment = attach(options, wait, text);
    free(text);
    if (attachment != NULL)
        attachment->uses++;
    return attachment;
}

void attachment_end_all(void) {
    while (attachments != NULL) {
        struct attachment *attachment = attachments;
        forget(attachment);
        free_unused(attachment);
    }
}
