"""From a finished change to a stored one: who waits, who is told, and what a failure undoes."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..bus import Bus
from ..errors import StoreError
from ..model.change import Commit
from ..model.system import System

Rows = Mapping[str, Sequence[tuple[Any, ...]]]
Waiter = Callable[[StoreError | None], None]


class Backend(Protocol):
    """Where commits go. It reports on the event loop, in the order of submission."""

    def load(self) -> Rows:
        """Return what is stored, by table. Blocks; called once, before any commit."""

    def begin(self, stored: Callable[[int], None], failed: Callable[[str], None]) -> None:
        """Start to take commits. `stored(sequence)`: all up to it are on disk.

        `failed(why)`: nothing submitted after the last stored one is; the backend drops what it
        still holds and takes nothing more until `retry`.
        """

    def submit(self, commit: Commit) -> None:
        """Take a commit, in order; never blocks."""

    def retry(self) -> None:
        """Try a write that changes nothing; report `stored(0)` if commits can be taken again."""

    def close(self) -> None:
        """Write what was submitted and stop. Blocks."""


class Ledger:
    """Keeps the order of changes: pending, stored, told. All on the event loop."""

    def __init__(self, system: System, backend: Backend, bus: Bus) -> None:
        self._system = system
        self._backend = backend
        self._bus = bus
        self._pending: deque[Commit] = deque()
        self._waiters: deque[tuple[int, Waiter]] = deque()
        self._broken: str | None = None
        self.stored = system.sequence
        #: Told of each stored commit, before its facts are; it may not raise.
        self.on_stored: Callable[[Commit], None] = lambda _: None
        system.commit = self._commit
        system.guard = self._guard
        backend.begin(self._on_stored, self._on_failed)

    @property
    def broken(self) -> str | None:
        """Return why no change can be stored now, or None."""
        return self._broken

    def _guard(self) -> None:
        if self._broken is not None:
            self._backend.retry()
            raise StoreError(self._broken)

    def _commit(self, commit: Commit) -> None:
        self._pending.append(commit)
        self._backend.submit(commit)

    def when_stored(self, sequence: int, waiter: Waiter) -> None:
        """Call the waiter once all changes up to the sequence are on disk, or are undone."""
        if sequence <= self.stored or not self._pending:
            waiter(None)
        else:
            self._waiters.append((sequence, waiter))

    def _on_stored(self, sequence: int) -> None:
        self._broken = None
        landed: list[Commit] = []
        while self._pending and self._pending[0].sequence <= sequence:
            landed.append(self._pending.popleft())
            self.stored = landed[-1].sequence
        try:
            for commit in landed:
                self.on_stored(commit)
                for fact in commit.facts:
                    self._bus.publish(commit.sequence, fact)
        finally:  # a listener's bug is no reason to leave a caller without its answer
            self._wake(None)

    def _on_failed(self, why: str) -> None:
        self._broken = why
        while self._pending:
            for undo in reversed(self._pending.pop().undo):
                undo()
        self.stored = self._system.sequence
        self._wake(StoreError(why))

    def _wake(self, error: StoreError | None) -> None:
        while self._waiters and self._waiters[0][0] <= self.stored:
            self._waiters.popleft()[1](error)
