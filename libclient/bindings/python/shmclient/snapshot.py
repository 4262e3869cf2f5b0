# SPDX-License-Identifier: Apache-2.0
"""Snapshot sections: the newest complete value."""

from __future__ import annotations

import errno
from ctypes import byref, c_size_t, c_void_p, create_string_buffer
from typing import Any, AsyncIterator, Callable, Iterator, Optional, Tuple, Type
from types import TracebackType

from . import _arguments, _c
from ._arguments import Deadline
from ._c import lib
from ._handles import Opened
from .errors import error
from .records import About, Kind, Reading, Value
from .section import SLICE_MS, Section, let_others_in


class View(About):
    """The newest value where it is, in `data`; what was read there counts only if valid() says so
    afterwards.  As a context manager it lets go of it at the end."""

    def __init__(self, lender: Opened, data: memoryview, about: _c.shmc_value) -> None:
        self._lender: Optional[Opened] = lender
        self._about = about
        self.data = data

    def __enter__(self) -> View:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.release()
        except BufferError:  # an array has it still, and so has the memory
            pass

    def valid(self) -> bool:
        """Was it the whole value until now?  False: the writer came round, read it again."""
        if self._lender is None or self._lender.loan() is None:
            raise ValueError("the view was released")
        r = lib.shmc_valid(self._lender.pointer)
        if r < 0:
            raise self._lender.failed(r)
        return bool(r)

    def release(self) -> None:
        """BufferError: an array or another view of `data` still has it."""
        self.data.release()
        self._lender = None


class Begin:
    """with section.begin(size) as data: fills the next value in place.  It is published at the end
    of the block, or given up if that is left by an exception."""

    def __init__(self, section: SnapshotSection, size: Optional[int]) -> None:
        self._section = section
        self._size = size
        self._lender: Optional[Opened] = None
        self._data: Optional[memoryview] = None

    def __enter__(self) -> memoryview:
        if self._lender is not None:
            raise error(-errno.EBUSY, f"section '{self._section.name}': this value is begun "
                                      "already")
        lender, memory = self._section._lend(lib.shmc_begin, writable=True)
        self._lender = lender  # from here on __del__ gives up
        room = len(memory)
        size = room if self._size is None else self._size
        if size > room:
            self._lender = None
            lib.shmc_abort(lender.pointer)
            raise error(-errno.EMSGSIZE, f"section '{self._section.name}': a value of {size} "
                                         f"bytes, and its size is {room}: raise it in the table")
        self._size = size
        self._data = memory[:size]
        return self._data

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        lender, data = self._lender, self._data
        if lender is None or data is None:
            return
        with self._section._lock:
            r = lib.shmc_commit(lender.pointer, self._size) if kind is None else 0
            failure = lender.failed(r) if r < 0 else None
            if kind is not None or failure is not None:
                lib.shmc_abort(lender.pointer)
            self._lender = self._data = None  # until here, an interrupt leaves it to __del__
        try:
            data.release()
        except BufferError:  # an array has it still, and so has the memory
            pass
        if failure is not None:
            raise failure

    def __del__(self, abort: Any = lib.shmc_abort) -> None:
        lender = getattr(self, "_lender", None)
        if lender is not None and lender.pointer is not None:
            abort(lender.pointer)


class Versions:
    """What iterating over a section gives: each next value, as it comes, for ever.  An exception,
    as Stale, ends a loop over it, but not the iterator."""

    def __init__(self, section: SnapshotSection, take: Callable[..., int]) -> None:
        self._section = section
        self._take = take

    def __iter__(self) -> Iterator[Value]:
        return self

    def __next__(self) -> Value:
        return self._section._copy(self._take, None)

    def __aiter__(self) -> AsyncIterator[Value]:
        return self

    async def __anext__(self) -> Value:
        return await self._section._await(lambda: self._section._copy(self._take, 0))


_ABOUT = _c.shmc_value
_PUBLISH = lib.shmc_publish
_READ = lib.shmc_read  # which has no milliseconds to wait


def _room(size: int) -> Tuple[Any, memoryview, int]:
    buffer = create_string_buffer(size)
    return buffer, memoryview(buffer), size


class SnapshotSection(Section):
    """The newest complete value, published by the section's owner, read by anybody."""

    kind = Kind.SNAPSHOT
    _room: Optional[Tuple[Any, memoryview, int]] = None  # to read into

    def publish(self, data: Any) -> None:
        """Publishes bytes (or whatever has them contiguously, as an array) as the next version."""
        pointer, size = data, 0
        if type(data) is bytes:
            size = len(data)
        else:
            pointer, size, _keep = _arguments.data(data)
        with self._lock:
            opened = self._live()
            r = _PUBLISH(opened.pointer, pointer, size)
            if r < 0:
                raise opened.failed(r)

    def begin(self, size: Optional[int] = None) -> Begin:
        """For `with`: gives the writable memory of the next value, of `size` bytes or as many as
        there may be, and publishes it when the block is left."""
        return Begin(self, None if size is None else _arguments.size("size", size))

    def read(self) -> Value:
        """The newest value; NoData: there is none yet."""
        return self._copy(_READ, 0)

    def read_into(self, buffer: Any) -> Reading:
        """Copies the newest value into a writable buffer; its length is the answer's."""
        pointer, size, _keep = _arguments.room(buffer)
        about = _c.shmc_value()
        self._call(lib.shmc_read, pointer, size, byref(about))
        return Reading(about)

    def view(self) -> View:
        """The newest value in place, without a copy.  It isn't one that next() counts as
        returned."""
        about, data, size = _c.shmc_value(), c_void_p(), c_size_t()
        with self._lock:
            lender = self._spare()
            r = lib.shmc_view(lender.pointer, byref(data), byref(size), byref(about))
            if r < 0:
                raise lender.failed(r)
            about.missed = 0
            return View(lender, lender.lend(data.value, size.value, False), about)

    def next(self, timeout: Optional[float] = None) -> Value:
        """Waits for a value newer than the last one that this object returned, and returns the
        newest. TimedOut, or WouldBlock with a timeout of 0: there was none.  Stale: said once per
        value."""
        return self._copy(lib.shmc_next, timeout)

    async def changed(self) -> Value:
        """As next(), in an event loop, which isn't blocked."""
        return await self._await(lambda: self._copy(lib.shmc_next, 0))

    def follow(self) -> Versions:
        """Iterates over the versions in order, as far as they are still there."""
        return Versions(self, lib.shmc_follow)

    def __iter__(self) -> Iterator[Value]:
        """The newest value, whenever there is a newer one; `missed` says how many were between."""
        return Versions(self, lib.shmc_next)

    def __aiter__(self) -> AsyncIterator[Value]:
        return Versions(self, lib.shmc_next)

    def _copy(self, take: Callable[..., int], timeout: Optional[float]) -> Value:
        deadline = None if timeout == 0 else Deadline(timeout)
        about = _ABOUT()
        while True:
            ms = 0 if deadline is None else deadline.slice_ms(SLICE_MS)
            with self._lock:
                opened = self._live()
                room, self._room = self._room, None  # a signal handler may read, too
                if room is None:
                    room = _room(4096)
                buffer, memory, size = room
                if take is _READ:
                    r = _READ(opened.pointer, buffer, size, byref(about))
                else:
                    r = take(opened.pointer, buffer, size, ms, byref(about))
                if r == -errno.EMSGSIZE and about.length > size:
                    self._room = _room(about.length)
                    continue
                self._room = room
                if r >= 0:
                    value = Value(memory[:r])
                    value._about = about
                    return value
                if r != -errno.ETIMEDOUT or deadline is None or deadline.over():
                    raise opened.failed(r)
            let_others_in()
