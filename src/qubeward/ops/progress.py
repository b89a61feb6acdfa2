"""Long operations that are under way: what each has done so far, and the way to end it early."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex

from ..errors import OperationNotFoundError, StorageError
from ..names import QubeName


@dataclass(slots=True, eq=False)
class Operation:
    """One operation on a qube. `done_bytes` is written by whoever moves the bytes, in any thread.

    `total_bytes` None: nobody knows yet.
    """

    kind: str
    qube: QubeName
    volume: str
    total_bytes: int | None
    id: str = field(default_factory=lambda: token_hex(8))
    done_bytes: int = 0
    began_s: float = field(default_factory=time.time)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `StorageError` if somebody has cancelled it."""
        if self.cancelled.is_set():
            raise StorageError(f"{self.kind} of {self.volume}", "it was cancelled")


class Operations:
    """All operations under way, by id."""

    def __init__(self) -> None:
        self._under_way: dict[str, Operation] = {}

    @contextmanager
    def begin(
        self, kind: str, qube: QubeName, volume: str, total_bytes: int | None
    ) -> Iterator[Operation]:
        """Let an operation be seen while the block runs."""
        operation = Operation(kind, qube, volume, total_bytes)
        self._under_way[operation.id] = operation
        try:
            yield operation
        finally:
            del self._under_way[operation.id]

    def all(self) -> tuple[Operation, ...]:
        """Return them, the oldest first."""
        return tuple(self._under_way.values())

    def find(self, identifier: str) -> Operation:
        """Return one, or raise `OperationNotFoundError`."""
        try:
            return self._under_way[identifier]
        except KeyError:
            raise OperationNotFoundError(identifier) from None
