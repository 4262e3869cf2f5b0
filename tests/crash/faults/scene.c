/* SPDX-License-Identifier: Apache-2.0
 *
 * A manager's life under observation.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <shmclient.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void scene_violation(struct scene *s, const char *what, const char *detail) {
    s->violations++;
    if (s->at != NULL)
        printf("violation: %s %u %s: ", s->at->call, s->at->when, s->at->action);
    else
        printf("violation: ");
    printf("%s: %s\n", what, detail);
    fflush(stdout);
}

void scene_open(struct scene *s, const char *program, const char *directory, uint32_t key) {
    *s = (struct scene){.program = program, .directory = directory, .key = key};
    snprintf(s->run, sizeof s->run, "%s/run", directory);
    snprintf(s->state, sizeof s->state, "%s/state", directory);
    snprintf(s->log, sizeof s->log, "%s/faults.log", directory);
    snprintf(s->trace, sizeof s->trace, "%s/trace", directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", directory);
    unlink(address.sun_path);
    s->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->notify < 0 || bind(s->notify, (struct sockaddr *)&address, sizeof address) < 0) {
        perror(address.sun_path);
        exit(2);
    }
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

static void run_plain(const struct scene *s, const char *key) {
    execl(s->program, s->program, "--key", key, "--state-dir", s->state, "--runtime-dir", s->run,
          NULL);
    _exit(127);
}

static void run_without_memory(const struct scene *s, const char *key, const struct point *point) {
    char when[16];
    setenv("LD_PRELOAD", s->preload, 1);
    setenv("FAULTS_MALLOC_COUNT", s->trace, 1);
    if (point != NULL) {
        snprintf(when, sizeof when, "%u", point->when);
        setenv("FAULTS_MALLOC", when, 1);
        setenv("FAULTS_MALLOC_ON", strchr(point->action, '=') + 1, 1);
    }
    run_plain(s, key);
}

static void run_traced(const struct scene *s, const char *key, const struct point *point) {
    char filter[64] = "trace=all", inject[128] = "signal=none";
    if (point != NULL) {
        snprintf(filter, sizeof filter, "trace=%s", point->call);
        snprintf(inject, sizeof inject, "inject=%s:%s:when=%u", point->call, point->action,
                 point->when);
    }
    /* -D: the manager is our child, and not strace's */
    execlp("strace", "strace", "-D", "-qq", "-o", s->trace, "-e", filter, "-e", inject, s->program,
           "--key", key, "--state-dir", s->state, "--runtime-dir", s->run, NULL);
    _exit(127);
}

static void become_manager(const struct scene *s, const struct point *point, bool trace) {
    char key[16];
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(key, sizeof key, "0x%08x", s->key);
    if (point == NULL && !trace)
        run_plain(s, key);
    else if (s->preload != NULL)
        run_without_memory(s, key, point);
    else
        run_traced(s, key, point);
}

pid_t scene_start(struct scene *s, const struct point *point, bool trace) {
    char text[4096];
    while (recv(s->notify, text, sizeof text, MSG_DONTWAIT) > 0)
        ; /* of the one before */
    if (point != NULL || trace)
        unlink(s->trace);
    pid_t child = fork();
    if (child == 0)
        become_manager(s, point, trace);
    return child;
}

static bool heard_ready(const struct scene *s) {
    char text[4096];
    ssize_t n;
    bool ready = false;
    while ((n = recv(s->notify, text, sizeof text - 1, MSG_DONTWAIT)) > 0) {
        text[n] = '\0';
        ready = ready || strstr(text, "READY=1") != NULL;
    }
    return ready;
}

int scene_ask(struct scene *s, const char *request, char *error) {
    char *reply = NULL;
    struct shmc_options options = {.size = sizeof options,
                                   .key = s->key,
                                   .runtime_dir = s->run,
                                   .error = error,
                                   .error_bytes = 640};
    error[0] = '\0';
    int r = shmc_manager(&options, request, &reply);
    free(reply);
    return r;
}

bool scene_ready(struct scene *s, pid_t manager, int *status) {
    uint64_t end = now_ms() + 30000;
    char error[640];
    int pidfd = (int)syscall(SYS_pidfd_open, manager, 0);
    bool ready = false;
    *status = -1;
    while (!ready && now_ms() < end) {
        struct pollfd wait[] = {{.fd = pidfd, .events = POLLIN},
                                {.fd = s->notify, .events = POLLIN}};
        /* The message may be what the fault took: then asking is the way to know. */
        int n = poll(wait, 2, 200);
        ready = heard_ready(s) || (n == 0 && scene_ask(s, "status", error) == 0);
        if (!ready && (wait[0].revents & POLLIN) != 0) {
            waitpid(manager, status, 0);
            close(pidfd);
            return false;
        }
    }
    close(pidfd);
    if (!ready) {
        scene_violation(s, "neither serves nor ends within 30 s", "killed");
        kill(manager, SIGKILL);
        waitpid(manager, status, 0);
    }
    return ready;
}

bool scene_stop(struct scene *s, pid_t manager, int *status) {
    (void)s;
    int pidfd = (int)syscall(SYS_pidfd_open, manager, 0);
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    kill(manager, SIGTERM);
    bool ended = poll(&wait, 1, 30000) > 0;
    if (!ended)
        kill(manager, SIGKILL);
    waitpid(manager, status, 0);
    close(pidfd);
    return ended;
}

/* Another count is another place: for `cam`, which may be held or not, and for `still`, which is.
 * With memfd that is memory to be had from a manager, who may be dead by then: there `still` stays.
 */
void scene_edit(struct scene *s) {
    char path[300], text[200];
    const char *backend = getenv("SHM_TEST_BACKEND");
    const bool memfd = backend != NULL && strcmp(backend, "memfd") == 0;
    sqlite3 *sql;
    snprintf(path, sizeof path, "%s/sections.db", s->state);
    s->edits++;
    snprintf(text, sizeof text,
             "UPDATE section SET stale_ms = %u, count = %u WHERE name = 'cam' OR (%d AND name = "
             "'still')",
             60000 + s->edits, 4 + s->edits % 2, !memfd);
    if (sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(sql, 30000) != SQLITE_OK ||
        sqlite3_exec(sql, text, NULL, NULL, NULL) != SQLITE_OK)
        scene_violation(s, "the table can't be edited", sqlite3_errmsg(sql));
    sqlite3_close(sql);
}

void scene_clear_log(struct scene *s) {
    if (truncate(s->log, 0) < 0 && errno != ENOENT)
        perror(s->log);
}

void scene_check_log(struct scene *s) {
    char line[2048];
    unsigned errors = 0;
    FILE *file = fopen(s->log, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        /* The dynamic linker loads more than the program: NSS, for a group's name. */
        if (strncmp(line, "shm-manager: ", 13) != 0)
            scene_violation(s, "a line that is no message", line);
        errors += strstr(line, "error: ") != NULL;
    }
    if (file != NULL)
        fclose(file);
    if (errors == 0)
        scene_violation(s, "it failed to start", "and didn't say why");
}
