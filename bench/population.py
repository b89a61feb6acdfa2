"""A stored system of any number of qubes, made without making any."""

import asyncio
from pathlib import Path
from uuid import UUID

from qubeward.bus import Bus
from qubeward.daemon.fresh import set_up
from qubeward.model.change import Change
from qubeward.model.pool import VARLIBQUBES
from qubeward.model.qube import Qube
from qubeward.model.system import Host, System
from qubeward.model.volume import Volume, plans
from qubeward.names import FeatureName, PropertyName, QubeName, TagName
from qubeward.ops.journal import Journal
from qubeward.ops.pools import Pools
from qubeward.spec.classes import APP_VM, TEMPLATE_VM, QubeClass
from qubeward.store.sqlite import SqliteBackend
from qubeward.store.transaction import Ledger

#: The template of all others, the only one whose volumes are on disk.
TEMPLATE = QubeName("template")
_LABELS = ("red", "orange", "yellow", "green", "gray", "blue", "purple", "black")


def name_of(number: int) -> QubeName:
    """Return the name of the qube of this number, from 0."""
    return QubeName(f"qube{number:05}")


def _qube(name: QubeName, number: int, klass: QubeClass) -> Qube:
    qube = Qube(UUID(int=0xBE4C << 64 | number), name, number, klass)
    named: dict[str, str | int] = {
        "name": name,
        "qid": number,
        "uuid": str(qube.uuid),
        "label": _LABELS[number % 8],
    }
    qube.properties.update((PropertyName(key), value) for key, value in named.items())
    for plan in plans(klass):
        folder = "vm-templates" if klass is TEMPLATE_VM else "appvms"
        qube.volumes[plan.name] = Volume(
            name=plan.name,
            pool=VARLIBQUBES,
            vid=f"{folder}/{name}/{plan.name}",
            size_bytes=plan.size_bytes,
            source=f"vm-templates/{TEMPLATE}/root" if plan.snap_on_start else None,
            save_on_stop=plan.save_on_stop,
            snap_on_start=plan.snap_on_start,
        )
    return qube


def _add(change: Change, number: int) -> None:
    qube = _qube(name_of(number), number + 2, APP_VM)
    qube.properties[PropertyName("template")] = TEMPLATE
    qube.properties[PropertyName("memory")] = 400 + number % 1000
    qube.features[FeatureName("bench")] = str(number)
    qube.features[FeatureName("service.network-manager")] = ""
    change.add_qube(qube)
    change.add_tag(qube, TagName("bench-made"))


async def _store(root: Path, qubes: int, driver: str) -> None:
    backend = SqliteBackend(root / "var/lib/qubeward/state.db")
    backend.load()
    system = System(Host(memory_mib=16384, cpus=4))
    ledger = Ledger(system, backend, Bus())
    set_up(system, root, driver)
    with system.change() as change:
        change.set_property(None, PropertyName("default_kernel"), "6.1.bench")
        change.add_qube(_qube(TEMPLATE, 1, TEMPLATE_VM))
        for number in range(qubes):
            _add(change, number)
    await Journal(system, ledger).stored()
    backend.close()
    pools = Pools(system, root, {})
    await pools.open_all(new=True)
    await pools.create([v for v in system.qubes[TEMPLATE].volumes.values() if v.save_on_stop])


def store(root: Path, qubes: int, driver: str = "file") -> None:
    """Write the store of a system with so many qubes below a root without one."""
    asyncio.run(_store(root, qubes, driver))
