/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that stays attached while things happen to its segment: worker 'driver', and a reader.
 * For each line of standard input, `publish`, `read SECTION`, or `wait` or `poll` (for the end of
 * what can be read of `temps`), it prints what came of it.
 */
#include <errno.h>
#include <poll.h>
#include <shmclient.h>
#include <stdio.h>
#include <string.h>

static shmc *attach(const char *worker) {
    char error[256] = "";
    struct shmc_options options = {.size = sizeof options,
                                   .worker = worker,
                                   .timeout_ms = 30000,
                                   .error = error,
                                   .error_bytes = sizeof error};
    shmc *segment = NULL;
    if (shmc_attach(&segment, &options) < 0)
        fprintf(stderr, "attached: %s\n", error);
    return segment;
}

static void publish(shmc_section *section) {
    int r = shmc_publish(section, "value", 5);
    printf("%s\n", r < 0 ? strerrorname_np(-r) : "published");
}

static void look(shmc_section *section) {
    char value[64];
    struct shmc_value about = {0};
    ssize_t r = shmc_read(section, value, sizeof value, &about);
    printf("%s %s\n", r < 0 ? strerrorname_np((int)-r) : "read",
           about.writer == SHMC_ALIVE  ? "alive"
           : about.writer == SHMC_GONE ? "gone"
                                       : "unknown");
}

/* Whatever comes before that is taken. */
static void wait_for_end(shmc_section *section) {
    char value[64];
    ssize_t r;
    do
        r = shmc_next(section, value, sizeof value, 60000, NULL);
    while (r >= 0);
    printf("%s\n", strerrorname_np((int)-r));
}

static void poll_for_end(shmc_section *section) {
    struct pollfd poll_fd = {.fd = shmc_fd(section), .events = POLLIN};
    char value[64];
    ssize_t r;
    do
        r = shmc_next(section, value, sizeof value, 0, NULL);
    while (r >= 0 || (r == -EAGAIN && poll(&poll_fd, 1, 60000) > 0));
    printf("%s\n", strerrorname_np((int)-r));
}

int main(void) {
    char line[64];
    shmc *worker = attach("driver"), *reader = attach(NULL);
    shmc_section *out, *temps, *brief;
    if (worker == NULL || reader == NULL || shmc_open(&out, worker, "temps", NULL) < 0 ||
        shmc_open(&temps, reader, "temps", NULL) < 0 ||
        shmc_open(&brief, reader, "brief", NULL) < 0)
        return 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "publish\n") == 0)
            publish(out);
        else if (strcmp(line, "wait\n") == 0)
            wait_for_end(temps);
        else if (strcmp(line, "poll\n") == 0)
            poll_for_end(temps);
        else
            look(strcmp(line, "read brief\n") == 0 ? brief : temps);
        fflush(stdout);
    }
    shmc_close(brief);
    shmc_close(temps);
    shmc_close(out);
    shmc_detach(reader);
    shmc_detach(worker);
}
