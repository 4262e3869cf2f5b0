/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a command on a terminal of its own, and types KEYS once it has shown TEXT.  What the command
 * shows goes to stdout.  Exits as the command does; 99 when it goes on for a minute.
 *
 *     on_terminal TEXT KEYS COMMAND [ARGUMENT...]
 */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char shown[1 << 16];
static size_t length;

/* False at the end, which a terminal tells by EIO. */
static int take_output(int terminal) {
    ssize_t n = read(terminal, shown + length, sizeof shown - 1 - length);
    if (n <= 0)
        return 0;
    fwrite(shown + length, 1, (size_t)n, stdout);
    length += (size_t)n;
    return 1;
}

int main(int argc, char **argv) {
    int terminal, typed = 0, status = 0;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    if (argc < 4)
        return 2;
    setvbuf(stdout, NULL, _IONBF, 0); /* who waits for what is shown sees it */
    pid_t child = forkpty(&terminal, NULL, NULL, &size);
    if (child == 0) {
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    if (child < 0)
        return 2;
    time_t end = time(NULL) + 60;
    struct pollfd output = {.fd = terminal, .events = POLLIN};
    while (time(NULL) < end) {
        if (poll(&output, 1, 1000) > 0 && !take_output(terminal))
            break;
        if (!typed && strstr(shown, argv[1]) != NULL)
            typed = write(terminal, argv[2], strlen(argv[2])) > 0;
    }
    int late = time(NULL) >= end;
    if (late)
        kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return late ? 99 : WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}
