# SPDX-License-Identifier: Apache-2.0
"""What others do to the table, the lease and the segment while this has sections open and memory
lent: all of it is an exception at most."""

import asyncio
import gc
import os
import subprocess
import threading

import common
import shmclient
from common import Case

TABLE = os.environ.get("TABLE", "")


def tell(*words):
    """shmtool, which must succeed."""
    done = subprocess.run(["shmtool", *words], capture_output=True, text=True,
                          timeout=common.PATIENCE, check=False)
    if done.returncode != 0:
        raise AssertionError(f"shmtool {words}: {done.stdout}{done.stderr}")


def edit(sql, *force):
    subprocess.run(["sqlite3", TABLE, sql], timeout=common.PATIENCE, check=True)
    tell("reload", *force)


class Changes(Case):
    def test_a_section_moves(self):
        there = self.reader.open("temps")
        self.segment.open("temps").publish(b"before")
        self.assertEqual(there.read(), b"before")
        with there.view() as view:
            edit("UPDATE section SET size = 8192, count = 5 WHERE name = 'temps'")
            self.segment.open("temps").publish(b"x" * 8192)
            self.assertEqual(there.next(common.PATIENCE), b"x" * 8192)
            bytes(view.data)
        with self.segment.open("temps").begin() as data:
            self.assertEqual(len(data), 8192)

    def publish(self, name, value):
        with shmclient.attach("somebody", timeout=common.PATIENCE) as segment:
            segment.open(name).publish(value)

    def test_a_section_is_renamed(self):
        edit("INSERT INTO section(name, owner, size) VALUES('first', 'somebody', 64)")
        self.publish("first", b"the same")
        there = self.reader.open("first")
        edit("UPDATE section SET name = 'second' WHERE name = 'first'")
        edit("INSERT INTO section(name, owner, size) VALUES('first', 'somebody', 64)")
        self.publish("first", b"another")
        self.assertEqual(there.read(), b"the same")
        with there.view() as view:
            self.assertEqual(bytes(view.data), b"the same")
        edit("DELETE FROM section WHERE name IN ('first', 'second')")

    def test_the_segment_is_replaced(self):
        self.segment.open("temps").publish(b"value")
        self.segment.open("plain").write(b"raw")
        self.segment.close()
        there, plain = self.reader.open("temps"), self.reader.open("plain")
        kept = []
        for size in (128, 96, 80, 64):  # more often than a mapping of before is kept
            kept += [there.view().data, plain.view(), there.view()]
            edit(f"UPDATE segment SET size = {size} << 20")
            self.assertEqual(self.reader.info().bytes, size << 20)
            self.assertEqual(there.read(), b"value")
        for memory in kept:
            bytes(memory.data if isinstance(memory, shmclient.View) else memory)
        self.assertEqual(bytes(there.view().data), b"value")
        self.assertFalse(kept[2].valid())
        del kept, memory
        gc.collect()
        self.assertEqual(plain.read(0, 3), b"raw")

    def test_a_section_is_removed(self):
        edit("INSERT INTO section(name, owner, size) VALUES('brief', 'somebody', 64)")
        there, awaited = self.reader.open("brief"), self.reader.open("brief")
        failures = []

        def wait():
            try:
                there.next()
            except shmclient.Error as failure:
                failures.append(failure)

        async def removed_meanwhile():
            changed = asyncio.ensure_future(awaited.changed())
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(
                None, edit, "DELETE FROM section WHERE name = 'brief'")
            await changed

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            common.until_in_a_call(there)
            with self.assertRaises(shmclient.Removed):
                asyncio.run(asyncio.wait_for(removed_meanwhile(), common.PATIENCE))
        finally:
            thread.join(common.PATIENCE)
        self.assertEqual([type(failure) for failure in failures], [shmclient.Removed])
        self.fails(shmclient.Removed, there.view)

    def test_the_lease_is_taken_back(self):
        temps, plain, jobs = (self.segment.open(name) for name in ("temps", "plain", "jobs"))
        memory = plain.writable()
        jobs.send(b"waits")
        tell("revoke", "py")
        self.assertEqual(self.fails(shmclient.Revoked, temps.publish, b"x").name, "EKEYREVOKED")
        self.fails(shmclient.Revoked, plain.write, b"x")
        self.fails(shmclient.Revoked, jobs.send, b"x")
        with self.assertRaises(shmclient.Error):
            with temps.begin():
                pass
        memory[0] = 7
        with shmclient.attach("py", timeout=common.PATIENCE) as successor:
            successor.open("temps").publish(b"by the next")
            self.assertEqual(self.reader.open("temps").read(), b"by the next")
            self.assertEqual(successor.open("jobs").receive(timeout=0), b"waits")
            memory[0] = 8  # where nobody looks
            self.assertNotEqual(self.reader.open("plain").read(0, 1), b"\x08")
        memory.release()

    def test_a_section_is_taken_by_force(self):
        edit("INSERT INTO section(name, owner, kind, size) VALUES('taken', 'py', 'raw', 64)")
        taken = self.segment.open("taken")
        memory = taken.writable()
        edit("DELETE FROM section WHERE name = 'taken'", "--force")
        self.fails(shmclient.Removed, taken.write, b"x")
        self.segment.open("temps").publish(b"goes on")
        memory[63] = 1
        memory.release()

    def test_the_segment_is_destroyed(self):
        """The last one, as there is no manager behind it."""
        temps, there = self.segment.open("temps"), self.reader.open("temps")
        temps.publish(b"last")
        view = there.view()
        tell("destroy", "--yes")
        self.fails(shmclient.Removed, there.read)
        self.fails(shmclient.Removed, temps.publish, b"x")
        self.fails(shmclient.Removed, self.reader.open, "plain")
        bytes(view.data)
        self.assertRaises(BufferError, self.reader.close)
        view.release()
        self.reader.close()


if __name__ == "__main__":
    common.run("__main__")
