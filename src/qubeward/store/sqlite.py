"""The store in one SQLite file: WAL, every commit synced, one thread that writes.

Commits that wait while another is being synced go to disk together (group commit), so that many
changes at once cost one sync, and the event loop never waits for the disk.
"""

import asyncio
import contextlib
import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from ..model.change import Commit, Write
from .reserve import Reserve
from .schema import TABLES, VERSION, Table
from .transaction import Rows

log = logging.getLogger(__name__)

#: Columns whose values are JSON, so that their type survives.
_JSON = frozenset({"value", "configuration", "options", "start", "about"})

#: What reading a damaged file raises: its bytes may get into SQLite's messages, and not be UTF-8.
_UNREADABLE = (sqlite3.Error, ValueError)


class StoreUnusableError(Exception):
    """The file can't be used, with what to do about it."""


def _cell(value: object) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return json.dumps(asdict(value))
    return value


def _cells(write: Write) -> list[Any]:
    table = TABLES[write.table]
    cells = [_cell(part) for part in write.key]
    for column, value in zip(table.values, write.values or (), strict=False):
        if column in _JSON and not is_dataclass(value):
            cells.append(json.dumps(value))
        else:
            cells.append(_cell(value))
    return cells


def _rows(table: Table, found: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for row in found:
        cells = zip(table.columns, row, strict=True)
        try:
            yield tuple(json.loads(cell) if column in _JSON else cell for column, cell in cells)
        except (ValueError, TypeError) as error:
            log.error("left out of the store: %s %s: %s", table.name, row[0], error)  # noqa: TRY400


def _is_full(error: Exception | None) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


class SqliteBackend:
    """One file, and the thread that writes it."""

    def __init__(self, path: Path, *, reserve: bool = True) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[Commit | str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stored: Callable[[int], None] = lambda _: None
        self._failed: Callable[[str], None] = lambda _: None
        self._refusing = False
        self._reserve = Reserve(path.with_suffix(".reserve")) if reserve else None

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
        return db

    def load(self) -> Rows:
        """Return all rows by table, oldest first; make the file if there is none."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            db = self._connect()
        except _UNREADABLE as error:
            raise StoreUnusableError(f"{self._path}: {error}") from error
        try:
            self._path.chmod(0o600)
            self._prepare(db)
            return {
                table.name: list(_rows(table, db.execute(table.select())))
                for table in TABLES.values()
            }
        except _UNREADABLE as error:
            raise StoreUnusableError(f"{self._path}: {error}") from error
        finally:
            db.close()

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreUnusableError(
                f"{self._path}: made by a newer version of this program (schema {version}, "
                f"this one knows {VERSION}): install that version, or restore an older file"
            )
        if version == 0:
            db.execute("BEGIN")
            for table in TABLES.values():
                db.execute(table.create())
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")

    def begin(self, stored: Callable[[int], None], failed: Callable[[str], None]) -> None:
        """Start the thread that writes. Call it on the event loop."""
        self._stored, self._failed = stored, failed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    def submit(self, commit: Commit) -> None:
        """Take a commit for the thread."""
        self._queue.put(commit)

    def retry(self) -> None:
        """Have the thread try a write that changes nothing."""
        self._queue.put("probe")

    def close(self) -> None:
        """Write what was submitted, and stop the thread."""
        if self._thread is not None:
            self._queue.put("stop")
            self._thread.join()
            self._thread = None

    def _report(self, call: Callable[[], None]) -> None:
        assert self._loop is not None  # noqa: S101  # begin() set it
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            return

    def _write(self) -> None:
        db = self._connect()
        if self._reserve is not None:
            self._reserve.take()
        stopping = False
        while not stopping:
            batch: list[Commit | str] = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            stopping = "stop" in batch
            commits = [item for item in batch if isinstance(item, Commit)]
            probing = "probe" in batch
            if self._refusing and not probing:
                continue
            # After a failure, what was submitted before the probe belongs to undone changes.
            self._store(db, [] if self._refusing else commits, probe=probing)
        db.close()

    def _store(self, db: sqlite3.Connection, commits: list[Commit], *, probe: bool) -> None:
        if not commits and not probe:
            return
        failure = self._try(db, commits, probe=probe)
        if _is_full(failure) and self._reserve is not None and self._reserve.give_up():
            failure = self._try(db, commits, probe=probe)
        self._refusing = failure is not None
        if failure is not None:
            why = str(failure)
            self._report(lambda: self._failed(why))
        else:
            sequence = commits[-1].sequence if commits else 0
            self._report(lambda: self._stored(sequence))
            if self._reserve is not None:
                self._reserve.look()

    def _try(
        self, db: sqlite3.Connection, commits: list[Commit], *, probe: bool
    ) -> Exception | None:
        """Store all commits in one transaction, or return what keeps them from it."""
        try:
            db.execute("BEGIN IMMEDIATE")
            for commit in commits:
                for write in commit.writes:
                    self._apply(db, write)
            if probe:
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        # Beside what SQLite reports: values that it or JSON can't hold. The thread must go on.
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            return error
        return None

    def _apply(self, db: sqlite3.Connection, write: Write) -> None:
        table = TABLES[write.table]
        cells = _cells(write)
        db.execute(table.drop() if write.values is None else table.put(), cells)
