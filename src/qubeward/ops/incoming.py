"""The payload of a call that is not held in memory, as operations see it."""

from pathlib import Path
from typing import Final, Protocol

from .progress import Operation


class Incoming(Protocol):
    """Bytes that the caller sends, most of which have not been read."""

    async def pour(self, into: Path, limit_bytes: int | None, operation: Operation) -> int:
        """Write all of them to a file that reads as zeros; return how many came, all on disk.

        Keeps `operation.done_bytes` up to date, and ends when it is cancelled. Raises
        `StorageError`: more than the limit came, the caller went away, or writing failed.
        """


class NothingIncoming:
    """What a call has whose payload is no stream."""

    async def pour(self, into: Path, limit_bytes: int | None, operation: Operation) -> int:
        """Write nothing."""
        return 0


NOTHING_INCOMING: Final[Incoming] = NothingIncoming()
