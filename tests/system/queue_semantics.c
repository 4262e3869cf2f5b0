/* SPDX-License-Identifier: Apache-2.0
 *
 * The same operations on a System V message queue, by the plain system calls, and on a section of
 * kind queue: one line for each case, "CASE|what System V does|what the section does".  The section
 * is made and removed for each by an edit of the table, $SHM_TEST_TABLE.
 */
#include "cases.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/msg.h>

#define QUEUE_BYTES 8192 /* of the kernel's queue; and of a lane, see section_make() */
#define PART        1000 /* some of which fill it */
#define LONGER      6000 /* more than half of a lane */
#define HUGE        200000
#define PARTS_MAX   100

enum { WAIT = 1, EXCEPT = 2, TRUNCATE = 4, INTERRUPTIBLE = 8 };

/* One of the two.  Calls return what is done, or a negative errno. */
struct end {
    void (*make)(void);
    void (*take_part)(void); /* in a child: what its calls need */
    int (*send)(long type, const void *data, size_t bytes, unsigned how);
    ssize_t (*receive)(long type, void *buffer, size_t bytes, unsigned how, long *ret_type);
    int (*remove)(void);
    void (*clean_up)(void);
    void (*count)(long *messages, long *bytes, pid_t *sender, pid_t *receiver);
};

/* ---- what happens, in words */

static char told[512];

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...) {
    const size_t at = strlen(told);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(told + at, sizeof told - at, format, arguments);
    va_end(arguments);
}

static void note_result(ssize_t r) {
    note("%s%s", told[0] == '\0' ? "" : ", ", r < 0 ? strerrorname_np((int)-r) : "done");
}

static void do_send(const struct end *end, long type, const char *text, unsigned how) {
    const int r = end->send(type, text, strlen(text), how);
    if (r < 0)
        note_result(r);
}

/* Type and text of what was received, or the error. */
static void do_receive(const struct end *end, long wanted, size_t room, unsigned how) {
    char buffer[100];
    long type = 0;
    const ssize_t n = end->receive(wanted, buffer, room, how, &type);
    if (n < 0)
        note_result(n);
    else
        note("%s%.*s (type %ld)", told[0] == '\0' ? "" : ", ", (int)n, buffer, type);
}

/* ---- System V */

static int queue = -1;

static void sysv_make(void) {
    struct msqid_ds stat;
    queue = msgget(IPC_PRIVATE, 0600);
    CHECK(queue >= 0);
    CHECK(msgctl(queue, IPC_STAT, &stat) == 0);
    stat.msg_qbytes = QUEUE_BYTES;
    CHECK(msgctl(queue, IPC_SET, &stat) == 0);
}

static void sysv_take_part(void) {
}

struct text {
    long type;
    char bytes[HUGE];
};

static int sysv_send(long type, const void *data, size_t bytes, unsigned how) {
    static struct text text;
    text.type = type;
    memcpy(text.bytes, data, bytes);
    return msgsnd(queue, &text, bytes, (how & WAIT) != 0 ? 0 : IPC_NOWAIT) < 0 ? -errno : 0;
}

static ssize_t sysv_receive(long type, void *buffer, size_t bytes, unsigned how, long *ret_type) {
    static struct text text;
    const ssize_t n =
        msgrcv(queue, &text, bytes, type,
               ((how & WAIT) != 0 ? 0 : IPC_NOWAIT) | ((how & EXCEPT) != 0 ? MSG_EXCEPT : 0) |
                   ((how & TRUNCATE) != 0 ? MSG_NOERROR : 0));
    if (n < 0)
        return -errno;
    memcpy(buffer, text.bytes, (size_t)n);
    *ret_type = text.type;
    return n;
}

static int sysv_remove(void) {
    return msgctl(queue, IPC_RMID, NULL) < 0 ? -errno : 0;
}

static void sysv_clean_up(void) {
    if (queue >= 0)
        msgctl(queue, IPC_RMID, NULL);
    queue = -1;
}

static void sysv_count(long *messages, long *bytes, pid_t *sender, pid_t *receiver) {
    struct msqid_ds stat;
    CHECK(msgctl(queue, IPC_STAT, &stat) == 0);
    *messages = (long)stat.msg_qnum;
    *bytes = (long)stat.__msg_cbytes;
    *sender = stat.msg_lspid;
    *receiver = stat.msg_lrpid;
}

static const struct end sysv = {
    sysv_make, sysv_take_part, sysv_send, sysv_receive, sysv_remove, sysv_clean_up, sysv_count,
};

/* ---- a section */

static shmc *segment;
static shmc_section *section;

static void section_make(void) {
    edit_table("INSERT INTO section(name, owner, kind, size, count) "
               "VALUES ('queue', 'receiver', 'queue', 8192, 4)");
    segment = attach("receiver", 0);
    section = open_section(segment, "queue");
}

static void section_take_part(void) {
    segment = attach(NULL, SHMC_ANONYMOUS);
    section = open_section(segment, "queue");
}

static unsigned flags_of(unsigned how) {
    return ((how & EXCEPT) != 0 ? SHMC_EXCEPT : 0) | ((how & TRUNCATE) != 0 ? SHMC_TRUNCATE : 0) |
           ((how & INTERRUPTIBLE) != 0 ? SHMC_INTERRUPTIBLE : 0);
}

static int section_send(long type, const void *data, size_t bytes, unsigned how) {
    return shmc_queue_send(section, type, data, bytes, flags_of(how), (how & WAIT) != 0 ? -1 : 0);
}

static ssize_t section_receive(long type, void *buffer, size_t bytes, unsigned how,
                               long *ret_type) {
    struct shmc_message message;
    const ssize_t n = shmc_queue_receive(section, type, buffer, bytes, flags_of(how),
                                         (how & WAIT) != 0 ? -1 : 0, &message);
    if (n >= 0)
        *ret_type = (long)message.type;
    return n;
}

static int section_remove(void) {
    edit_table_by("reload --force", "DELETE FROM section WHERE name = 'queue'");
    return 0;
}

static void section_clean_up(void) {
    shmc_close(section);
    shmc_detach(segment);
    edit_table("DELETE FROM section WHERE name = 'queue'");
    section = NULL;
    segment = NULL;
}

static void section_count(long *messages, long *bytes, pid_t *sender, pid_t *receiver) {
    struct shmc_queue_stat stat = {0};
    CHECK_IS(shmc_queue_stat(section, &stat, NULL, NULL), 0);
    *messages = (long)stat.messages;
    *bytes = (long)stat.bytes;
    *sender = stat.last_send_pid;
    *receiver = stat.last_receive_pid;
}

static const struct end of_section = {
    section_make,   section_take_part, section_send,  section_receive,
    section_remove, section_clean_up,  section_count,
};

/* ---- by type */

static void fill_types(const struct end *end) {
    static const char *const texts[] = {"c", "a", "b", "A", "d"};
    static const long types[] = {3, 1, 2, 1, 4};
    for (int i = 0; i < 5; i++)
        do_send(end, types[i], texts[i], 0);
}

static void type_zero(const struct end *end) {
    fill_types(end);
    for (int i = 0; i < 5; i++)
        do_receive(end, 0, 10, 0);
}

static void type_positive(const struct end *end) {
    fill_types(end);
    do_receive(end, 2, 10, 0);
    do_receive(end, 1, 10, 0);
    do_receive(end, 1, 10, 0);
    do_receive(end, 0, 10, 0);
}

static void type_negative(const struct end *end) {
    fill_types(end);
    for (int i = 0; i < 4; i++)
        do_receive(end, -3, 10, 0);
}

static void type_most_negative(const struct end *end) {
    do_send(end, LONG_MAX, "x", 0);
    do_receive(end, LONG_MIN, 10, 0);
}

static void type_other(const struct end *end) {
    fill_types(end);
    do_receive(end, 3, 10, EXCEPT);
    do_receive(end, 1, 10, EXCEPT);
    do_receive(end, 9, 10, EXCEPT);
}

static void type_other_than_zero(const struct end *end) {
    fill_types(end);
    do_receive(end, 0, 10, EXCEPT);
}

static void type_other_than_negative(const struct end *end) {
    fill_types(end);
    do_receive(end, -2, 10, EXCEPT);
}

static void type_of_none(const struct end *end) {
    fill_types(end);
    do_receive(end, 9, 10, 0);
}

static void empty(const struct end *end) {
    do_receive(end, 0, 10, 0);
}

static void send_type_zero(const struct end *end) {
    do_send(end, 0, "x", 0);
}

static void send_type_negative(const struct end *end) {
    do_send(end, -1, "x", 0);
}

/* ---- sizes */

static void too_big(const struct end *end) {
    do_send(end, 1, "longer", 0);
    do_receive(end, 0, 3, 0);
    do_receive(end, 0, 3, 0);
    do_receive(end, 0, 10, 0);
}

static void cut_off(const struct end *end) {
    do_send(end, 1, "longer", 0);
    do_receive(end, 0, 3, TRUNCATE);
    do_receive(end, 0, 3, TRUNCATE);
}

static void no_bytes(const struct end *end) {
    do_send(end, 5, "", 0);
    do_receive(end, 0, 0, 0);
}

static char filler[HUGE];

static void huge(const struct end *end) {
    note_result(end->send(1, filler, sizeof filler, 0));
}

static void longer_than_half(const struct end *end) {
    note_result(end->send(1, filler, LONGER, 0));
}

/* ---- full */

static int fill(const struct end *end, long type) {
    int n = 0, r;
    while ((r = end->send(type, filler, PART, 0)) == 0 && n < PARTS_MAX)
        n++;
    CHECK(n > 2 && n < PARTS_MAX);
    return r;
}

static void full(const struct end *end) {
    static char buffer[PART];
    long type;
    note_result(fill(end, 1));
    CHECK_IS(end->receive(0, buffer, PART, 0, &type), PART);
    note_result(end->send(1, filler, PART, 0));
}

static void in_child(const struct end *end, void (*act)(const struct end *end)) {
    int pipes[2];
    CHECK(pipe2(pipes, O_CLOEXEC) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        told[0] = '\0';
        end->take_part();
        act(end);
        CHECK(write(pipes[1], told, strlen(told)) == (ssize_t)strlen(told));
        _exit(0);
    }
    char text[sizeof told] = "";
    int status;
    close(pipes[1]);
    CHECK(read(pipes[0], text, sizeof text - 1) >= 0);
    close(pipes[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_IS(status, 0);
    note("%s%s", told[0] == '\0' || text[0] == '\0' ? "" : ", ", text);
}

static void send_one(const struct end *end) {
    note_result(end->send(2, filler, PART, 0));
}

static void full_for_one(const struct end *end) {
    CHECK_IS(fill(end, 1), -EAGAIN);
    in_child(end, send_one);
}

/* What nobody wants stays, and the others go by. */
static void unwanted(const struct end *end) {
    long type;
    char buffer[PART];
    do_send(end, 9, "unwanted", 0);
    for (int i = 0; i < 1000; i++) {
        CHECK_IS(end->send(1, filler, PART, 0), 0);
        CHECK_IS(end->receive(1, buffer, PART, 0, &type), PART);
    }
    do_receive(end, 0, 10, 0);
}

/* ---- others */

static void receive_one(const struct end *end) {
    do_receive(end, 0, 10, 0);
}

static void another_process_receives(const struct end *end) {
    do_send(end, 1, "x", 0);
    in_child(end, receive_one);
}

static void send_c(const struct end *end) {
    do_send(end, 1, "c", 0);
}

static void send_b(const struct end *end) {
    do_send(end, 1, "b", 0);
}

static void order_over_senders(const struct end *end) {
    do_send(end, 1, "a", 0);
    in_child(end, send_b);
    in_child(end, send_c);
    do_send(end, 1, "d", 0);
    for (int i = 0; i < 4; i++)
        do_receive(end, 0, 10, 0);
}

static void dead_sender(const struct end *end) {
    in_child(end, send_b);
    do_receive(end, 0, 10, 0);
}

static void over_fork(const struct end *end) {
    struct end as_it_is = *end;
    as_it_is.take_part = sysv_take_part;
    in_child(&as_it_is, send_one);
}

static void counts(const struct end *end) {
    long messages, bytes;
    pid_t sender, receiver;
    do_send(end, 1, "abc", 0);
    do_send(end, 1, "defgh", 0);
    do_receive(end, 0, 10, 0);
    do_send(end, 1, "ij", 0);
    end->count(&messages, &bytes, &sender, &receiver);
    note(", %ld messages, %ld bytes, sender %d, receiver %d", messages, bytes, sender == getpid(),
         receiver == getpid());
}

/* ---- removed, and interrupted */

static void removed(const struct end *end) {
    CHECK_IS(end->remove(), 0);
    do_send(end, 1, "x", 0);
    do_receive(end, 0, 10, 0);
}

/* Who is about to wait, in whatever process. */
static pid_t *waiter;

static void about_to_wait(void) {
    __atomic_store_n(waiter, gettid(), __ATOMIC_RELEASE);
}

static bool asleep(void) {
    char path[64], text[256] = "";
    const pid_t pid = __atomic_load_n(waiter, __ATOMIC_ACQUIRE);
    if (pid == 0)
        return false;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
    fclose(file);
    const char *state = strrchr(text, ')');
    return state != NULL && state[2] == 'S';
}

static void *remove_then(void *argument) {
    const struct end *end = argument;
    for (int i = 0; i < 5; i++) { /* and not for a moment on its way */
        AWAIT(asleep());
        pause_ms(2);
    }
    CHECK_IS(end->remove(), 0);
    return NULL;
}

static void removed_meanwhile(const struct end *end, void (*act)(const struct end *end)) {
    pthread_t thread;
    *waiter = 0;
    CHECK(pthread_create(&thread, NULL, remove_then, (void *)(uintptr_t)end) == 0);
    act(end);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void wait_to_receive(const struct end *end) {
    about_to_wait();
    do_receive(end, 0, 10, WAIT);
}

static void wait_to_send(const struct end *end) {
    CHECK_IS(fill(end, 1), -EAGAIN);
    about_to_wait();
    note_result(end->send(1, filler, PART, WAIT));
}

static void removed_while_receiving(const struct end *end) {
    removed_meanwhile(end, wait_to_receive);
}

static void send_in_child(const struct end *end) {
    in_child(end, wait_to_send);
}

/* In another process, as who removes is the receiver. */
static void removed_while_sending(const struct end *end) {
    removed_meanwhile(end, send_in_child);
}

static const struct end *interrupted_end;
static volatile sig_atomic_t interruptions;

static void on_signal(int signal) {
    (void)signal;
    interruptions++;
}

static void send_later(int from, int to) {
    (void)to;
    interrupted_end->take_part();
    hear(from);
    CHECK_IS(interrupted_end->send(1, "late", 4, 0), 0);
    hear(from);
}

/* Who still waits behind some of them gets a message, from another process. */
static void *help(void *argument) {
    const struct child *child = argument;
    AWAIT(interruptions >= 3);
    say(child->to, 's');
    return NULL;
}

static void interrupted(const struct end *end, unsigned how) {
    struct sigaction action = {.sa_handler = on_signal};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    const struct itimerspec every = {{.tv_nsec = 20000000}, {.tv_nsec = 20000000}};
    const struct itimerspec never = {{0}, {0}};
    timer_t timer;
    pthread_t thread;
    sigset_t signals;
    interrupted_end = end;
    interruptions = 0;
    struct child child = start_child(send_later);
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0); /* for the helper */
    CHECK(pthread_create(&thread, NULL, help, &child) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &every, NULL) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &signals, NULL) == 0);
    do_receive(end, 0, 10, WAIT | how);
    pthread_join(thread, NULL);
    CHECK(timer_settime(timer, 0, &never, NULL) == 0);
    say(child.to, 'e');
    int status;
    CHECK(waitpid(child.pid, &status, 0) == child.pid || errno == EINTR);
    timer_delete(timer);
}

static void signal_while_waiting(const struct end *end) {
    interrupted(end, 0);
}

static void signal_while_interruptible(const struct end *end) {
    interrupted(end, INTERRUPTIBLE);
}

/* ---- all of it */

static const struct {
    const char *name;
    void (*run)(const struct end *end);
} semantics[] = {
    {"receive type 0", type_zero},
    {"receive a type", type_positive},
    {"receive a type that nobody sent", type_of_none},
    {"receive the lowest type", type_negative},
    {"receive the lowest type up to the largest", type_most_negative},
    {"receive any type but one", type_other},
    {"receive any type but 0", type_other_than_zero},
    {"receive any type but a negative", type_other_than_negative},
    {"receive from an empty queue", empty},
    {"send type 0", send_type_zero},
    {"send a negative type", send_type_negative},
    {"too big for the buffer", too_big},
    {"too big and cut off", cut_off},
    {"a message of no bytes", no_bytes},
    {"longer than any queue takes", huge},
    {"longer than half of the queue", longer_than_half},
    {"full", full},
    {"full of one sender's", full_for_one},
    {"a type that nobody receives", unwanted},
    {"another process receives", another_process_receives},
    {"order over several senders", order_over_senders},
    {"what a dead sender sent", dead_sender},
    {"use over a fork", over_fork},
    {"counts", counts},
    {"use after removal", removed},
    {"removed while receiving", removed_while_receiving},
    {"removed while sending", removed_while_sending},
    {"a signal while waiting", signal_while_waiting},
    {"a signal while waiting interruptibly", signal_while_interruptible},
};

static void run(const struct end *end, size_t i) {
    told[0] = '\0';
    end->make();
    semantics[i].run(end);
    end->clean_up();
}

int main(int argc, char **argv) {
    waiter = mmap(NULL, sizeof *waiter, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(waiter != MAP_FAILED);
    alarm(240); /* nothing hangs for ever */
    const bool all = argc == 1 || strcmp(argv[1], "--sysv") != 0;
    for (size_t i = 0; i < sizeof semantics / sizeof *semantics; i++) {
        run(&sysv, i);
        printf("%s|%s", semantics[i].name, told);
        fflush(stdout); /* or a child prints it, too */
        if (all)
            run(&of_section, i);
        printf("|%s\n", told);
        fflush(stdout);
    }
    return 0;
}
