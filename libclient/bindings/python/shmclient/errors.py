# SPDX-License-Identifier: Apache-2.0
"""What the library answers below zero, as exceptions: all are OSError, with the errno and its name,
and as text the library's own line.  Where Python has a class for an errno, theirs is of that, too,
so that `except TimeoutError` or `except FileNotFoundError` do what they say."""

from __future__ import annotations

import errno
from typing import Any, Dict, Optional, Type


class Error(OSError):
    """errno, strerror (the library's line), name ("EBUSY"), holder (who holds the worker)."""

    holder: Optional[int] = None

    @property
    def name(self) -> str:
        return errno.errorcode.get(self.errno or 0, str(self.errno))

    def __str__(self) -> str:
        return f"{self.name}: {self.strerror}"


class WouldBlock(Error, BlockingIOError):
    """EAGAIN: nothing new, no message, no room, and no time was given."""


class TimedOut(Error, TimeoutError):
    """ETIMEDOUT: the time given ran out."""


class NotFound(Error, FileNotFoundError):
    """ENOENT: no such segment, worker, section; a slot isn't in use."""


class Exists(Error, FileExistsError):
    """EEXIST: there is a section of that name, and another one."""


class NotAllowed(Error, PermissionError):
    """EACCES, EPERM: not your worker, or not your section to write."""


class Forked(Error, ChildProcessError):
    """ECHILD: used behind a fork; the child attaches for itself."""


class NoManager(Error, ConnectionError):
    """ENOTCONN: no manager answers, and this call needs one."""


class Invalid(Error, ValueError):
    """EINVAL: an argument makes no sense."""


class Busy(Error):
    """EBUSY: held by another process, or by another thread's publish."""


class Closed(Error):
    """EBADF: the section or the segment was closed."""


class Damaged(Error):
    """EBADMSG: the shared memory holds nonsense; the text names the field."""


class Mismatch(Error):
    """EPROTOTYPE: another kind, format or size than expected."""


class NoData(Error):
    """ENODATA: nothing was published, or put, yet."""


class NoRoom(Error):
    """ENOSPC, EDQUOT, EUSERS: no slot, no room, no lane, no attachment is left."""


class Removed(Error):
    """EIDRM: the section was removed, or the segment destroyed: attach anew."""


class Revoked(Error):
    """EKEYREVOKED: the lease was taken back; what is written reaches nobody."""


class Stale(Error):
    """ETIME: no newer value, and the last one is older than the section's stale_ms."""


class OldTicket(Error):
    """ESTALE: the slot was taken, grabbed or released since it was offered."""


class TooLarge(Error):
    """EMSGSIZE: larger than the section, than a queue's message may be, or than the buffer
    given."""


_CLASSES: Dict[int, Type[Error]] = {
    errno.EAGAIN: WouldBlock,
    errno.ETIMEDOUT: TimedOut,
    errno.ENOENT: NotFound,
    errno.EEXIST: Exists,
    errno.EACCES: NotAllowed,
    errno.EPERM: NotAllowed,
    errno.ECHILD: Forked,
    errno.ENOTCONN: NoManager,
    errno.EINVAL: Invalid,
    errno.EBUSY: Busy,
    errno.EBADF: Closed,
    errno.EBADMSG: Damaged,
    errno.EPROTOTYPE: Mismatch,
    errno.ENODATA: NoData,
    errno.ENOSPC: NoRoom,
    errno.EDQUOT: NoRoom,
    errno.EUSERS: NoRoom,
    errno.EIDRM: Removed,
    errno.EKEYREVOKED: Revoked,
    errno.ETIME: Stale,
    errno.ESTALE: OldTicket,
    errno.EMSGSIZE: TooLarge,
    errno.E2BIG: TooLarge,
}


def error(code: int, text: str, holder: Any = None) -> Error:
    """The exception of a negative errno."""
    code = -code
    made = _CLASSES.get(code, Error)(code, text or errno.errorcode.get(code, "failed"))
    made.holder = holder
    return made
