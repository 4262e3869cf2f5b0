# SPDX-License-Identifier: Apache-2.0
"""Share state with other processes through the segment of a shm-manager.

    import shmclient

    with shmclient.attach("temp-driver") as segment:       # a worker; attach() alone: a reader
        segment.open("temps").publish(b"21.5")

Four kinds of section: SnapshotSection (publish, read, next, view), RawSection (bytes in place),
SlotsSection (grab, put, get), QueueSection (send, receive, peek).  README.md beside this tells the
rest; libshmclient(3) is the manual of what is under it."""

from .errors import (
    Busy, Closed, Damaged, Error, Exists, Forked, Invalid, Mismatch, NoData, NoManager, NoRoom,
    NotAllowed, NotFound, OldTicket, Removed, Revoked, Stale, TimedOut, TooLarge, WouldBlock,
)
from .queue import Peeked, QueueSection
from .records import (
    About, Alive, AttachmentInfo, Kind, LaneStat, Message, Notify, QueueStat, Reading, SectionInfo,
    SegmentInfo, SlotInfo, SlotValue, Stamp, Value, WorkerInfo,
)
from .section import RawSection, Section
from .segment import Segment, attach, manager, version, wait_any
from .slots import SlotsSection
from .snapshot import SnapshotSection, Versions, View

__all__ = [
    "About", "Alive", "AttachmentInfo", "Busy", "Closed", "Damaged", "Error", "Exists", "Forked",
    "Invalid", "Kind", "LaneStat", "Message", "Mismatch", "NoData", "NoManager", "NoRoom",
    "NotAllowed", "NotFound", "Notify", "OldTicket", "Peeked", "QueueSection", "QueueStat",
    "RawSection", "Reading", "Removed", "Revoked", "Section", "SectionInfo", "Segment",
    "SegmentInfo", "SlotInfo", "SlotValue", "SlotsSection", "SnapshotSection", "Stale", "Stamp",
    "TimedOut", "TooLarge", "Value", "Versions", "View", "WorkerInfo", "WouldBlock", "attach",
    "manager", "version", "wait_any",
]
