/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the attacks one after the other, each as its user, and looks behind each whether anybody was
 * harmed: the manager serves, the victim publishes, the reader reads what it published, and what
 * the manager holds in descriptors, memory and leases is what it was.
 *
 * hostile --list | --table | run [NAME...] | hold-garbage | pester-keeper
 */
#include "hostile.h"

#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <sys/socket.h>

#define ANON_SLACK_KB  (SANITIZED ? 300000 : 4096) /* a sanitizer keeps what was freed */
#define BLOCKS_SLACK   (1024 * 1024 / 512)
#define TEXT_BYTES     512
#define ATTACK_LIMIT_S 150

static const struct attack *const all[] = {
    memory_attacks,  object_attacks, own_attacks,  lease_attacks, request_attacks,
    message_attacks, made_attacks,   many_attacks, flood_attacks, host_attacks};
static const char *const whos[] = {"outsider", "reader", "worker"};
static const char *const outcomes[] = {"denied", "open", "-"};

pid_t manager_pid(void) {
    return (pid_t)strtol(getenv("HOSTILE_MANAGER"), NULL, 10);
}

void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n) {
    CHECK(setgroups(n, groups) == 0 && setresgid(gid, gid, gid) == 0);
    CHECK(setresuid(uid, uid, uid) == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0); /* as it was */
}

/* ---- bystanders */

static struct child victim, reader, successor;

pid_t victim_pid(void) {
    return victim.pid;
}

static void fill(uint8_t *value, uint64_t n) {
    for (size_t i = 0; i < VALUE_BYTES; i += sizeof n) {
        uint64_t word = n * 0x9e3779b97f4a7c15u + i;
        memcpy(value + i, &word, sizeof word);
    }
}

static void be_victim(int from, int to) {
    uint64_t n;
    uint8_t value[VALUE_BYTES];
    become(VICTIM_UID, VICTIM_UID, (gid_t[]){GROUP, SECRET_GROUP}, 2);
    shmc *segment = attach("driver", 0), *other = attach("spare", 0);
    shmc_section *temps = open_section(segment, "temps"), *raw = open_section(segment, "bytes");
    CHECK_IS(shmc_publish(open_section(segment, "secret"), "hidden", 6), 0);
    const struct shmc_create_options made = {.size = sizeof made, .bytes = 64};
    CHECK_IS(shmc_create(segment, "victims", &made), 0);
    CHECK_IS(shmc_publish(open_section(segment, "victims"), "kept", 4), 0);
    while (read(from, &n, sizeof n) == sizeof n) {
        fill(value, n);
        CHECK_IS(shmc_publish(temps, value, sizeof value), 0);
        CHECK_IS(shmc_raw_write(raw, 0, value, sizeof value), sizeof value);
        CHECK(write(to, &n, sizeof n) == sizeof n);
    }
    shmc_detach(other);
    shmc_detach(segment);
}

static void be_reader(int from, int to) {
    uint64_t n;
    uint8_t value[VALUE_BYTES], wanted[VALUE_BYTES];
    become(READER_UID, READER_UID, (gid_t[]){GROUP}, 1);
    shmc *segment = attach(NULL, 0);
    shmc_section *temps = open_section(segment, "temps"), *raw = open_section(segment, "bytes");
    while (read(from, &n, sizeof n) == sizeof n) {
        fill(wanted, n);
        CHECK_IS(shmc_next(temps, value, sizeof value, PATIENCE_MS, NULL), sizeof value);
        CHECK(memcmp(value, wanted, sizeof value) == 0);
        CHECK_IS(shmc_raw_read(raw, 0, value, sizeof value), sizeof value);
        CHECK(memcmp(value, wanted, sizeof value) == 0);
        CHECK(write(to, &n, sizeof n) == sizeof n);
    }
    shmc_detach(segment);
}

static void tell(const struct child *child, uint64_t n) {
    uint64_t said = 0;
    struct pollfd wait = {.fd = child->from, .events = POLLIN};
    CHECK(write(child->to, &n, sizeof n) == sizeof n);
    CHECK_IS(poll(&wait, 1, 2 * PATIENCE_MS), 1);
    CHECK(read(child->from, &said, sizeof said) == sizeof said && said == n);
}

static void go_on(void) {
    static uint64_t n;
    n++;
    tell(&victim, n);
    tell(&reader, n);
}

/* ---- what the attacker asks for */

enum order_kind {
    ORDER_EDIT,
    ORDER_REQUEST,
    ORDER_ATTACH,
    ORDER_SEND,
    ORDER_SUCCEED,
    ORDER_END_SUCCESSOR,
    ORDER_GO_ON
};
struct order {
    enum order_kind kind;
    char text[TEXT_BYTES];
};
static int to_root = -1; /* in the attacker */

static int ask_root(enum order_kind kind, const char *text) {
    struct order order = {.kind = kind};
    int result;
    snprintf(order.text, sizeof order.text, "%s", text);
    CHECK(send(to_root, &order, sizeof order, 0) == sizeof order);
    CHECK(recv(to_root, &result, sizeof result, 0) == sizeof result);
    return result;
}

int root_edits(const char *sql) {
    return ask_root(ORDER_EDIT, sql);
}

int root_requests(const char *request) {
    return ask_root(ORDER_REQUEST, request);
}

int root_attaches(void) {
    return ask_root(ORDER_ATTACH, "");
}

int root_sends(void) {
    return ask_root(ORDER_SEND, "");
}

void victim_succeeds(void) {
    CHECK_IS(ask_root(ORDER_SUCCEED, ""), 0);
}

int victim_has_what_it_wrote(void) {
    return ask_root(ORDER_END_SUCCESSOR, "");
}

void victim_goes_on(void) {
    CHECK_IS(ask_root(ORDER_GO_ON, ""), 0);
}

static int manage(const char *request) {
    struct shmc_options options = {.size = sizeof options, .timeout_ms = PATIENCE_MS};
    char *reply = NULL;
    int r = shmc_manager(&options, request, &reply);
    free(reply);
    return r;
}

static int edit(const char *sql) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execlp("sqlite3", "sqlite3", getenv("SHM_TEST_TABLE"), sql, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    return manage("reload");
}

static int attach_anew(void) {
    uint8_t value[VALUE_BYTES];
    shmc *segment = attach(NULL, 0);
    ssize_t n = shmc_read(open_section(segment, "temps"), value, sizeof value, NULL);
    shmc_detach(segment);
    return n == sizeof value ? 0 : -EBADMSG;
}

static int send_anew(void) {
    shmc *segment = attach(NULL, SHMC_ANONYMOUS);
    int r = shmc_queue_send(open_section(segment, "jobs"), 1, "root's", 6, 0, PATIENCE_MS);
    shmc_detach(segment);
    return r;
}

static void be_successor(int from, int to) {
    char order, text[16] = "";
    become(VICTIM_UID, VICTIM_UID, (gid_t[]){GROUP}, 1);
    shmc *segment = attach("heir", 0);
    shmc_section *section = open_section(segment, "heirloom");
    CHECK_IS(shmc_raw_write(section, 0, "the heir's", 11), 11);
    say(to, 'w');
    CHECK(read(from, &order, 1) == 1);
    CHECK_IS(shmc_raw_read(section, 0, text, 11), 11);
    say(to, memcmp(text, "the heir's", 11) == 0 ? 'y' : 'n');
    shmc_detach(segment);
}

static int succeed(void) {
    successor = start_child(be_successor);
    return hear(successor.from) == 'w' ? 0 : -EIO;
}

static int end_successor(void) {
    say(successor.to, 'e');
    bool kept = hear(successor.from) == 'y';
    CHECK_IS(end_child(&successor, 0), 0);
    return kept;
}

static void obey(int attacker) {
    struct order order;
    while (recv(attacker, &order, sizeof order, 0) == sizeof order) {
        int result = 0;
        if (order.kind == ORDER_EDIT)
            result = edit(order.text);
        else if (order.kind == ORDER_REQUEST)
            result = manage(order.text);
        else if (order.kind == ORDER_ATTACH)
            result = attach_anew();
        else if (order.kind == ORDER_SEND)
            result = send_anew();
        else if (order.kind == ORDER_SUCCEED)
            result = succeed();
        else if (order.kind == ORDER_END_SUCCESSOR)
            result = end_successor();
        else
            go_on();
        CHECK(send(attacker, &result, sizeof result, MSG_NOSIGNAL) == sizeof result);
    }
}

/* ---- what the manager holds */

struct holdings {
    unsigned fds, leases;
    unsigned long anon_kb;
    long long blocks; /* of its memory objects */
};

static unsigned count_files(const char *path, long long *blocks) {
    unsigned n = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat stat;
        n += entry->d_name[0] != '.';
        if (blocks != NULL && fstatat(dirfd(dir), entry->d_name, &stat, 0) == 0 &&
            S_ISREG(stat.st_mode) && stat.st_nlink == 0)
            *blocks += stat.st_blocks;
    }
    closedir(dir);
    return n;
}

static struct holdings look(void) {
    struct holdings h = {0};
    char path[PATH_MAX], line[200];
    snprintf(path, sizeof path, "/proc/%d/fd", manager_pid());
    h.fds = count_files(path, &h.blocks);
    h.leases = count_files(beside_socket(".leases"), NULL);
    snprintf(path, sizeof path, "/proc/%d/status", manager_pid());
    FILE *status = fopen(path, "re");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "RssAnon: %lu", &h.anon_kb) == 1)
            break;
    fclose(status);
    return h;
}

static bool more(const struct holdings *before) {
    struct holdings now = look();
    return now.fds > before->fds || now.leases != before->leases ||
           now.anon_kb > before->anon_kb + ANON_SLACK_KB ||
           now.blocks > before->blocks + BLOCKS_SLACK;
}

static void check_harm(const struct holdings *before) {
    CHECK_IS(manage("status"), 0);
    go_on();
    uint64_t end_ns = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    while (more(before) && now_ns() < end_ns)
        pause_ms(2);
    if (more(before)) {
        struct holdings now = look();
        fprintf(stderr,
                "the manager has %u descriptors (had %u), %u leases (%u), %lu KiB (%lu), and "
                "%lld blocks of memory objects (%lld)\n",
                now.fds, before->fds, now.leases, before->leases, now.anon_kb, before->anon_kb,
                now.blocks, before->blocks);
        exit(1);
    }
}

/* ---- one after the other */

static void attack_as(const struct attack *attack, int root) {
    uid_t uid = attack->who == OUTSIDER ? OUTSIDER_UID : MALLORY_UID;
    to_root = root;
    become(uid, uid, (gid_t[]){GROUP}, attack->who == OUTSIDER ? 0 : 1);
    alarm(ATTACK_LIMIT_S);
    attack->run();
    exit(0);
}

static bool run(const struct attack *attack) {
    int status, ends[2];
    fflush(stdout);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        close(victim.to); /* or they would outlive us */
        close(reader.to);
        attack_as(attack, ends[1]);
    }
    close(ends[1]);
    obey(ends[0]);
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (status == 0)
        printf("ok %s\n", attack->name);
    else
        printf("not ok %s (wait status 0x%x)\n", attack->name, (unsigned)status);
    return status == 0;
}

static bool wanted(const char *name, int argc, char **argv) {
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc <= 2;
}

static int run_all(int argc, char **argv) {
    unsigned n[3] = {0}, cases = 0, failed = 0;
    signal(SIGPIPE, SIG_IGN);
    victim = start_child(be_victim);
    reader = start_child(be_reader);
    go_on();
    const struct holdings before = look();
    for (size_t file = 0; file < sizeof all / sizeof *all; file++)
        for (const struct attack *attack = all[file]; attack->name != NULL; attack++) {
            enum outcome outcome = on_memfd() ? DENIED : attack->sysv;
            if (!wanted(attack->name, argc, argv))
                continue;
            cases++;
            n[outcome]++;
            if (outcome == NONE)
                continue;
            failed += !run(attack);
            check_harm(&before);
        }
    end_child(&reader, 0);
    end_child(&victim, 0);
    if (argc == 2 && on_memfd())
        printf("figure: hostile.cases %u cases\nfigure: hostile.denied %u cases\n", cases,
               n[DENIED] - failed);
    else if (argc == 2)
        printf("figure: hostile.sysv_denied %u cases\nfigure: hostile.sysv_open %u cases\n",
               n[DENIED], n[OPEN]);
    return cases == 0 || failed > 0;
}

static int list(bool table) {
    for (size_t file = 0; file < sizeof all / sizeof *all; file++)
        for (const struct attack *attack = all[file]; attack->name != NULL; attack++)
            if (table)
                printf("%-30s  %-8s  %-6s  %s\n", attack->name, whos[attack->who], "denied",
                       outcomes[attack->sysv]);
            else
                puts(attack->name);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list(false);
    if (argc == 2 && strcmp(argv[1], "--table") == 0)
        return list(true);
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        return run_all(argc, argv);
    if (argc == 2 && strcmp(argv[1], "hold-garbage") == 0)
        return hold_garbage(), 0;
    if (argc == 2 && strcmp(argv[1], "pester-keeper") == 0)
        return pester_keeper(), 0;
    fputs("usage: hostile --list | --table | run [NAME...] | hold-garbage | pester-keeper\n",
          stderr);
    return 2;
}
