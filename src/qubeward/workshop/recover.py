"""Make a lost store again, from what was kept beside the volumes (`ops/records.py`).

Nothing is guessed at: what no record tells is said, and is not there afterwards.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import AdminError
from ..host import files
from ..host.lock import LockHeldError, hold_lock
from ..model.change import Commit, Write
from ..model.label import BUILT_IN
from ..model.pool import KERNELS, VARLIBQUBES, Pool
from ..model.system import Host, System
from ..model.volume import Volume
from ..names import ADMIN, ADMIN_UUID, PoolName
from ..ops.pools import Pools
from ..ops.records import OF_QUBE, SYSTEM_RECORD, VERSION, Rows
from ..spec.classes import ADMIN_VM, CLASSES
from ..store.load import fill
from ..store.schema import TABLES
from ..store.sqlite import SqliteBackend, StoreUnusableError
from .errors import WorkshopError

STORE: Final = "var/lib/qubeward/state.db"
_LOCK: Final = "run/qubeward/daemon.lock"
_DATA: Final = "/var/lib/qubes"
_KERNELS_DIR: Final = f"{_DATA}/vm-kernels"
_LAYERS: Final = "layers"


@dataclass(frozen=True, slots=True)
class Record:
    """What one record says, and where and when it was written."""

    place: str
    written_s: int
    rows: Rows


@dataclass(slots=True)
class Report:
    """What was found, and what was not."""

    qubes: list[tuple[str, str, int]] = field(default_factory=list)
    pools: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def recover(root: Path, more: Sequence[Pool] = (), *, dry_run: bool = False) -> Report:
    """Make the store of a root again, and say what is in it. A store that is there is kept.

    `more` are pools that the record of the system does not know. Raises `WorkshopError`.
    """
    store = root / STORE
    if store.exists() and not dry_run:
        raise WorkshopError(
            f"{store} is there: recover is for a store that is lost. To do it all the same, move "
            "it away, with the files of the same name that end in -wal and -shm"
        )
    try:
        with hold_lock(root / _LOCK):
            return asyncio.run(_recover(root, more, dry_run=dry_run))
    except LockHeldError as error:
        raise WorkshopError(
            f"a daemon (process {error.pid}) serves {root}: stop it first"
        ) from None
    except (StoreUnusableError, OSError) as error:
        raise WorkshopError(str(error)) from error


def parse_pool(text: str) -> Pool:
    """Parse `NAME=DRIVER,OPTION=VALUE,…`; raise `WorkshopError`."""
    name, equals, rest = text.partition("=")
    driver, *pairs = rest.split(",")
    options = dict(pair.partition("=")[::2] for pair in pairs)
    if not name or not equals or not driver or not all(options.values()):
        raise WorkshopError(f"{text!r} is not NAME=DRIVER,OPTION=VALUE,…")
    return Pool(PoolName(name), driver, options)


async def _recover(root: Path, more: Sequence[Pool], *, dry_run: bool) -> Report:
    report = Report()
    system_record = _load_system_record(root, report)
    rows = {table: list(found) for table, found in _system_rows(root, system_record).items()}
    rows["pool"] += [[pool.name, pool.driver, dict(pool.options)] for pool in more]
    pools = Pools(_with_pools(rows["pool"]), root, {"reflink_fallback": "true"})
    await pools.open_all()
    report.pools = [(str(row[0]), pools.trouble(PoolName(row[0]))) for row in rows["pool"]]
    records = [] if system_record is None else list(_of_qubes(system_record))
    records += await _beside_volumes(pools, report)
    _merge(rows, records, report)
    _complete(rows, root)
    await _compare(rows, pools, report)
    _check(rows, report)
    if not dry_run:
        await _store(root / STORE, rows)
    return report


def decode(record: bytes, place: str) -> Record | None:
    """Read a record, or return None: it is none that this version understands."""
    try:
        found = json.loads(record)
        written = int(found["written"])
        rows = found["rows"]
        is_sound = found["version"] == VERSION and all(
            table in TABLES
            and isinstance(each, list)
            and all(
                isinstance(row, list) and len(row) == len(TABLES[table].columns) for row in each
            )
            for table, each in rows.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Record(place, written, rows) if is_sound else None


def _load_system_record(root: Path, report: Report) -> Record | None:
    path = root / SYSTEM_RECORD
    try:
        record = decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        report.doubts.append(
            f"{path} is missing: labels, the system's properties, other pools than the first, and "
            "qubes without volumes of their own are not known"
        )
        return None
    if record is None:
        report.doubts.append(f"{path} can't be understood: as if it were missing")
    return record


def _system_rows(root: Path, record: Record | None) -> Rows:
    if record is not None:
        return {table: record.rows.get(table, []) for table in TABLES}
    rows: Rows = {table: [] for table in TABLES}
    rows["label"] = [[label.name, label.index, label.color] for label in BUILT_IN.values()]
    data = root / _DATA.lstrip("/")
    if (data / _LAYERS).is_dir():
        driver = "qcow2"
    else:
        driver = "file-reflink" if data.is_dir() and files.can_reflink(data) else "file"
    rows["pool"] = [
        [VARLIBQUBES, driver, {"dir_path": _DATA}],
        [KERNELS, "linux-kernel", {"dir_path": _KERNELS_DIR}],
    ]
    rows["system_property"] = [["default_pool_kernel", KERNELS]]
    return rows


def _with_pools(rows: Iterable[list[Any]]) -> System:
    system = System(Host(0, 0))
    for name, driver, options in rows:
        system.pools[PoolName(name)] = Pool(PoolName(name), driver, options)
    return system


def _of_qubes(record: Record) -> Iterator[Record]:
    """Yield a record for each qube that the record of the system has."""
    for row in record.rows.get("qube", []):
        uuid = row[0]
        rows = {t: [r for r in record.rows.get(t, []) if r[0] == uuid] for t in OF_QUBE}
        yield Record(record.place, record.written_s, rows)


async def _beside_volumes(pools: Pools, report: Report) -> list[Record]:
    found = []
    for name in pools.usable:
        driver = pools.driver(name)
        if not driver.capabilities.keeps_records:
            continue
        try:
            kept = await driver.records()
        except AdminError as error:
            report.doubts.append(f"the records of pool {name}: {error}")
            continue
        for vid, raw in kept.items():
            record = decode(raw, f"{vid} in pool {name}")
            if record is None or len(record.rows.get("qube", [])) != 1:
                report.doubts.append(f"the record of {vid} in pool {name} can't be understood")
            else:
                found.append(record)
    return found


def _merge(rows: Rows, records: list[Record], report: Report) -> None:
    """Put the newest record of each qube into the rows; of two with one name, the newer."""
    for table in OF_QUBE:
        rows[table] = []
    uuids, names = set[str](), dict[str, str]()
    for record in sorted(records, key=lambda one: -one.written_s):
        uuid, name, klass, qid = record.rows["qube"][0]
        if uuid in uuids:
            continue
        if name in names:
            report.doubts.append(f"{record.place} tells of another qube {name}: left out")
            continue
        uuids.add(uuid)
        names[name] = uuid
        taken = {row[3] for row in rows["qube"]}
        if qid in taken:
            qid = next(number for number in range(1, len(taken) + 2) if number not in taken)
            report.doubts.append(f"{name} gets another number (qid {qid}): its own is taken")
        for table in OF_QUBE:
            rows[table] += record.rows.get(table, [])
        rows["qube"][-1] = [uuid, name, klass, qid]
        for row in rows["property"]:
            if row[:2] == [uuid, "qid"]:
                row[2] = qid
        report.qubes.append((name, klass, record.written_s))


def _complete(rows: Rows, root: Path) -> None:
    """Add dom0, if no record has it."""
    if not any(row[1] == ADMIN for row in rows["qube"]):
        rows["qube"].insert(0, [str(ADMIN_UUID), ADMIN, ADMIN_VM.name, 0])
        rows["property"].insert(0, [str(ADMIN_UUID), "label", "black"])


async def _compare(rows: Rows, pools: Pools, report: Report) -> None:
    """Hold the volumes of the rows against those that are there."""
    claimed = dict[str, set[str]]()
    names = {row[0]: row[1] for row in rows["qube"]}
    for row in rows["volume"]:
        volume = Volume(**row[2])
        claimed.setdefault(volume.pool, set()).add(volume.vid)
        if not volume.save_on_stop or volume.pool not in pools.usable:
            continue
        driver, spec = pools.driver(volume.pool), pools.spec(volume)
        try:
            row[2] = {**row[2], "size_bytes": await driver.size_bytes(spec)}
            if volume.vid not in await driver.vids():
                report.doubts.append(f"volume {volume.name} of {names[row[0]]} is gone")
        except AdminError as error:
            report.doubts.append(f"volume {volume.name} of {names[row[0]]}: {error}")
    for name in pools.usable:
        driver = pools.driver(name)
        if driver.capabilities.read_only:
            continue
        unclaimed = sorted(set(await driver.vids()) - claimed.get(name, set()))
        report.doubts += [
            f"{vid} in pool {name} is nobody's as far as is known" for vid in unclaimed
        ]


def _check(rows: Rows, report: Report) -> None:
    """Load the rows as the daemon will, and see whether what they name is there."""
    system = System(Host(0, 0))
    fill(system, {t: [tuple(row) for row in rows[t]] for t in TABLES}, report.doubts.append)
    for qube in system.qubes.values():
        template = qube.properties.get("template")  # type: ignore[call-overload]
        if qube.klass.name in CLASSES and template is not None and template not in system.qubes:
            report.doubts.append(f"the template {template} of {qube.name} is not known")


async def _store(path: Path, rows: Rows) -> None:
    writes = [
        Write(table.name, tuple(row[: len(table.key)]), tuple(row[len(table.key) :]))
        for table in TABLES.values()
        for row in rows[table.name]
    ]
    new = path.with_name(f"{path.name}.recovered")
    for left in path.parent.glob(f"{new.name}*"):
        left.unlink()
    backend = SqliteBackend(new, reserve=False)
    backend.load()
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    backend.begin(lambda _: done.set_result(""), done.set_result)
    backend.submit(Commit(1, writes, [], []))
    failure = await done
    backend.close()
    if failure:
        raise WorkshopError(f"the store can't be written: {failure}")
    new.rename(path)


def age_text(written_s: int) -> str:
    """Say how long ago something was written, roughly."""
    seconds = max(0, int(time.time()) - written_s)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "now"
