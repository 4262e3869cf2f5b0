/* SPDX-License-Identifier: Apache-2.0
 *
 * What a new user does wrong, one mistake after another, and what the library says to it.  Needs
 * the sections 'temps' of worker 'temp-driver' (64 KiB, format 'temps/2') and 'other' of another
 * worker.
 */
#include <shmclient.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static char error[256], value[65537];

static shmc *attach(const char *worker) {
    struct shmc_options options = {
        .size = sizeof options, .worker = worker, .error = error, .error_bytes = sizeof error};
    shmc *segment = NULL;
    error[0] = '\0';
    if (shmc_attach(&segment, &options) < 0)
        puts(error);
    return segment;
}

static void say(shmc *segment, long r) {
    puts(r < 0 ? shmc_last_error(segment) : "that was right");
    fflush(stdout);
}

static void without_size(void) {
    struct shmc_options options = {
        .worker = "temp-driver", .error = error, .error_bytes = sizeof error};
    shmc *segment;
    error[0] = '\0';
    printf("%d%s\n", shmc_attach(&segment, &options), error);
}

static void as_worker(shmc *segment) {
    struct shmc_expect expect = {.size = sizeof expect, .format = "temps/1"};
    shmc_section *temps, *other;
    say(segment, shmc_open(&temps, segment, "tmps", NULL));
    say(segment, shmc_open(&temps, segment, "temps", &expect));
    if (shmc_open(&temps, segment, "temps", NULL) < 0 ||
        shmc_open(&other, segment, "other", NULL) < 0)
        return;
    say(segment, shmc_read(temps, value, sizeof value, NULL));
    say(segment, shmc_publish(temps, value, sizeof value));
    say(segment, shmc_publish(other, value, 1));
    pid_t child = fork();
    if (child == 0) {
        say(segment, shmc_publish(temps, value, 1));
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(void) {
    without_size();
    attach("temp driver");
    attach("temp-drvier");
    shmc *worker = attach("temp-driver");
    if (worker == NULL)
        return 1;
    as_worker(worker);
    attach("temp-driver");
    shmc_section *temps;
    shmc *reader = attach(NULL);
    if (reader == NULL || shmc_open(&temps, reader, "temps", NULL) < 0)
        return 1;
    say(reader, shmc_publish(temps, value, 1));
    shmc_detach(reader);
    shmc_detach(worker);
}
