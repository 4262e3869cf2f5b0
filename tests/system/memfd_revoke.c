/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases that are taken back while their holder lives, on the segment of test_memfd.sh.  Who must
 * run a case is in its name, as in memfd_parts.c.
 */
#include "cases.h"

#include "core/directory.h"
#include "core/packet.h"
#include "core/protocol.h"

#include <grp.h>
#include <sys/mman.h>

static shmc_section *revoked_section;

static void hold_the_lease(int from, int to) {
    char order;
    shmc *segment = attach("holder", 0);
    shmc_section *section = open_section(segment, "held"), *raw = open_section(segment, "held.raw");
    void *data;
    size_t bytes;
    CHECK_IS(shmc_publish(section, "before", 6), 0);
    CHECK_IS(shmc_raw_writable(raw, &data, &bytes), 0);
    memcpy(data, "raw before", 11);
    say(to, 'r');
    while (read(from, &order, 1) == 1) {
        memcpy(data, "raw after!", 11); /* with manners or without: it is mapped */
        int r = shmc_publish(section, "after!", 6);
        say(to, r == 0 ? 'p' : r == -EKEYREVOKED ? 'k' : '?');
    }
    shmc_close(section);
    shmc_close(raw);
    shmc_detach(segment);
}

static int take_back(const char *worker) {
    char request[SHMC_NAME_BYTES + 16], error[512] = "", *reply = NULL;
    struct shmc_options options = {.size = sizeof options,
                                   .timeout_ms = PATIENCE_MS,
                                   .error = error,
                                   .error_bytes = sizeof error};
    snprintf(request, sizeof request, "revoke %s", worker);
    int r = shmc_manager(&options, request, &reply);
    snprintf(refusal, sizeof refusal, "%.250s %.250s", error, reply == NULL ? "" : reply);
    free(reply);
    return r;
}

static void reads(shmc *segment, const char *text, const char *raw) {
    char buffer[64] = "";
    CHECK_IS(shmc_read(revoked_section, buffer, sizeof buffer, NULL), strlen(text));
    CHECK(memcmp(buffer, text, strlen(text)) == 0);
    shmc_section *section = open_section(segment, "held.raw");
    CHECK_IS(shmc_raw_read(section, 0, buffer, 16), 16);
    shmc_close(section);
    CHECK(strcmp(buffer, raw) == 0);
}

/* Its values stay, the name is free, and what it does afterwards reaches nobody. */
static void own_revoked_holder_reaches_nobody(void) {
    edit_table(
        "INSERT INTO section(name, owner, size) VALUES('held', 'holder', 6400);"
        "INSERT INTO section(name, owner, size, kind) VALUES('held.raw', 'holder', 64, 'raw')");
    struct child holder = start_child(hold_the_lease);
    CHECK_IS(hear(holder.from), 'r');
    shmc *reader = attach(NULL, 0);
    revoked_section = open_section(reader, "held");
    reads(reader, "before", "raw before");
    CHECK_IS(try_attach("holder", 0), -EBUSY);
    CHECK_IS(take_back("holder"), 0);
    reads(reader, "before", "raw before");
    say(holder.to, 'g');
    CHECK_IS(hear(holder.from), 'k');
    reads(reader, "before", "raw before");
    struct shmc_value value;
    shmc *successor = attach("holder", 0);
    shmc_section *section = open_section(successor, "held");
    CHECK_IS(shmc_publish(section, "next", 4), 0);
    say(holder.to, 'g');
    CHECK_IS(hear(holder.from), 'k');
    reads(reader, "next", "raw before");
    CHECK_IS(shmc_read(section, &(char[64]){0}, 64, &value), 4);
    CHECK_IS(value.version, 2);
    end_child(&holder, SIGKILL);
    struct shmc_worker_info info;
    CHECK_IS(shmc_inspect_worker(reader, "holder", &info), 0);
    CHECK(info.state == SHMC_ALIVE && info.pid == getpid());
    CHECK_IS(info.end_reason, SHM_END_REVOKED);
    shmc_close(section);
    shmc_close(revoked_section);
    shmc_detach(successor);
    shmc_detach(reader);
    edit_table("DELETE FROM section WHERE owner = 'holder'");
}

#define WORDS 512

static void publish_until_revoked(int from, int to) {
    uint64_t words[WORDS], number = 0;
    (void)from;
    for (;;) {
        shmc *segment = attach("holder", 0);
        shmc_section *section = open_section(segment, "held");
        int r = 0;
        for (bool first = true; r == 0; first = false) {
            number++;
            for (int i = 0; i < WORDS; i++)
                words[i] = number;
            r = shmc_publish(section, words, sizeof words);
            if (first)
                say(to, 'a');
        }
        say(to, r == -EKEYREVOKED ? 'k' : '?');
        shmc_close(section);
        shmc_detach(segment);
    }
}

/* A holder at full speed: each value that is read is whole, and none is older than one before. */
static void own_revoked_under_load(void) {
    uint64_t words[WORDS], newest = 0;
    struct shmc_value value;
    edit_table("INSERT INTO section(name, owner, size) VALUES('held', 'holder', 4096)");
    struct child holder = start_child(publish_until_revoked);
    shmc *reader = attach(NULL, 0);
    shmc_section *section = open_section(reader, "held");
    for (int round = 0; round < 50; round++) {
        CHECK_IS(hear(holder.from), 'a');
        for (int i = 0; i < 200; i++) {
            CHECK_IS(shmc_read(section, words, sizeof words, &value), sizeof words);
            for (int j = 1; j < WORDS; j++)
                CHECK(words[j] == words[0]);
            CHECK(value.version >= newest);
            newest = value.version;
        }
        CHECK_IS(take_back("holder"), 0);
        CHECK_IS(hear(holder.from), 'k');
    }
    end_child(&holder, SIGKILL);
    printf("figure: memfd.revoked_under_load 50 revocations\n");
    shmc_close(section);
    shmc_detach(reader);
    edit_table("DELETE FROM section WHERE owner = 'holder'");
}

static void own_nobody_is_revoked_twice(void) {
    CHECK_IS(take_back("grabber"), -ESRCH);
    CHECK_SAYS(refusal, "nobody is worker 'grabber'");
    CHECK_IS(take_back("stranger"), -ENOENT);
    CHECK_SAYS(refusal, "no worker 'stranger'");
}

static void reader_cannot_revoke(void) {
    CHECK_IS(take_back("driver"), -EPERM);
    CHECK_SAYS(refusal, "takes root, the manager's user");
}

/* ---- going from user to user */

/* All of an arena that one may write, mapped outside of the library. */
static uint8_t *map_by_hand(const shmc *segment, uint32_t attachment, uint64_t *bytes) {
    struct sockaddr_un address;
    union protocol_message m;
    struct shmc_segment_info info;
    int fd = -1, conversation = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(conversation >= 0 && shmc_segment(segment, &info) == 0);
    CHECK_IS(protocol_address(&address, getenv("SHMC_RUNTIME_DIR"), info.key), 0);
    CHECK(connect(conversation, (struct sockaddr *)&address, sizeof address) == 0);
    for (uint32_t index = 0;; index++) { /* the one that we may */
        struct directory directory;
        struct shm_arena arena;
        const char *field;
        CHECK_IS(directory_open(&directory, info.base, info.bytes, &field), 0);
        CHECK(directory_arena(&directory, info.generation, index, &arena, &field) != -ERANGE);
        m = (union protocol_message){.map = {.part = PROTOCOL_PART_ARENA,
                                             .index = index,
                                             .incarnation = arena.incarnation,
                                             .writable = 1,
                                             .attachment = attachment}};
        m.map.attachment_epoch =
            lease_word_epoch(directory_attachment_word(&directory, attachment));
        struct shm_worker record;
        if (directory_worker(&directory, arena.owner_index, &record) < 0 ||
            strcmp(record.name, "guest") != 0)
            continue;
        break;
    }
    protocol_fill(&m.head, PROTOCOL_MAP, sizeof m.map, 0);
    union protocol_message hello;
    CHECK(packet_receive(conversation, &hello, sizeof hello, NULL, 0) > 0);
    CHECK_IS(packet_send(conversation, &m, sizeof m.map, -1, 0), 0);
    CHECK(packet_receive(conversation, &m, sizeof m, &fd, 0) > 0);
    CHECK(m.head.type == PROTOCOL_PART && fd >= 0);
    *bytes = m.map.bytes;
    void *at = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    close(fd);
    close(conversation);
    return at;
}

static void keep_a_mapping(int from, int to) {
    const gid_t group = 65530;
    char order;
    struct shmc_worker_info info;
    CHECK(setgroups(1, &group) == 0 && setresgid(65533, 65533, 65533) == 0 &&
          setresuid(65533, 65533, 65533) == 0);
    shmc *segment = attach("guest", 0);
    shmc_section *section = open_section(segment, "visit");
    CHECK_IS(shmc_publish(section, "guest", 5), 0);
    shmc_close(section);
    CHECK_IS(shmc_inspect_worker(segment, "guest", &info), 0);
    uint64_t bytes;
    uint8_t *kept = map_by_hand(segment, info.attachment, &bytes);
    shmc_detach(segment);
    say(to, 'd');
    while (read(from, &order, 1) == 1) {
        memset(kept, order, bytes);
        say(to, 'w');
    }
}

/* A mapping that outlives its lease is no way into what is another user's by then. */
static void own_another_user_gets_fresh_memory(void) {
    char text[16];
    if (geteuid() != 0) {
        puts("it takes root");
        exit(SKIPPED);
    }
    edit_table("INSERT INTO section(name, owner, size) VALUES('visit', 'guest', 100)");
    struct child guest = start_child(keep_a_mapping);
    CHECK_IS(hear(guest.from), 'd');
    shmc *segment = attach("guest", 0);
    shmc_section *section = open_section(segment, "visit");
    CHECK_IS(shmc_read(section, text, sizeof text, NULL), 5);
    say(guest.to, 'x');
    CHECK_IS(hear(guest.from), 'w');
    CHECK_IS(shmc_read(section, text, sizeof text, NULL), 5);
    CHECK(memcmp(text, "guest", 5) == 0);
    CHECK_IS(shmc_publish(section, "root", 4), 0);
    say(guest.to, 'y');
    CHECK_IS(hear(guest.from), 'w');
    CHECK_IS(shmc_read(section, text, sizeof text, NULL), 4);
    end_child(&guest, 0);
    shmc_close(section);
    shmc_detach(segment);
    edit_table("DELETE FROM section WHERE owner = 'guest'");
}

CASES_MAIN({"own_another_user_gets_fresh_memory", own_another_user_gets_fresh_memory},
           {"own_revoked_holder_reaches_nobody", own_revoked_holder_reaches_nobody},
           {"own_revoked_under_load", own_revoked_under_load},
           {"own_nobody_is_revoked_twice", own_nobody_is_revoked_twice},
           {"reader_cannot_revoke", reader_cannot_revoke})
