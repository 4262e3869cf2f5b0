# SPDX-License-Identifier: Apache-2.0
"""Waits: in an event loop, which goes on meanwhile; ended by Ctrl-C; and without a manager."""

import asyncio
import os
import selectors
import signal
import threading
import time

import common
import shmclient
from common import Case


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, common.PATIENCE))


class Loop(Case):
    def setUp(self):
        super().setUp()
        self.temps, self.there = self.segment.open("temps"), self.reader.open("temps")
        self.temps.publish(b"before")
        self.there.read()

    def test_changed(self):
        async def main():
            ticks, done = 0, asyncio.Event()

            async def tick():  # would stand still if the loop were blocked
                nonlocal ticks
                while not done.is_set():
                    await asyncio.sleep(0)
                    ticks += 1
                    if ticks == 100:
                        self.temps.publish(b"new")

            ticking = asyncio.ensure_future(tick())
            value = await self.there.changed()
            done.set()
            await ticking
            self.assertGreaterEqual(ticks, 100)
            return value

        self.assertEqual(run(main()), b"new")

    def test_each_version(self):
        async def main():
            got = []
            self.temps.publish(b"0")
            async for value in self.there:
                got.append(bytes(value))
                if len(got) == 20:
                    return got
                self.temps.publish(b"%d" % len(got))

        self.assertEqual(run(main()), [b"%d" % i for i in range(20)])

    def test_several_tasks_and_sections(self):
        large, other = self.reader.open("large"), self.reader.open("temps")
        self.segment.open("large").publish(b"x")
        large.read(), other.read()

        async def main():
            tasks = [asyncio.ensure_future(section.changed())
                     for section in (self.there, self.there, other, large)]
            await asyncio.sleep(0)
            self.segment.open("large").publish(b"l")
            self.assertEqual(await tasks[3], b"l")
            self.temps.publish(b"1")
            self.assertEqual(await tasks[2], b"1")
            first, rest = await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
            self.assertEqual((len(first), len(rest)), (1, 1))
            self.temps.publish(b"2")
            self.assertEqual(await rest.pop(), b"2")

        run(main())

    def test_cancelled_and_again(self):
        async def main():
            for _ in range(3):
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(self.there.changed(), 0.01)
            self.temps.publish(b"after")
            return await self.there.changed()

        self.assertEqual(run(main()), b"after")
        self.temps.publish(b"in another loop")
        self.assertEqual(run(self.there.changed()), b"in another loop")

    def test_two_loops_at_once(self):
        async def busy():
            waiting = asyncio.ensure_future(self.there.changed())
            await asyncio.sleep(0)
            try:
                with self.assertRaises(shmclient.Busy):
                    await asyncio.get_running_loop().run_in_executor(
                        None, lambda: run(self.there.changed()))
            finally:
                waiting.cancel()

        run(busy())

    def test_closed_meanwhile(self):
        async def main(close):
            there = self.reader.open("temps")
            there.read()
            waiting = asyncio.ensure_future(there.changed())
            await asyncio.sleep(0)
            await close(there)
            with self.assertRaises(shmclient.Closed):
                await waiting

        async def here(section):
            section.close()

        async def elsewhere(section):
            await asyncio.get_running_loop().run_in_executor(None, section.close)

        run(main(here))
        run(main(elsewhere))

    def test_stale(self):
        self.segment.open("hasty").publish(b"x")
        there = self.reader.open("hasty")

        async def main():
            await there.changed()
            with self.assertRaises(shmclient.Stale):
                await there.changed()

        run(main())

    def test_queues(self):
        jobs = self.segment.open("jobs")
        other = shmclient.attach(anonymous=True, timeout=common.PATIENCE)
        self.addCleanup(other.close)
        out = other.open("jobs")
        long = b"x" * 20000

        async def main():
            async def send():
                for number in range(12):  # more than there is room for
                    await out.asend(long, number + 1)

            sending = asyncio.ensure_future(send())
            types = []
            async for message in jobs:
                self.assertEqual(message, long)
                types.append(message.type)
                if len(types) == 10:
                    break
            with await jobs.apeek(11) as message:
                types.append(message.type)
            types.append((await jobs.areceive(11, other=True)).type)
            await sending
            self.assertEqual(types, list(range(1, 13)))

        run(main())

    def test_several_types(self):
        jobs, out = self.segment.open("jobs"), self.segment.open("jobs")

        async def main():
            tasks = [asyncio.ensure_future(jobs.areceive(*what, other=other)) for what, other in (
                ((5,), False), ((5,), False), ((3,), False), ((-2,), False), ((9,), True))]
            tasks.append(asyncio.ensure_future(jobs.apeek(9)))
            await asyncio.sleep(0)
            tasks[4].cancel()
            for task, number in zip((0, 2, 1, 3, 5), (5, 3, 5, 2, 9)):
                out.send(b"%d" % task, number)
                got = await tasks[task]
                if task == 5:
                    with got as message:
                        self.assertEqual(message, b"5")
                else:
                    self.assertEqual(got, b"%d" % task)
            self.fails(shmclient.WouldBlock, jobs.receive, timeout=0)

        run(main())
        self.assertEqual(run(self.later(out.send, b"in another loop", jobs.areceive(5), 5)),
                         b"in another loop")

    async def later(self, call, data, awaited, *more):
        task = asyncio.ensure_future(awaited)
        await asyncio.sleep(0)
        call(data, *more)
        return await task

    def test_room_for_long_and_short(self):
        jobs, out = self.segment.open("jobs"), self.segment.open("jobs")
        sent = []

        async def send(number, size):
            await out.asend(b"x" * size, number)
            sent.append(number)

        async def main():
            with self.assertRaises(shmclient.WouldBlock):
                while True:
                    out.send(b"x" * 5000, timeout=0)
            sizes = [30000, 100, 30000, 10]
            tasks = [asyncio.ensure_future(send(100 + i, size)) for i, size in enumerate(sizes)]
            await asyncio.sleep(0)
            while len(sent) < len(sizes):
                message = await jobs.areceive()
                with self.assertRaises(shmclient.Error):  # what else is sent takes nothing from it
                    out.send(b"x" * 40000, timeout=0)
            await asyncio.gather(*tasks)
            self.assertEqual(sent, [100, 101, 102, 103])
            while message.type != 103:
                message = await jobs.areceive()

        run(main())

    def test_a_queue_is_closed_meanwhile(self):
        async def main(close):
            jobs = self.segment.open("jobs")
            tasks = [asyncio.ensure_future(jobs.areceive(5)), asyncio.ensure_future(jobs.apeek(6))]
            await asyncio.sleep(0)
            close(jobs)
            for task in tasks:
                with self.assertRaises(shmclient.Closed):
                    await task
            with self.assertRaises(shmclient.Closed):
                await jobs.areceive(5)

        run(main(lambda jobs: jobs.close()))
        run(main(lambda jobs: self.segment.close()))

    def test_select(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.there, selectors.EVENT_READ)
            self.assertEqual(selector.select(0), [])
            self.temps.publish(b"new")
            self.assertEqual(len(selector.select(common.PATIENCE)), 1)
            self.there.next(0)


INTERRUPTED = """
import shmclient, sys
segment = shmclient.attach("somebody", timeout=60) if sys.argv[1] == "attach" else \
    shmclient.attach(anonymous=True, timeout=60)
temps, jobs = segment.open("temps"), segment.open("jobs")
temps.read()
while sys.argv[1] == "send":
    try:
        jobs.send(b"x" * 30000, timeout=0)
    except shmclient.WouldBlock:
        break
waits = {
    "next": temps.next, "for": lambda: list(temps), "any": lambda: shmclient.wait_any([temps]),
    "send": lambda: jobs.send(b"x" * 30000),
    "attach": lambda: shmclient.attach("py", timeout=None),
}
try:
    print("ready", flush=True)
    waits[sys.argv[1]]()
except KeyboardInterrupt:
    print("interrupted")
"""


def signalled_in_a_call(section):
    """A thread that sends SIGUSR1 when this one is in a call of it."""
    def send():
        common.until_in_a_call(section)
        os.kill(os.getpid(), signal.SIGUSR1)

    return threading.Thread(target=send)


class Interrupted(Case):
    def test_ctrl_c(self):
        self.segment.open("temps").publish(b"x")
        programs = [common.program(INTERRUPTED, what)
                    for what in ("next", "for", "any", "send", "attach")]
        for process in programs:
            self.addCleanup(common.end, process)
        for process in programs:
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(signal.SIGINT)
        for process in programs:
            self.assertIn("interrupted", common.output(process))
        jobs = self.segment.open("jobs")
        while jobs.stat().messages:
            jobs.receive(timeout=0)

    def test_a_receiver(self):
        """Signals that have a handler don't end a wait, and one that raises does."""
        jobs, calls = self.segment.open("jobs"), []
        before = signal.signal(signal.SIGUSR1, lambda *_: calls.append("called"))
        other = shmclient.attach(anonymous=True, timeout=common.PATIENCE)
        self.addCleanup(other.close)

        def send_behind_the_handler():
            common.until(lambda: calls)
            other.open("jobs").send(b"late")

        threads = [signalled_in_a_call(jobs), threading.Thread(target=send_behind_the_handler)]
        try:
            for thread in threads:
                thread.start()
            self.assertEqual(jobs.receive(timeout=common.PATIENCE), b"late")
        finally:
            for thread in threads:
                thread.join()
            signal.signal(signal.SIGUSR1, before)
        self.assertEqual(calls, ["called"])

    def test_a_handler_that_uses_the_same_section(self):
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        temps.publish(b"old")
        there.read()
        seen = []

        def handler(*_):
            temps.publish(b"from the handler")
            seen.append(bytes(there.read()))

        before = signal.signal(signal.SIGUSR1, handler)
        sender = signalled_in_a_call(there)
        try:
            sender.start()
            with self.assertRaises(shmclient.TimedOut):
                there.next(0.5)
            sender.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        self.assertEqual(seen, [b"from the handler"])

    def test_closed_by_a_handler(self):
        there = self.reader.open("temps")
        self.segment.open("temps").publish(b"x")
        there.read()
        before = signal.signal(signal.SIGUSR1, lambda *_: self.reader.close())
        sender = signalled_in_a_call(there)
        try:
            sender.start()
            self.assertRaises(shmclient.Closed, there.next)
            sender.join()
        finally:
            signal.signal(signal.SIGUSR1, before)


class WithoutManager(Case):
    """`manager` is its pid; the last test of the script, as nobody starts another."""

    def test_killed(self):
        temps, jobs, board = (self.segment.open(name) for name in ("temps", "jobs", "board"))
        there, shown = self.reader.open("temps"), self.reader.open("board")
        jobs.send(b"x"), jobs.receive()
        slot = board.grab()
        os.kill(int(os.environ["MANAGER"]), signal.SIGKILL)
        end = time.monotonic() + common.PATIENCE
        while time.monotonic() < end:  # until it is gone
            try:
                shmclient.attach("somebody").close()
            except shmclient.NoManager:
                break
        for number in range(100):
            temps.publish(b"%d" % number)
            self.assertEqual(there.next(5), b"%d" % number)
            jobs.send(b"%d" % number)
            self.assertEqual(jobs.receive(timeout=5), b"%d" % number)
        board.put(slot, b"still")
        self.assertEqual(shown.get(slot), b"still")
        board.release(slot)
        self.fails(shmclient.NoManager, shmclient.manager, "status", timeout=0.1)
        self.assertIsInstance(self.fails(shmclient.NoManager, self.segment.create, "x", 5),
                              ConnectionError)
        if os.environ.get("SHM_TEST_BACKEND", "sysv") == "sysv":
            self.assertEqual(shmclient.attach().open("temps").read(), b"99")


if __name__ == "__main__":
    common.run("__main__")
