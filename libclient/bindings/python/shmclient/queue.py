# SPDX-License-Identifier: Apache-2.0
"""Queues: messages of many senders, for one receiver or several that compete."""

from __future__ import annotations

import asyncio
import errno
from ctypes import byref, c_size_t, c_void_p, create_string_buffer, string_at
from types import TracebackType
from typing import (
    Any, AsyncIterator, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Type, TypeVar,
)

from . import _arguments, _c
from ._c import lib
from .errors import WouldBlock, error
from .records import Kind, LaneStat, Message, QueueStat, record
from .section import Section

T = TypeVar("T")

# Each slice of a wait for room that ends without any counts as a send that was refused.
SEND_SLICE_MS = 1000
RECEIVE_SLICE_MS = 100
AWAITED_KEPT = 4


class Peeked:
    """A message that stays in the queue, for nobody else to have, until ack(), which makes it gone,
    or abandon(), which gives it back.  With `with` that is done by how the block ends."""

    def __init__(self, section: QueueSection, message: Message) -> None:
        self._section: Optional[QueueSection] = section
        self.message = message

    def __enter__(self) -> Message:
        return self.message

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if self._section is None:
            return
        if kind is None:
            self.ack()
        else:
            self.abandon()

    def ack(self) -> None:
        self._done(lib.shmc_queue_ack)

    def abandon(self) -> None:
        self._done(lib.shmc_queue_abandon)

    def _done(self, function: Any) -> None:
        section, self._section = self._section, None
        if section is None:
            raise error(-errno.EINVAL, "this message was acknowledged, or given back, already")
        section._call(function)

    def __del__(self) -> None:
        section = getattr(self, "_section", None)
        # Not for ever: whoever collects may have a lock for which that one's holder waits.
        if section is None or section.closed or not section._lock.acquire(timeout=1):
            return
        try:
            self.abandon()
        except OSError:  # it is gone, or the process is another one
            pass
        finally:
            section._lock.release()


class Received:
    """What iterating over a queue gives: each message, as it comes, for ever."""

    def __init__(self, section: QueueSection) -> None:
        self._section = section

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        return self._section.receive()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        return await self._section.areceive()


class Awaited:
    """One thing that is awaited in an event loop: a message of some type, or room.  It has a section
    object of its own, as the library looks for one thing in each, for what was asked there last; and
    those who await the same take turns."""

    def __init__(self, section: QueueSection) -> None:
        self.section = section
        self.turn = asyncio.Lock()
        self.tasks = 0


class QueueSection(Section):
    """Whoever may write it sends; its owner receives, in the order in which messages were sent."""

    kind = Kind.QUEUE
    _buffer: Any = None

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._awaited: Dict[Any, Awaited] = {}  # by loop, and by what it is

    def close(self) -> None:
        super().close()
        with self._lock:
            awaited, self._awaited = self._awaited, {}
        for each in awaited.values():
            each.section.close()

    def send(self, data: Any, type: int = 1, *, timeout: Optional[float] = None) -> None:
        """Sends a message; waits for room.  TimedOut, or WouldBlock with a timeout of 0: none
        came."""
        number = _arguments.number("type", type, 1, 2**63 - 1)
        pointer, size, _keep = _arguments.data(data)
        self._wait(timeout, lambda section, ms: int(lib.shmc_queue_send(
            section, number, pointer, size, _c.INTERRUPTIBLE, ms)), SEND_SLICE_MS)

    def send_all(self, messages: Iterable[Any], type: int = 1, *,
                 timeout: Optional[float] = None) -> int:
        """Sends several, in order, as far as there is room, and waits for the first's only; how
        many were sent.  Each is bytes, or a pair of bytes and a type."""
        array, _keep = self._outgoing(messages, type)
        if len(array) == 0:
            return 0
        return self._wait(timeout, lambda section, ms: int(lib.shmc_queue_send_batch(
            section, array, len(array), _c.INTERRUPTIBLE, ms)), SEND_SLICE_MS)

    async def asend(self, data: Any, type: int = 1) -> None:
        """As send(), in an event loop, which isn't blocked, and behind those who await room."""
        await self._soon("send", lambda section: section.send(data, type, timeout=0))

    def receive(self, type: int = 0, *, timeout: Optional[float] = None, other: bool = False,
                limit: Optional[int] = None) -> Message:
        """Takes the message that was sent first: of all (type 0), of that type, with `other` of any
        but that, or of the lowest type up to -type.  With `limit` what is beyond so many bytes is
        cut off and lost.  TimedOut, or WouldBlock with a timeout of 0: none came."""
        number, flags = self._which(type, other)
        room = None if limit is None else max(_arguments.size("limit", limit), 1)
        about = _c.shmc_message()
        flags |= 0 if limit is None else _c.TRUNCATE
        got: List[Message] = []

        def attempt(section: int, ms: int) -> Optional[int]:
            buffer, self._buffer = self._buffer, None  # a signal handler may receive, too
            if buffer is None:
                buffer = create_string_buffer(4096)
            if room is not None and len(buffer) < room:
                buffer = create_string_buffer(min(room, self._longest(section)))
            size = len(buffer) if room is None else min(len(buffer), room)
            r = int(lib.shmc_queue_receive(section, number, buffer, size, flags, ms, byref(about)))
            if r == -errno.E2BIG:
                self._buffer = create_string_buffer(about.length)
                return None
            self._buffer = buffer
            if r >= 0:
                got.append(Message(memoryview(buffer)[: r if limit is None else min(r, limit)]))
            return r

        self._wait(timeout, attempt, RECEIVE_SLICE_MS)
        got[0]._about = about
        return got[0]

    async def areceive(self, type: int = 0, *, other: bool = False) -> Message:
        """As receive(), in an event loop, which isn't blocked."""
        return await self._soon(("receive", *self._which(type, other)),
                                lambda section: section.receive(type, timeout=0, other=other))

    def peek(self, type: int = 0, *, timeout: Optional[float] = None,
             other: bool = False) -> Peeked:
        """Takes a message as receive(), and leaves it where it is until it was worked on:
        with queue.peek() as message: ...  It comes again if this process ends before."""
        number, flags = self._which(type, other)
        data, size, about = c_void_p(), c_size_t(), _c.shmc_message()
        got: List[Peeked] = []

        def attempt(section: int, ms: int) -> Optional[int]:
            r = int(lib.shmc_queue_peek(section, number, byref(data), byref(size), flags, ms,
                                        byref(about)))
            if r >= 0:
                message = Message(string_at(data.value or 0, size.value) if size.value else b"")
                message._about = about
                got.append(Peeked(self, message))
            return r

        self._wait(timeout, attempt, RECEIVE_SLICE_MS)
        return got[0]

    async def apeek(self, type: int = 0, *, other: bool = False) -> Peeked:
        """As peek(), in an event loop, which isn't blocked."""
        return await self._turn(("peek", *self._which(type, other)),
                                lambda section: section.peek(type, timeout=0, other=other))

    def look(self, index: int) -> Message:
        """A copy of the message that would be received as number `index`, from 0; takes nothing,
        and is for all who may read.  IndexError: there are not so many."""
        number = _arguments.size("index", index)
        about = _c.shmc_message()
        while True:
            buffer = create_string_buffer(max(about.length, 4096))
            with self._lock:
                opened = self._live()
                r = lib.shmc_queue_look(opened.pointer, number, buffer, len(buffer), 0,
                                        byref(about))
                if r == -errno.E2BIG:
                    continue
                if r == -errno.ENOMSG:
                    raise IndexError(str(opened.failed(r)))
                if r < 0:
                    raise opened.failed(r)
            message = Message(memoryview(buffer)[:r])
            message._about = about
            return message

    def stat(self) -> QueueStat:
        """What there is to count."""
        struct = _c.shmc_queue_stat()
        self._call(lib.shmc_queue_stat, byref(struct), None, None)
        return record(QueueStat, struct)

    def lanes(self) -> List[LaneStat]:
        """The same of each lane."""
        struct, count = _c.shmc_queue_stat(), c_size_t(64)
        while True:
            room = count.value
            array = (_c.shmc_lane_stat * room)()
            self._call(lib.shmc_queue_stat, byref(struct), array, byref(count))
            if count.value <= room:
                return [record(LaneStat, array[i]) for i in range(count.value)]

    def __iter__(self) -> Iterator[Message]:
        return Received(self)

    def __aiter__(self) -> AsyncIterator[Message]:
        return Received(self)

    # ---- in an event loop

    async def _soon(self, what: Any, attempt: Callable[[QueueSection], T]) -> T:
        """At once, unless others await the same; else in turn."""
        awaited = self._awaited.get((asyncio.get_running_loop(), what))
        if awaited is None or awaited.tasks == 0:
            try:
                return attempt(self)
            except WouldBlock:
                pass
        return await self._turn(what, attempt)

    async def _turn(self, what: Any, attempt: Callable[[QueueSection], T]) -> T:
        with self._lock:
            awaited = self._join(asyncio.get_running_loop(), what)
        try:
            async with awaited.turn:
                return await awaited.section._await(lambda: attempt(awaited.section))
        finally:
            awaited.tasks -= 1

    def _join(self, loop: asyncio.AbstractEventLoop, what: Any) -> Awaited:
        opened = self._live()
        awaited = self._awaited.get((loop, what))
        if awaited is None:
            for idle in [key for key, each in self._awaited.items() if each.tasks == 0]:
                if len(self._awaited) >= AWAITED_KEPT:
                    del self._awaited[idle]
            awaited = self._awaited[loop, what] = Awaited(self.segment._another(self, opened))
        awaited.tasks += 1
        return awaited

    @staticmethod
    def _which(type: int, other: bool) -> Tuple[int, int]:
        number = _arguments.number("type", type, -(2**63), 2**63 - 1)
        return number, _c.INTERRUPTIBLE | (_c.EXCEPT if other else 0)

    @staticmethod
    def _longest(section: int) -> int:
        struct = _c.shmc_queue_stat()
        r = lib.shmc_queue_stat(section, byref(struct), None, None)
        return max(int(struct.message_bytes), 1) if r >= 0 else 4096

    @staticmethod
    def _outgoing(messages: Iterable[Any], type: int) -> Tuple[Any, List[Any]]:
        default = _arguments.number("type", type, 1, 2**63 - 1)
        keep: List[Any] = []
        made: List[_c.shmc_outgoing] = []
        for message in messages:
            number = default
            if isinstance(message, tuple):
                message, number = message
                number = _arguments.number("type", number, 1, 2**63 - 1)
            held = _arguments.Held(message, 0)  # also of bytes: a struct needs the address
            keep.append(held)
            made.append(_c.shmc_outgoing(number, held.view.buf, held.view.len))
        return (_c.shmc_outgoing * len(made))(*made), keep
