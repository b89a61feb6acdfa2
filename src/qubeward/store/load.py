"""Stored rows back into the model. What can't be understood is left out and said, never fatal."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from ..model.label import Label
from ..model.pool import Pool
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import Volume
from ..names import ADMIN
from ..spec.classes import CLASSES
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from .transaction import Rows

_VALUE = (str, int, type(None))  # a boolean is an int
#: The types of each table's cells. SQLite takes any in any column, and files get edited by hand.
_TYPES: Final[Mapping[str, tuple[type | tuple[type, ...], ...]]] = {
    "qube": (str, str, str, int),
    "property": (str, str, _VALUE),
    "feature": (str, str, str),
    "tag": (str, str),
    "notes": (str, str),
    "volume": (str, str, dict),
    "label": (str, int, str),
    "pool": (str, str, dict),
    "system_property": (str, _VALUE),
    "counter": (str, int),
}


def _in_order(stored: Rows, report: Callable[[str], None]) -> Rows:
    """Return the rows whose cells are of their types."""

    def is_sound(table: str, row: tuple[Any, ...]) -> bool:
        if all(map(isinstance, row, _TYPES[table])):
            return True
        report(f"{table} {row[0]}: a cell of the wrong type")
        return False

    return {table: [row for row in stored[table] if is_sound(table, row)] for table in _TYPES}


def fill(system: System, stored: Rows, report: Callable[[str], None]) -> None:
    """Put the rows into an empty system. `report` is told of each row that was left out."""
    if not stored.get("qube"):
        return
    rows = _in_order(stored, report)
    system.labels.clear()
    for name, index, color in rows["label"]:
        system.labels[name] = Label(name, index, color)
    for name, driver, options in rows["pool"]:
        system.pools[name] = Pool(name, driver, options)
    for name, value in rows["counter"]:
        system.counters[name] = value
    for name, value in rows["system_property"]:
        if name in SYSTEM_PROPERTIES:
            system.properties[name] = value
            system.references.replace(None, name, None, value)
        else:
            report(f"unknown property {name}")
    qubes = dict(_qubes(rows, report))
    _details(qubes, rows, report)
    for qube in qubes.values():
        system.admit(qube)


def _qubes(rows: Rows, report: Callable[[str], None]) -> Iterator[tuple[str, Qube]]:
    names = set[str]()
    for uuid, name, klass, qid in rows["qube"]:
        if klass not in CLASSES:
            report(f"qube {name}: unknown class {klass}")
        elif name in names:
            report(f"qube {name}: there is another of this name")
        else:
            try:
                yield uuid, Qube(UUID(uuid), name, qid, CLASSES[klass])
            except ValueError:
                report(f"qube {name}: no uuid: {uuid}")
            else:
                names.add(name)


def _details(qubes: dict[str, Qube], rows: Rows, report: Callable[[str], None]) -> None:
    def each(table: str) -> Iterator[tuple[Any, ...]]:
        for uuid, *rest in rows[table]:
            if uuid in qubes:
                yield (qubes[uuid], *rest)

    for qube, name, value in each("property"):
        if name in QUBE_PROPERTIES:
            qube.properties[name] = value
        else:
            report(f"qube {qube.name}: unknown property {name}")
    for qube, name, value in each("feature"):
        qube.features[name] = value
    for qube, tag in each("tag"):
        qube.tags.add(tag)
    for qube, text in each("notes"):
        qube.notes = text
    _volumes(each("volume"), report)


def _volumes(rows: Iterable[tuple[Any, ...]], report: Callable[[str], None]) -> None:
    for qube, name, configuration in rows:
        try:
            volume = Volume(**configuration)
        except TypeError as error:
            report(f"qube {qube.name}: volume {name}: {error}")
            continue
        if all(map(isinstance, (volume.vid, volume.pool, volume.size_bytes), (str, str, int))):
            qube.volumes[name] = volume
        else:
            report(f"qube {qube.name}: volume {name}: a value of the wrong type")


def is_fresh(system: System) -> bool:
    """Tell whether the system has never been set up."""
    return ADMIN not in system.qubes
