# SPDX-License-Identifier: Apache-2.0
"""What callers give, checked before C sees it: ctypes would cut numbers off and stop at a NUL."""

from __future__ import annotations

import enum
import math
import operator
import time
from ctypes import byref
from typing import Any, Optional, SupportsInt, Tuple, Type, TypeVar, Union

from . import _c

E = TypeVar("E", bound=enum.IntEnum)
INT_MAX = 2**31 - 1


def text(what: str, given: Any) -> bytes:
    if not isinstance(given, str):
        raise TypeError(f"{what} is a str, not {type(given).__name__}")
    if "\0" in given:
        raise ValueError(f"{what} {given!r} has a NUL in it")
    return given.encode()


def optional_text(what: str, given: Any) -> Optional[bytes]:
    return None if given is None else text(what, given)


def number(what: str, given: Any, low: int, high: int) -> int:
    try:
        value = operator.index(given)
    except TypeError:
        raise TypeError(f"{what} is an int, not {type(given).__name__}") from None
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}; it takes {low} to {high}")
    return value


def size(what: str, given: Any) -> int:
    return number(what, given, 0, 2**63 - 1)


def choice(what: str, given: Union[E, str], of: Type[E]) -> E:
    """A member of an enum, or its name in small letters."""
    if isinstance(given, of):
        return given
    if not isinstance(given, str):
        raise TypeError(f"{what} is a {of.__name__} or its name, not {type(given).__name__}")
    try:
        return of[given.upper()]
    except KeyError:
        names = ", ".join(member.name.lower() for member in of)
        raise ValueError(f"{what} is {given!r}; it takes one of {names}") from None


def seconds(given: Union[SupportsInt, float, None]) -> Optional[float]:
    """A timeout; None is for ever, and so is what nobody will see the end of."""
    if given is None:
        return None
    if isinstance(given, bool) or not hasattr(given, "__float__"):
        raise TypeError(f"timeout is seconds or None, not {type(given).__name__}")
    value = float(given)  # type: ignore[arg-type]
    if math.isnan(value) or value < 0:
        raise ValueError(f"timeout is {value} s; it takes 0 and more, or None for ever")
    return value if value < 1e9 else None


class Deadline:
    """When a wait ends, cut into slices, between which Python looks for signals (Ctrl-C) and for
    a close() by another thread."""

    def __init__(self, timeout: Union[SupportsInt, float, None]) -> None:
        given = seconds(timeout)
        self.patient = given is None or given > 0
        self.at = None if given is None else time.monotonic() + given

    def over(self) -> bool:
        return self.at is not None and time.monotonic() >= self.at

    def slice_ms(self, longest: int) -> int:
        if not self.patient:
            return 0
        if self.at is None:
            return longest
        return max(1, min(longest, math.ceil((self.at - time.monotonic()) * 1000)))


class Held:
    """An object's bytes where they are, until this is gone."""

    __slots__ = ("view",)

    def __init__(self, given: Any, flags: int) -> None:
        self.view = _c.Py_buffer()
        _c.get_buffer(given, byref(self.view), flags)

    def __del__(self, release: Any = _c.release_buffer, byref: Any = byref) -> None:
        release(byref(self.view))  # nothing, if it wasn't had


def data(given: Any) -> Tuple[Any, int, Any]:
    """Where the bytes are, how many, and what must be kept meanwhile."""
    if isinstance(given, bytes):
        return given, len(given), None
    held = Held(given, 0)
    return held.view.buf, held.view.len, held


def room(given: Any) -> Tuple[Any, int, Any]:
    held = Held(given, _c.WRITABLE)
    return held.view.buf, held.view.len, held
