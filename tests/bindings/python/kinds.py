# SPDX-License-Identifier: Apache-2.0
"""Each kind of section does what it is for, and says what is wrong in Python's way."""

import array
import errno
import os
import struct
import unittest

import common
import shmclient
from common import Case

try:
    import numpy as np
except ImportError:
    np = None


class Snapshot(Case):
    def test_a_value_and_what_is_known_of_it(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        self.assertIsInstance(temps, shmclient.SnapshotSection)
        temps.publish(b"one")
        first = there.read()
        self.assertEqual(first, b"one")
        self.assertIsInstance(first, bytes)
        self.assertEqual((first.length, first.missed, first.writer), (3, 0, shmclient.Alive.ALIVE))
        self.assertGreater(first.real_ns, 0)
        self.assertGreaterEqual(first.age_ns, 0)
        self.assertFalse(first.stale)
        for number in (array.array("i", [1, 2]), bytearray(b"two"), memoryview(b"three")):
            temps.publish(number)
            self.assertEqual(there.read(), bytes(number))
        temps.publish(b"")
        self.assertEqual(there.read(), b"")
        newest = there.read()
        self.assertEqual(newest.version, first.version + 4)
        self.assertEqual(newest.incarnation, first.incarnation)

    def test_next_and_missed(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        temps.publish(b"seen")
        there.read()
        self.fails(shmclient.WouldBlock, there.next, 0)
        self.assertIsInstance(self.fails(shmclient.TimedOut, there.next, 0.03), TimeoutError)
        for i in range(5):
            temps.publish(b"%d" % i)
        value = there.next(0)
        self.assertEqual((value, value.missed), (b"4", 4))
        for i in range(2):
            temps.publish(b"%d" % i)
        follow = there.follow()
        self.assertEqual([next(follow), next(follow)], [b"0", b"1"])

    def test_iteration(self):
        temps = self.segment.open("temps")
        temps.publish(b"0")
        got = []
        for value in self.reader.open("temps"):
            got.append(bytes(value))
            if len(got) == 5:
                break
            temps.publish(b"%d" % len(got))
        self.assertEqual(got, [b"0", b"1", b"2", b"3", b"4"])

    def test_stale_is_said_once(self):
        hasty, there = self.segment.open("hasty"), self.reader.open("hasty")
        hasty.publish(b"x")
        versions = iter(there)
        self.assertEqual(next(versions), b"x")
        self.assertEqual(self.fails(shmclient.Stale, next, versions).errno, errno.ETIME)
        hasty.publish(b"y")
        self.assertEqual(next(versions), b"y")

    def test_larger_than_the_buffer(self):
        large, there = self.segment.open("large"), self.reader.open("large")
        for size in (100, 5000, 1 << 20, 10):
            large.publish(bytes([size % 251]) * size)
            self.assertEqual(there.read(), bytes([size % 251]) * size)
        large.publish(b"z" * 9000)
        self.assertEqual(self.reader.open("large").next(5), b"z" * 9000)
        failure = self.fails(shmclient.TooLarge, large.publish, b"x" * ((1 << 20) + 1))
        self.assertIn("'large'", failure.strerror)

    def test_begin_and_commit(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        with temps.begin(8) as data:
            self.assertEqual((len(data), data.readonly), (8, False))
            struct.pack_into("d", data, 0, 1.5)
            self.fails(shmclient.Busy, temps.publish, b"meanwhile")
        self.assertRaises(ValueError, lambda: data[0])  # it was released
        self.assertEqual(struct.unpack("d", there.read()), (1.5,))
        version = there.read().version
        with self.assertRaises(ZeroDivisionError):
            with temps.begin() as data:
                self.assertEqual(len(data), 4096)
                data[0] = 1 // 0
        self.assertEqual(there.read().version, version)
        self.fails(shmclient.TooLarge, temps.begin(4097).__enter__)
        with temps.begin(0):
            pass
        self.assertEqual(there.read(), b"")

    def test_view_in_place(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        temps.publish(b"in place")
        with there.view() as view:
            self.assertTrue(view.data.readonly)
            self.assertEqual(bytes(view.data), b"in place")
            self.assertEqual(view.length, 8)
            self.assertTrue(view.valid())
            for i in range(8):  # more than there are buffers
                temps.publish(b"%d" % i)
            self.assertFalse(view.valid())
            with there.view() as another:
                self.assertEqual(bytes(another.data), b"7")
                self.assertTrue(another.valid())
        self.assertRaises(ValueError, view.valid)
        self.assertEqual(there.read(), b"7")

    def test_read_into(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        temps.publish(b"abc")
        buffer = bytearray(b"......")
        self.assertEqual(there.read_into(buffer).length, 3)
        self.assertEqual(buffer, b"abc...")
        self.fails(shmclient.TooLarge, there.read_into, bytearray(2))
        self.assertRaises(BufferError, there.read_into, b"read-only")

    @unittest.skipIf(np is None, "no NumPy here")
    def test_numpy(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        numbers = np.arange(100, dtype="f8")
        temps.publish(numbers)
        self.assertTrue((np.frombuffer(there.read(), "f8") == numbers).all())
        self.assertRaises((ValueError, BufferError), temps.publish, numbers[::2])
        for factor in (2, 3):
            with temps.begin(numbers.nbytes) as data:
                np.multiply(numbers, factor, out=np.frombuffer(data, "f8"))
                kept = np.frombuffer(data, "f8")
            with there.view() as view:
                seen = np.frombuffer(view.data, "f8")
                self.assertEqual(seen.sum(), factor * numbers.sum())
                self.assertFalse(seen.flags.writeable)
                self.assertTrue(view.valid())
        self.assertEqual((len(kept), len(seen)), (100, 100))  # they may outlive the block
        out = np.zeros(100)
        there.read_into(out)
        self.assertEqual(out[99], 297)
        self.assertRaises(BufferError, self.reader.close)
        self.assertRaises(BufferError, self.segment.close)
        del kept, seen, view

    def test_wait_any(self):
        temps, large = self.segment.open("temps"), self.segment.open("large")
        sections = [self.reader.open("temps"), self.reader.open("large")]
        temps.publish(b"x"), large.publish(b"x")
        for section in sections:
            section.read()
        self.fails(shmclient.TimedOut, shmclient.wait_any, sections, 0.03)
        large.publish(b"new")
        self.assertIs(shmclient.wait_any(sections), sections[1])


class Raw(Case):
    def test_read_and_write(self):
        plain, there = self.segment.open("plain"), self.reader.open("plain")
        self.assertEqual(len(plain), 5000)
        self.assertEqual(plain.write(b"hello", 4995), 5)
        self.assertEqual(there.read(4995), b"hello")
        self.assertEqual(there.read(4995, 2), b"he")
        self.assertEqual(there.read(5000), b"")
        self.assertEqual(len(there.read()), 5000)
        self.fails(shmclient.Invalid, plain.write, b"hello", 4996)
        self.fails(shmclient.Invalid, there.read, 4999, 2)
        self.fails(shmclient.Invalid, there.read, 0, 2**60)
        self.fails(shmclient.NotAllowed, there.write, b"x")
        self.fails(shmclient.NotAllowed, there.writable)

    def test_memory(self):
        plain = self.segment.open("plain")
        memory, seen = plain.writable(), self.reader.open("plain").view()
        memory[10:13] = b"abc"
        self.assertEqual(bytes(seen[10:13]), b"abc")
        with self.assertRaises(TypeError):
            seen[0] = 1
        self.assertEqual((memory.nbytes, memory.format, seen.readonly), (5000, "B", True))
        self.assertRaises(BufferError, self.segment.close)
        plain.close()
        memory[10] = 7  # it stays where it is
        self.assertEqual(seen[10], 7)
        memory.release(), seen.release()

    def test_shared(self):
        anonymous = shmclient.attach(anonymous=True, timeout=common.PATIENCE)
        self.addCleanup(anonymous.close)
        anonymous.open("pool").write(b"anybody")
        self.assertEqual(self.reader.open("pool").read(0, 7), b"anybody")


class Slots(Case):
    def test_a_slot(self):
        board, there = self.segment.open("board"), self.reader.open("board")
        slot = board.grab()
        self.assertIn(slot, range(8))
        self.assertEqual((board.num_slots, board.num_free, board.slot_size), (8, 7, 64))
        self.fails(shmclient.NoData, there.get, slot)
        board.put(slot, b"mine")
        value = there.get(slot)
        self.assertEqual((value, value.slot.worker, value.slot.held), (b"mine", "py", True))
        self.assertEqual([each.slot for each in there.each(in_use=True)], [slot])
        self.assertEqual([each.slot for each in there], list(range(8)))
        self.fails(shmclient.TooLarge, board.put, slot, b"x" * 65)
        self.fails(shmclient.NotAllowed, there.grab)
        board.release(slot)
        self.fails(shmclient.NotFound, board.release, slot)
        self.fails(shmclient.Invalid, board.get, 8)
        self.fails(shmclient.Invalid, board.slot, -1)
        with board.grabbed() as slot:
            self.assertTrue(there.slot(slot).held)
        self.assertFalse(there.slot(slot).in_use)

    def test_all_in_use(self):
        board = self.segment.open("board")
        slots = [board.grab() for _ in range(8)]
        self.fails(shmclient.NoRoom, board.grab)
        for slot in slots:
            board.release(slot)
        board.fgrab(5, stays=True)
        self.assertTrue(board.slot(5).stays)
        board.release(5)

    def test_shared_in_place(self):
        score = self.segment.open("score")
        memory = score.ptr(score.grab())
        memory[:4] = b"1234"
        slot = next(score.each(in_use=True)).slot
        self.assertEqual(score.get(slot)[:4], b"1234")
        self.fails(shmclient.Mismatch, self.segment.open("board").ptr, 0)
        memory.release()
        score.release(slot)

    def test_hand_on(self):
        board = self.segment.open("board")
        other = shmclient.attach(anonymous=True, timeout=common.PATIENCE)
        self.addCleanup(other.close)
        slot = board.grab()
        board.put(slot, b"yours")
        ticket = board.offer(slot)
        there = other.open("board")
        there.take(slot, ticket)
        self.assertEqual(there.get(slot), b"yours")
        self.fails(shmclient.Busy, board.put, slot, b"mine")
        self.fails(shmclient.OldTicket, there.take, slot, ticket)
        there.release(slot)


class Queue(Case):
    def setUp(self):
        super().setUp()
        self.jobs = self.segment.open("jobs")
        self.other = shmclient.attach(anonymous=True, timeout=common.PATIENCE)
        self.addCleanup(self.other.close)
        self.out = self.other.open("jobs")

    def test_types(self):
        for type, text in ((3, b"c"), (1, b"a"), (2, b"b"), (1, b"A")):
            self.out.send(text, type)
        self.assertEqual(self.reader.open("jobs").look(1), b"a")
        self.assertRaises(IndexError, self.reader.open("jobs").look, 4)
        message = self.jobs.receive(2)
        self.assertEqual((message, message.type, message.worker), (b"b", 2, ""))
        self.assertGreater(message.pid, 0)
        self.assertEqual(self.jobs.receive(-2, timeout=0), b"a")
        self.assertEqual(self.jobs.receive(3, other=True), b"A")
        self.assertEqual(self.jobs.receive(), b"c")
        self.fails(shmclient.WouldBlock, self.jobs.receive, timeout=0)
        self.fails(shmclient.TimedOut, self.jobs.receive, timeout=0.03)

    def test_lengths(self):
        for size in (0, 1, 20000, 32768):
            self.out.send(b"x" * size)
            self.assertEqual(self.jobs.receive(), b"x" * size)
        self.fails(shmclient.TooLarge, self.out.send, b"x" * 32769)
        self.out.send(b"y" * 10000)
        message = self.jobs.receive(limit=3)
        self.assertEqual((message, message.length, message.truncated), (b"yyy", 10000, True))
        self.out.send(b"short")
        self.assertEqual(self.jobs.receive(limit=2**40), b"short")

    def test_peek(self):
        self.out.send(b"work")
        with self.assertRaises(ZeroDivisionError):
            with self.jobs.peek() as job:
                1 // 0
        with self.jobs.peek() as job:
            self.assertEqual(job, b"work")
            self.assertTrue(job.redelivered)
            self.fails(shmclient.Busy, self.jobs.receive, timeout=0)
        self.fails(shmclient.WouldBlock, self.jobs.peek, timeout=0)
        self.out.send(b"again")
        peeked = self.jobs.peek()
        peeked.ack()
        self.fails(shmclient.Invalid, peeked.ack)
        self.fails(shmclient.Invalid, peeked.abandon)
        self.out.send(b"dropped")
        self.jobs.peek()  # nobody has it: it is given back
        self.assertTrue(self.jobs.receive().redelivered)

    def test_batch_and_room(self):
        self.assertEqual(self.out.send_all([b"1", (b"2", 7), bytearray(b"3")]), 3)
        self.assertEqual([self.jobs.receive().type for _ in range(3)], [1, 7, 1])
        self.assertEqual(self.out.send_all([]), 0)
        sent = self.out.send_all([b"x" * 10000] * 20, timeout=0)
        self.assertIn(sent, range(1, 20))
        self.fails(shmclient.WouldBlock, self.out.send, b"x" * 10000, timeout=0)
        self.fails(shmclient.TimedOut, self.out.send, b"x" * 10000, timeout=0.03)
        stat = self.reader.open("jobs").stat()
        self.assertEqual(stat.messages, sent)
        self.assertEqual(sum(lane.messages for lane in self.jobs.lanes()), sent)
        for _ in range(sent):
            self.jobs.receive(timeout=0)

    def test_who_may(self):
        self.fails(shmclient.NotAllowed, self.reader.open("jobs").send, b"x")
        self.fails(shmclient.NotAllowed, self.out.receive, timeout=0)


class Segment(Case):
    def test_looking_around(self):
        info = self.reader.info()
        self.assertTrue(info.manager_alive)
        self.assertIn(os.environ.get("SHM_TEST_BACKEND", "sysv"), info.protection)
        names = [section.name for section in self.reader.sections()]
        self.assertEqual(names, sorted(names))
        self.assertIn("temps", names)
        temps = self.reader.inspect("temps")
        self.assertEqual((temps.kind, temps.owner), (shmclient.Kind.SNAPSHOT, "py"))
        self.assertEqual(temps.size, 4096)
        self.assertEqual(self.segment.open("temps").info().format, "temps/1")
        worker = self.reader.inspect_worker("py")
        self.assertEqual((worker.name, worker.state), ("py", shmclient.Alive.ALIVE))
        self.assertIn("py", [each.name for each in self.reader.workers()])
        self.assertEqual(self.reader.attachments(), [])
        status = shmclient.manager("status")
        self.assertIsInstance(status, dict)
        self.fails(shmclient.Invalid, shmclient.manager, "nonsense")
        self.assertRegex(shmclient.version(), r"^\d+\.\d+\.\d+$")

    def test_held_by_another(self):
        failure = self.fails(shmclient.Busy, shmclient.attach, "py")
        self.assertEqual((failure.name, failure.holder), ("EBUSY", os.getpid()))
        self.fails(shmclient.Busy, common.attach_within, 0.05, "py")
        self.segment.close()
        shmclient.attach("py", timeout=common.PATIENCE).close()

    def test_not_there(self):
        failure = self.fails(shmclient.NotFound, shmclient.attach, "nobody-of-that-name")
        self.assertIsInstance(failure, FileNotFoundError)
        self.fails(shmclient.NotFound, shmclient.attach, key=0x7FFFFFF1, runtime_dir="/nonexistent")
        failure = self.fails(shmclient.NotFound, self.reader.open, "nothing")
        self.assertIn("'nothing'", failure.strerror)
        self.fails(shmclient.Mismatch, self.reader.queue, "temps")
        self.fails(shmclient.Mismatch, self.reader.open, "temps", format="temps/2")
        self.fails(shmclient.Mismatch, self.reader.snapshot, "temps", min_size=4097)
        self.reader.snapshot("temps", format="temps/1", min_size=4096)
        self.fails(shmclient.NotAllowed, self.reader.open("temps").publish, b"x")
        self.fails(shmclient.NotAllowed, self.segment.open("other").publish, b"x")
        self.fails(shmclient.NoData, self.reader.open("other").read)

    def test_create_and_drop(self):
        self.segment.create("mine", 100, count=5, format="mine/1", transient=True)
        mine = self.segment.snapshot("mine", format="mine/1")
        mine.publish(b"made")
        self.assertEqual(self.reader.open("mine").read(), b"made")
        self.assertTrue(mine.info().made)
        self.segment.create("mine", 100, count=5, format="mine/1", transient=True)
        self.fails(shmclient.Exists, self.segment.create, "mine", 200)
        with mine.begin(1):
            self.assertRaises(BufferError, self.segment.drop, "mine")
        first, second = mine.view(), mine.view()
        del second
        self.assertRaises(BufferError, self.segment.drop, "mine")
        first.release()
        self.segment.drop("mine")
        self.fails(shmclient.Removed, mine.publish, b"gone")
        self.fails(shmclient.NotFound, self.segment.drop, "mine")
        self.segment.create("mine", 64, kind="slots", count=3, pregrab=True)
        self.assertEqual(self.segment.slots("mine").num_slots, 3)
        self.segment.drop("mine")
        self.fails(shmclient.NoRoom, self.segment.create, "mine", 1 << 30)
        self.fails(shmclient.NotAllowed, self.reader.create, "mine", 100)

    def test_lease_to_pass_on(self):
        self.fails(shmclient.NotFound, self.segment.lease_fd)
        self.segment.close()
        with shmclient.attach("py", lease_fd=True, timeout=common.PATIENCE) as segment:
            fd = segment.lease_fd()
            environment = dict(os.environ, SHMC_LEASE=segment.lease_env())
            child = common.program(
                "import shmclient; shmclient.attach('py').open('temps').publish(b'by the child')",
                pass_fds=[fd], env=environment)
            common.output(child)
            self.assertEqual(segment.open("temps").read(), b"by the child")


if __name__ == "__main__":
    common.run("__main__")
