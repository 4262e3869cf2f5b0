#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The matrix's part of a program that knows nothing of shm-manager's library: Debian's
python3-sysv-ipc and struct, after shm-segment(7).  It reads raw and snapshot sections, and as a
worker, by `shmtool run`, writes a raw one.  Lines as matrix.c's."""
import os
import struct
import sys

import sysv_ipc

memory = sysv_ipc.SharedMemory(int(os.environ["SHMC_KEY"], 0))


def words(layout, offset):
    return struct.unpack("<" + layout, memory.read(struct.calcsize("<" + layout), offset))


def place(name):
    """ctl_off, size and kind of a section in the directory in force."""
    while True:
        generation, = words("Q", 128)
        at, = words("Q", 144 + 16 * (generation & 1))
        count, index, sections = words("16xI20xII", at)
        found = None
        for slot in words(f"{count}I", at + index):
            text, control, size, kind = words("64s128x40xQ16xQ8xI", at + sections + 384 * slot)
            if text.split(b"\0")[0].decode() == name:
                found = control, size, kind
        if words("Q", 128)[0] != generation:  # it was replaced meanwhile
            continue
        if found is None:
            raise LookupError(f"the segment has no section '{name}'")
        return found


def read(name):
    control, size, kind = place(name)
    if kind == 1:
        return memory.read(size, control)
    while True:
        stride, start = words("32xQQ", control)
        head, = words("Q", control + 64)
        version, buffer = head >> 1 & (1 << 55) - 1, head >> 56
        if version == 0:
            raise LookupError("nothing was published yet")
        at = control + start + buffer * stride
        sequence, length = words("QQ", at)
        if sequence != 2 * version or length > stride - 64:
            continue
        value = memory.read(length, at + 64) if length > 0 else b""  # 0 means all the rest
        if words("Q", at)[0] == sequence:  # else the writer came round
            return value


def obey(verb, kind, name, file):
    if verb == "read":
        with open(file, "wb") as to:
            to.write(read(name))
    else:
        with open(file, "rb") as source:
            memory.write(source.read(), place(name)[0])


for line in sys.stdin:
    try:
        obey(*line.split())
        print("ok", flush=True)
    except Exception as error:
        print(error, flush=True)
