# SPDX-License-Identifier: Apache-2.0
"""What publish and read take in Python: by the binding, and by what is there without it, a block of
multiprocessing.shared_memory under a lock.  Both processes' parts are done by one, so that nobody
waits for the lock.

    bench.py ROUNDS OPERATIONS: prints for each round "SIZE CALL OURS THEIRS", in nanoseconds"""

import multiprocessing
import sys
import time
from multiprocessing import shared_memory

import shmclient


def timed(operations, call, *arguments):
    """Nanoseconds of one; arguments are taken in turn."""
    start = time.perf_counter_ns()
    if arguments:
        for i in range(operations):
            call(arguments[i & 1])
    else:
        for _ in range(operations):
            call()
    return (time.perf_counter_ns() - start) / operations


def main(rounds, operations):
    lock = multiprocessing.Lock()
    writer, reader = shmclient.attach("bench", timeout=60), shmclient.attach()
    for size in (64, 10240, 65536):
        values = bytes([1]) * size, bytes([2]) * size
        ours, there = writer.open(f"v{size}"), reader.open(f"v{size}")
        block = shared_memory.SharedMemory(create=True, size=size)
        attached = shared_memory.SharedMemory(block.name)

        def put(value):
            with lock:
                block.buf[:size] = value

        def get():
            with lock:
                return bytes(attached.buf[:size])

        last = values[operations - 1 & 1]
        try:
            for _ in range(rounds):
                print(size, "publish", timed(operations, ours.publish, *values),
                      timed(operations, put, *values))
                print(size, "read", timed(operations, there.read), timed(operations, get))
                if there.read() != last or get() != last:
                    sys.exit(f"{size} bytes came out as others")
        finally:
            attached.close()
            block.close()
            block.unlink()


main(int(sys.argv[1]), int(sys.argv[2]))
