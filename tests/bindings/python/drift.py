# SPDX-License-Identifier: Apache-2.0
"""What ctypes was told of the library is what shmclient.h says: writes a C program that prints the
header's sizes, offsets and constants, and compares; and the prototypes with the argument types.

    drift.py program >drift.c
    drift.py compare HEADER <what it prints"""

import ctypes
import re
import sys
import typing
from dataclasses import fields

from shmclient import _c, records

STRUCTS = [value for name, value in vars(_c).items()
           if name.startswith("shmc_") and isinstance(value, type)]
RECORDS = [(records.SlotInfo, _c.shmc_slot), (records.SectionInfo, _c.shmc_section_info),
           (records.WorkerInfo, _c.shmc_worker_info), (records.SegmentInfo, _c.shmc_segment_info),
           (records.AttachmentInfo, _c.shmc_attachment_info),
           (records.LaneStat, _c.shmc_lane_stat), (records.QueueStat, _c.shmc_queue_stat)]
TYPES = {"int": ctypes.c_int, "pid_t": ctypes.c_int, "unsigned": ctypes.c_uint,
         "size_t": ctypes.c_size_t, "ssize_t": ctypes.c_ssize_t, "uint32_t": ctypes.c_uint32,
         "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64, "void": None,
         "enum": ctypes.c_uint32}


def expected():
    for struct in STRUCTS:
        yield f"sizeof (struct {struct.__name__})", ctypes.sizeof(struct)
        for name, *_ in struct._fields_:
            field = getattr(struct, name)
            yield f"offsetof(struct {struct.__name__}, {name})", field.offset
            yield f"sizeof ((struct {struct.__name__} *)0)->{name}", field.size
    yield from _c.CONSTANTS.items()
    for enum, prefix in ((records.Kind, ""), (records.Alive, ""), (records.Stamp, "STAMP_"),
                         (records.Notify, "NOTIFY_")):
        for member in enum:
            yield f"SHMC_{prefix}{member.name}", member.value


def program():
    print("#include <shmclient.h>\n#include <stdio.h>\nint main(void) {")
    for expression, _ in expected():
        print(f'    printf("%s\\t%llu\\n", "{expression}", (unsigned long long)({expression}));')
    print("}")


def ctype(declared):
    if "*" in declared:
        return ctypes.c_void_p
    word = re.sub(r"\bconst\b", "", declared).split()[0]
    return TYPES[word]


def prototypes(header):
    text = re.sub(r"^#.*", "", re.sub(r"(?s)/\*.*?\*/", "", header), flags=re.M)
    for result, name, arguments in re.findall(r"^([\w ]+\**)\b(shmc_\w+)\(([^)]*)\);", text, re.M):
        if "typedef" not in result:
            yield name, ctype(result), [ctype(each) for each in arguments.split(",")
                                        if each.strip() != "void"]


def compare(path):
    printed = dict(line.rstrip("\n").split("\t") for line in sys.stdin)
    wrong = [f"{expression} is {printed.get(expression)}, and here {value}"
             for expression, value in expected() if printed.get(expression) != str(value)]
    with open(path) as header:
        declared = {name: (result, arguments)
                    for name, result, arguments in prototypes(header.read())}
    for name, (result, *arguments) in _c.FUNCTIONS.items():
        result = ctypes.c_void_p if result is ctypes.c_char_p else result
        if declared.get(name) != (result, arguments):
            wrong.append(f"{name}() is {declared.get(name)}, and here {(result, arguments)}")
    for record, struct in RECORDS:
        here = {field.name for field in fields(record)}
        there = {name for name, *_ in struct._fields_} - {"reserved", "reserved1", "base"}
        if here != there:
            wrong.append(f"{record.__name__} differs from its struct in {sorted(here ^ there)}")
        typing.get_type_hints(record)
    if len(printed) < 200 or wrong:
        sys.exit("\n".join(wrong) or f"the program printed {len(printed)} lines only")
    print(f"{len(printed)} sizes, offsets and constants, {len(_c.FUNCTIONS)} functions")


if sys.argv[1] == "program":
    program()
else:
    compare(sys.argv[2])
