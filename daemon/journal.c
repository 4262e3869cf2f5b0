/* SPDX-License-Identifier: Apache-2.0
 *
 * Journal or stderr.
 */
#include "journal.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define JOURNAL_SETTLE_MS 100

/* Is stderr the stream that the service manager connected to the journal? */
static int to_journal(void) {
    static int known = -1;
    if (known >= 0)
        return known;
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat stat;
    unsigned long long device, inode;
    known = stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
            fstat(STDERR_FILENO, &stat) == 0 && stat.st_dev == device && stat.st_ino == inode;
    return known;
}

__attribute__((format(printf, 4, 5))) static int field(struct iovec *to, char *buffer, size_t bytes,
                                                       const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(buffer, bytes, format, arguments);
    va_end(arguments);
    size_t length = n < 0 ? 0 : (size_t)n < bytes ? (size_t)n : bytes - 1;
    *to = (struct iovec){.iov_base = buffer, .iov_len = length};
    return 1;
}

struct about {
    const char *section, *worker; /* NULL: none */
    unsigned pid;                 /* 0: none */
};

__attribute__((format(printf, 4, 0))) static void send_entry(int priority, const char *id,
                                                             const struct about *about,
                                                             const char *format,
                                                             va_list arguments) {
    char message[1024];
    vsnprintf(message, sizeof message, format, arguments);
    if (!to_journal()) {
        fprintf(stderr, "shm-manager: %s%s\n", priority <= LOG_ERR ? "error: " : "", message);
        return;
    }
    struct iovec fields[6];
    char texts[6][1100];
    int n = field(&fields[0], texts[0], sizeof texts[0], "MESSAGE=%s", message);
    n += field(&fields[n], texts[n], sizeof texts[0], "PRIORITY=%d", priority);
    n += field(&fields[n], texts[n], sizeof texts[0], "MESSAGE_ID=%s", id);
    if (about->section != NULL)
        n += field(&fields[n], texts[n], sizeof texts[0], "SHM_SECTION=%s", about->section);
    if (about->worker != NULL)
        n += field(&fields[n], texts[n], sizeof texts[0], "SHM_WORKER=%s", about->worker);
    if (about->pid != 0)
        n += field(&fields[n], texts[n], sizeof texts[0], "SHM_PID=%u", about->pid);
    sd_journal_sendv(fields, n);
}

void journal_about(int priority, const char *id, const char *worker, unsigned pid,
                   const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    send_entry(priority, id, &(struct about){.worker = worker, .pid = pid}, format, arguments);
    va_end(arguments);
}

void journal_section(int priority, const char *id, const char *section, const char *worker,
                     const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    send_entry(priority, id, &(struct about){.section = section, .worker = worker}, format,
               arguments);
    va_end(arguments);
}

void journal_settle(void) {
    if (to_journal())
        poll(NULL, 0, JOURNAL_SETTLE_MS);
}
