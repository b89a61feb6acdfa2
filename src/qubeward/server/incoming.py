"""Payloads that are streams: from a socket, or from whoever has the bytes, into a volume's file.

Bytes are moved by threads, as many as come at once; while none come, no thread waits. The sender is
held back by its socket: what has not been written here has not been read.
"""

import asyncio
import contextlib
import os
import select
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host.pour import Pour, Pumped, TooLongError
from ..host.threads import Threads
from ..ops.progress import Operation

#: Bytes after which another stream gets its turn of the thread.
_TURN_BYTES: Final = 64 << 20
#: Seconds that a thread waits for more, before the event loop does.
_PATIENCE_S: Final = 0.02
#: Seconds between looks whether an operation was cancelled while nothing comes.
_LOOK_S: Final = 0.5


class _Incoming(ABC):
    """What both have in common: the file, its limit, and the words for what goes wrong."""

    def __init__(self, threads: Threads, idle_s: float) -> None:
        self._threads = threads
        self._idle_s = idle_s

    async def pour(self, into: Path, limit_bytes: int | None, operation: Operation) -> int:
        """Write all that comes to a file; see `ops/incoming.py`."""
        what = f"{operation.kind} of {operation.volume}"
        try:
            fd = await self._threads.run(os.open, into, os.O_WRONLY | os.O_CLOEXEC)
            try:
                pour = Pour(fd, limit_bytes)
                await self._pour(pour, operation)
                operation.done_bytes = pour.done_bytes
                self._check_end(what, pour.done_bytes, limit_bytes)
                await self._threads.run(pour.finish)
                return pour.done_bytes
            finally:
                os.close(fd)
        except TooLongError:
            raise StorageError(what, f"more than {limit_bytes} bytes came") from None
        except OSError as error:
            raise StorageError(what, os.strerror(error.errno or 0)) from error

    @abstractmethod
    async def _pour(self, pour: Pour, operation: Operation) -> None:
        """Write all that comes."""

    @abstractmethod
    def _check_end(self, what: str, came: int, limit_bytes: int | None) -> None:
        """Raise `StorageError` if the end is none that the sender meant."""


class SocketIncoming(_Incoming):
    """The rest of a request on a socket, whose descriptor is held until `close`."""

    def __init__(self, fd: int, threads: Threads, idle_s: float) -> None:
        super().__init__(threads, idle_s)
        self._fd = os.dup(fd)
        self._rest = b""

    def begin(self, rest: bytes) -> None:
        """Take what was read already."""
        self._rest = rest

    def close(self) -> None:
        """Let go of the socket."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _pour(self, pour: Pour, operation: Operation) -> None:
        if self._rest:
            await self._threads.run(pour.feed, self._rest)
            self._rest = b""
        while True:
            operation.check()
            pumped = await self._threads.run(
                pour.pump, self._fd, most_bytes=_TURN_BYTES, patience_s=_PATIENCE_S
            )
            operation.done_bytes = pour.done_bytes
            if pumped is Pumped.END:
                return
            if pumped is Pumped.WAITING:
                await self._until_readable(operation)

    async def _until_readable(self, operation: Operation) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._fd, readable.set)
        try:
            until = loop.time() + self._idle_s
            while not readable.is_set():
                operation.check()
                if loop.time() >= until:
                    why = f"nothing came for {self._idle_s:g} s"
                    raise StorageError(f"{operation.kind} of {operation.volume}", why)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await readable.wait()
        finally:
            loop.remove_reader(self._fd)

    def _check_end(self, what: str, came: int, limit_bytes: int | None) -> None:
        """Tell an end that was sent from a sender that is gone: of a killed one it looks alike."""
        poll = select.poll()
        poll.register(self._fd, 0)
        hung_up = any(flags & select.POLLHUP for _, flags in poll.poll(0))
        if hung_up and came != limit_bytes:
            raise StorageError(what, f"the sender went away after {came} bytes")


class ChunksIncoming(_Incoming):
    """The rest of a request from whoever yields it, such as a channel without a socket."""

    def __init__(self, chunks: AsyncIterator[bytes], threads: Threads, idle_s: float) -> None:
        super().__init__(threads, idle_s)
        self._chunks = chunks
        self._rest = b""

    def begin(self, rest: bytes) -> None:
        """Take what was read already."""
        self._rest = rest

    def close(self) -> None:
        """Do nothing: whoever yields has it."""

    async def _pour(self, pour: Pour, operation: Operation) -> None:
        await self._threads.run(pour.feed, self._rest)
        while True:
            operation.check()
            try:
                async with asyncio.timeout(self._idle_s):
                    chunk = await anext(self._chunks, None)
            except TimeoutError:
                why = f"nothing came for {self._idle_s:g} s"
                raise StorageError(f"{operation.kind} of {operation.volume}", why) from None
            if chunk is None:
                return
            await self._threads.run(pour.feed, chunk)
            operation.done_bytes = pour.done_bytes

    def _check_end(self, what: str, came: int, limit_bytes: int | None) -> None:
        """Do nothing: who yields raises where it is cut off."""
