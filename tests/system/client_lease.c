/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about being a worker: who gets the lease, what keeps it and what gives it up.
 */
#include "cases.h"

#include <shm-manager/layout.h>
#include <sys/shm.h>

static char self[4096]; /* this program, for exec */

static void publish_ok(shmc *segment, const char *name) {
    shmc_section *section = open_section(segment, name);
    CHECK_IS(shmc_publish(section, "abc", 3), 0);
    shmc_close(section);
}

/* ---- one holder */

static void busy_names_the_holder(void) {
    char pid[32];
    shmc *segment = attach("driver", 0);
    CHECK_IS(try_attach("driver", 0), -EBUSY);
    CHECK_IS(refusal_holder, getpid());
    snprintf(pid, sizeof pid, "process %d (client_lease)", getpid());
    CHECK_SAYS(refusal, "worker 'driver'");
    CHECK_SAYS(refusal, pid);
    shmc_detach(segment);
    segment = attach("driver", 0);
    shmc_detach(segment);
}

static void deadline_says_the_holder(void) {
    shmc *segment = attach("driver", 0);
    uint64_t before = now_ns();
    CHECK_IS(try_attach_within("driver", 200), -EBUSY);
    uint64_t took = now_ns() - before;
    CHECK(took >= 200000000 && took < UINT64_C(10000000000));
    CHECK_IS(refusal_holder, getpid());
    CHECK_SAYS(refusal, "is held by process");
    shmc_detach(segment);
}

static void instances_are_as_many_as_the_table_says(void) {
    shmc *first = attach("prefork", 0), *second = attach("prefork", 0);
    CHECK_IS(try_attach("prefork", 0), -EBUSY);
    CHECK_IS(try_attach("prefork#2", 0), -EBUSY);
    shmc_detach(first);
    first = attach("prefork#1", 0);
    shmc_detach(second);
    shmc_detach(first);
}

static void hold(int from, int to) {
    shmc *segment = attach("driver", 0);
    publish_ok(segment, "temps");
    say(to, 'h');
    hear(from);
    shmc_detach(segment);
}

static void wait_for_it(int from, int to) {
    uint64_t at;
    shmc *segment = attach("driver", 0);
    at = now_ns();
    publish_ok(segment, "temps");
    CHECK(write(to, &at, sizeof at) == sizeof at);
    hear(from);
    shmc_detach(segment);
}

static bool somebody_waits(void) {
    char *reply = NULL;
    bool waits = shmc_manager(NULL, "status", &reply) == 0 && reply != NULL &&
                 strstr(reply, "\"waiting\"") != NULL && strstr(reply, "\"waiting\":0") == NULL &&
                 strstr(reply, "\"waiting\": 0") == NULL;
    free(reply);
    return waits;
}

static void killed_holder_is_followed_at_once(void) {
    uint64_t worst = 0;
    for (int round = 0; round < 5; round++) {
        struct child holder = start_child(hold);
        CHECK_IS(hear(holder.from), 'h');
        struct child waiter = start_child(wait_for_it);
        AWAIT(somebody_waits());
        uint64_t killed = now_ns(), got;
        int status = end_child(&holder, SIGKILL);
        CHECK(WIFSIGNALED(status));
        struct pollfd wait = {.fd = waiter.from, .events = POLLIN};
        CHECK_IS(poll(&wait, 1, PATIENCE_MS), 1);
        CHECK(read(waiter.from, &got, sizeof got) == sizeof got);
        worst = got - killed > worst ? got - killed : worst;
        CHECK_IS(end_child(&waiter, 0), 0);
    }
    printf("figure: lease.claim_after_kill_worst %.1f ms\n", (double)worst / 1e6);
    CHECK(worst < 100000000);
}

static long long grants(void) {
    char *reply = NULL;
    CHECK_IS(shmc_manager(NULL, "status", &reply), 0);
    const char *at = strstr(reply, "\"grants\"");
    CHECK(at != NULL);
    long long n = strtoll(strchr(at, ':') + 1, NULL, 10);
    free(reply);
    return n;
}

/* The claim comes before the manager heard of the holder's end, or just with it. */
static void an_end_and_a_claim_at_once_are_one_grant(void) {
    long long before = grants();
    for (int round = 0; round < 100; round++) {
        struct child holder = start_child(hold);
        CHECK_IS(hear(holder.from), 'h');
        kill(holder.pid, SIGKILL);
        shmc *segment = attach("driver", 0);
        publish_ok(segment, "temps");
        shmc_detach(segment);
        end_child(&holder, 0);
    }
    CHECK_IS(grants() - before, 200);
}

/* ---- refusals */

static void refusals_say_what_to_do(void) {
    char error[512] = "";
    shmc *segment = NULL;
    struct shmc_options options = {
        .size = sizeof options, .key = 0x51515151, .error = error, .error_bytes = sizeof error};
    CHECK_IS(shmc_attach(&segment, &options), -ENOENT);
    CHECK_SAYS(error, "no shared memory under key 0x51515151, so no manager; ");
    CHECK_IS(try_attach("nobody", 0), -ENOENT);
    CHECK_SAYS(refusal, "no worker 'nobody'");
    options = (struct shmc_options){.size = sizeof options,
                                    .worker = "driver",
                                    .runtime_dir = "/nonexistent",
                                    .timeout_ms = 50,
                                    .error = error,
                                    .error_bytes = sizeof error};
    if (on_memfd()) { /* without a manager nothing says that there is a segment */
        CHECK_IS(shmc_attach(&segment, &options), -ENOENT);
        CHECK_SAYS(error, "so no manager; ");
        return;
    }
    CHECK_IS(shmc_attach(&segment, &options), -ENOTCONN);
    CHECK_SAYS(error, "is served by process ");
    CHECK_SAYS(error, "but not at /nonexistent: set SHMC_RUNTIME_DIR to its --runtime-dir");
    CHECK(segment == NULL);
}

static void options_are_checked(void) {
    struct {
        struct shmc_options known;
        uint64_t later;
    } options = {.known = {.size = sizeof options}, .later = 1};
    char error[512] = "";
    shmc *segment = NULL;
    options.known.error = error;
    options.known.error_bytes = sizeof error;
    CHECK_IS(shmc_attach(&segment, &options.known), -EINVAL);
    CHECK_SAYS(error, "fields that this library");
    options.later = 0;
    CHECK_IS(shmc_attach(&segment, &options.known), 0);
    shmc_detach(segment);
    options.known.flags = 0x80;
    CHECK_IS(shmc_attach(&segment, &options.known), -EINVAL);
    CHECK_SAYS(error, "options.flags");
    options.known.size = 0;
    CHECK_IS(shmc_attach(&segment, &options.known), -EINVAL);
    CHECK(setenv("SHMC_KEY", "many", 1) == 0);
    CHECK_IS(try_attach(NULL, 0), -EINVAL);
    CHECK_SAYS(refusal, "SHMC_KEY is 'many'");
}

/* ---- fork, daemonise, closefrom, exec */

static int readable(int fd) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, PATIENCE_MS);
}

static void fork_leaves_the_parents_lease(void) {
    shmc *segment = attach("driver", 0);
    shmc_section *section = open_section(segment, "temps");
    shmc_section *raw = open_section(segment, "bytes");
    CHECK_IS(shmc_publish(section, "one", 3), 0);
    CHECK_IS(readable(shmc_fd(section)), 1); /* its thread is at work */
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char buffer[64];
        const void *data;
        size_t bytes;
        struct shmc_segment_info info;
        struct shmc_section_info *all;
        CHECK_IS(shmc_publish(section, "two", 3), -ECHILD);
        CHECK_IS(shmc_read(section, buffer, sizeof buffer, NULL), -ECHILD);
        CHECK_IS(shmc_view(section, &data, &bytes, NULL), -ECHILD);
        CHECK_IS(shmc_valid(section), -ECHILD);
        CHECK_IS(shmc_next(section, buffer, sizeof buffer, 1000, NULL), -ECHILD);
        CHECK_IS(shmc_raw_read(raw, 0, buffer, 1), -ECHILD);
        CHECK_IS(shmc_raw_write(raw, 0, buffer, 1), -ECHILD);
        CHECK_IS(shmc_segment(segment, &info), -ECHILD);
        CHECK_IS(shmc_sections(segment, &all, &bytes), -ECHILD);
        CHECK_IS(shmc_fd(section), -ECHILD);
        CHECK_SAYS(shmc_last_error(segment), "a child attaches for itself");
        shmc_close(section);
        shmc_detach(segment);
        CHECK_IS(shmc_raw_read(raw, 0, buffer, 1), -ECHILD);
        shmc_close(raw);
        CHECK_IS(try_attach("driver", 0), -EBUSY);
        shmc *reader = attach(NULL, 0);
        shmc_detach(reader);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
    CHECK_IS(shmc_publish(section, "two", 3), 0);
    CHECK_IS(try_attach("driver", 0), -EBUSY);
    shmc_close(section);
    shmc_close(raw);
    shmc_detach(segment);
}

static void daemonise(int from, int to) {
    shmc *segment = attach("driver", 0);
    shmc_section *section = open_section(segment, "temps");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        _exit(0);
    CHECK_IS(shmc_publish(section, "abc", 3), -ECHILD);
    say(to, 'c');
    hear(from);
    exit(0);
}

static void daemonising_gives_the_lease_up(void) {
    struct child child = start_child(daemonise);
    CHECK_IS(hear(child.from), 'c');
    shmc *segment = attach("driver", 0); /* while the daemon lives */
    shmc_detach(segment);
    end_child(&child, 0);
}

static void closefrom_keeps_the_lease(void) {
    shmc *segment = attach("driver", 0);
    closefrom(3);
    CHECK_IS(try_attach("driver", 0), -EBUSY);
    publish_ok(segment, "temps");
    shmc_detach(segment);
}

static void become(const char *name, int from, int to) {
    char in[16], out[16];
    int a = fcntl(from, F_DUPFD, 10), b = fcntl(to, F_DUPFD, 10); /* without FD_CLOEXEC */
    snprintf(in, sizeof in, "%d", a);
    snprintf(out, sizeof out, "%d", b);
    CHECK(setenv("CASE_IN", in, 1) == 0 && setenv("CASE_OUT", out, 1) == 0);
    execl(self, self, name, (char *)NULL);
    CHECK(false);
}

/* What the programs after an exec do. */
static void sit(void) {
    say(atoi(getenv("CASE_OUT")), 's');
    hear(atoi(getenv("CASE_IN")));
}

static void adopt(void) {
    int from = atoi(getenv("CASE_IN")), to = atoi(getenv("CASE_OUT"));
    shmc *segment = attach("driver", 0);
    publish_ok(segment, "temps");
    say(to, 'a');
    hear(from);
    shmc_detach(segment); /* the descriptor that was left open still is the lease */
    say(to, 'd');
    hear(from);
}

static void exec_plainly(int from, int to) {
    attach("driver", 0);
    become("sit", from, to);
}

static void exec_with_lease(int from, int to) {
    char lease[256];
    shmc *segment = attach("driver", SHMC_LEASE_FD);
    publish_ok(segment, "temps");
    CHECK(shmc_lease_fd(segment) >= 3);
    CHECK_IS(shmc_lease_env(segment, lease, 4), -EMSGSIZE);
    CHECK_IS(shmc_lease_env(segment, lease, sizeof lease), 0);
    CHECK(setenv("SHMC_LEASE", lease, 1) == 0);
    become("adopt", from, to);
}

static void exec_gives_the_lease_up(void) {
    struct child child = start_child(exec_plainly);
    CHECK_IS(hear(child.from), 's');
    shmc *segment = attach("driver", 0);
    CHECK_IS(shmc_lease_fd(segment), -ENOENT);
    shmc_detach(segment);
    CHECK_IS(end_child(&child, 0), 0);
}

static void exec_keeps_a_lease_that_was_asked_for(void) {
    struct child child = start_child(exec_with_lease);
    CHECK_IS(hear(child.from), 'a');
    CHECK_IS(try_attach("driver", 0), -EBUSY);
    CHECK_IS(refusal_holder, child.pid);
    say(child.to, 'x');
    CHECK_IS(hear(child.from), 'd');
    CHECK_IS(try_attach("driver", 0), -EBUSY);
    CHECK_IS(end_child(&child, 0), 0);
    shmc *segment = attach("driver", 0);
    shmc_detach(segment);
}

static void a_false_lease_is_ignored(void) {
    const char *const leases[] = {"",
                                  "x",
                                  "0x1:driver:1:1:3",
                                  "%s:driver:1:1:0",
                                  "%s:driver:1:1:9999",
                                  "%s:driver:99999:1:1",
                                  "%s:driver:1:1:1x"};
    for (size_t i = 0; i < sizeof leases / sizeof *leases; i++) {
        char text[256];
        const char *key = getenv("SHMC_KEY");
        if (strncmp(leases[i], "%s", 2) == 0)
            snprintf(text, sizeof text, "%s%s", key, leases[i] + 2);
        else
            snprintf(text, sizeof text, "%s", leases[i]);
        CHECK(setenv("SHMC_LEASE", text, 1) == 0);
        shmc *segment = attach("driver", 0);
        publish_ok(segment, "temps");
        CHECK_IS(try_attach("driver", 0), -EBUSY);
        shmc_detach(segment);
    }
}

/* ---- what a stray store does, and what is said of a lease that was taken back */

static uint8_t *whole_segment(const struct shmc_segment_info *info) {
    void *at = shmat(info->id, NULL, 0);
    CHECK(at != (void *)-1);
    return (uint8_t *)at;
}

static void damaged_header_stops_readers_only(void) {
    only_on_sysv("nobody can damage it there");
    char buffer[64];
    shmc *segment = attach("driver", 0), *reader = attach(NULL, 0);
    shmc_section *section = open_section(segment, "temps"), *seen = open_section(reader, "temps");
    struct shmc_segment_info info;
    CHECK_IS(shmc_publish(section, "one", 3), 0);
    CHECK_IS(shmc_read(seen, buffer, sizeof buffer, NULL), 3);
    CHECK_IS(shmc_segment(segment, &info), 0);
    uint8_t *raw = whole_segment(&info);
    CHECK(kill(info.manager_pid, SIGSTOP) == 0); /* so that it doesn't mend it too early */
    memset(raw, 0, 4096);
    int published = shmc_publish(section, "second", 6);
    ssize_t read = shmc_read(seen, buffer, sizeof buffer, NULL);
    shmc_section *another = NULL;
    int opened = shmc_open(&another, reader, "cam", NULL);
    CHECK(kill(info.manager_pid, SIGCONT) == 0);
    CHECK_IS(published, 0);
    CHECK_IS(read, -EBADMSG);
    CHECK_IS(opened, -EBADMSG);
    CHECK_SAYS(shmc_last_error(reader), "header is damaged");
    AWAIT(shmc_read(seen, buffer, sizeof buffer, NULL) == 6);
    CHECK(memcmp(buffer, "second", 6) == 0);
    CHECK_IS(shmc_publish(section, "third", 5), 0);
    shmdt(raw);
    shmc_close(section);
    shmc_close(seen);
    shmc_detach(reader);
    shmc_detach(segment);
}

static void taken_back_is_said(void) {
    only_on_sysv("nobody can forge the record there");
    shmc *segment = attach("driver", 0);
    shmc_section *section = open_section(segment, "temps"), *raw = open_section(segment, "bytes");
    struct shmc_segment_info info;
    struct shmc_worker_info worker;
    CHECK_IS(shmc_publish(section, "one", 3), 0);
    CHECK_IS(shmc_segment(segment, &info), 0);
    CHECK_IS(shmc_inspect_worker(segment, "driver", &worker), 0);
    uint8_t *at = whole_segment(&info);
    const struct shm_header *header = (const struct shm_header *)(const void *)at;
    struct shm_worker *records = (struct shm_worker *)(void *)(at + header->workers_off);
    while (strcmp(records->name, "driver") != 0)
        records++;
    uint64_t word = records->word;
    CHECK_IS(word, worker.epoch << 8 | SHM_LEASE_LEASED);
    CHECK(kill(info.manager_pid, SIGSTOP) == 0);
    __atomic_store_n(&records->word, (worker.epoch + 1) << 8, __ATOMIC_RELEASE);
    int published = shmc_publish(section, "two", 3);
    ssize_t written = shmc_raw_write(raw, 0, "x", 1);
    __atomic_store_n(&records->word, 0, __ATOMIC_RELEASE); /* a stray store; not a lease's end */
    int goes_on = shmc_publish(section, "two", 3);
    __atomic_store_n(&records->word, word, __ATOMIC_RELEASE);
    CHECK(kill(info.manager_pid, SIGCONT) == 0);
    CHECK_IS(published, -EKEYREVOKED);
    CHECK_IS(written, -EKEYREVOKED);
    CHECK_SAYS(shmc_last_error(segment), "lease of worker 'driver' was taken back");
    CHECK_IS(goes_on, 0);
    shmdt(at);
    shmc_close(section);
    shmc_close(raw);
    shmc_detach(segment);
}

static const struct test_case cases[] = {
    {"busy_names_the_holder", busy_names_the_holder},
    {"deadline_says_the_holder", deadline_says_the_holder},
    {"instances_are_as_many_as_the_table_says", instances_are_as_many_as_the_table_says},
    {"killed_holder_is_followed_at_once", killed_holder_is_followed_at_once},
    {"an_end_and_a_claim_at_once_are_one_grant", an_end_and_a_claim_at_once_are_one_grant},
    {"refusals_say_what_to_do", refusals_say_what_to_do},
    {"options_are_checked", options_are_checked},
    {"fork_leaves_the_parents_lease", fork_leaves_the_parents_lease},
    {"daemonising_gives_the_lease_up", daemonising_gives_the_lease_up},
    {"closefrom_keeps_the_lease", closefrom_keeps_the_lease},
    {"exec_gives_the_lease_up", exec_gives_the_lease_up},
    {"exec_keeps_a_lease_that_was_asked_for", exec_keeps_a_lease_that_was_asked_for},
    {"a_false_lease_is_ignored", a_false_lease_is_ignored},
    {"damaged_header_stops_readers_only", damaged_header_stops_readers_only},
    {"taken_back_is_said", taken_back_is_said},
};

int main(int argc, char **argv) {
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    if (argc == 2 && strcmp(argv[1], "sit") == 0)
        sit();
    else if (argc == 2 && strcmp(argv[1], "adopt") == 0)
        adopt();
    else
        return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
    return 0;
}
