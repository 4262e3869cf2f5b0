# SPDX-License-Identifier: Apache-2.0
"""Sections in an event loop: the descriptor of shmc_fd() is watched while somebody awaits it."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, Optional, Set

from .errors import error


class Readable:
    """The tasks of one loop that await one section object."""

    def __init__(self) -> None:
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._fd = -1
        self._waiters: Set[asyncio.Future[None]] = set()

    async def wait(self, section: Any) -> None:
        loop = asyncio.get_running_loop()
        if self._waiters and self._loop is not loop:
            raise error(-errno.EBUSY, f"section '{section.name}' is awaited in another event loop: "
                                      "open it there as well")
        if not self._waiters:
            fd = section.fileno()
            loop.add_reader(fd, self._wake)
            self._loop, self._fd = loop, fd
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.add(future)
        try:
            await future
        finally:
            self._waiters.discard(future)
            if not self._waiters:
                self._unwatch()

    def _wake(self) -> None:
        for future in self._waiters:
            if not future.done():
                future.set_result(None)

    def _unwatch(self) -> None:
        if self._fd >= 0 and self._loop is not None:
            self._loop.remove_reader(self._fd)
        self._fd = -1

    def _end(self) -> None:
        self._unwatch()
        self._wake()

    def stop(self) -> None:
        """The section is closed, perhaps by another thread: whoever waits finds out."""
        loop = self._loop
        if not self._waiters or loop is None or loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            self._end()
        else:
            loop.call_soon_threadsafe(self._end)
