"""A store that forgets: for tests, and for trials that leave nothing behind."""

import asyncio
from collections.abc import Callable

from ..model.change import Commit
from .transaction import Rows


class MemoryBackend:
    """Says of each commit at once that it is stored. Failures are told later, as by a disk."""

    def __init__(self) -> None:
        self._stored: Callable[[int], None] = lambda _: None
        self._failed: Callable[[str], None] = lambda _: None
        #: For tests: the next commits fail with this reason.
        self.failing: str | None = None
        self._refusing = False
        self.commits: list[Commit] = []

    def load(self) -> Rows:
        """Return nothing: a fresh system."""
        return {}

    def begin(self, stored: Callable[[int], None], failed: Callable[[str], None]) -> None:
        """Start to take commits."""
        self._stored, self._failed = stored, failed

    def submit(self, commit: Commit) -> None:
        """Take a commit."""
        if self._refusing:
            return
        if self.failing is not None:
            self._refusing = True
            asyncio.get_running_loop().call_soon(self._failed, self.failing)
            return
        self.commits.append(commit)
        self._stored(commit.sequence)

    def retry(self) -> None:
        """Report whether commits are taken again."""
        if self.failing is None:
            self._refusing = False
            asyncio.get_running_loop().call_soon(self._stored, 0)

    def close(self) -> None:
        """Do nothing."""
