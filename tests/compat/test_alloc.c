/* SPDX-License-Identifier: Apache-2.0
 *
 * A server's memory for its children: nginx's contract, with each strategy.
 */
#include "forbid.h"
#include "unit.h"
#include "usage.h"

#include <errno.h>
#include <fcntl.h>
#include <shmc_alloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SIZE   12345u /* no whole pages */
#define ROUNDS 100000u

static void let_child(void (*work)(struct shmc_memory *), struct shmc_memory *memory) {
    int status;
    const pid_t child = fork();
    if (child == 0) {
        work(memory);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

static void fill(struct shmc_memory *memory) {
    memset(memory->addr, 0x5a, memory->size);
}

/* Reads what another child wrote, answers, and gives its own away. */
static void answer_and_free(struct shmc_memory *memory) {
    uint8_t *bytes = memory->addr;
    if (bytes[0] != 0x5a || bytes[memory->size - 1] != 0x5a)
        _exit(1);
    bytes[1] = 42;
    shmc_free(memory);
    if (memory->addr != SHMC_ALLOC_FAILED)
        _exit(2);
}

START_TEST(each_strategy) {
    const unsigned descriptors = usage_now().descriptors;
    for (unsigned wanted = SHMC_STRATEGY_AUTO; wanted <= SHMC_STRATEGY_SYSV_PRIVATE; wanted++) {
        struct shmc_memory memory = {
            .size = SIZE, .name = "zone", .exists = 7, .strategy = (enum shmc_strategy)wanted};
        ck_assert_int_eq(shmc_alloc(&memory), 0);
        ck_assert_int_eq(memory.made, wanted == SHMC_STRATEGY_AUTO ? SHMC_STRATEGY_ANON : wanted);
        ck_assert_int_eq(memory.strategy, wanted);
        ck_assert_uint_eq(memory.exists, 0);
        ck_assert_uint_eq(memory.size, SIZE);
        ck_assert_str_eq(memory.name, "zone");
        ck_assert_uint_eq((uintptr_t)memory.addr % 4096, 0);
        ck_assert_uint_eq(usage_sysv(), wanted == SHMC_STRATEGY_SYSV_PRIVATE);
        const uint8_t *bytes = memory.addr;
        for (unsigned i = 0; i < SIZE; i++)
            ck_assert_uint_eq(bytes[i], 0);
        let_child(fill, &memory);
        for (unsigned i = 0; i < SIZE; i++)
            ck_assert_uint_eq(bytes[i], 0x5a);
        let_child(answer_and_free, &memory);
        ck_assert_uint_eq(bytes[1], 42); /* the parent's is still there */
        shmc_free(&memory);
        ck_assert_ptr_eq(memory.addr, SHMC_ALLOC_FAILED);
        shmc_free(&memory);
        ck_assert_uint_eq(usage_sysv(), 0);
    }
    ck_assert_uint_eq(usage_now().descriptors, descriptors);
}
END_TEST

/* From here on no anonymous memory is to be had that is shared. */
static bool forbid_anonymous(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return forbid_by(sizeof code / sizeof *code, code);
}

static int each_of_auto(void) {
    struct shmc_memory memory = {.size = SIZE};
    if (!forbid_anonymous())
        return 77;
    if (shmc_alloc(&memory) != 0 || memory.made != SHMC_STRATEGY_DEVZERO)
        return 1;
    shmc_free(&memory);
    if (!forbid(SYS_openat) || shmc_alloc(&memory) != 0 ||
        memory.made != SHMC_STRATEGY_SYSV_PRIVATE)
        return 2;
    shmc_free(&memory);
    return forbid(SYS_shmget) && shmc_alloc(&memory) == -EPERM && memory.addr == SHMC_ALLOC_FAILED
               ? 0
               : 3;
}

START_TEST(auto_takes_the_next) {
    const int r = in_child(each_of_auto);
    ck_assert_msg(r == 0 || r == 77, "%d", r);
}
END_TEST

START_TEST(refusals) {
    struct shmc_memory memory = {.size = 0};
    ck_assert_int_eq(shmc_alloc(&memory), -EINVAL);
    ck_assert_ptr_eq(memory.addr, SHMC_ALLOC_FAILED);
    memory = (struct shmc_memory){.size = 1, .strategy = (enum shmc_strategy)4};
    ck_assert_int_eq(shmc_alloc(&memory), -EINVAL);
    memory = (struct shmc_memory){.size = SIZE_MAX};
    ck_assert_int_eq(shmc_alloc(&memory), -ENOMEM);
    for (unsigned wanted = SHMC_STRATEGY_AUTO; wanted <= SHMC_STRATEGY_SYSV_PRIVATE; wanted++) {
        memory =
            (struct shmc_memory){.size = (size_t)1 << 60, .strategy = (enum shmc_strategy)wanted};
        ck_assert_int_lt(shmc_alloc(&memory), 0);
        ck_assert_ptr_eq(memory.addr, SHMC_ALLOC_FAILED);
        shmc_free(&memory);
    }
    memory.addr = NULL; /* calloc()'s */
    shmc_free(&memory);
    ck_assert_uint_eq(usage_sysv(), 0);
}
END_TEST

START_TEST(blocks_are_apart) {
    struct shmc_memory memory[40];
    for (unsigned i = 0; i < 40; i++) {
        memory[i] =
            (struct shmc_memory){.size = 1 + i * 1000, .strategy = (enum shmc_strategy)(i % 4)};
        ck_assert_int_eq(shmc_alloc(&memory[i]), 0);
        memset(memory[i].addr, (int)i, memory[i].size);
    }
    for (unsigned i = 0; i < 40; i++) {
        const uint8_t *bytes = memory[i].addr;
        for (size_t k = 0; k < memory[i].size; k++)
            ck_assert_uint_eq(bytes[k], i);
        shmc_free(&memory[i]);
    }
}
END_TEST

START_TEST(nothing_leaks) {
    struct usage before = {0};
    for (unsigned i = 0; i < ROUNDS + 100; i++) {
        if (i == 100)
            before = usage_now();
        struct shmc_memory memory = {.size = 5000, .strategy = (enum shmc_strategy)(i % 4)};
        ck_assert_int_eq(shmc_alloc(&memory), 0);
        *(volatile uint8_t *)memory.addr = 1;
        shmc_free(&memory);
    }
    const struct usage after = usage_now();
    ck_assert_int_lt(after.bytes - before.bytes, 40L * ROUNDS);
    ck_assert_uint_eq(after.descriptors, before.descriptors);
    ck_assert_uint_le(after.mappings, before.mappings + 50); /* the allocator's may come and go */
    ck_assert_uint_eq(usage_sysv(), 0);
    printf("figure: compat.alloc.leak_operations %u operations\n", ROUNDS);
}
END_TEST

UNIT_MAIN("alloc", each_strategy, auto_takes_the_next, refusals, blocks_are_apart, nothing_leaks)
