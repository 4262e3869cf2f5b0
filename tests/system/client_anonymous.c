/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases about attachments without a name: what one is, what it may write, what keeps it and what
 * gives it up.  'common' is a raw section of worker 'grabber' that many write in place.
 */
#include "cases.h"

#include <pthread.h>
#include <shm-manager/layout.h>

static char self[4096]; /* this program, for exec */

/* ---- who is attached */

static struct shmc_attachment_info found;

/* Is that attachment one of them? */
static bool is_listed(shmc *segment, uint32_t attachment) {
    struct shmc_attachment_info *all;
    size_t n;
    bool listed = false;
    CHECK_IS(shmc_attachments(segment, &all, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (all[i].attachment == attachment) {
            found = all[i];
            listed = true;
        }
    free(all);
    return listed;
}

/* The attachment of a process; 0: it has none.  With several the last. */
static uint32_t attachment_of(shmc *segment, pid_t pid) {
    struct shmc_attachment_info *all;
    uint32_t attachment = 0;
    size_t n;
    CHECK_IS(shmc_attachments(segment, &all, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (all[i].pid == pid)
            attachment = all[i].attachment;
    free(all);
    return attachment;
}

static bool status_says(const char *part) {
    char *reply = NULL;
    CHECK_IS(shmc_manager(NULL, "status", &reply), 0);
    bool says = strstr(reply, part) != NULL;
    free(reply);
    return says;
}

static void it_comes_and_goes(void) {
    shmc *reader = attach(NULL, 0);
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    const uint32_t attachment = attachment_of(reader, getpid());
    CHECK(attachment > 0 && is_listed(segment, attachment));
    CHECK(!found.granted && found.uid == geteuid() && found.since_real_ns > 0);
    CHECK(status_says("\"anonymous\":1"));
    shmc_detach(segment);
    AWAIT(!is_listed(reader, attachment));
    /* Whatever names it under the epoch before is free. */
    segment = attach(NULL, SHMC_ANONYMOUS);
    const uint64_t before = found.epoch;
    CHECK(is_listed(reader, attachment)); /* the lowest number that is free */
    CHECK(found.epoch > before);
    shmc_detach(segment);
    shmc_detach(reader);
}

static void a_process_has_as_many_as_it_likes(void) {
    enum { MANY = 50 };
    shmc *reader = attach(NULL, 0), *segments[MANY];
    struct shmc_attachment_info *all;
    size_t n;
    for (int i = 0; i < MANY; i++)
        segments[i] = attach(NULL, SHMC_ANONYMOUS);
    CHECK_IS(shmc_attachments(reader, &all, &n), 0);
    CHECK_IS(n, MANY);
    for (size_t i = 1; i < n; i++)
        CHECK(all[i].attachment > all[i - 1].attachment);
    free(all);
    for (int i = 0; i < MANY; i++)
        shmc_detach(segments[i]);
    AWAIT(attachment_of(reader, getpid()) == 0);
    shmc_detach(reader);
}

static void come_at_once(int from, int to) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    say(to, 'a');
    hear(from);
    shmc_detach(segment);
}

/* More than there may be grants on their way to one user. */
static void many_come_at_once(void) {
    enum { MANY = 64 };
    static struct child children[MANY];
    for (int i = 0; i < MANY; i++)
        children[i] = start_child(come_at_once);
    for (int i = 0; i < MANY; i++)
        CHECK_IS(hear(children[i].from), 'a');
    for (int i = MANY; i-- > 0;) /* the later ones have the others' pipes, too */
        CHECK_IS(end_child(&children[i], 0), 0);
}

static void a_name_or_none(void) {
    shmc *segment = NULL;
    char error[512];
    struct shmc_options options = {.size = sizeof options,
                                   .worker = "driver",
                                   .flags = SHMC_ANONYMOUS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    CHECK_IS(shmc_attach(&segment, &options), -EINVAL);
    CHECK_SAYS(error, "SHMC_ANONYMOUS");
    options.worker = NULL;
    options.flags = 0x40;
    CHECK_IS(shmc_attach(&segment, &options), -EINVAL);
    CHECK_SAYS(error, "0x40");
}

/* ---- what ends it */

static void hold(int from, int to) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    say(to, 'h');
    hear(from);
    shmc_detach(segment);
}

static void a_killed_ones_is_free(void) {
    shmc *reader = attach(NULL, 0);
    struct child child = start_child(hold);
    CHECK_IS(hear(child.from), 'h');
    const uint32_t attachment = attachment_of(reader, child.pid);
    CHECK(attachment > 0);
    end_child(&child, SIGKILL);
    AWAIT(!is_listed(reader, attachment));
    shmc_detach(reader);
}

static void a_child_has_its_own(void) {
    char byte = 'x';
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *common = open_section(segment, "common");
    CHECK_IS(shmc_raw_write(common, 0, &byte, 1), 1);
    const uint32_t attachment = attachment_of(segment, getpid());
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        void *data;
        size_t bytes;
        CHECK_IS(shmc_raw_write(common, 0, &byte, 1), -ECHILD);
        CHECK_IS(shmc_raw_writable(common, &data, &bytes), -ECHILD);
        shmc_close(common);
        shmc_detach(segment); /* the parent's is not its to give up */
        segment = attach(NULL, SHMC_ANONYMOUS);
        common = open_section(segment, "common");
        CHECK_IS(shmc_raw_write(common, 1, &byte, 1), 1);
        CHECK(attachment_of(segment, getpid()) != attachment);
        CHECK(is_listed(segment, attachment));
        shmc_close(common);
        shmc_detach(segment);
        exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
    CHECK_IS(shmc_raw_write(common, 0, &byte, 1), 1);
    CHECK(is_listed(segment, attachment));
    shmc_detach(segment);
    CHECK_IS(shmc_raw_write(common, 0, &byte, 1), -EBADF);
    shmc_close(common);
}

static void it_is_taken_back(void) {
    char request[64], *reply = NULL, byte = 'z';
    shmc *reader = attach(NULL, 0), *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *common = open_section(segment, "common");
    CHECK_IS(shmc_raw_write(common, 8, &byte, 1), 1);
    const uint32_t attachment = attachment_of(reader, getpid());
    snprintf(request, sizeof request, "revoke %u", attachment);
    CHECK_IS(shmc_manager(NULL, request, &reply), 0);
    free(reply);
    CHECK(!is_listed(reader, attachment));
    CHECK_IS(shmc_raw_write(common, 8, &byte, 1), -EKEYREVOKED);
    CHECK_SAYS(shmc_last_error(segment), "an anonymous attachment was taken back");
    reply = NULL;
    CHECK_IS(shmc_manager(NULL, request, &reply), -ESRCH);
    CHECK_SAYS(reply, "there is no anonymous attachment");
    free(reply);
    shmc_close(common);
    shmc_detach(segment);
    segment = attach(NULL, SHMC_ANONYMOUS);
    common = open_section(segment, "common");
    CHECK_IS(shmc_raw_write(common, 8, &byte, 1), 1);
    shmc_close(common);
    shmc_detach(segment);
    shmc_detach(reader);
}

/* ---- what it may write */

/* Can that address be written?  As the kernel has it. */
static bool is_writable(const void *at) {
    char line[512], mode[8];
    unsigned long from, to, wanted = (unsigned long)(uintptr_t)at;
    bool writable = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && wanted >= from && wanted < to)
            writable = mode[1] == 'w';
    fclose(maps);
    return writable;
}

/* Writes its byte there, which only then becomes writable, and finds the others'. */
static void write_common(shmc *segment, size_t offset) {
    char bytes[3];
    const void *data;
    size_t size;
    shmc_section *common = open_section(segment, "common");
    CHECK_IS(shmc_raw(common, &data, &size), 0);
    CHECK(!is_writable(data));
    CHECK_IS(shmc_raw_write(common, offset, &"abc"[offset], 1), 1);
    CHECK(is_writable(data));
    CHECK_IS(shmc_raw_read(common, 0, bytes, sizeof bytes), 3);
    CHECK(memcmp(bytes, "abc", offset + 1) == 0);
    shmc_close(common);
}

static void what_many_write_becomes_writable(void) {
    shmc *owner = attach("grabber", 0), *other = attach("driver", 0);
    shmc *nameless = attach(NULL, SHMC_ANONYMOUS);
    write_common(owner, 0);
    write_common(other, 1);
    write_common(nameless, 2);
    shmc_detach(nameless);
    shmc_detach(other);
    shmc_detach(owner);
}

enum { THREADS = 8 };
static shmc *threads_segment;
static pthread_barrier_t all_ready;

static void *write_first(void *argument) {
    const size_t offset = 16 + *(const unsigned char *)argument;
    char byte = (char)offset;
    shmc_section *common = open_section(threads_segment, "common");
    pthread_barrier_wait(&all_ready);
    CHECK_IS(shmc_raw_write(common, offset, &byte, 1), 1);
    shmc_close(common);
    return NULL;
}

/* Which becomes writable under all of them by the first. */
static void threads_write_first_at_once(void) {
    static unsigned char numbers[THREADS];
    pthread_t threads[THREADS];
    char bytes[THREADS];
    threads_segment = attach(NULL, SHMC_ANONYMOUS);
    CHECK_IS(pthread_barrier_init(&all_ready, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = (unsigned char)i;
        CHECK_IS(pthread_create(&threads[i], NULL, write_first, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_ready);
    shmc_section *common = open_section(threads_segment, "common");
    CHECK_IS(shmc_raw_read(common, 16, bytes, sizeof bytes), sizeof bytes);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_IS(bytes[i], 16 + i);
    shmc_close(common);
    shmc_detach(threads_segment);
}

static void it_stays_writable_over_generations(void) {
    char byte = 'y';
    const void *data;
    size_t bytes;
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    shmc_section *common = open_section(segment, "common");
    CHECK_IS(shmc_raw_write(common, 4, &byte, 1), 1);
    edit_table("INSERT INTO section(name, owner, size) VALUES ('passing', 'passer', 64)");
    CHECK_IS(shmc_raw(common, &data, &bytes), 0); /* looks the section up anew */
    CHECK(is_writable(data));
    edit_table("DELETE FROM section WHERE name = 'passing'");
    CHECK_IS(shmc_raw_write(common, 4, &byte, 1), 1);
    shmc_close(common);
    shmc_detach(segment);
}

static void others_stay_their_owners(void) {
    const struct shmc_create_options create = {.size = sizeof create, .bytes = 64};
    void *data;
    size_t bytes;
    shmc *segment = attach(NULL, SHMC_ANONYMOUS), *reader = attach(NULL, 0);
    shmc_section *temps = open_section(segment, "temps"), *theirs = open_section(segment, "theirs");
    shmc_section *common = open_section(reader, "common");
    CHECK_IS(shmc_publish(temps, "abc", 3), -EACCES);
    CHECK_SAYS(shmc_last_error(segment),
               "belongs to worker 'driver', and this process is anonymous");
    CHECK_IS(shmc_raw_writable(theirs, &data, &bytes), -EACCES);
    CHECK_IS(shmc_create(segment, "mine", &create), -EACCES);
    CHECK_SAYS(shmc_last_error(segment), "an anonymous attachment");
    CHECK_IS(shmc_raw_writable(common, &data, &bytes), -EACCES);
    CHECK_SAYS(shmc_last_error(reader), "SHMC_ANONYMOUS");
    shmc_close(common);
    shmc_close(theirs);
    shmc_close(temps);
    shmc_detach(reader);
    shmc_detach(segment);
}

/* ---- over exec */

static void adopt(void) {
    const int from = atoi(getenv("CASE_IN")), to = atoi(getenv("CASE_OUT"));
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    CHECK_IS(attachment_of(segment, getpid()), atoi(getenv("CASE_ATTACHMENT")));
    write_common(segment, 0);
    pid_t pid = fork(); /* which finds SHMC_LEASE, too */
    CHECK(pid >= 0);
    if (pid == 0) {
        shmc_detach(segment);
        segment = attach(NULL, SHMC_ANONYMOUS);
        const uint32_t own = attachment_of(segment, getpid());
        CHECK(own != 0 && own != (uint32_t)atoi(getenv("CASE_ATTACHMENT")));
        shmc_detach(segment);
        exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    say(to, 'a');
    hear(from);
    shmc_detach(segment);
}

static void hand_on(int from, int to) {
    char lease[256], in[16], out[16], number[16];
    shmc *segment = attach(NULL, SHMC_ANONYMOUS | SHMC_LEASE_FD);
    CHECK_IS(shmc_lease_env(segment, lease, sizeof lease), 0);
    CHECK_SAYS(lease, ":-:");
    snprintf(in, sizeof in, "%d", fcntl(from, F_DUPFD, 10));
    snprintf(out, sizeof out, "%d", fcntl(to, F_DUPFD, 10));
    snprintf(number, sizeof number, "%u", attachment_of(segment, getpid()));
    CHECK(setenv("SHMC_LEASE", lease, 1) == 0 && setenv("CASE_IN", in, 1) == 0 &&
          setenv("CASE_OUT", out, 1) == 0 && setenv("CASE_ATTACHMENT", number, 1) == 0);
    execl(self, self, "adopt", (char *)NULL);
    CHECK(false);
}

static void exec_hands_it_on(void) {
    shmc *reader = attach(NULL, 0);
    struct child child = start_child(hand_on);
    CHECK_IS(hear(child.from), 'a');
    const uint32_t attachment = attachment_of(reader, child.pid);
    CHECK(attachment > 0);
    CHECK_IS(end_child(&child, 0), 0);
    AWAIT(!is_listed(reader, attachment));
    shmc_detach(reader);
}

int main(int argc, char **argv) {
    const struct test_case cases[] = {
        {"it_comes_and_goes", it_comes_and_goes},
        {"a_process_has_as_many_as_it_likes", a_process_has_as_many_as_it_likes},
        {"many_come_at_once", many_come_at_once},
        {"a_name_or_none", a_name_or_none},
        {"a_killed_ones_is_free", a_killed_ones_is_free},
        {"a_child_has_its_own", a_child_has_its_own},
        {"it_is_taken_back", it_is_taken_back},
        {"threads_write_first_at_once", threads_write_first_at_once},
        {"what_many_write_becomes_writable", what_many_write_becomes_writable},
        {"it_stays_writable_over_generations", it_stays_writable_over_generations},
        {"others_stay_their_owners", others_stay_their_owners},
        {"exec_hands_it_on", exec_hands_it_on},
    };
    if (argc > 1 && strcmp(argv[1], "adopt") == 0) {
        adopt();
        return 0;
    }
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
