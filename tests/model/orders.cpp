/* SPDX-License-Identifier: Apache-2.0
 *
 * Publish against read, publish against going to sleep, take-over against following, the
 * directory's flip against a look-up, and a worker's record: each as few accesses as it takes.
 */
#include "orders.h"

namespace {

using namespace orders;
using word = rl::atomic<unsigned>;

/* libclient/core/snapshot_writer.c and snapshot_reader.c: two buffers used in turn, values that are
 * their version, twice. */
template <int without> struct publish_and_read : rl::test_suite<publish_and_read<without>, 2> {
    word head, seq[2], first[2], second[2];

    void before() {
        head($).store(0, relaxed);
        for (int i = 0; i < 2; i++) {
            seq[i]($).store(0, relaxed);
            first[i]($).store(0, relaxed);
            second[i]($).store(0, relaxed);
        }
    }

    void publish(unsigned version) {
        const unsigned i = version % 2;
        seq[i]($).store(2 * version - 1, relaxed);
        if (without != 1)
            rl::atomic_thread_fence(release, $);
        first[i]($).store(version, relaxed);
        second[i]($).store(version, relaxed);
        seq[i]($).store(2 * version, without == 2 ? relaxed : release);
        head($).store(version, without == 2 ? relaxed : release);
    }

    void read() {
        const unsigned version = head($).load(without == 3 ? relaxed : acquire);
        const unsigned i = version % 2;
        if (version == 0 || seq[i]($).load(without == 3 ? relaxed : acquire) != 2 * version)
            return;
        const unsigned a = first[i]($).load(relaxed), b = second[i]($).load(relaxed);
        if (without != 4)
            rl::atomic_thread_fence(acquire, $);
        if (without == 5 || seq[i]($).load(relaxed) == 2 * version)
            RL_ASSERT(a == version && b == version);
    }

    void thread(unsigned index) {
        for (unsigned i = 1; i <= 3; i++)
            if (index == 0)
                publish(i);
            else
                read();
    }
};

/* store_head() and going to sleep: not both may miss the other's store.  What the kernel orders in
 * futex_wait() isn't relied upon.  This is the form in which each has a fence of its own; of
 * membarrier(2), which replaces both, C++ knows nothing (the simulator does, and bell.pml). */
template <int without> struct ring_and_sleep : rl::test_suite<ring_and_sleep<without>, 2> {
    word head, want;
    rl::var<unsigned> woken, asleep;

    void before() {
        head($).store(0, relaxed);
        want($).store(0, relaxed);
        woken($) = asleep($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            head($).store(1, release);
            if (without != 1)
                rl::atomic_thread_fence(seq_cst, $);
            woken($) = want($).load(relaxed);
        } else {
            want($).store(1, relaxed);
            if (without != 2)
                rl::atomic_thread_fence(seq_cst, $);
            asleep($) = head($).load(relaxed) == 0;
        }
    }

    void after() {
        RL_ASSERT(!VAR(asleep) || VAR(woken));
    }
};

/* forget_unpublished() and snapshot_read_version(): the dead writer left version 1 finished in
 * buffer 0; the successor publishes its own version 1 in buffer 1. */
template <int without>
struct take_over_and_follow : rl::test_suite<take_over_and_follow<without>, 2> {
    word head, seq[2], value[2];

    void before() {
        head($).store(0, relaxed);
        seq[0]($).store(2, relaxed);
        value[0]($).store(13, relaxed);
        seq[1]($).store(0, relaxed);
        value[1]($).store(0, relaxed);
    }

    void thread(unsigned index) {
        if (index == 0) {
            if (without != 1)
                seq[0]($).store(0, relaxed);
            seq[1]($).store(1, relaxed);
            if (without != 2)
                rl::atomic_thread_fence(release, $);
            value[1]($).store(1, relaxed);
            seq[1]($).store(2, release);
            head($).store(1, without == 2 ? relaxed : release);
            return;
        }
        if (head($).load(without == 3 ? relaxed : acquire) == 0)
            return;
        for (int i = 0; i < 2; i++)
            if (seq[i]($).load(acquire) == 2)
                RL_ASSERT(value[i]($).load(relaxed) == 1);
    }
};

/* image_publish() and directory_find(): two directories in turn; the idle one is refilled. */
template <int without> struct flip_and_find : rl::test_suite<flip_and_find<without>, 2> {
    word generation, own[2], section[2];

    void before() {
        generation($).store(1, relaxed);
        for (int i = 0; i < 2; i++) {
            own[i]($).store(i, relaxed);
            section[i]($).store(i, relaxed);
        }
    }

    void publish(unsigned next) {
        const unsigned idle = next % 2;
        if (without != 1)
            rl::atomic_thread_fence(release, $);
        own[idle]($).store(0, relaxed);
        rl::atomic_thread_fence(release, $);
        section[idle]($).store(next, relaxed);
        rl::atomic_thread_fence(release, $);
        own[idle]($).store(next, relaxed);
        generation($).store(next, without == 2 ? relaxed : release);
    }

    void find() {
        const unsigned before = generation($).load(without == 3 ? relaxed : acquire);
        const unsigned there = own[before % 2]($).load(relaxed);
        const unsigned found = section[before % 2]($).load(relaxed);
        if (without != 4)
            rl::atomic_thread_fence(acquire, $);
        if (without == 5 || generation($).load(acquire) == before)
            RL_ASSERT(there == before && found == before);
    }

    void thread(unsigned index) {
        for (unsigned i = 2; i <= 4; i++)
            if (index == 0)
                publish(i);
            else
                find();
    }
};

/* put_record() and COPY_RECORD: the holder's fields are rewritten while the record is free (even
 * words), and hold while it is leased (odd ones). */
template <int without> struct grant_and_look : rl::test_suite<grant_and_look<without>, 2> {
    word state, pid;

    void before() {
        state($).store(1, relaxed);
        pid($).store(1, relaxed);
    }

    void put(unsigned holder, unsigned next) {
        if (without != 1)
            rl::atomic_thread_fence(release, $);
        pid($).store(holder, relaxed);
        state($).store(next, without == 2 ? relaxed : release);
    }

    void thread(unsigned index) {
        if (index == 0) {
            put(1, 2);
            put(3, 3);
            return;
        }
        const unsigned before = state($).load(without == 3 ? relaxed : acquire);
        const unsigned found = pid($).load(relaxed);
        if (without != 4)
            rl::atomic_thread_fence(acquire, $);
        if (state($).load(relaxed) == before && before % 2 == 1)
            RL_ASSERT(found == before);
    }
};

} // namespace

int main() {
    orders::result all;
    all.protocol<publish_and_read<0>>("publish and read");
    all.mutant<publish_and_read<1>>("the fence behind the odd sequence");
    all.mutant<publish_and_read<2>>("release of sequence and head");
    all.mutant<publish_and_read<3>>("acquire of head and sequence");
    all.mutant<publish_and_read<4>>("the fence before the second look");
    all.mutant<publish_and_read<5>>("the second look");
    all.protocol<ring_and_sleep<0>>("ring and sleep");
    all.mutant<ring_and_sleep<1>>("the writer's full barrier");
    all.mutant<ring_and_sleep<2>>("the sleeper's full barrier");
    all.protocol<take_over_and_follow<0>>("take-over and follow");
    all.mutant<take_over_and_follow<1>>("zeroing what wasn't published");
    all.mutant<take_over_and_follow<2>>(
        "the fence behind the odd sequence and release of the head");
    all.mutant<take_over_and_follow<3>>("acquire of the head");
    all.protocol<flip_and_find<0>>("flip and find");
    all.mutant<flip_and_find<1>>("the fence before the idle directory");
    all.mutant<flip_and_find<2>>("release of the generation");
    all.mutant<flip_and_find<3>>("acquire of the generation");
    all.mutant<flip_and_find<4>>("the fence before the second look");
    all.mutant<flip_and_find<5>>("the second look");
    all.protocol<grant_and_look<0>>("grant and look");
    all.mutant<grant_and_look<1>>("the fence before the fields");
    all.mutant<grant_and_look<2>>("release of the word");
    all.mutant<grant_and_look<3>>("acquire of the word");
    all.mutant<grant_and_look<4>>("the fence before the second look");
    return all.end();
}
