"""Systems without a store, their whole state to compare, and random edits of them."""

import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from qubeward.facts import PropertyValue
from qubeward.model.change import Change
from qubeward.model.pool import VARLIBQUBES, Pool
from qubeward.model.qube import Qube
from qubeward.model.system import Host, System
from qubeward.model.volume import Volume, plans
from qubeward.names import (
    ADMIN,
    ADMIN_UUID,
    FeatureName,
    LabelName,
    PoolName,
    PropertyName,
    QubeName,
    TagName,
    VolumeName,
)
from qubeward.spec.classes import ADMIN_VM, CLASSES, CREATABLE, QubeClass
from qubeward.spec.label import Color
from qubeward.spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from qubeward.spec.property_body import Kind

P = PropertyName


def empty_system(**hooks: Any) -> System:
    """Return a system with dom0 and one pool."""
    system = System(Host(16384, 4), **hooks)
    admin = Qube(ADMIN_UUID, ADMIN, 0, ADMIN_VM)
    admin.properties[P("label")] = "black"
    with system.change() as change:
        change.add_qube(admin)
        change.add_pool(Pool(VARLIBQUBES, "memory", {}))
    return system


def new_qube(system: System, name: str, klass: QubeClass, **properties: PropertyValue) -> Qube:
    """Return a qube as its creation would make it; it isn't added."""
    qid = system.free_qid()
    qube = Qube(UUID(int=qid << 64 | 1), QubeName(name), qid, klass)
    own = {"name": name, "qid": qid, "uuid": str(qube.uuid), "label": "red", **properties}
    qube.properties.update((P(key), value) for key, value in own.items())
    for plan in plans(klass):
        vid = f"appvms/{name}/{plan.name}"
        size = plan.size_bytes
        volume = Volume(name=plan.name, pool=VARLIBQUBES, vid=vid, size_bytes=size)
        qube.volumes[plan.name] = volume
    return qube


def add(system: System, name: str, klass: str = "AppVM", **properties: PropertyValue) -> Qube:
    """Add a qube and return it."""
    qube = new_qube(system, name, CLASSES[klass], **properties)
    with system.change() as change:
        change.add_qube(qube)
    return qube


class AbortedError(Exception):
    """A change is given up."""


@contextmanager
def aborted_change(system: System) -> Iterator[Change]:
    """Begin a change that is given up at the end of the block."""
    with suppress(AbortedError), system.change() as change:
        yield change
        raise AbortedError


def give(system: System, name: str | None, prop: str, value: PropertyValue) -> None:
    """Set a property, unchecked. `name` None: of the system."""
    qube = None if name is None else system.qube(name)
    with system.change() as change:
        change.set_property(qube, P(prop), value)


def pointers(system: System) -> dict[tuple[str, str, str], None]:
    """Find what the index of references should hold, the slow way."""
    found = {}
    for name, value in system.properties.items():
        if SYSTEM_PROPERTIES[name].kind is Kind.VM and value is not None:
            found[str(value), "", str(name)] = None
    for qube in system.qubes.values():
        for name, value in qube.properties.items():
            if QUBE_PROPERTIES[name].kind is Kind.VM and value is not None:
                found[str(value), str(qube.name), str(name)] = None
    return found


def indexed(system: System) -> dict[tuple[str, str, str], None]:
    """Return what the index of references does hold."""
    return {
        (str(target), str(reference.holder.name if reference.holder else ""), reference.name): None
        for target in system.references._to
        for reference in system.references.to(target)
    }


def state_of(system: System) -> dict[str, Any]:
    """Return everything that a change can touch, with the order where there is one."""
    return {
        "qubes": [
            (
                qube.name, qube.uuid, qube.qid, qube.klass.name, list(qube.properties.items()),
                list(qube.features.items()), sorted(qube.tags), qube.notes,
                list(qube.volumes.items()),
            )
            for qube in system.in_order()  # the dict's own order is seen by nobody
        ],
        "uuids": sorted((str(uuid), qube.name) for uuid, qube in system.by_uuid.items()),
        "labels": list(system.labels.items()),
        "pools": list(system.pools.items()),
        "properties": list(system.properties.items()),
        "counters": list(system.counters.items()),
        "references": sorted(indexed(system)),
        "in order": [qube.name for qube in system.in_order()],
        "free qid": system.free_qid(),
    }  # fmt: skip


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=2))


def _others(change: Change) -> list[Qube]:
    return [qube for qube in change.system.qubes.values() if qube.name != ADMIN]


def _any_qube(change: Change, rng: random.Random) -> Qube:
    return rng.choice(list(change.system.qubes.values()))


def _value(change: Change, rng: random.Random, kind: Kind) -> PropertyValue:
    match kind:
        case Kind.VM:
            return rng.choice([None, *change.system.qubes])
        case Kind.LABEL:
            return rng.choice(list(change.system.labels))
        case Kind.INT:
            return rng.randrange(1 << 40)
        case Kind.BOOL:
            return rng.random() < 0.5
        case Kind.STR:
            return rng.choice(["", _word(rng), 'a "b" %s \\ ü\n'])


def _add_qube(change: Change, rng: random.Random) -> None:
    name = f"q{rng.randrange(40)}"
    if name in change.system.qubes:
        return
    qube = new_qube(change.system, name, rng.choice(CREATABLE))
    qube.uuid = UUID(int=rng.getrandbits(128))
    qube.properties[P("uuid")] = str(qube.uuid)
    if rng.random() < 0.3:
        qube.features[FeatureName("born-with")] = "1"
        qube.tags.add(TagName("born-with"))
        qube.notes = "born with"
    change.add_qube(qube)


def _remove_qube(change: Change, rng: random.Random) -> None:
    others = _others(change)
    if others:
        change.remove_qube(rng.choice(others))


def _set_property(change: Change, rng: random.Random) -> None:
    qube = rng.choice([None, _any_qube(change, rng)])
    rows = SYSTEM_PROPERTIES if qube is None else QUBE_PROPERTIES
    row = rng.choice([row for row in rows.values() if row.kind is Kind.VM or rng.random() < 0.3])
    change.set_property(qube, row.name, _value(change, rng, row.kind))


def _reset_property(change: Change, rng: random.Random) -> None:
    qube = rng.choice([None, *_others(change)])
    own = list(change.system.properties if qube is None else qube.properties)
    fixed = {"name", "qid", "uuid", "label"}
    name = rng.choice([*(n for n in own if n not in fixed), P("default_dispvm")])
    change.reset_property(qube, name)


def _set_feature(change: Change, rng: random.Random) -> None:
    change.set_feature(_any_qube(change, rng), FeatureName(_word(rng)[0]), _word(rng))


def _remove_feature(change: Change, rng: random.Random) -> None:
    qube = _any_qube(change, rng)
    if qube.features:
        change.remove_feature(qube, rng.choice(list(qube.features)))


def _add_tag(change: Change, rng: random.Random) -> None:
    change.add_tag(_any_qube(change, rng), TagName(_word(rng)[0]))


def _remove_tag(change: Change, rng: random.Random) -> None:
    qube = _any_qube(change, rng)
    if qube.tags:
        change.remove_tag(qube, rng.choice(sorted(qube.tags)))


def _set_notes(change: Change, rng: random.Random) -> None:
    change.set_notes(_any_qube(change, rng), rng.choice(["", "é\n", _word(rng)]))


def _set_volume(change: Change, rng: random.Random) -> None:
    name = VolumeName(rng.choice(["root", "private", "extra"]))
    pool, size = PoolName(_word(rng)), rng.randrange(1 << 50)
    volume = Volume(name=name, pool=pool, vid=_word(rng), size_bytes=size, rw=rng.random() < 0.5)
    change.set_volume(_any_qube(change, rng), volume)


def _add_label(change: Change, rng: random.Random) -> None:
    label = change.system.new_label(LabelName(_word(rng)), Color("0x123456"))
    if label.name not in change.system.labels:
        change.add_label(label)


def _remove_label(change: Change, rng: random.Random) -> None:
    change.remove_label(rng.choice(list(change.system.labels.values())[:-1]))


def _add_pool(change: Change, rng: random.Random) -> None:
    change.add_pool(Pool(PoolName(_word(rng)), "memory", {"revisions_to_keep": "1"}))


def _set_counter(change: Change, rng: random.Random) -> None:
    change.set_counter(rng.choice(["dispid", "other"]), rng.randrange(10000))


EDITS: tuple[Callable[[Change, random.Random], None], ...] = (
    _add_qube, _add_qube, _remove_qube, _set_property, _set_property, _set_property,
    _reset_property, _set_feature, _remove_feature, _add_tag, _remove_tag, _set_notes,
    _set_volume, _add_label, _remove_label, _add_pool, _set_counter,
)  # fmt: skip


def edit(change: Change, rng: random.Random, times: int = 1) -> None:
    """Do random edits. What refers to what is not looked after: the model must not care."""
    for _ in range(times):
        try:
            rng.choice(EDITS)(change, rng)
        except IndexError:  # a list to choose from is empty
            continue
