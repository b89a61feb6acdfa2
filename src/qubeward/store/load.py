"""Stored rows back into the model. What can't be understood is left out and said, never fatal."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
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


def fill(system: System, rows: Rows, report: Callable[[str], None]) -> None:
    """Put the rows into an empty system. `report` is told of each row that was left out."""
    if not rows.get("qube"):
        return
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
            except (ValueError, TypeError, AttributeError):
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
            qube.volumes[name] = Volume(**configuration)
        except TypeError as error:
            report(f"qube {qube.name}: volume {name}: {error}")


def is_fresh(system: System) -> bool:
    """Tell whether the system has never been set up."""
    return ADMIN not in system.qubes
