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

/* queue_send() and walk_lane(): a record and its payload behind the commit word; a second one in the
 * same place, once the first was received. */
template <int without> struct send_and_receive : rl::test_suite<send_and_receive<without>, 3> {
    word sent, seq, text, claim, payload;
    rl::var<unsigned> received[2];

    void before() {
        sent($).store(0, relaxed);
        seq($).store(0, relaxed);
        text($).store(0, relaxed);
        claim($).store(0, relaxed);
        payload($).store(0, relaxed);
        received[0]($) = received[1]($) = 0;
    }

    /* claim: 2n = nobody has number n, 2n + 1 = it is done. */
    void send(unsigned number) {
        if (number > 1) {
            if (claim($).load(without == 1 ? relaxed : acquire) != 2 * (number - 1) + 1)
                return;
            if (without != 2)
                rl::atomic_thread_fence(release, $);
        }
        payload($).store(number, relaxed);
        seq($).store(number, relaxed);
        text($).store(number, relaxed);
        sent($).store(number, without == 3 ? relaxed : release);
    }

    void receive(unsigned who) {
        const unsigned number = sent($).load(without == 4 ? relaxed : acquire);
        unsigned found = claim($).load(acquire);
        if (number == 0 || found >= 2 * number + 1)
            return;
        const unsigned a = seq($).load(relaxed), b = text($).load(relaxed);
        if (without != 5)
            rl::atomic_thread_fence(acquire, $);
        if (without != 6 && (claim($).load(relaxed) != found || seq($).load(relaxed) != a))
            return;
        /* What is wrong then is damage, and there is none. */
        RL_ASSERT(a == b && a >= number);
        if (a != number)
            return;
        const unsigned data = payload($).load(relaxed);
        if (!claim($).compare_exchange_strong(found, 2 * number + 1, seq_cst, relaxed))
            return;
        RL_ASSERT(data == number);
        received[who]($) = VAR(received[who]) | 1u << number;
    }

    void thread(unsigned index) {
        for (unsigned i = 1; i <= 2; i++)
            if (index == 0)
                send(i);
            else
                receive(index - 1);
    }

    void after() {
        RL_ASSERT((VAR(received[0]) & VAR(received[1])) == 0);
    }
};

/* move_oldest() and take(): a sender says which record it moves and looks at its claim, a receiver
 * claims it and looks at what is being moved: not both may go on. */
template <int without> struct move_and_take : rl::test_suite<move_and_take<without>, 2> {
    word moving, claim, number;
    rl::var<unsigned> moved, taken;

    void before() {
        moving($).store(0, relaxed);
        claim($).store(0, relaxed);
        number($).store(1, relaxed);
        moved($) = taken($) = 0;
    }

    void thread(unsigned index) {
        if (index == 0) {
            moving($).store(1, relaxed);
            if (without != 1)
                rl::atomic_thread_fence(seq_cst, $);
            if (claim($).load(acquire) == 0) {
                moved($) = 1;
                number($).store(99, without == 3 ? relaxed : release);
            }
            moving($).store(0, without == 3 ? relaxed : release);
            return;
        }
        unsigned found = 0;
        if (!claim($).compare_exchange_strong(found, 1, seq_cst, relaxed))
            return;
        if (without != 2)
            rl::atomic_thread_fence(seq_cst, $); /* the exchange's, of core/shared.h */
        const bool moves = moving($).load(without == 4 ? relaxed : acquire) == 1;
        if (without == 5 || (number($).load(acquire) == 1 && !moves))
            taken($) = 1;
    }

    void after() {
        RL_ASSERT(!(VAR(moved) && VAR(taken)));
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
    all.protocol<send_and_receive<0>>("send and receive");
    all.mutant<send_and_receive<2>>("the fence before a record's next use");
    all.mutant<send_and_receive<3>>("release of the commit word");
    all.mutant<send_and_receive<4>>("acquire of the commit word");
    all.mutant<send_and_receive<5>>("the fence behind a record's copy");
    all.mutant<send_and_receive<6>>("the second look at claim and number");
    all.protocol<move_and_take<0>>("move and take");
    all.mutant<move_and_take<1>>("the sender's full barrier");
    all.mutant<move_and_take<2>>("the receiver's full barrier");
    all.mutant<move_and_take<3>>("release of what was moved");
    all.mutant<move_and_take<4>>("acquire of what is moved");
    all.mutant<move_and_take<5>>("the look at what is moved");
    return all.end();
}
