#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A worker in Python that reads one section and writes another: from each picture of this machine
(system.c) and the one before it derives how busy its processors and processes were, and publishes
that as JSON (format "trends/1").

The section: shmtool table add trends trends 16K format=trends/1"""

import json
import os
import sys

import shmclient

SOURCE, NAME = "system", "trends"
PROCESSES = 10


def ticks_of(process):
    return process["utime"] + process["stime"]


def busy(before, now):
    """The share of all processors that was not idle, in percent."""
    total = idle = 0
    for then, cpu in zip(before["cpus"], now["cpus"]):
        total += sum(cpu[field] - then[field] for field in cpu if field != "name")
        idle += cpu["idle"] - then["idle"] + cpu["iowait"] - then["iowait"]
    return round(100 * (total - idle) / total, 1) if total > 0 else 0.0


def busiest(before, now):
    """The processes that took most of the time since then."""
    then = {process["pid"]: ticks_of(process) for process in before["processes"]}
    took = [(ticks_of(process) - then.get(process["pid"], 0), process)
            for process in now["processes"]]
    took.sort(key=lambda each: each[0], reverse=True)
    return [{"pid": process["pid"], "comm": process["comm"], "ticks": ticks}
            for ticks, process in took[:PROCESSES] if ticks > 0]


def main():
    with shmclient.attach("trends", timeout=10) as segment:
        source, mine = segment.snapshot(SOURCE, format="system/1"), segment.snapshot(NAME)
        before, versions = None, iter(source)
        while True:
            try:
                value = next(versions)
            except shmclient.Stale as why:  # said once; the next one may come yet
                print(f"trends[{os.getpid()}]: {why}", file=sys.stderr)
                continue
            now = json.loads(value)
            mine.publish(json.dumps({
                "format": "trends/1", "pid": os.getpid(), "load": now["load"][0],
                "source": {"section": SOURCE, "version": value.version, "missed": value.missed},
                "busy_percent": busy(before or now, now), "busiest": busiest(before or now, now),
            }).encode())
            before = now


try:
    main()
except shmclient.Error as failure:
    sys.exit(f"trends[{os.getpid()}]: {failure}")
