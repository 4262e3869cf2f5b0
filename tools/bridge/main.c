/* SPDX-License-Identifier: Apache-2.0
 *
 * shm-bridge: moves messages between a System V message queue and a section of kind queue, for as
 * long as some programs know the one and some the other.  This file is its command line.
 */
#include "bridge.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCHEME  "sysv:"
#define WAIT_MS 10000

static const char help[] =
    "usage: shm-bridge [OPTIONS] sysv:KEY SECTION\n"
    "       shm-bridge [OPTIONS] SECTION sysv:KEY\n"
    "\n"
    "Moves messages from the first to the second, with their types, and loses none:\n"
    "a System V message queue, by its key, and a section of kind queue, by its name.\n"
    "\n"
    "  -c, --create[=MODE]    make the System V queue if there is none (0600)\n"
    "  -d, --drain            end when there is nothing more to move\n"
    "  -n, --count N          end after N messages\n"
    "  -w, --worker NAME      attach as this worker; without: to send, as nobody in\n"
    "                         particular; to receive, as the section's owner\n"
    "  -k, --key KEY          the segment's key ($SHMC_KEY, else 0x53484d31)\n"
    "  -r, --runtime-dir DIR  the manager's ($SHMC_RUNTIME_DIR, else /run/shm-manager)\n"
    "  -t, --timeout MS       wait so long for segment and manager (10000; -1: for ever)\n"
    "  -h, --help             this\n"
    "  -V, --version\n"
    "\n"
    "SIGTERM and SIGINT end it, behind a whole message.\n"
    "Exit status: 0 it was told to end, 1 it failed, 2 usage, 3 the next message is one\n"
    "that the target can never take; it stays where it is.\n";

void bridge_say(const char *format, ...) {
    va_list arguments;
    fputs("shm-bridge: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static bool number(const char *text, int base, unsigned long long most, unsigned long long *ret) {
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, base);
    return errno == 0 && end != text && *end == '\0' && strchr(text, '-') == NULL && *ret <= most;
}

static int misused(const char *what, const char *text) {
    bridge_say("%s: '%s'; see shm-bridge --help", what, text);
    return MISUSED;
}

/* Which of the two is the kernel's queue? */
static int read_ends(struct bridge *bridge, char **ends, int n) {
    unsigned long long key;
    if (n != 2)
        return misused("it takes a source and a target, not as many arguments as",
                       n == 0 ? "" : ends[n - 1]);
    bool is_queue[2];
    for (int i = 0; i < 2; i++)
        is_queue[i] = strncmp(ends[i], SCHEME, strlen(SCHEME)) == 0;
    if (is_queue[0] == is_queue[1])
        return misused("one of the two is sysv:KEY, the other a section's name, not both as",
                       ends[1]);
    bridge->out = is_queue[1];
    bridge->section = ends[bridge->out ? 0 : 1];
    const char *text = ends[bridge->out ? 1 : 0] + strlen(SCHEME);
    if (!number(text, 0, UINT32_MAX, &key) || key == 0)
        return misused("a System V key is a number above 0, as 0x53484d31, not", text);
    bridge->key = (uint32_t)key;
    return ENDED;
}

static int read_option(struct bridge *bridge, int option, const char *text) {
    unsigned long long value;
    switch (option) {
    case 'c':
        bridge->create = true;
        if (text != NULL && !number(text, 8, 0777, &value))
            return misused("a mode is octal, as 0660, not", text);
        bridge->mode = text != NULL ? (unsigned)value : 0600;
        return ENDED;
    case 'd':
        bridge->drain = true;
        return ENDED;
    case 'n':
        if (!number(text, 10, UINT64_MAX, &value) || value == 0)
            return misused("a count is a number above 0, not", text);
        bridge->count = value;
        return ENDED;
    case 'w':
        bridge->options.worker = text;
        return ENDED;
    case 'k':
        if (!number(text, 0, UINT32_MAX, &value) || value == 0)
            return misused("a key is a number above 0, as 0x53484d31, not", text);
        bridge->options.key = (uint32_t)value;
        return ENDED;
    case 'r':
        bridge->options.runtime_dir = text;
        return ENDED;
    case 't':
        if (strcmp(text, "-1") == 0)
            value = 0;
        else if (!number(text, 10, INT_MAX, &value))
            return misused("a timeout is in milliseconds, or -1, not", text);
        bridge->options.timeout_ms = strcmp(text, "-1") == 0 ? -1 : (int)value;
        return ENDED;
    default: /* getopt said it */
        return MISUSED;
    }
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"create", optional_argument, NULL, 'c'},  {"drain", no_argument, NULL, 'd'},
        {"count", required_argument, NULL, 'n'},   {"worker", required_argument, NULL, 'w'},
        {"key", required_argument, NULL, 'k'},     {"runtime-dir", required_argument, NULL, 'r'},
        {"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0},
    };
    struct bridge bridge = {
        .options = {.size = sizeof bridge.options, .timeout_ms = WAIT_MS},
    };
    int option, status = ENDED;
    while (status == ENDED &&
           (option = getopt_long(argc, argv, "c::dn:w:k:r:t:hV", options, NULL)) != -1) {
        if (option == 'h')
            return fputs(help, stdout) < 0 ? FAILED : ENDED;
        if (option == 'V')
            return printf("shm-bridge %s\n", shmc_version()) < 0 ? FAILED : ENDED;
        status = read_option(&bridge, option, optarg);
    }
    if (status == ENDED)
        status = read_ends(&bridge, argv + optind, argc - optind);
    return status == ENDED ? bridge_run(&bridge) : status;
}
