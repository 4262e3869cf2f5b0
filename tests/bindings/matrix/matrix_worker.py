#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The matrix's part in Python: as matrix.c."""
import sys

import shmclient

TIMEOUT_S = 60


def load(file):
    with open(file, "rb") as source:
        return source.read()


def obey(segment, verb, kind, name, file):
    with segment.open(name) as section:
        if verb == "read":
            value = section.receive(1, timeout=TIMEOUT_S) if kind == "queue" else section.read()
            with open(file, "wb") as to:
                to.write(value)
        elif kind == "queue":
            section.send(load(file), 1, timeout=TIMEOUT_S)
        elif kind == "snapshot":
            section.publish(load(file))
        else:
            section.write(load(file))


with shmclient.attach(sys.argv[1], timeout=TIMEOUT_S) as segment:
    for line in sys.stdin:
        try:
            obey(segment, *line.split())
            print("ok", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
