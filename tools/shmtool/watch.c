/* SPDX-License-Identifier: Apache-2.0
 *
 * watch: list, again and again.  On a terminal each look replaces the one before; anywhere else
 * they follow one another.
 */
#include "tool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LINES_BESIDE 5 /* status, blank, titles, "more", and where the cursor stands */

static volatile sig_atomic_t ended;

static void on_signal(int number) {
    (void)number;
    ended = 1;
}

/* Keys come at once and unseen, and signals end the wait, so that all is put back. */
static bool keys_start(struct termios *before) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, before) < 0)
        return false;
    struct termios keys = *before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
}

static void print_head(const shmc *segment) {
    struct shmc_segment_info info;
    char clock[16], age[TEXT_BYTES];
    time_t now = time(NULL);
    if (shmc_segment(segment, &info) < 0)
        return;
    strftime(clock, sizeof clock, "%H:%M:%S", localtime(&now));
    printf("%s  key 0x%08x, generation %lu, %u sections; ", clock, info.key, info.generation,
           info.sections);
    if (info.manager_alive)
        printf("manager %d serves\n\n", info.manager_pid);
    else
        printf("%sno manager for %s%s\n\n", paint_on(YELLOW), text_span(age, info.heartbeat_age_ns),
               paint_off());
}

/* What doesn't fit the screen would push the rest out of it. */
static size_t rows_that_fit(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 ||
        size.ws_row <= LINES_BESIDE)
        return SIZE_MAX;
    return size.ws_row - LINES_BESIDE;
}

static void print_rows(const struct tool *tool, const struct listing *earlier,
                       struct listing *now) {
    size_t all = now->n, fit = rows_that_fit();
    if (fit < now->n)
        now->n = fit;
    listing_print(tool, earlier, now);
    if (now->n < all)
        printf("and %zu more; give a pattern to see fewer\n", all - now->n);
    now->n = all;
}

/* One look.  Attached anew each time: the segment may come, go and be replaced meanwhile. */
static int look(const struct tool *tool, void *argument) {
    struct listing now = {0}, *earlier = argument;
    char error[512];
    shmc *segment;
    if (attach_quietly(tool, &segment, error, sizeof error) < 0) {
        printf("%s\n", error);
        return TOOL_ABSENT;
    }
    if (!tool->json)
        print_head(segment);
    int code = listing_look(tool, segment, &now);
    if (code == TOOL_OK && now.n == 0 && !tool->json)
        puts(tool->argc > 0 ? "no section matches" : "no sections yet");
    else if (code == TOOL_OK)
        print_rows(tool, earlier, &now);
    free(earlier->sections);
    *earlier = now;
    shmc_detach(segment);
    return code;
}

/* Sleeps until the next look is due; true when the user has had enough. */
static bool pause_or_end(const struct tool *tool, bool keys) {
    struct pollfd poll_fd = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
    int ms = (int)(tool->seconds * 1000);
    if (ended)
        return true;
    if (poll(&poll_fd, 1, ms < 1 ? 1 : ms) <= 0)
        return ended;
    char key;
    return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
}

int watch_repeat(const struct tool *tool, int (*look_once)(const struct tool *, void *),
                 void *argument) {
    struct termios before;
    bool keys = keys_start(&before), terminal = isatty(STDOUT_FILENO);
    int code = TOOL_OK;
    for (uint64_t n = 1; !ended; n++) {
        if (terminal)
            fputs("\033[H\033[2J", stdout);
        else if (n > 1 && !tool->json)
            putchar('\n');
        code = look_once(tool, argument);
        fflush(stdout);
        if (ferror(stdout) || n == tool->count || pause_or_end(tool, keys))
            break;
    }
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return ended ? TOOL_OK : code;
}

int verb_watch(const struct tool *tool) {
    struct tool rates = *tool;
    struct listing earlier = {0};
    rates.rates = true;
    int code = watch_repeat(&rates, look, &earlier);
    free(earlier.sections);
    return code;
}
