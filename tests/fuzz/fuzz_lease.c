/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process inherits as its lease (SHMC_LEASE and a descriptor), and what a manager finds in
 * its directory of leases.
 */
#include "client.h"
#include "core/crc32c.h"
#include "core/lease.h"
#include "fuzz_segment.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int dir_fd, inherited;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    segment_make();
    dir_fd = open(fuzz_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    inherited = memfd_create("lease", MFD_CLOEXEC);
    MUST(dir_fd >= 0 && inherited >= 0);
    return 0;
}

static void write_record(int fd, struct input *input, const struct lease_record *right) {
    struct lease_record record = *right;
    for (uint32_t n = take_below(input, 4); n > 0; n--)
        ((uint8_t *)&record)[take_below(input, sizeof record)] = (uint8_t)take(input, 1);
    if (take_below(input, 4) != 0)
        record.crc = CRC32C_OF((const struct lease_record *)&record);
    size_t bytes = take_below(input, 4) != 0 ? sizeof record : take_below(input, sizeof record);
    MUST(ftruncate(fd, 0) == 0 && pwrite(fd, &record, bytes, 0) == (ssize_t)bytes);
}

static void take_over(struct input *input, const struct lease_record *right) {
    char text[200];
    struct error error = {0};
    struct mapping mapping = {
        .directory = segment_clean, .base = segment_victim.memory, .standing = {.fd = -1}};
    struct shmc segment = {.now = &mapping, .error = &error};
    struct settings settings = {.key = 1, .worker = "driver", .runtime_dir = "/nowhere"};
    write_record(inherited, input, right);
    int n = snprintf(text, sizeof text, "0x00000001:driver:1:7:%d", inherited);
    for (uint32_t i = take_below(input, 4); i > 0; i--)
        text[take_below(input, (uint32_t)n)] = (char)take(input, 1);
    if (take_below(input, 8) == 0)
        text[take_bytes(input, text, sizeof text - 1)] = '\0';
    setenv("SHMC_LEASE", text, 1);
    int r = standing_take(&segment, &settings);
    MUST(r < 0 ? error.text[0] != '\0' : standing_holds(&mapping));
    standing_drop(&mapping.standing);
}

static void find(struct input *input, const struct lease_record *right) {
    char file[64] = "1.7";
    struct lease_record found;
    uint32_t attachment;
    uint64_t epoch;
    int keep = -1;
    if (take_below(input, 4) == 0) {
        memset(file, 0, sizeof file);
        take_bytes(input, file, sizeof file - 1);
    }
    bool named = lease_parse(file, &attachment, &epoch);
    if (strchr(file, '/') != NULL || file[0] == '\0' || file[0] == '.') {
        MUST(!named);
        return;
    }
    int fd = openat(dir_fd, file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    write_record(fd, input, right);
    close(fd);
    int r = lease_open(dir_fd, file, &found, &keep);
    MUST(r == 0 || r == -EBADMSG);
    if (r == 0) {
        MUST(named && found.attachment == attachment && found.attachment_epoch == epoch);
        MUST(memchr(found.worker, '\0', sizeof found.worker) != NULL);
        MUST(lease_held(keep) == 0);
        close(keep);
    }
    unlinkat(dir_fd, file, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    struct lease_record right = {.magic = LEASE_MAGIC,
                                 .attachment = 1,
                                 .attachment_epoch = 7,
                                 .worker_epoch = 7,
                                 .worker = "driver",
                                 .segment_id = 77};
    if (take_below(&input, 2) == 0)
        take_over(&input, &right);
    else
        find(&input, &right);
    return 0;
}
