# SPDX-License-Identifier: Apache-2.0
"""100,000 operations of all kinds, with failures and lent memory among them, leave no memory, no
descriptor and no thread behind."""

import gc
import os

import shmclient

OPERATIONS = 100_000
BYTES = 2  # each, so that 100 bytes show that one step in fifty leaks


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held():
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def fails(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{call} didn't fail")


def steps(segment, reader):
    """Each is one operation, or as many as it says."""
    temps, there, jobs, board, plain = (
        segment.open("temps"), reader.open("temps"), segment.open("jobs"), segment.open("board"),
        segment.open("plain"))
    temps.publish(b"x")
    there.fileno()
    other = segment.open("temps")

    def publish():
        temps.publish(b"x" * 500)
        assert there.next(0) == b"x" * 500

    def views():
        with there.view() as view:
            assert view.valid()
        with temps.begin(100) as data:
            data[0] = 1

    def kept():
        first = there.view()
        second = there.view()
        assert first.data[0] == second.data[0]

    def queue():
        jobs.send(b"y" * 500)
        with jobs.peek():
            pass
        jobs.send_all([b"a", bytearray(b"b")])
        jobs.receive(), jobs.receive()

    def slots():
        slot = board.grab()
        board.put(slot, b"z")
        board.get(slot)
        board.release(slot)

    def raw():
        plain.write(bytearray(b"w"), 5)
        plain.read(5, 1)
        plain.writable()[0] = 1

    def errors():
        fails(shmclient.WouldBlock, jobs.receive, timeout=0)
        fails(TypeError, temps.publish, "text")
        fails(shmclient.Error, segment.open, "nothing")
        fails(ValueError, board.get, 2**40)

    def opening():
        with segment.open("temps") as section:
            section.read()
        section = reader.open("plain")
        section.circle = [section, section.view()]
        other.info()

    def attaching():
        with shmclient.attach() as another:
            another.open("temps").fileno()

    return [(publish, 2, 600), (views, 2, 600), (kept, 2, 300), (queue, 6, 300), (slots, 4, 300),
            (raw, 3, 300), (errors, 4, 300), (opening, 4, 200), (attaching, 3, 2)]


def main():
    segment, reader = shmclient.attach("py", timeout=60), shmclient.attach()
    plan = steps(segment, reader)
    a_round = sum(cost * times for _, cost, times in plan)

    def rounds(operations):
        done = 0
        while done < operations:
            for step, cost, times in plan:
                for _ in range(times):
                    step()
                done += cost * times
        gc.collect()
        return done

    rounds(2 * a_round)  # caches fill
    before = held()
    for _ in range(4):  # what leaks does so each time; what an allocator or the kernel keeps, once
        memory = resident()
        done = rounds(OPERATIONS)
        grown = resident() - memory
        if grown <= BYTES * done:
            break
    print(f"figure: bindings.python.leak_operations {done} operations")
    print(f"figure: bindings.python.leak_growth {max(grown, 0) / done:.2f} bytes/operation")
    assert held() == before, f"descriptors and threads: {before} before, {held()} after"
    assert grown <= BYTES * done, f"{grown} bytes more behind {done} operations"


main()
