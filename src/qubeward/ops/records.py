"""What is kept outside the store, so that a lost store can be made again: beside each volume.

A record holds a qube's rows of the store, as JSON; the record of the system holds those that belong
to no qube, and the qubes that have no volume to keep a record beside. They are written soon after a
change is stored, never before, and nothing but `workshop/recover.py` reads them.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ..errors import AdminError
from ..host import files
from ..model.change import Commit
from ..model.pool import Pool
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import Volume
from ..names import PoolName
from .pools import Pools

log = logging.getLogger(__name__)

VERSION: Final = 1
#: Where the record of the system is, below the root.
SYSTEM_RECORD: Final = "var/lib/qubes/qubeward.record"
#: Tables whose rows belong to a qube, by its uuid.
OF_QUBE: Final = ("qube", "property", "feature", "tag", "notes", "volume")

Rows = dict[str, list[list[Any]]]


def rows_of(qube: Qube) -> Rows:
    """Return a qube's rows of the store."""
    uuid = str(qube.uuid)
    return {
        "qube": [[uuid, qube.name, qube.klass.name, qube.qid]],
        "property": [[uuid, name, value] for name, value in qube.properties.items()],
        "feature": [[uuid, name, value] for name, value in qube.features.items()],
        "tag": [[uuid, tag] for tag in sorted(qube.tags)],
        "notes": [[uuid, qube.notes]] if qube.notes else [],
        "volume": [[uuid, v.name, asdict(v)] for v in qube.volumes.values()],
    }


def rows_of_system(system: System) -> Rows:
    """Return the rows of the store that belong to no qube."""
    return {
        "label": [[label.name, label.index, label.color] for label in system.labels.values()],
        "pool": [[p.name, p.driver, dict(p.options)] for p in system.pools.values()],
        "system_property": [[name, value] for name, value in system.properties.items()],
        "counter": [[name, value] for name, value in system.counters.items()],
    }


def encode(rows: Mapping[str, object], written_s: float) -> bytes:
    """Spell a record."""
    record = {"version": VERSION, "written": int(written_s), "rows": rows}
    return json.dumps(record, ensure_ascii=True, indent=1).encode("ascii")


def rows_in(record: bytes) -> Rows | None:
    """Return the rows of a record, or None: it is none that this version understands."""
    try:
        found = json.loads(record)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        return None
    rows = found.get("rows")
    return rows if isinstance(rows, dict) else None


def _as_kept(rows: Rows) -> Rows:
    """Return the rows as they come back from a record."""
    kept: Rows = json.loads(json.dumps(rows))
    return kept


@dataclass(slots=True)
class Records:
    """Writes records of what has changed. `note` is told of each stored commit."""

    system: System
    pools: Pools
    root: Path
    _qubes: dict[UUID, None] = field(default_factory=dict)
    _system: bool = False
    #: One record is written at a time, and none while a qube's volumes are removed.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def note(self, commit: Commit) -> None:
        """Remember what a stored commit has changed."""
        for write in commit.writes:
            if write.table in OF_QUBE:
                uuid = write.key[0]
                if isinstance(uuid, UUID):
                    self._qubes[uuid] = None
                self._system |= write.table == "qube"
            elif write.table not in ("journal", "running"):
                self._system = True

    async def note_stale(self) -> None:
        """Remember the qubes whose records say something else: those were not written in time."""
        self._system = True
        found: dict[PoolName, Mapping[str, bytes]] = {}
        for name in self.pools.usable:
            driver = self.pools.driver(name)
            if driver.capabilities.keeps_records:
                found[name] = await driver.records()
        for qube in tuple(self.system.qubes.values()):
            kept = (found.get(v.pool, {}).get(v.vid, b"") for v in self._places(qube))
            if any(rows_in(record) != _as_kept(rows_of(qube)) for record in kept):
                self._qubes[qube.uuid] = None
            await asyncio.sleep(0)  # there may be thousands

    async def flush(self) -> None:
        """Write the records of what has changed. What fails is tried again with its next change."""
        while self._qubes:
            uuid = next(iter(self._qubes))
            del self._qubes[uuid]
            qube = self.system.by_uuid.get(uuid)
            if qube is not None:
                await self.write(qube)
        if self._system:
            self._system = False
            await self._write_system()

    async def write(self, qube: Qube) -> None:
        """Write a qube's record beside each of its volumes that can have one."""
        self._qubes.pop(qube.uuid, None)
        if not self._has_place(qube):
            self._system = True
            return
        for volume in self._places(qube):
            async with self.lock:
                if self.system.by_uuid.get(qube.uuid) is not qube:
                    return
                record = encode(rows_of(qube), time.time())
                try:
                    await self.pools.driver(volume.pool).keep_record(volume.vid, record)
                except AdminError as error:
                    log.warning("the record of %s: %s", qube.name, error)

    def _places(self, qube: Qube) -> Iterable[Volume]:
        """Return the volumes beside which a record of the qube can be kept."""
        return [v for v in qube.volumes.values() if v.save_on_stop and self._keeps(v)]

    def _has_place(self, qube: Qube) -> bool:
        return any(True for _ in self._places(qube))

    def _keeps(self, volume: Volume) -> bool:
        if volume.pool not in self.pools.usable:
            pool: Pool | None = self.system.pools.get(volume.pool)
            return pool is not None  # it may have one there already, and can't be asked now
        return self.pools.driver(volume.pool).capabilities.keeps_records

    async def _write_system(self) -> None:
        rows = rows_of_system(self.system)
        for qube in self.system.qubes.values():
            if not self._has_place(qube):
                for table, found in rows_of(qube).items():
                    rows.setdefault(table, []).extend(found)
        path = self.root / SYSTEM_RECORD
        try:
            await asyncio.to_thread(_replace, path, encode(rows, time.time()))
        except OSError as error:
            log.warning("the record of the system: %s", error)


def _replace(path: Path, record: bytes) -> None:
    files.make_directory(path.parent)
    files.replace_file(path, record)
