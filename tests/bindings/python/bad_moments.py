# SPDX-License-Identifier: Apache-2.0
"""Wrong types, wrong order, use after close, collection and forks at bad moments: each is said in
an exception or does no harm, and none is a crash."""

import copy
import gc
import multiprocessing
import os
import pickle
import threading
import unittest
import weakref

import common
import shmclient
from common import Case

NOT_BYTES = ("text", 5, None, 1.5, [1, 2], object(), {})
NOT_INTS = ("1", None, 1.5, b"1", object())


class WrongTypes(Case):
    def test_data(self):
        writes = (self.segment.open("temps").publish, self.segment.open("plain").write,
                  self.segment.open("jobs").send,
                  lambda data: self.segment.open("board").put(0, data),
                  lambda data: self.segment.open("jobs").send_all([b"x", data]))
        for write in writes:
            for data in NOT_BYTES:
                self.assertRaises(TypeError, write, data)
        for buffer in NOT_BYTES:
            self.assertRaises(TypeError, self.segment.open("temps").read_into, buffer)
            self.assertRaises(TypeError, self.segment.open("plain").read_into, buffer)
        self.assertRaises(TypeError, self.segment.open("jobs").send_all, 7)
        self.assertEqual(self.segment.open("jobs").stat().messages, 0)

    def test_numbers(self):
        plain, board, jobs = (self.segment.open(name) for name in ("plain", "board", "jobs"))
        calls = (plain.read, lambda n: plain.read(0, n), lambda n: plain.write(b"x", n), board.get,
                 lambda n: board.put(n, b"x"), board.fgrab, board.release, board.slot,
                 lambda n: board.take(0, n), board.offer, jobs.receive, jobs.look, jobs.peek,
                 lambda n: jobs.send(b"x", n), lambda n: jobs.receive(limit=n, timeout=0),
                 self.segment.open("temps").begin, self.segment.open("temps").spin,
                 lambda n: self.segment.create("x", n), lambda n: shmclient.attach(key=n))
        for call in calls:
            for number in NOT_INTS:
                if number is not None:  # which has a meaning in some
                    self.assertRaises(TypeError, call, number)
            self.assertRaises((ValueError, OverflowError), call, 2**64)
            self.assertRaises((ValueError, OverflowError), call, -(2**64))
        self.assertRaises(ValueError, jobs.send, b"x", 0)
        self.assertRaises(ValueError, jobs.send, b"x", -1)
        self.assertRaises(ValueError, shmclient.attach, key=0)
        self.assertRaises(ValueError, plain.read, -1)
        for timeout in ("1", b"1", [], True, object()):
            self.assertRaises(TypeError, jobs.receive, timeout=timeout)
            self.assertRaises(TypeError, shmclient.attach, timeout=timeout)
        for timeout in (-1, float("nan"), -0.001):
            self.assertRaises(ValueError, self.segment.open("temps").next, timeout)
        self.segment.open("temps").publish(b"there")
        for timeout in (2**40, 1e308, float("inf")):
            self.assertEqual(self.reader.open("temps").next(timeout), b"there")
            self.assertIsInstance(shmclient.manager("status", timeout=timeout), dict)

    def test_names(self):
        for name in (5, None, b"temps", [], object()):
            self.assertRaises(TypeError, self.segment.open, name)
            self.assertRaises(TypeError, self.segment.inspect, name)
            self.assertRaises(TypeError, self.segment.drop, name)
            self.assertRaises(TypeError, shmclient.manager, name)
        for name in ("te\0mps", "\ud800"):
            self.assertRaises(ValueError, self.segment.open, name)
            self.assertRaises(ValueError, shmclient.attach, name)
        for name in ("", "x" * 64, "x" * 100000, "ä", "%s%n"):
            self.assertRaises(shmclient.Error, self.segment.open, name)
            self.fails(shmclient.Invalid, shmclient.attach, name)
            self.assertRaises(shmclient.Error, self.segment.create, name, 10)
        self.assertRaises(TypeError, shmclient.attach, 5)
        self.assertRaises(TypeError, shmclient.attach, runtime_dir=5)
        self.assertRaises(ValueError, shmclient.attach, runtime_dir="/\0")
        self.assertRaises(ValueError, self.segment.create, "x", 10, kind="file")
        self.assertRaises(TypeError, self.segment.create, "x", 10, kind=2)
        self.assertRaises(ValueError, self.segment.open, "temps", kind="")
        self.fails(shmclient.Invalid, shmclient.attach, "py", anonymous=True)
        for sections in ([], [self.segment.open("temps"), self.reader.open("temps")]):
            self.assertRaises(ValueError, shmclient.wait_any, sections)
        self.assertRaises(TypeError, shmclient.wait_any, [self.segment.open("jobs")])
        self.assertRaises(TypeError, shmclient.wait_any, 5)


class WrongOrder(Case):
    def calls(self, segment):
        """Of everything that there is, on sections that were opened while it was attached."""
        temps, plain, board, jobs, score = (
            segment.open(name) for name in ("temps", "plain", "board", "jobs", "score"))
        return (temps, plain, board, jobs, score), [
            temps.read, lambda: temps.publish(b"x"), temps.view, lambda: temps.next(1),
            lambda: next(iter(temps)), lambda: next(temps.follow()),
            lambda: temps.begin().__enter__(),
            lambda: temps.read_into(bytearray(9)), temps.info, temps.fileno, lambda: temps.spin(1),
            lambda: shmclient.wait_any([temps], 1),
            plain.read, lambda: plain.write(b"x"), plain.view, plain.writable, lambda: len(plain),
            board.grab, lambda: board.fgrab(1), lambda: board.put(1, b"x"), lambda: board.get(1),
            lambda: board.release(1), lambda: list(board.each()), lambda: board.num_free,
            lambda: board.offer(1), lambda: board.take(1, 5), lambda: score.ptr(0),
            lambda: board.slot(0), lambda: board.slot_size,
            lambda: jobs.send(b"x"), lambda: jobs.receive(timeout=1), lambda: jobs.peek(timeout=1),
            lambda: jobs.look(0), jobs.stat, jobs.lanes, lambda: jobs.send_all([b"x"]), jobs.fileno,
        ]

    def of_segment(self, segment):
        return [lambda: segment.open("temps"), segment.info, segment.sections, segment.workers,
                segment.attachments, lambda: segment.inspect("temps"),
                lambda: segment.drop("temps"), lambda: segment.create("x", 5), segment.lease_fd,
                segment.lease_env, lambda: segment.inspect_worker("py")]

    def test_use_after_close(self):
        sections, calls = self.calls(self.segment)
        for section in sections:
            section.close()
            section.close()
            self.assertTrue(section.closed)
            self.assertIn("closed", repr(section))
        for call in calls + [section.__enter__ for section in sections]:
            self.fails(shmclient.Closed, call)

    def test_use_after_detach(self):
        sections, calls = self.calls(self.segment)
        self.segment.close()
        self.segment.close()
        for call in calls + self.of_segment(self.segment) + [self.segment.__enter__]:
            self.fails(shmclient.Closed, call)
        self.assertIn("closed", repr(self.segment))
        for section in sections:
            section.close()
        shmclient.attach("py", timeout=common.PATIENCE).close()

    def test_use_in_a_child(self):
        sections, calls = self.calls(self.segment)
        calls += self.of_segment(self.segment)

        def child():
            for number, call in enumerate(calls):
                try:
                    call()
                except shmclient.Forked as failure:
                    if failure.name == "ECHILD" and "parent" in failure.strerror:
                        continue
                except OSError as failure:
                    print(repr(failure))
                print(f"call {number} is none of a child's")
                return False
            gc.collect()
            for section in sections:
                section.close()
            self.segment.close()
            with shmclient.attach("somebody", timeout=common.PATIENCE) as segment:
                segment.open("other").publish(b"by a child")
            return True

        self.in_child(child)
        sections[0].publish(b"the parent goes on")
        self.assertEqual(self.reader.open("other").read(), b"by a child")

    def test_other_kinds(self):
        temps, jobs, board = (self.segment.open(name) for name in ("temps", "jobs", "board"))
        for method in ("publish", "read", "grab"):
            self.assertFalse(hasattr(jobs, method))
        for section in (jobs, board):
            for attribute in ("next", "begin", "view"):
                self.assertFalse(hasattr(section, attribute))
        for section in (temps, jobs, board, self.segment):
            for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                self.assertRaises(TypeError, copied, section)

    def test_commit_behind_everything(self):
        temps = self.segment.open("temps")
        with temps.begin(4):
            temps.close()
        begun = self.segment.open("temps").begin(4)
        begun.__exit__(None, None, None)  # before it was begun
        data = begun.__enter__()
        self.fails(shmclient.Busy, begun.__enter__)
        begun.__exit__(None, None, None)
        begun.__exit__(None, None, None)
        self.assertRaises(ValueError, bytes, data)
        self.segment.open("temps").begin(4).__enter__()  # nobody has it: it is given up
        gc.collect()
        self.segment.open("temps").publish(b"free again")


class Collected(Case):
    def test_memory_that_was_lent_stays(self):
        temps = self.segment.open("temps")
        temps.publish(b"v" * 4096)
        views = [self.reader.open("temps").view() for _ in range(20)]
        data = [view.data for view in views]
        del views
        gc.collect()
        for memory in data:
            self.assertEqual(memory[4095], ord("v"))
        reader = shmclient.attach()
        memory = reader.open("plain").view()
        gone = weakref.ref(reader)
        del reader
        gc.collect()
        self.assertIsNone(gone())
        self.assertEqual(len(bytes(memory)), 5000)

    def test_a_name_is_free_when_its_segment_is_collected(self):
        self.segment.close()
        segment = shmclient.attach("py", timeout=common.PATIENCE)
        section = segment.open("temps")
        section.circle = [segment, section]
        del segment, section
        gc.collect()
        shmclient.attach("py", timeout=common.PATIENCE).close()

    def test_a_name_is_free_though_an_exception_was_kept(self):
        segment = shmclient.attach("somebody", timeout=common.PATIENCE)
        other = segment.open("other")
        kept = []
        for call in (lambda: other.publish(b"x" * 100), lambda: segment.open("absent")):
            try:  # assertRaises() would empty the traceback's frames
                call()
            except shmclient.Error as failure:
                kept.append(failure)
        segment.close()
        shmclient.attach("somebody").close()
        self.assertEqual([type(each) for each in kept], [shmclient.TooLarge, shmclient.NotFound])

    def test_a_message_is_collected_while_others_are_in_a_call(self):
        jobs = self.segment.open("jobs")
        self.segment.open("jobs").send(b"peeked")
        message, held, gone = [jobs.peek()], threading.Event(), threading.Event()
        results = []

        def call():  # which waits for what the collecting thread has
            with jobs._lock:
                held.set()
                results.append(gone.wait(common.PATIENCE))

        thread = threading.Thread(target=call)
        thread.start()
        held.wait()
        message.clear()
        gone.set()
        thread.join()
        self.assertEqual(results, [True])
        jobs.close()  # which gives it back
        self.assertEqual(self.segment.open("jobs").receive(timeout=0), b"peeked")

    def test_a_circle_with_memory_in_it(self):
        seen = []

        class Last:
            def __del__(self):
                seen.append(bytes(self.memory[:1]))
                try:
                    self.section.read()
                except shmclient.Closed:
                    pass

        for turn in range(2):
            last = Last()
            last.segment = shmclient.attach()
            last.section = last.segment.open("plain")
            last.memory = last.section.view()
            last.section.circle = last.segment.circle = last
            if turn == 1:
                last.memory = memoryview(b"\0")
            del last
            gc.collect()
        self.assertEqual(len(seen), 2)

    def test_at_every_moment(self):
        before = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(20):
                reader = shmclient.attach()
                temps, jobs = reader.open("temps"), self.segment.open("jobs")
                self.segment.open("temps").publish(b"x")
                view = temps.view()
                reader.circle = [reader, temps, view, iter(temps), temps.follow()]
                jobs.send(b"y")
                jobs.circle = [jobs, jobs.peek()]
                self.assertEqual(temps.read(), b"x")
                del reader, temps, view, jobs
        finally:
            gc.set_threshold(*before)
        gc.collect()
        self.assertEqual(self.segment.open("jobs").receive(timeout=0), b"y")
        for _ in range(19):
            self.segment.open("jobs").receive(timeout=0)

    def test_in_a_child(self):
        def child():
            nonlocal kept
            del kept
            self.segment = self.reader = None
            gc.collect()
            return True

        plain = self.segment.open("plain")
        kept = [self.segment.open("temps"), plain.writable(), self.segment.open("temps").view,
                self.segment.open("temps").fileno()]
        plain.writable()[0] = 5
        self.in_child(child)
        self.assertEqual(plain.read(0, 1), b"\5")

    def test_memory_in_a_child(self):
        temps, plain = self.segment.open("temps"), self.segment.open("plain")
        temps.publish(b"mine")
        view, memory, own = temps.view(), plain.writable(), plain.view()
        there = self.reader.open("plain").view()
        memory[0] = 7

        def child():
            memory[0] = 8  # reaches nobody
            bytes(view.data), bytes(own), bytes(there)
            return there[0] in (0, 7)

        self.in_child(child)
        self.assertEqual((memory[0], there[0]), (7, 7))

    def test_a_fork_while_others_wait(self):
        there = self.reader.open("temps")
        self.segment.open("temps").publish(b"x")
        there.read()
        stop = threading.Event()

        def wait():
            while not stop.is_set():
                try:
                    there.next(0.2)
                except shmclient.TimedOut:
                    pass

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            for _ in range(5):
                def child():
                    try:
                        there.read()
                    except shmclient.Forked:
                        there.close(), self.reader.close()
                        return True
                    return False

                self.in_child(child)
        finally:
            stop.set()
            thread.join(common.PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_multiprocessing(self):
        temps = self.segment.open("temps")
        temps.publish(b"for the pool")
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                self.assertEqual(pool.map(read_in_child, range(4)), [b"for the pool"] * 4)
        temps.publish(b"the parent goes on")


def read_in_child(_number):
    with shmclient.attach() as segment:
        return bytes(segment.open("temps").read())


class Threads(Case):
    def test_close_while_another_waits(self):
        for close in ("section", "segment"):
            reader = shmclient.attach()
            there = reader.open("temps")
            self.segment.open("temps").publish(b"x")
            there.read()
            failures = []

            def wait():
                try:
                    there.next()
                except shmclient.Error as failure:
                    failures.append(failure)

            thread = threading.Thread(target=wait)
            thread.start()
            common.until_in_a_call(there)
            (there if close == "section" else reader).close()
            thread.join(common.PATIENCE)
            self.assertEqual([type(failure) for failure in failures], [shmclient.Closed])
            reader.close()

    def test_threads_share_a_section(self):
        temps = self.segment.open("temps")
        there = self.reader.open("temps")
        temps.publish(bytes(64))
        failures = []

        def work(what):
            try:
                for number in range(300):
                    what(number)
            except Exception as failure:  # for the main thread
                failures.append(failure)

        def whole(_number):
            value = there.read()
            if value != value[:1] * 64:
                raise AssertionError(value)

        def follow(_number):
            try:
                there.next(0.0001)
            except shmclient.TimedOut:
                pass

        jobs = [lambda n: temps.publish(bytes([n % 256]) * 64)] * 2 + [whole, whole, follow]
        threads = [threading.Thread(target=work, args=[job]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(common.PATIENCE)
        self.assertEqual(failures, [])
        self.assertFalse(any(thread.is_alive() for thread in threads))


if __name__ == "__main__":
    common.run("__main__")
