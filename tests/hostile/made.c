/* SPDX-License-Identifier: Apache-2.0
 *
 * To make sections as somebody else, more of them than one may, or so many that nobody else is
 * served; and to drop others'.  Worker 'mallory' may make 64 KiB.
 */
#include "hostile.h"

#define QUOTA    65536u
#define LOOP_S   3
#define SOAK_S   30
#define CPU_MOST 60 /* per cent of the manager's time, of which a user's requests get a fifth */

static shmc *segment; /* mallory's, or a reader's */
static uint32_t attachment;
static uint64_t epoch;

static void be(const char *worker) {
    segment = attach(worker, 0);
    if (worker != NULL)
        epoch = lease_epoch(segment, worker, &attachment);
}

static struct protocol_create wish(const char *name, uint64_t size) {
    struct protocol_create create = {.size = size,
                                     .kind = SHM_KIND_RAW,
                                     .flags = PROTOCOL_CREATE_TRANSIENT,
                                     .attachment = attachment,
                                     .attachment_epoch = epoch};
    memcpy(create.name, name, strnlen(name, sizeof create.name - 1));
    return create;
}

/* What the manager makes of it; what it says is one line for any terminal. */
static int answer(union protocol_message *m, enum protocol_type type, size_t bytes) {
    int fd = -1, socket = call_manager();
    send_as(socket, m, type, bytes);
    take_message(socket, m, &fd);
    close(socket);
    CHECK(fd < 0 && (m->head.type == PROTOCOL_DONE || m->head.type == PROTOCOL_REFUSED));
    if (m->head.type == PROTOCOL_REFUSED) {
        CHECK(m->head.result < 0 && m->refused.text[0] != '\0');
        for (const char *c = m->refused.text; *c != '\0'; c++)
            CHECK(*c >= ' ' && *c <= '~');
    }
    return m->head.result;
}

static int create(struct protocol_create wanted) {
    union protocol_message m = {.create = wanted};
    return answer(&m, PROTOCOL_CREATE, sizeof m.create);
}

static int drop(const char *name) {
    union protocol_message m = {.drop = {.attachment = attachment, .attachment_epoch = epoch}};
    memcpy(m.drop.name, name, strnlen(name, sizeof m.drop.name - 1));
    return answer(&m, PROTOCOL_DROP, sizeof m.drop);
}

static void nothing_was_made(void) {
    struct shmc_section_info info;
    CHECK_IS(shmc_inspect(segment, "evil", &info), -ENOENT);
}

static void victims_is_kept(void) {
    char value[8] = "";
    shmc_section *section = open_section(segment, "victims");
    CHECK_IS(shmc_read(section, value, sizeof value, NULL), 4);
    CHECK(memcmp(value, "kept", 4) == 0);
    shmc_close(section);
}

/* What was dropped is kept for those who read there, until the next change; one that goes into an
 * arena that is there needs no memory of its own. */
static void let_go(void) {
    CHECK_IS(create(wish("last", 1)), 0);
    CHECK_IS(drop("last"), 0);
}

/* ---- as somebody else */

static void with_anothers_lease(void) {
    be(NULL);
    epoch = lease_epoch(segment, "driver", &attachment);
    CHECK_IS(create(wish("evil", 1)), -EACCES);
    CHECK_IS(drop("victims"), -EACCES);
    CHECK_IS(drop("temps"), -EACCES);
    nothing_was_made();
    victims_is_kept();
    shmc_detach(segment);
}

static void with_forged_numbers(void) {
    be("mallory");
    const uint64_t right = epoch;
    for (epoch = 0; epoch < right + 20; epoch++)
        if (epoch != right)
            CHECK_IS(create(wish("evil", 1)), -EACCES);
    static const uint64_t epochs[] = {UINT64_MAX, UINT64_C(1) << 56, UINT32_MAX, INT64_MAX};
    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++) {
        epoch = epochs[i];
        CHECK_IS(create(wish("evil", 1)), -EACCES);
    }
    epoch = right;
    const uint32_t own = attachment;
    static const uint32_t attachments[] = {0, 1, 2, 3, 100, 16383, 16384, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < sizeof attachments / sizeof *attachments; i++) {
        attachment = attachments[i];
        if (attachment != own)
            CHECK_IS(create(wish("evil", 1)), -EACCES);
    }
    attachment = own;
    shmc_detach(segment);
    be(NULL); /* the lease is over, and its numbers are as before */
    AWAIT(create(wish("evil", 1)) == -EACCES);
    nothing_was_made();
    shmc_detach(segment);
}

static void anothers_section(void) {
    be("mallory");
    CHECK_IS(drop("victims"), -EACCES);
    CHECK_IS(drop("temps"), -EACCES);
    CHECK_IS(drop("bait"), -EACCES); /* the own one is the table's */
    CHECK_IS(create(wish("victims", 1)), -EEXIST);
    CHECK_IS(create(wish("VICTIMS", 1)), -EEXIST);
    CHECK_IS(create(wish("temps", 1)), -EEXIST);
    request_refused("drop victims", -EPERM, "takes root, the manager's user");
    request_refused("drop --force victims", -EPERM, "takes root, the manager's user");
    victims_is_kept();
    shmc_detach(segment);
}

/* ---- more than one may */

static void beyond_the_quota(void) {
    static const uint64_t sizes[] = {QUOTA + 1,         UINT32_MAX,      UINT64_C(1) << 32,
                                     UINT64_C(1) << 62, INT64_MAX,       (uint64_t)INT64_MAX + 1,
                                     UINT64_MAX - 4096, UINT64_MAX - 63, UINT64_MAX};
    static const uint32_t counts[] = {2, 255, 256};
    char name[16];
    be("mallory");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_IS(create(wish("evil", sizes[i])), -EDQUOT);
        for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            struct protocol_create snapshot = wish("evil", sizes[i]);
            snapshot.kind = SHM_KIND_SNAPSHOT;
            snapshot.count = counts[j];
            CHECK_IS(create(snapshot), -EDQUOT);
            snapshot.size = UINT64_MAX / counts[j] + 1; /* the product is small */
            CHECK_IS(create(snapshot), -EDQUOT);
        }
    }
    nothing_was_made();
    /* many that are small, each of which takes a descriptor and a doorbell */
    unsigned n = 0;
    for (int r = 0; r == 0 && n <= QUOTA; n += r == 0) {
        snprintf(name, sizeof name, "small%u", n);
        r = create(wish(name, 1));
        CHECK(r == 0 || r == -EDQUOT);
    }
    CHECK_IS(n, QUOTA / 4096);
    victim_goes_on();
    shmc_detach(segment);
    be("mallory"); /* and all is gone with the lease */
    CHECK_IS(create(wish("evil", QUOTA)), 0);
    CHECK_IS(drop("evil"), 0);
    let_go();
    shmc_detach(segment);
}

/* ---- what makes no sense */

static void odd_wishes(void) {
    static const char *const names[] = {"",          "\x1b[2J",      "a\nb",      "../a", "a/b",
                                        "%s%n%s",    "1a",           "-a",        "a b",  "a'b",
                                        "a\"; drop", "\xff\xfe\xfd", "mallory#1", "a\tb"};
    be("mallory");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_IS(create(wish(names[i], 1)), -EINVAL);
        CHECK_IS(drop(names[i]), -ENOENT);
    }
    for (unsigned i = 0; i < 300; i++) {
        struct protocol_create odd = wish("evil", 1u << rand() % 13);
        uint8_t *bytes = (uint8_t *)&odd.format;
        for (int times = rand() % 6; times >= 0; times--)
            bytes[(unsigned)rand() % (sizeof odd - offsetof(struct protocol_create, format))] =
                (uint8_t)rand();
        odd.format[sizeof odd.format - 1] = odd.read_group[sizeof odd.read_group - 1] = '\0';
        odd.attachment = attachment;
        odd.attachment_epoch = epoch;
        if (create(odd) == 0)
            CHECK_IS(drop("evil"), 0);
    }
    nothing_was_made();
    let_go();
    shmc_detach(segment);
}

/* ---- so many that nobody else is served */

/* Of all processors together; the manager has one thread. */
static uint64_t manager_cpu_ns(void) {
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", manager_pid());
    FILE *stat = fopen(path, "re");
    CHECK(stat != NULL);
    CHECK_IS(fscanf(stat, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                    &system),
             2);
    fclose(stat);
    return (user + system) * UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void without_end(void) {
    be("mallory");
    const uint64_t start_ns = now_ns(), cpu_ns = manager_cpu_ns();
    const unsigned seconds = getenv("SHM_SOAK") != NULL ? SOAK_S : LOOP_S;
    const uint64_t end_ns = start_ns + seconds * UINT64_C(1000000000);
    int n = 0;
    for (; now_ns() < end_ns; n++) {
        CHECK_IS(create(wish("again", 4096)), 0);
        if (n % 50 == 0)
            victim_goes_on();
        CHECK_IS(drop("again"), 0);
    }
    const uint64_t took_ns = now_ns() - start_ns, used_ns = manager_cpu_ns() - cpu_ns;
    printf("figure: hostile.creates_per_s %.0f sections\n", n * 1e9 / (double)took_ns);
    CHECK(n > 1);
    if (used_ns * 100 > took_ns * CPU_MOST) {
        fprintf(stderr, "%d sections took %llu of %llu ms of the manager\n", n,
                (unsigned long long)used_ns / 1000000, (unsigned long long)took_ns / 1000000);
        exit(1);
    }
    victim_goes_on();
    let_go();
    shmc_detach(segment);
}

const struct attack made_attacks[] = {
    {"create_with_anothers_lease", READER, DENIED, with_anothers_lease},
    {"create_with_forged_numbers", WORKER, DENIED, with_forged_numbers},
    {"drop_anothers_section", WORKER, DENIED, anothers_section},
    {"create_beyond_the_quota", WORKER, DENIED, beyond_the_quota},
    {"create_what_makes_no_sense", WORKER, DENIED, odd_wishes},
    {"create_without_end", WORKER, DENIED, without_end},
    {0}};
