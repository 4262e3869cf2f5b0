# SPDX-License-Identifier: Apache-2.0
"""Slots: a number of items, each written by who grabbed it."""

from __future__ import annotations

import errno
from ctypes import byref, c_uint64, create_string_buffer
from types import TracebackType
from typing import Any, Iterator, Optional, Type

from . import _arguments, _c
from ._c import lib
from .records import Kind, SlotInfo, SlotValue, record
from .section import Section


class Grabbed:
    """with board.grabbed() as slot: a slot for the time of the block."""

    def __init__(self, section: SlotsSection) -> None:
        self._section = section
        self._slot = -1

    def __enter__(self) -> int:
        self._slot = self._section.grab()
        return self._slot

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self._section.release(self._slot)


class SlotsSection(Section):
    kind = Kind.SLOTS
    _buffer: Any = None

    def grab(self, *, stays: bool = False) -> int:
        """The lowest slot that is free, which is this process's until it is released or the process
        ends; with `stays` until it is released.  NoRoom: all are in use."""
        return self._call(lib.shmc_slot_grab, self._flags(stays))

    def fgrab(self, slot: int, *, stays: bool = False) -> None:
        """That very slot."""
        self._call(lib.shmc_slot_fgrab, self._number(slot), self._flags(stays))

    def grabbed(self) -> Grabbed:
        """For `with`: grabs a slot, and releases it at the end."""
        return Grabbed(self)

    def release(self, slot: int) -> None:
        self._call(lib.shmc_slot_release, self._number(slot))

    def put(self, slot: int, data: Any) -> None:
        """Puts a value, whole; a slot that isn't in use is grabbed by that (unless `pregrab`)."""
        number = self._number(slot)
        pointer, size, _keep = _arguments.data(data)
        self._call(lib.shmc_slot_put, number, pointer, size)

    def get(self, slot: int) -> SlotValue:
        """The value, whole, with what is known about it in `.slot`; NoData: there is none."""
        number = self._number(slot)
        struct = _c.shmc_slot()
        while True:
            with self._lock:
                opened = self._live()
                buffer, self._buffer = self._buffer, None
                if buffer is None:
                    buffer = create_string_buffer(max(lib.shmc_slot_size(opened.pointer), 1))
                r = lib.shmc_slot_get(opened.pointer, number, buffer, len(buffer), byref(struct))
                if r == -errno.EMSGSIZE and struct.length > len(buffer):
                    self._buffer = create_string_buffer(struct.length)
                    continue
                self._buffer = buffer
                if r < 0:
                    raise opened.failed(r)
                value = SlotValue(memoryview(buffer)[:r])
                value.slot = record(SlotInfo, struct)
                return value

    def slot(self, slot: int) -> SlotInfo:
        """What is known about it, whether or not it has a value."""
        number = self._number(slot)
        struct = _c.shmc_slot()
        unused = (0, -errno.EMSGSIZE, -errno.ENODATA, -errno.ENOENT, -errno.EAGAIN, -errno.EBADMSG)
        with self._lock:
            opened = self._live()
            struct.slot = -1
            r = lib.shmc_slot_get(opened.pointer, number, None, 0, byref(struct))
            if r < 0 and (r not in unused or struct.slot != number):
                raise opened.failed(r)
        return record(SlotInfo, struct)

    def each(self, *, in_use: bool = False) -> Iterator[SlotInfo]:
        """What is known about each slot, or about those in use alone."""
        for number in range(self.num_slots):
            slot = self.slot(number)
            if slot.in_use or not in_use:
                yield slot

    def __iter__(self) -> Iterator[SlotInfo]:
        return self.each()

    def ptr(self, slot: int) -> memoryview:
        """The bytes of a slot of a `shared` section, in place, to read and to write."""
        return self._lend(lib.shmc_slot_ptr, self._number(slot), writable=True)[1]

    @property
    def num_slots(self) -> int:
        return self._call(lib.shmc_num_slots)

    @property
    def num_free(self) -> int:
        return self._call(lib.shmc_num_free)

    @property
    def slot_size(self) -> int:
        return self._call(lib.shmc_slot_size)

    def offer(self, slot: int) -> int:
        """Hands a slot on, with its value, to whoever take()s it by the ticket that this gives."""
        ticket = c_uint64()
        self._call(lib.shmc_slot_offer, self._number(slot), byref(ticket))
        return ticket.value

    def take(self, slot: int, ticket: int) -> None:
        number = self._number(slot)
        self._call(lib.shmc_slot_take, number, _arguments.number("ticket", ticket, 0, 2**64 - 1))

    @staticmethod
    def _number(slot: int) -> int:
        return _arguments.number("slot", slot, -_arguments.INT_MAX, _arguments.INT_MAX)

    @staticmethod
    def _flags(stays: bool) -> int:
        return _c.SLOT_STAYS if stays else 0
