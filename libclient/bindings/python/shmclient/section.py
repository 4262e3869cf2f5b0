# SPDX-License-Identifier: Apache-2.0
"""What sections of all kinds have in common, and raw ones."""

from __future__ import annotations

import errno
import threading
import time
from ctypes import byref, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional, Tuple, TypeVar

from . import _arguments, _c
from ._arguments import Deadline
from ._c import lib
from ._handles import Locked, Opened
from ._waiting import Readable
from .errors import WouldBlock, error
from .records import Kind, SectionInfo, record

if TYPE_CHECKING:
    from .segment import Segment

SLICE_MS = 100
T = TypeVar("T")
S = TypeVar("S", bound="Section")


def let_others_in() -> None:
    """Between two slices of a wait: who waits for the lock hasn't got it yet when it is free."""
    if threading.active_count() > 1:
        time.sleep(0.0002)


class Section(Locked):
    """An opened section.  Threads may share it, and wait for one another then; a thread that opens
    its own waits for nobody."""

    kind: Kind

    def __init__(self, segment: Segment, name: str, opened: Opened) -> None:
        super().__init__()
        self.segment = segment
        self.name = name
        self._opened: Optional[Opened] = opened
        self._lender: Optional[Opened] = None
        self._readable = Readable()

    def __repr__(self) -> str:
        state = "closed " if self._opened is None else ""
        return f"<{state}{type(self).__name__} {self.name!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a section can't be pickled or copied: another process attaches for itself")

    def __enter__(self: S) -> S:
        self._live()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._opened is None

    def close(self) -> None:
        """Closes it; what it lent stays where it is until nothing refers to it."""
        self._opened = None  # a thread that waits sees it at the end of its slice
        self._readable.stop()
        with self._lock:
            self._lender = None

    def info(self) -> SectionInfo:
        """What is known about the section now: shmc_section_info()."""
        with self._lock:
            return record(SectionInfo, self._live().info())

    def fileno(self) -> int:
        """shmc_fd(): readable while there may be something new, for select, selectors and loops. 
        It is the section's: don't read or close it."""
        return self._call(lib.shmc_fd)

    def spin(self, microseconds: int) -> None:
        """Waits look for so long before they sleep."""
        value = _arguments.number("microseconds", microseconds, 0, 2**32 - 1)
        self._call(lib.shmc_set_spin, value)

    # ---- for the kinds

    def _live(self) -> Opened:
        opened = self._opened
        if opened is None or opened.pointer is None or opened.attached.pointer is None:
            raise error(-errno.EBADF, f"section '{self.name}' was closed: open it again")
        return opened

    def _wait(self, timeout: Any, call: Callable[[Any, int], Optional[int]],
              longest_ms: int = SLICE_MS) -> int:
        """Calls with a pointer and milliseconds until there is an answer; None: at once again."""
        deadline = Deadline(timeout)
        while True:
            with self._lock:
                opened = self._live()
                r = call(opened.pointer, deadline.slice_ms(longest_ms))
                if r is None:
                    continue
                if r >= 0:
                    return r
                if r != -errno.EINTR and (r != -errno.ETIMEDOUT or deadline.over()):
                    raise opened.failed(r)
            let_others_in()

    async def _await(self, attempt: Callable[[], T]) -> T:
        """What an attempt without a timeout gives, as soon as it gives something."""
        while True:
            try:
                return attempt()
            except WouldBlock:
                pass
            await self._readable.wait(self)

    def _spare(self) -> Opened:
        """A section object to lend by: what one lent is only safe until it lends again."""
        if self._lender is None or self._lender.loan() is not None:
            self._lender = self.segment._open_again(self._live())
        return self._lender

    def _lend(self, function: Callable[..., int], *more: Any,
              writable: bool) -> Tuple[Opened, memoryview]:
        data, size = c_void_p(), c_size_t()
        with self._lock:
            lender = self._spare()
            r = function(lender.pointer, *more, byref(data), byref(size))
            if r < 0:
                raise lender.failed(r)
            return lender, lender.lend(data.value, size.value, writable)


class RawSection(Section):
    """Bytes at an offset, and nothing that says when they are whole."""

    kind = Kind.RAW

    def __len__(self) -> int:
        return self.info().size

    def __bool__(self) -> bool:
        return True

    def read(self, offset: int = 0, size: Optional[int] = None) -> bytes:
        """A copy of `size` bytes, or of all from there on."""
        offset = _arguments.size("offset", offset)
        total = len(self)
        size = max(total - offset, 0) if size is None else _arguments.size("size", size)
        if size > total:  # before memory is asked for
            raise error(-errno.EINVAL, f"section '{self.name}': {size} bytes at {offset} are "
                                       f"beyond its size of {total}")
        buffer = bytearray(size)
        self.read_into(buffer, offset)
        return bytes(buffer)

    def read_into(self, buffer: Any, offset: int = 0) -> int:
        """Fills a writable buffer; how many bytes it has."""
        offset = _arguments.size("offset", offset)
        pointer, size, _keep = _arguments.room(buffer)
        return self._call(lib.shmc_raw_read, offset, pointer, size)

    def write(self, data: Any, offset: int = 0) -> int:
        """Copies bytes there, for the owner (of a shared section: all who may write)."""
        offset = _arguments.size("offset", offset)
        pointer, size, _keep = _arguments.data(data)
        return self._call(lib.shmc_raw_write, offset, pointer, size)

    def view(self) -> memoryview:
        """The memory itself, to read: np.frombuffer(section.view(), ...)."""
        return self._lend(lib.shmc_raw, writable=False)[1]

    def writable(self) -> memoryview:
        """The memory itself, to read and to write, for whoever may write()."""
        return self._lend(lib.shmc_raw_writable, writable=True)[1]
