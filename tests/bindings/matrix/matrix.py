#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every pair of programs as writer and reader of raw, snapshot and queue sections.

    matrix.py DIRECTORY SUFFIX NAME:KIND[,KIND...]:COMMAND...

Each command runs twice, as the workers NAME and NAME-r, and takes lines (see matrix.c).  NAME
writes the sections NAME.raw and NAME.snapshot, of 64 KiB, and sends to the queues NAME-r.queue.
The kinds are what it writes, and reads; with a - behind it, only reads.  SUFFIX is the
figure's.
"""
import os
import random
import select
import shlex
import subprocess
import sys

SIZE = 65536
PATIENCE_S = 90
directory = sys.argv[1]


class Program:
    def __init__(self, command, worker):
        self.worker = worker
        self.process = subprocess.Popen(shlex.split(command.replace("WORKER", worker)),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.hear(line)

    def hear(self, line):
        if not select.select([self.process.stdout], [], [], PATIENCE_S)[0]:
            sys.exit(f"{self.worker} doesn't answer to: {line}")
        answer = self.process.stdout.readline().decode(errors="replace").strip()
        if answer != "ok":
            sys.exit(f"{self.worker}, asked to {line}, says: {answer}")

    def write(self, kind, section, value):
        path = f"{directory}/{self.worker}.in"
        with open(path, "wb") as file:
            file.write(value)
        self.tell(f"write {kind} {section} {path}")

    def read(self, kind, section):
        path = f"{directory}/{self.worker}.out"
        self.tell(f"read {kind} {section} {path}")
        with open(path, "rb") as file:
            value = file.read()
        os.unlink(path)
        return value

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(PATIENCE_S)
        if status != 0:
            sys.exit(f"{self.worker} ended with {status}")


def values():
    dice = random.Random(1)
    yield bytes(range(256)) * 2
    yield from (dice.randbytes(n) for n in (10240, 1, 0, 77, SIZE, 12345))


def passes(writer, reader, kind, section, expected):
    found = reader.read(kind, section)
    if found != expected:
        sys.exit(f"{section}: {reader.worker} reads {len(found)} bytes, {writer.worker} wrote "
                 f"{len(expected)}, and they differ")


def in_place(kind, writer, readers):
    """Raw and snapshot sections: one writes, all read."""
    section, memory = f"{writer.worker}.{kind}", bytes(SIZE)
    for value in values():
        writer.write(kind, section, value)
        memory = value + memory[len(value):]
        for reader in readers:
            passes(writer, reader, kind, section, memory if kind == "raw" else value)


def by_queue(writer, readers):
    """Several messages wait at a time, of which the last is as long as a lane takes."""
    for reader in readers:
        section = f"{reader.worker}.queue"
        for value in values():
            writer.write("queue", section, value)
        for value in values():
            passes(writer, reader, "queue", section, value)


def in_a_storm(writer, readers):
    """A snapshot that C publishes without a pause: what is read is whole, whoever reads."""
    section, end = f"{writer.worker}.storm", f"{directory}/end"
    line = f"storm snapshot {section} {end}"
    writer.write("snapshot", section, bytes(10000))
    writer.process.stdin.write(line.encode() + b"\n")
    for reader in readers:
        seen = set()
        while len(seen) < 20:
            value = reader.read("snapshot", section)
            if value != value[:1] * (10000 + value[0]):
                sys.exit(f"{section}: {reader.worker} reads {len(value)} bytes of more than one value")
            seen.add(value[0])
    open(end, "wb").close()
    writer.hear(line)
    os.unlink(end)


def main():
    programs, pairs = [], 0
    for argument in sys.argv[3:]:
        name, kinds, command = argument.split(":", 2)
        programs.append((kinds.split(","), Program(command, name), Program(command, f"{name}-r")))
    for kind in "raw", "snapshot", "queue":
        writers = [writer for kinds, writer, _ in programs if kind in kinds]
        readers = [reader for kinds, _, reader in programs if {kind, f"{kind}-"} & set(kinds)]
        for writer in writers:
            by_queue(writer, readers) if kind == "queue" else in_place(kind, writer, readers)
        pairs += len(writers) * len(readers)
        print(f"ok {kind}: {', '.join(p.worker for p in writers)} write, "
              f"{', '.join(p.worker.removesuffix('-r') for p in readers)} read")
    foreign = [reader for kinds, _, reader in programs if "snapshot-" in kinds]
    if foreign:
        in_a_storm(programs[0][1], foreign)
        print("ok what foreign programs read beside a writer at full speed is whole")
    for _, *both in programs:
        for program in both:
            program.end()
    suffix = sys.argv[2]
    print(f"figure: interop.pairs{suffix} {pairs} pairs")


main()
