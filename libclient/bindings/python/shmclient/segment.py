# SPDX-License-Identifier: Apache-2.0
"""The attachment: who this process is, what sections there are, and making some at run time."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import time
import weakref
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p, cast, sizeof
from typing import (
    Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple, Type, TypeVar, Union,
)

from . import _arguments, _c
from ._arguments import Deadline
from ._c import lib
from ._handles import Attached, Locked, Opened
from .errors import Error, NotFound, error
from .queue import QueueSection
from .records import (
    AttachmentInfo, Kind, Notify, SectionInfo, SegmentInfo, Stamp, WorkerInfo, decode, record,
)
from .section import SLICE_MS, RawSection, Section, let_others_in
from .slots import SlotsSection
from .snapshot import SnapshotSection

R = TypeVar("R")
S = TypeVar("S", bound=Section)
Timeout = Optional[float]

_KINDS: Dict[int, Type[Section]] = {
    Kind.RAW: RawSection, Kind.SNAPSHOT: SnapshotSection, Kind.SLOTS: SlotsSection,
    Kind.QUEUE: QueueSection,
}
_ERROR_BYTES = 640


class Segment(Locked):
    """An attached segment, from attach().  Any number of threads may use it."""

    def __init__(self, attached: Attached, worker: Optional[str]) -> None:
        super().__init__()
        self.worker = worker
        self._attached: Optional[Attached] = attached
        self._sections: weakref.WeakSet[Section] = weakref.WeakSet()
        self._lenders: weakref.WeakSet[Opened] = weakref.WeakSet()

    def __repr__(self) -> str:
        state = "closed " if self._attached is None else ""
        return f"<{state}Segment, {'worker ' + repr(self.worker) if self.worker else 'no worker'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a segment can't be pickled or copied: another process attaches for itself")

    def __enter__(self) -> Segment:
        self._live()
        return self

    def __exit__(self, kind: Any, *exception: object) -> None:
        try:
            self.close()
        except BufferError:
            if kind is None:
                raise  # else the exception that is on its way says more

    # ---- the end

    @property
    def closed(self) -> bool:
        return self._attached is None

    def close(self) -> None:
        """Detaches, which gives a worker's name up, and closes all sections.  BufferError: memory
        of the segment's is in use still, as by an array that was made of a view."""
        with self._lock:
            if self._attached is None:
                return
            lent = sum(lender.loan() is not None for lender in list(self._lenders))
            if lent:
                raise BufferError(f"{lent} view(s) of the segment's memory are in use: del the "
                                  "arrays and memoryviews made of it first")
            attached, self._attached = self._attached, None
            sections = list(self._sections)
        for section in sections:
            section._opened = None
        unused = True
        for section in sections:
            # Who is in a call comes out of it within a slice of a wait.
            if section._lock.acquire(timeout=5):
                section._lock.release()
            else:
                unused = False
            section.close()
        if unused:
            attached.end()

    # ---- sections

    def open(self, name: str, *, kind: Union[Kind, str, None] = None, format: Optional[str] = None,
             min_size: int = 0) -> Any:
        """Opens a section: a RawSection, SnapshotSection, SlotsSection or QueueSection.  What is
        given beside its name is what the caller relies on; Mismatch: it isn't so."""
        expect = _c.shmc_expect(size=sizeof(_c.shmc_expect),
                                format=_arguments.optional_text("format", format),
                                min_size=_arguments.size("min_size", min_size))
        if kind is not None:
            expect.kind = _arguments.choice("kind", kind, Kind)
        with self._lock:
            opened = self._open(_arguments.text("name", name), expect, self._live())
            section = _KINDS[opened.info().kind](self, name, opened)
            self._sections.add(section)
        return section

    def raw(self, name: str, *, format: Optional[str] = None, min_size: int = 0) -> RawSection:
        section: RawSection = self.open(name, kind=Kind.RAW, format=format, min_size=min_size)
        return section

    def snapshot(self, name: str, *, format: Optional[str] = None,
                 min_size: int = 0) -> SnapshotSection:
        section: SnapshotSection = self.open(name, kind=Kind.SNAPSHOT, format=format,
                                             min_size=min_size)
        return section

    def slots(self, name: str, *, format: Optional[str] = None, min_size: int = 0) -> SlotsSection:
        section: SlotsSection = self.open(name, kind=Kind.SLOTS, format=format, min_size=min_size)
        return section

    def queue(self, name: str, *, format: Optional[str] = None, min_size: int = 0) -> QueueSection:
        section: QueueSection = self.open(name, kind=Kind.QUEUE, format=format, min_size=min_size)
        return section

    def _open(self, name: bytes, expect: Any, attached: Attached) -> Opened:
        pointer = c_void_p()
        r = lib.shmc_open(byref(pointer), attached.pointer, name, expect and byref(expect))
        if r < 0:
            raise attached.failed(r)
        return Opened(pointer.value, attached, name)

    def _open_again(self, opened: Opened) -> Opened:
        """The very section that this is; it may have got another name, and a new one have its."""
        while True:
            info = opened.info()
            try:
                another = self._open(info.name, None, opened.attached)
            except NotFound:  # in this moment
                continue
            if another.info().section_id == info.section_id:
                with self._lock:
                    self._lenders.add(another)
                return another

    def _another(self, section: S, opened: Opened) -> S:
        """A section object of the same section."""
        with self._lock:
            self._live()
            another = type(section)(self, section.name, self._open_again(opened))
            self._sections.add(another)
        return another

    # ---- sections at run time

    def create(self, name: str, size: int, *, kind: Union[Kind, str] = Kind.SNAPSHOT,
               count: int = 0, format: Optional[str] = None, read_group: Optional[str] = None,
               write_group: Optional[str] = None, stale_ms: int = 0,
               stamp: Union[Stamp, str] = Stamp.PRECISE,
               notify: Union[Notify, str] = Notify.DEMAND, exclusive: bool = False,
               transient: bool = False, persist: bool = False, shared: bool = False,
               pregrab: bool = False, clear: bool = False, clear_restart: bool = False) -> None:
        """Makes a section, whose owner this worker is: shmc_create(3).  `size` is that of the
        largest value, of a slot, of a lane, or of a raw section's data."""
        flags = (("EXCLUSIVE", exclusive), ("TRANSIENT", transient), ("PERSIST", persist),
                 ("SHARED", shared), ("PREGRAB", pregrab), ("CLEAR", clear),
                 ("CLEAR_RESTART", clear_restart))
        options = _c.shmc_create_options(
            size=sizeof(_c.shmc_create_options),
            kind=_arguments.choice("kind", kind, Kind),
            count=_arguments.number("count", count, 0, 2**32 - 1),
            bytes=_arguments.size("size", size),
            format=_arguments.optional_text("format", format),
            read_group=_arguments.optional_text("read_group", read_group),
            stale_ms=_arguments.size("stale_ms", stale_ms),
            stamp=_arguments.choice("stamp", stamp, Stamp),
            notify=_arguments.choice("notify", notify, Notify),
            flags=sum(_c.CONSTANTS["SHMC_CREATE_" + flag] for flag, wanted in flags if wanted),
            write_group=_arguments.optional_text("write_group", write_group))
        self._call(lib.shmc_create, _arguments.text("name", name), byref(options))

    def drop(self, name: str) -> None:
        """Removes a section that this worker made.  BufferError: its memory is in use here."""
        wanted = _arguments.text("name", name)
        with self._lock:
            for lender in list(self._lenders):  # what we wrote there would soon be another's
                if lender.name == wanted and lender.loan() is not None:
                    raise BufferError(f"section '{name}' has memory in use: del the arrays and "
                                      "memoryviews made of it first")
            self._call(lib.shmc_drop, wanted)

    # ---- looking around

    def info(self) -> SegmentInfo:
        struct = _c.shmc_segment_info()
        self._call(lib.shmc_segment, byref(struct))
        return record(SegmentInfo, struct)

    def sections(self) -> List[SectionInfo]:
        """All of them, by name."""
        return self._list(lib.shmc_sections, _c.shmc_section_info, SectionInfo)

    def workers(self) -> List[WorkerInfo]:
        return self._list(lib.shmc_workers, _c.shmc_worker_info, WorkerInfo)

    def attachments(self) -> List[AttachmentInfo]:
        """Processes that are attached without a name."""
        return self._list(lib.shmc_attachments, _c.shmc_attachment_info, AttachmentInfo)

    def inspect(self, name: str) -> SectionInfo:
        struct = _c.shmc_section_info()
        self._call(lib.shmc_inspect, _arguments.text("name", name), byref(struct))
        return record(SectionInfo, struct)

    def inspect_worker(self, name: str) -> WorkerInfo:
        struct = _c.shmc_worker_info()
        self._call(lib.shmc_inspect_worker, _arguments.text("name", name), byref(struct))
        return record(WorkerInfo, struct)

    def lease_fd(self) -> int:
        """The lease's descriptor, of attach(lease_fd=True), for a program that exec starts."""
        return self._call(lib.shmc_lease_fd)

    def lease_env(self) -> str:
        """What that program finds in the environment variable SHMC_LEASE."""
        text = ctypes.create_string_buffer(256)
        self._call(lib.shmc_lease_env, text, len(text))
        return decode(text.value)

    # ---- inside

    def _live(self) -> Attached:
        attached = self._attached
        if attached is None or attached.pointer is None:
            raise error(-errno.EBADF, "the segment was closed: attach again")
        return attached

    def _list(self, function: Callable[..., int], struct: Any, cls: Type[R]) -> List[R]:
        pointer, count = c_void_p(), c_size_t()
        self._call(function, byref(pointer), byref(count))
        try:
            array = cast(pointer, POINTER(struct))
            return [record(cls, array[i]) for i in range(count.value)]
        finally:
            _c.libc.free(pointer)


# ---- attaching

_WORTH_WAITING = (errno.ENOENT, errno.EAGAIN, errno.EBADMSG, errno.EBUSY, errno.ENOTCONN)


def _options(key: Optional[int], runtime_dir: Any) -> Tuple[_c.shmc_options, Any]:
    """With the buffer for the text of what goes wrong."""
    text = ctypes.create_string_buffer(_ERROR_BYTES)
    options = _c.shmc_options(size=sizeof(_c.shmc_options), error=ctypes.addressof(text),
                              error_bytes=len(text))
    if key is not None:
        options.key = _arguments.number("key", key, 1, 2**32 - 1)
    if runtime_dir is not None:
        path = os.fsencode(runtime_dir)
        if b"\0" in path:
            raise ValueError(f"runtime_dir {runtime_dir!r} has a NUL in it")
        options.runtime_dir = path
    return options, text


def attach(worker: Optional[str] = None, *, anonymous: bool = False, key: Optional[int] = None,
           runtime_dir: Union[str, bytes, "os.PathLike[str]", None] = None, timeout: Timeout = 0,
           lease_fd: bool = False) -> Segment:
    """Attaches: as a reader; as the worker of that name; or, `anonymous`, as a process without a
    name that may write slots and queues.  `timeout` is how long the segment, the manager and a
    worker's holder are waited for; None: for ever.

    Busy: the worker is held, by the process `holder`.  NotFound: no segment, or no such worker.
    NoManager: a worker needs one, and none answers."""
    options, text = _options(key, runtime_dir)
    holder = c_int(0)
    options.worker = _arguments.optional_text("worker", worker)
    options.flags = (_c.ANONYMOUS if anonymous else 0) | (_c.LEASE_FD if lease_fd else 0)
    options.holder = ctypes.pointer(holder)
    deadline, pause = Deadline(timeout), 0.001
    while True:
        pointer = c_void_p()
        r = lib.shmc_attach(byref(pointer), byref(options))
        if r == 0:
            return Segment(Attached(pointer.value), worker)
        if -r not in _WORTH_WAITING or not deadline.patient or deadline.over():
            raise error(r, decode(text.value), holder.value or None)
        time.sleep(min(pause, deadline.slice_ms(1000) / 1000))  # not the library's: for Ctrl-C
        pause = min(2 * pause, 0.05)


def wait_any(sections: Sequence[SnapshotSection], timeout: Timeout = None) -> SnapshotSection:
    """Waits until one of them, of one segment, has a newer value, and returns that."""
    wanted: List[SnapshotSection] = list(sections)
    for section in wanted:
        if not isinstance(section, SnapshotSection):
            raise TypeError(f"wait_any() is for snapshot sections, not {type(section).__name__}")
        if section.segment is not wanted[0].segment:
            raise ValueError("wait_any() is for sections of one segment")
    if not wanted:
        raise ValueError("wait_any() needs a section")
    deadline = Deadline(timeout)
    while True:
        held: List[SnapshotSection] = []
        try:
            for section in sorted(wanted, key=id):
                section._lock.acquire()
                held.append(section)
            opened = [section._live() for section in wanted]
            array = (c_void_p * len(opened))(*[each.pointer for each in opened])
            r = int(lib.shmc_wait_any(array, len(opened), deadline.slice_ms(SLICE_MS)))
            if r >= 0:
                return wanted[r]
            if r != -errno.ETIMEDOUT or deadline.over():
                raise opened[0].failed(r)
        finally:
            for section in held:
                section._lock.release()
        let_others_in()


def manager(request: str, *, key: Optional[int] = None,
            runtime_dir: Union[str, bytes, "os.PathLike[str]", None] = None,
            timeout: float = 5) -> Any:
    """Asks the manager ("status", "table", "plan", "history 3", "reload", "destroy"), and returns
    its answer, read from JSON; an Error has what it answered, if anything, as `reply`."""
    options, text = _options(key, runtime_dir)
    if timeout is None:
        raise TypeError("timeout is seconds here, not None")
    given = _arguments.seconds(timeout)
    longest = _arguments.INT_MAX
    options.timeout_ms = longest if given is None else min(int(given * 1000), longest)
    reply = c_void_p()
    r = lib.shmc_manager(byref(options), _arguments.text("request", request), byref(reply))
    try:
        answer = json.loads(cast(reply, c_char_p).value or b"null") if reply.value else None
    finally:
        _c.libc.free(reply)
    if r < 0:
        failure: Error = error(r, decode(text.value))
        failure.reply = answer  # type: ignore[attr-defined]
        raise failure
    return answer


def version() -> str:
    """Of the library, as "0.1.0"."""
    return decode(lib.shmc_version())
