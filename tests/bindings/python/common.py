# SPDX-License-Identifier: Apache-2.0
"""For the tests beside it: one attachment as the worker `py`, and other processes."""

import os
import subprocess
import sys
import time
import unittest

import shmclient

PATIENCE = 60


def attach_within(timeout, worker):
    """Longer where the manager had no time to say anything in that time."""
    while True:
        try:
            return shmclient.attach(worker, timeout=timeout)
        except shmclient.TimedOut:
            if timeout >= PATIENCE:
                raise
            timeout *= 2


class Case(unittest.TestCase):
    def setUp(self):
        self.segment = shmclient.attach("py", timeout=PATIENCE)
        self.addCleanup(self.end)
        self.reader = shmclient.attach()
        self.addCleanup(self.reader.close)

    def end(self):
        if not self.segment.closed:
            self.segment.close()

    def fails(self, kind, call, *arguments, **named):
        """It raises that very class, with a line that ends in no newline; what it says."""
        with self.assertRaises(kind) as raised:
            call(*arguments, **named)
        failure = raised.exception
        if isinstance(failure, shmclient.Error):
            self.assertIs(type(failure), kind)
            self.assertGreater(failure.errno, 0)
            self.assertTrue(failure.strerror)
            self.assertNotIn("\n", failure.strerror)
            self.assertTrue(str(failure).startswith(failure.name + ": "), str(failure))
        return failure

    def in_child(self, what):
        """What a forked child answers with 0 for True; a crash or a hang is a failure."""
        pid = os.fork()
        if pid == 0:
            status = 9
            try:
                status = 0 if what() else 1
            except BaseException as failure:  # not to come back into the parent's tests
                print("child:", repr(failure), file=sys.stderr, flush=True)
            os._exit(status)
        self.assertEqual(wait_for(pid), 0)


def wait_for(pid):
    """The status of a child that must end."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


def until(so):
    """Looks again and again until that is so."""
    end = time.monotonic() + PATIENCE
    while not so():
        if time.monotonic() > end:
            raise AssertionError(f"not in {PATIENCE} s")
        time.sleep(0.002)


def until_in_a_call(section):
    """Until another thread is in a call of it, as in a wait, and has its lock meanwhile."""
    def busy():
        free = section._lock.acquire(blocking=False)
        if free:
            section._lock.release()
        return not free

    until(busy)


def program(text, *arguments, **options):
    """Another Python that runs this text."""
    return subprocess.Popen([sys.executable, "-c", text, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def output(process):
    """What it prints, if it ends well."""
    out, errors = process.communicate(timeout=PATIENCE)
    if process.returncode != 0:
        raise AssertionError(f"ended with {process.returncode}: {out}{errors}")
    return out


def end(process):
    process.kill()
    process.communicate()


def run(module):
    unittest.main(module=module, verbosity=2)
