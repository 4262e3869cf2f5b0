/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments without a daemon: what each call does, with each strategy, and how it refuses.
 */
#include "private_fixture.h"
#include "usage.h"

#include <shm-manager/layout.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

/* ---- the strategies */

static const struct shmc_private_spec two[] = {
    SPEC(.name = "count", .owner = "web", .bytes = 64),
    SPEC(.name = "bytes", .owner = "web", .kind = SHMC_RAW, .bytes = 10000),
};

START_TEST(each_strategy) {
    static const enum shmc_strategy wanted[] = {SHMC_STRATEGY_AUTO, SHMC_STRATEGY_ANON,
                                                SHMC_STRATEGY_DEVZERO, SHMC_STRATEGY_SYSV_PRIVATE};
    const unsigned before = usage_entries("/proc/self/fd");
    for (unsigned i = 0; i < 4; i++) {
        const void *data;
        size_t bytes;
        shmc_private *memory = make(wanted[i], two, 2);
        ck_assert_int_eq(shmc_private_strategy(memory), i == 0 ? SHMC_STRATEGY_ANON : wanted[i]);
        shmc *segment = attached(memory, NULL);
        shmc_section *count = opened(segment, "count"), *raw = opened(segment, "bytes");
        ck_assert_int_eq(shmc_raw(raw, &data, &bytes), 0);
        ck_assert_uint_eq(bytes, 10000);
        for (size_t k = 0; k < bytes; k++)
            ck_assert_int_eq(((const char *)data)[k], 0);
        ck_assert_int_eq(number_in(count), -ENODATA);
        const struct child child = start(memory, web);
        ck_assert_int_eq(step(&child), 0);
        ck_assert_int_eq(step(&child), 0);
        ck_assert_int_eq(step(&child), 0);
        ck_assert_int_eq(number_in(count), 2);
        end(&child, 0);
        shmc_close(count);
        shmc_close(raw);
        shmc_detach(segment);
        shmc_private_destroy(memory);
        ck_assert_uint_eq(usage_sysv(), 0);
    }
    ck_assert_uint_eq(usage_entries("/proc/self/fd"), before);
}
END_TEST

START_TEST(what_it_says_of_itself) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    shmc *segment = attached(memory, "web");
    struct shmc_segment_info info;
    struct shmc_worker_info *workers;
    struct shmc_section_info section;
    struct shmc_create_options options = {.size = sizeof options, .bytes = 8};
    size_t n;
    ck_assert_int_eq(shmc_segment(segment, &info), 0);
    ck_assert_uint_eq(info.backend, SHM_BACKEND_PRIVATE);
    ck_assert_str_eq(info.protection, "cooperative (private)");
    ck_assert(!info.manager_alive);
    ck_assert_int_eq(shmc_workers(segment, &workers, &n), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(workers->state, SHMC_ALIVE);
    ck_assert_int_eq(workers->pid, getpid());
    free(workers);
    ck_assert_int_eq(shmc_inspect(segment, "count", &section), 0);
    ck_assert(section.own && section.writer == SHMC_ALIVE);
    ck_assert_int_eq(shmc_create(segment, "more", &options), -ENOTCONN);
    ck_assert_ptr_nonnull(strstr(shmc_last_error(segment), "shmc_private_reload"));
    ck_assert_int_eq(shmc_lease_fd(segment), -ENOENT);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

/* ---- what is refused */

static void expect_refused(const struct shmc_private_spec *specs, size_t n, int code,
                           const char *text) {
    const struct shmc_private_options options = {
        .size = sizeof options, .error = error, .error_bytes = sizeof error};
    shmc_private *memory = NULL;
    error[0] = '\0';
    ck_assert_int_eq(shmc_private_create(&memory, specs, n, &options), code);
    ck_assert_msg(strstr(error, text) != NULL, "'%s' doesn't say '%s'", error, text);
    ck_assert_ptr_null(memory);
}

START_TEST(specs_that_make_no_sense) {
    static const struct {
        struct shmc_private_spec spec;
        const char *text;
    } cases[] = {
        {SPEC(.name = NULL, .bytes = 1), "spec 1: its name is ''"},
        {SPEC(.name = "1st", .bytes = 1), "its name is '1st'"},
        {SPEC(.name = "old.3", .bytes = 1), "its name is 'old.3'"},
        {SPEC(.name = "x", .owner = "a b", .bytes = 1), "'x': its owner is 'a b'"},
        {SPEC(.name = "x", .bytes = 0), "'x': bytes is 0"},
        {SPEC(.name = "x", .bytes = UINT64_MAX), "'x': bytes is 18446744073709551615"},
        {SPEC(.name = "x", .bytes = UINT64_C(1) << 44, .count = 200), "take more memory than any"},
        {SPEC(.name = "x", .bytes = 8, .count = 1000), "'x': count is 1000"},
        {SPEC(.name = "x", .kind = SHMC_RAW, .bytes = 8, .count = 2), "'x': count is 2"},
        {SPEC(.name = "x", .kind = SHMC_SLOTS, .bytes = 8), "how many slots"},
        {SPEC(.name = "x", .kind = SHMC_QUEUE, .bytes = 8), "how many lanes"},
        {SPEC(.name = "x", .kind = (enum shmc_kind)9, .bytes = 8), "'x': kind is 9"},
        {SPEC(.name = "x", .bytes = 8, .flags = 0x100), "'x': flags is 0x100"},
        {SPEC(.name = "x", .bytes = 8, .flags = SHMC_PRIVATE_SHARED), "'x': flags is 0x1"},
        {SPEC(.name = "x", .bytes = 8, .instances = 5000), "'x': instances is 5000"},
        {SPEC(.name = "FINE", .bytes = 8), "'FINE': there is another"},
        {SPEC(.name = "x", .owner = "w", .bytes = 8, .instances = 2), "say which one, 'w#1'"},
        {SPEC(.name = "x", .owner = "w#1", .bytes = 8), "that has no instances"},
        {{.size = 3, .name = "x"}, "spec.size is 3"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct shmc_private_spec specs[] = {SPEC(.name = "fine", .bytes = 8), cases[i].spec};
        expect_refused(specs, 2, -EINVAL, cases[i].text);
    }
}
END_TEST

START_TEST(options_that_make_no_sense) {
    shmc_private *memory;
    shmc *segment;
    struct shmc_private_options options = {.size = sizeof options,
                                           .strategy = (enum shmc_strategy)7,
                                           .error = error,
                                           .error_bytes = sizeof error};
    ck_assert_int_eq(shmc_private_create(&memory, two, 2, &options), -EINVAL);
    options.strategy = SHMC_STRATEGY_AUTO;
    options.bytes = 4096;
    ck_assert_int_eq(shmc_private_create(&memory, two, 2, &options), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "options.bytes is 4096"));
    options.bytes = UINT64_C(1) << 20;
    const struct shmc_private_spec large[] = {SPEC(.name = "large", .bytes = 1 << 20)};
    ck_assert_int_eq(shmc_private_create(&memory, large, 1, &options), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(error, "options.bytes"));
    memory = make(SHMC_STRATEGY_AUTO, two, 2);
    const struct shmc_options keyed = {.size = sizeof keyed, .key = 1};
    ck_assert_int_eq(shmc_private_attach(&segment, memory, &keyed), -EINVAL);
    ck_assert_int_eq(attach(&segment, memory, "nobody", 0), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error, "no worker 'nobody'"));
    ck_assert_int_eq(attach(&segment, memory, "no body", 0), -EINVAL);
    shmc_private_destroy(memory);
    shmc_private_destroy(NULL);
}
END_TEST

static int without_room(const shmc_private *memory, int at) {
    const struct rlimit limit = {UINT64_C(64) << 20, UINT64_C(64) << 20};
    shmc_private *none;
    const struct shmc_private_options options = {
        .size = sizeof options, .error = error, .error_bytes = sizeof error};
    (void)memory;
    (void)at;
    setrlimit(RLIMIT_AS, &limit);
    const int r = shmc_private_create(&none, two, 2, &options);
    return strstr(error, "options.bytes") == NULL ? 0 : r;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
START_TEST(no_address_space) {
    ck_assert_int_eq(in_child(NULL, without_room), -ENOMEM);
}
END_TEST
#else
START_TEST(no_address_space) {
    (void)without_room; /* the sanitizer needs it all */
}
END_TEST
#endif

/* ---- who writes */

static int stray_store(const shmc_private *memory, int at) {
    shmc *segment;
    shmc_section *raw;
    const void *data;
    size_t bytes;
    (void)at;
    if (attach(&segment, memory, NULL, 0) < 0 || shmc_open(&raw, segment, "bytes", NULL) < 0 ||
        shmc_raw(raw, &data, &bytes) < 0)
        return 1;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's would tell */
    *(volatile char *)(uintptr_t)data = 1;
    return 0;
}

START_TEST(a_stray_store_faults) {
    int status;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(stray_store(memory, 0));
    waitpid(pid, &status, 0);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(one_holder_a_name) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    shmc *segment;
    pid_t holder = 0;
    const struct shmc_options options = {.size = sizeof options,
                                         .worker = "web",
                                         .holder = &holder,
                                         .error = error,
                                         .error_bytes = sizeof error};
    const struct child first = start(memory, web), second = start(memory, web);
    ck_assert_int_eq(step(&first), 0);
    ck_assert_int_eq(shmc_private_attach(&segment, memory, &options), -EBUSY);
    ck_assert_int_eq(holder, first.pid);
    ck_assert_int_eq(attach(&segment, memory, "web", 20), -EBUSY);
    ck_assert_int_eq(write(second.to, "", 1), 1); /* waits for it */
    end(&first, SIGKILL);
    ck_assert_int_eq(hear(second.from), 0);
    ck_assert_int_eq(step(&second), 0);
    segment = attached(memory, NULL);
    shmc_section *count = opened(segment, "count");
    ck_assert_int_eq(number_in(count), 1);
    ck_assert_int_eq(shmc_publish(count, "x", 1), -EACCES);
    end(&second, 0);
    shmc_close(count);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(a_reader_sees_that_its_writer_is_gone) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    shmc *segment = attached(memory, NULL);
    shmc_section *count = opened(segment, "count");
    struct shmc_value value = {0};
    int number;
    const struct child child = start(memory, web);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(step(&child), 0);
    ck_assert_int_eq(shmc_read(count, &number, sizeof number, &value), sizeof number);
    ck_assert_int_eq(value.writer, SHMC_ALIVE);
    end(&child, SIGKILL);
    for (unsigned i = 0; value.writer != SHMC_GONE; i++) {
        ck_assert_uint_lt(i, 1000000);
        ck_assert_int_eq(shmc_read(count, &number, sizeof number, &value), sizeof number);
    }
    ck_assert_int_eq(shmc_private_reap(memory), 1);
    ck_assert_int_eq(shmc_private_reap(memory), 0);
    shmc_close(count);
    shmc_detach(segment);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(instances) {
    const struct shmc_private_spec specs[] = {
        SPEC(.name = "a", .owner = "web#1", .bytes = 8, .instances = 2),
        SPEC(.name = "b", .owner = "web#2", .bytes = 8)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 2);
    shmc *first = attached(memory, "web"), *second = attached(memory, "web"), *third;
    ck_assert_int_eq(attach(&third, memory, "web", 0), -EBUSY);
    ck_assert_int_eq(attach(&third, memory, "web#2", 0), -EBUSY);
    ck_assert_int_eq(attach(&third, memory, "web#3", 0), -ENOENT);
    shmc_section *a = opened(first, "a"), *b = opened(second, "b");
    ck_assert_int_eq(shmc_publish(a, "x", 1), 0);
    ck_assert_int_eq(shmc_publish(b, "x", 1), 0);
    shmc_close(b);
    shmc_detach(second);
    second = attached(memory, "web#2");
    shmc_detach(second);
    shmc_close(a);
    shmc_detach(first);
    shmc_private_destroy(memory);
}
END_TEST

/* Any attachment writes it in place, also one without a name; a reader doesn't. */
START_TEST(shared_by_all) {
    const struct shmc_private_spec specs[] = {
        SPEC(.name = "hits", .kind = SHMC_RAW, .bytes = 64, .flags = SHMC_PRIVATE_SHARED)};
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, specs, 1);
    shmc *first, *second, *reader = attached(memory, NULL);
    void *one, *two_;
    size_t bytes;
    first = nameless(memory);
    second = nameless(memory);
    shmc_section *a = opened(first, "hits"), *b = opened(second, "hits");
    shmc_section *c = opened(reader, "hits");
    const int r = shmc_raw_writable(a, &one, &bytes);
    ck_assert_msg(r == 0, "%d: %s", r, shmc_last_error(first));
    ck_assert_int_eq(shmc_raw_writable(b, &two_, &bytes), 0);
    ck_assert_int_eq(shmc_raw_writable(c, &one, &bytes), -EACCES);
    __atomic_add_fetch((int *)two_, 1, __ATOMIC_SEQ_CST);
    int seen = 0;
    ck_assert_int_eq(shmc_raw_read(c, 0, &seen, sizeof seen), sizeof seen);
    ck_assert_int_eq(seen, 1);
    shmc_close(a);
    shmc_close(b);
    shmc_close(c);
    shmc_detach(first);
    shmc_detach(second);
    shmc_detach(reader);
    shmc_private_destroy(memory);
}
END_TEST

/* ---- processes */

static int drop_root(const shmc_private *memory, int at) {
    shmc *segment;
    (void)at;
    if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
        return 1;
    return attach(&segment, memory, "web", 0);
}

static int close_all(const shmc_private *memory, int at) {
    shmc *segment;
    (void)at;
    for (int fd = 3; fd < 1024; fd++) {
        char path[40], target[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0 && memmem(target, (size_t)n, "leases", 6) != NULL)
            close(fd);
    }
    return attach(&segment, memory, "web", 0);
}

static int as_if_creator(const shmc_private *memory, int at) {
    (void)at;
    shmc_private *own = (shmc_private *)(uintptr_t)memory;
    if (shmc_private_reload(own, two, 2) != -ECHILD || shmc_private_reap(own) != -ECHILD)
        return 1;
    shmc *segment = attached(memory, "web");
    shmc_section *count = opened(segment, "count");
    shmc_private_destroy(own);
    const int r = shmc_publish(count, "x", 1); /* goes on */
    shmc_close(count);
    shmc_detach(segment);
    return r;
}

START_TEST(children) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    if (geteuid() == 0)
        ck_assert_int_eq(in_child(memory, drop_root), 0);
    ck_assert_int_eq(in_child(memory, close_all), -EBADF);
    ck_assert_int_eq(in_child(memory, as_if_creator), 0);
    ck_assert_int_eq(in_child(memory, try_web), 0);
    shmc_private_destroy(memory);
}
END_TEST

static shmc *parents;
static shmc_section *parents_count;

static int use_the_parents(const shmc_private *memory, int at) {
    char byte;
    (void)at;
    if (shmc_publish(parents_count, "x", 1) != -ECHILD ||
        shmc_read(parents_count, &byte, 1, NULL) != -ECHILD)
        return 1;
    shmc_close(parents_count);
    shmc_detach(parents);
    return attach(&parents, memory, "web", 0);
}

START_TEST(attached_before_a_fork) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    parents = attached(memory, "web");
    parents_count = opened(parents, "count");
    ck_assert_int_eq(shmc_publish(parents_count, "x", 1), 0);
    ck_assert_int_eq(in_child(memory, use_the_parents), -EBUSY);
    ck_assert_int_eq(shmc_publish(parents_count, "x", 1), 0);
    shmc_close(parents_count);
    shmc_detach(parents);
    shmc_private_destroy(memory);
}
END_TEST

START_TEST(destroyed_under_its_children) {
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    const struct child child = start(memory, web), late = start(memory, try_web);
    shmc *segment = attached(memory, NULL);
    shmc_section *count = opened(segment, "count");
    ck_assert_int_eq(step(&child), 0);
    shmc_private_destroy(memory);
    ck_assert_int_eq(step(&child), -EIDRM);
    ck_assert_int_eq(step(&late), -EIDRM);
    ck_assert_int_eq(number_in(count), -EIDRM);
    end(&child, 0);
    end(&late, 0);
    shmc_close(count);
    shmc_detach(segment);
}
END_TEST

/* Makes a segment, and dies behind its children: they go on, and attach. */
static _Noreturn void create_and_die(int ready, int done) {
    char byte;
    int published = 1;
    shmc_private *memory = make(SHMC_STRATEGY_AUTO, two, 2);
    const pid_t creator = getpid();
    if (fork() != 0) {
        if (read(ready, &byte, 1) == 1) /* the child is there */
            raise(SIGKILL);
        _exit(1);
    }
    shmc *reader = attached(memory, NULL);
    shmc_section *seen = opened(reader, "count");
    if (write(done, "", 1) != 1)
        _exit(1);
    while (getppid() == creator) {
        const struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
    }
    shmc *segment = attached(memory, "web");
    shmc_section *count = opened(segment, "count");
    if (shmc_publish(count, &published, sizeof published) < 0 || number_in(seen) != 1 ||
        shmc_private_reload(memory, two, 2) != -ECHILD || write(done, "", 1) != 1)
        _exit(1);
    _exit(0);
}

START_TEST(the_creator_dies) {
    int ready[2], done[2];
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(done, O_CLOEXEC), 0);
    const pid_t pid = fork();
    char byte;
    if (pid == 0)
        create_and_die(ready[0], done[1]);
    close(done[1]);
    ck_assert_int_eq(read(done[0], &byte, 1), 1);
    ck_assert_int_eq(write(ready[1], "", 1), 1);
    waitpid(pid, NULL, 0);
    ck_assert_int_eq(read(done[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    close(done[0]);
}
END_TEST

UNIT_MAIN("private", each_strategy, what_it_says_of_itself, specs_that_make_no_sense,
          options_that_make_no_sense, no_address_space, a_stray_store_faults, one_holder_a_name,
          a_reader_sees_that_its_writer_is_gone, instances, shared_by_all, children,
          attached_before_a_fork, destroyed_under_its_children, the_creator_dies)
