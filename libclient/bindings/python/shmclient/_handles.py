# SPDX-License-Identifier: Apache-2.0
"""Who holds what of the library's.  A handle is given back when the last Python object that needs
it is gone: whoever is in a call has it meanwhile, and so has memory that was lent, so that nothing
that is closed, collected or interrupted at a bad moment pulls it away from under anybody."""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import threading
import weakref
from ctypes import addressof, byref, c_ubyte, sizeof
from typing import Any, Callable, Dict, Optional

from . import _c
from ._c import lib
from .errors import Error, error

MAP_FIXED_NOREPLACE = 0x100000


class Attached:
    """A `shmc`.  Of a circle that is collected it may be ended first: then `pointer` is None."""

    __slots__ = ("pointer", "__weakref__")

    def __init__(self, pointer: Optional[int]) -> None:
        self.pointer = pointer

    def end(self, detach: Any = lib.shmc_detach) -> None:
        """Of which nobody is in a call.  An exception that somebody keeps has the frames in its
        traceback that knew this, and a lease isn't to wait for him."""
        pointer, self.pointer = self.pointer, None
        detach(pointer)

    __del__ = end

    def failed(self, code: int) -> Error:
        line = b"" if self.pointer is None else lib.shmc_last_error(self.pointer)
        return error(code, line.decode(errors="replace"))


class Opened:
    """A `shmc_section`, the name that it was opened by, and the memory that it lent last."""

    __slots__ = ("pointer", "attached", "name", "_loan", "_array", "__weakref__")

    def __init__(self, pointer: Optional[int], attached: Attached, name: bytes) -> None:
        self.pointer = pointer
        self.attached = attached
        self.name = name
        self._loan: Any = None
        self._array: Any = c_ubyte * 0

    def __del__(self, close: Any = lib.shmc_close) -> None:
        pointer, self.pointer = self.pointer, None
        close(pointer)

    def failed(self, code: int) -> Error:
        if code == -errno.ECHILD:  # of which the library says nothing in calls that are quick
            return error(code, "this attachment is the parent process's; a child attaches for "
                               "itself")
        return self.attached.failed(code)

    def info(self) -> _c.shmc_section_info:
        struct = _c.shmc_section_info()
        r = lib.shmc_section_info(self.pointer, byref(struct))
        if r < 0:
            raise self.failed(r)
        return struct

    def loan(self) -> Optional[Any]:
        """What it lent and somebody still has."""
        return None if self._loan is None else self._loan()

    def lend(self, address: Optional[int], size: int, writable: bool) -> memoryview:
        """Memory of the segment's; it stays mapped for as long as anything refers to it."""
        if self._array._length_ != size:
            self._array = c_ubyte * size
        holder = self._array.from_address(address or 0)
        holder.opened = self
        self._loan = weakref.ref(holder, _returned)
        _loans[id(self._loan)] = self
        view = pickle.PickleBuffer(holder).raw()
        return view if writable else view.toreadonly()


# Who lent what is in use, so that the collector, which sees a circle with an array in it, doesn't
# end the handle before the __del__ of somebody who looks into that array.
_loans: Dict[int, Opened] = {}


def _returned(loan: Any) -> None:
    _loans.pop(id(loan), None)


class Locked:
    """What threads may share: one of them at a time is in a call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locked.add(self)

    def _live(self) -> Any:
        """Its Attached or Opened; Closed: it was closed."""
        raise NotImplementedError

    def _call(self, function: Callable[..., int], *arguments: Any) -> int:
        with self._lock:
            live = self._live()
            r = function(live.pointer, *arguments)
            if r < 0:
                raise live.failed(r)
            return r


# ---- behind a fork

_locked: weakref.WeakSet[Locked] = weakref.WeakSet()


def _in_child() -> None:
    """Locks that other threads of the parent held are free.  A worker's own memory isn't inherited,
    and where there is none, pages of nobody's take its place for who still looks there."""
    for each in list(_locked):
        each._lock = threading.RLock()
    for lender in list(_loans.values()):
        holder = lender.loan()
        if holder is not None and sizeof(holder) > 0:
            _fill(addressof(holder), sizeof(holder))


def _fill(at: int, size: int) -> None:
    page = mmap.PAGESIZE
    for address in range(at // page * page, at + size, page):
        _c.libc.mmap(address, page, mmap.PROT_READ | mmap.PROT_WRITE,
                     mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)


os.register_at_fork(after_in_child=_in_child)
