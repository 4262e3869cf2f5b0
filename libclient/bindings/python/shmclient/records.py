# SPDX-License-Identifier: Apache-2.0
"""What is known about values, messages, slots, sections, workers and the segment, under the names
that shmclient.h gives it.  Times are nanoseconds; what is unknown is None."""

from __future__ import annotations

import enum
import functools
import typing
from dataclasses import dataclass, fields
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, TypeVar

from . import _c

R = TypeVar("R")


class Kind(enum.IntEnum):
    RAW = 1
    SNAPSHOT = 2
    SLOTS = 3
    QUEUE = 4


class Alive(enum.IntEnum):
    """Does the process live that may write?  UNKNOWN: the manager is away, and can't say."""

    GONE = 0
    ALIVE = 1
    UNKNOWN = 2


class Stamp(enum.IntEnum):
    PRECISE = 0
    COARSE = 1
    NONE = 2


class Notify(enum.IntEnum):
    DEMAND = 0
    ALWAYS = 1
    NEVER = 2


def age(ns: int) -> Optional[int]:
    return None if ns == _c.AGE_UNKNOWN else ns


def decode(name: Optional[bytes]) -> str:
    return (name or b"").decode(errors="replace")


class About:
    """What is known about a value of a snapshot section."""

    _about: _c.shmc_value

    @property
    def version(self) -> int:
        """Counts the values, from 1."""
        return int(self._about.version)

    @property
    def length(self) -> int:
        return int(self._about.length)

    @property
    def missed(self) -> int:
        """Versions between the one that this section object returned before, and this."""
        return int(self._about.missed)

    @property
    def real_ns(self) -> int:
        """When it was published; 0 with stamp `none`."""
        return int(self._about.real_ns)

    @property
    def age_ns(self) -> Optional[int]:
        """How old it was when it was read."""
        return age(self._about.age_ns)

    @property
    def writer(self) -> Alive:
        return Alive(self._about.writer)

    @property
    def stale(self) -> bool:
        """Older than the section's stale_ms."""
        return bool(self._about.stale)

    @property
    def incarnation(self) -> int:
        """Versions compare only within one."""
        return int(self._about.incarnation)


class Value(bytes, About):
    """A value, as bytes, with what is known about it."""


class Reading(About):
    """What is known about a value that was read into the caller's own buffer."""

    def __init__(self, about: _c.shmc_value) -> None:
        self._about = about


class Message(bytes):
    """A message of a queue, as bytes, with what is known about it."""

    _about: _c.shmc_message

    @property
    def type(self) -> int:
        return int(self._about.type)

    @property
    def length(self) -> int:
        """Of the whole, also where it was cut off."""
        return int(self._about.length)

    @property
    def id(self) -> int:
        """Counts a lane's messages, from 1; the same when it comes again."""
        return int(self._about.id)

    @property
    def lane(self) -> int:
        return int(self._about.lane)

    @property
    def pid(self) -> int:
        """Of the sender."""
        return int(self._about.pid)

    @property
    def worker(self) -> str:
        """That the sender is; "" = none, or it has ended since."""
        return decode(self._about.worker)

    @property
    def real_ns(self) -> int:
        return int(self._about.real_ns)

    @property
    def age_ns(self) -> Optional[int]:
        return age(self._about.age_ns)

    @property
    def redelivered(self) -> bool:
        """Somebody had it before, and ended, or gave it back."""
        return bool(self._about.redelivered)

    @property
    def truncated(self) -> bool:
        return bool(self._about.truncated)


class SlotValue(bytes):
    """A slot's value, as bytes; `slot` is what is known about it and its holder."""

    slot: SlotInfo


@dataclass(frozen=True)
class SlotInfo:
    slot: int
    pid: int
    worker: str
    in_use: bool
    held: bool
    offered: bool
    stays: bool
    has_data: bool
    since_real_ns: int
    grabs: int
    version: int
    length: int
    real_ns: int
    age_ns: Optional[int]


@dataclass(frozen=True)
class SectionInfo:
    name: str
    owner: str
    format: str
    kind: Kind
    writer: Alive
    section_id: int
    incarnation: int
    generation: int
    offset: int
    bytes: int
    size: int
    count: int
    persist: bool
    shared: bool
    pinned: bool
    own: bool
    stale_ms: int
    version: int
    length: int
    real_ns: int
    age_ns: Optional[int]
    stale: bool
    moving: bool
    made: bool
    transient: bool
    aborted: int
    wakes: int
    wake_errors: int
    messages: int


@dataclass(frozen=True)
class WorkerInfo:
    name: str
    state: Alive
    granted: bool
    epoch: int
    pid: int
    uid: int
    since_real_ns: int
    ended_real_ns: int
    end_reason: int
    end_detail: int
    attachment: int


@dataclass(frozen=True)
class AttachmentInfo:
    attachment: int
    granted: bool
    epoch: int
    pid: int
    uid: int
    since_real_ns: int


@dataclass(frozen=True)
class SegmentInfo:
    key: int
    id: int
    abi: int
    backend: int
    protection: str
    bytes: int
    arena_bytes: int
    generation: int
    sections: int
    workers: int
    state: int
    manager_alive: bool
    manager_pid: int
    heartbeat_age_ns: int
    created_real_ns: int


@dataclass(frozen=True)
class LaneStat:
    lane: int
    held: bool
    bad: bool
    waiting: bool
    pid: int
    worker: str
    trouble: str
    messages: int
    bytes: int
    sent: int
    received: int
    sent_bytes: int
    refused: int
    blocked_ns: int
    relocated: int
    takeovers: int
    wakes: int
    high_messages: int
    high_bytes: int
    last_receive_pid: int
    last_send_real_ns: int
    last_receive_real_ns: int


@dataclass(frozen=True)
class QueueStat:
    messages: int
    bytes: int
    lane_messages: int
    lane_bytes: int
    message_bytes: int
    lanes: int
    lanes_held: int
    lanes_bad: int
    sent: int
    received: int
    sent_bytes: int
    refused: int
    blocked_ns: int
    relocated: int
    takeovers: int
    wakes: int
    high_messages: int
    high_bytes: int
    oldest_real_ns: int
    last_send_pid: int
    last_receive_pid: int
    last_send_real_ns: int
    last_receive_real_ns: int
    changed_generation: int
    changed_real_ns: int


_CONVERTERS: Dict[Any, Callable[[Any], Any]] = {str: decode, Optional[int]: age}


@functools.lru_cache(maxsize=None)
def _plan(cls: Any) -> List[Tuple[str, Callable[[Any], Any]]]:
    hints = typing.get_type_hints(cls)
    return [(f.name, _CONVERTERS.get(hints[f.name], hints[f.name])) for f in fields(cls)]


def record(cls: Type[R], struct: Any) -> R:
    """One of the classes above, of the struct whose fields it has."""
    return cls(*[convert(getattr(struct, name)) for name, convert in _plan(cls)])
