"""admin.Events, and which events of the wire each fact becomes."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .. import facts
from ..facts import Fact
from ..names import QubeName
from ..untrusted import NOTHING
from .method import AnyMethod, Dest, Effect, Method, Scope, Since

EVENTS = Method(
    name="admin.Events",
    dest=Dest.ANY,
    arg=NOTHING,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Stream the events that the caller may see; to a qube, only that one's.",
    stream=True,
)

METHODS: tuple[AnyMethod, ...] = (EVENTS,)

#: Sent first on every stream, before anything can be missed.
ESTABLISHED: Final = "connection-established"


class Said(NamedTuple):
    """One event: its name on the wire, and fields in order. Values are spelled with `str`."""

    name: str
    fields: tuple[tuple[str, object], ...] = ()


def _property_set(fact: facts.PropertySet) -> Iterator[Said]:
    fields = (("name", fact.name), ("newvalue", fact.new), ("oldvalue", fact.old))
    yield Said(f"property-pre-set:{fact.name}", fields)
    yield Said(f"property-set:{fact.name}", fields)


def _property_reset(fact: facts.PropertyReset | facts.DefaultChanged) -> Iterator[Said]:
    fields = (("name", fact.name), ("oldvalue", fact.old))
    for stem in ("pre-reset", "pre-del", "reset", "del"):
        yield Said(f"property-{stem}:{fact.name}", fields)


def _state_changed(fact: facts.StateChanged) -> Iterator[Said]:
    yield Said(f"property-reset:{fact.name}", (("name", fact.name),))


def _feature_set(fact: facts.FeatureSet) -> Iterator[Said]:
    fields: tuple[tuple[str, object], ...] = (("feature", fact.feature), ("value", fact.value))
    if fact.old is not None:
        fields = (*fields, ("oldvalue", fact.old))
    yield Said(f"domain-feature-pre-set:{fact.feature}", fields)
    yield Said(f"domain-feature-set:{fact.feature}", fields)


def _feature_removed(fact: facts.FeatureRemoved) -> Iterator[Said]:
    fields = (("feature", fact.feature),)
    yield Said(f"domain-feature-pre-delete:{fact.feature}", fields)
    yield Said(f"domain-feature-delete:{fact.feature}", fields)


def _tag(stem: str) -> Callable[[Any], Iterator[Said]]:
    def say(fact: facts.TagAdded | facts.TagRemoved) -> Iterator[Said]:
        yield Said(f"{stem}:{fact.tag}", (("tag", fact.tag),))

    return say


def _fields(name: str, *fields: tuple[str, str]) -> Callable[[Any], Iterator[Said]]:
    """Return a speller of one event whose fields are attributes of the fact."""

    def say(fact: Fact) -> Iterator[Said]:
        yield Said(name, tuple((key, getattr(fact, attribute)) for key, attribute in fields))

    return say


_GUID = ("start_guid", "start_guid")

SPELLINGS: Final[Mapping[type[Fact], Callable[[Any], Iterator[Said]]]] = MappingProxyType(
    {
        facts.PropertySet: _property_set,
        facts.PropertyReset: _property_reset,
        facts.DefaultChanged: _property_reset,
        facts.StateChanged: _state_changed,
        facts.FeatureSet: _feature_set,
        facts.FeatureRemoved: _feature_removed,
        facts.TagAdded: _tag("domain-tag-add"),
        facts.TagRemoved: _tag("domain-tag-delete"),
        facts.VolumesRemoved: _fields("domain-remove-from-disk"),
        facts.PoolAdded: _fields("pool-add", ("pool", "pool")),
        facts.PoolRemoving: _fields("pool-pre-delete", ("pool", "pool")),
        facts.PoolRemoved: _fields("pool-delete", ("pool", "pool")),
        facts.PoolSpace: _fields(
            "pool-space",
            ("pool", "pool"),
            ("state", "state"),
            ("size", "size_bytes"),
            ("usage", "usage_bytes"),
        ),
        facts.PoolUsable: _fields("pool-usable", ("pool", "pool"), ("reason", "reason")),
        facts.VolumeCloned: _fields(
            "domain-import-volume", ("name", "volume"), ("source", "source")
        ),
        facts.VolumeImporting: _fields(
            "domain-volume-import-begin", ("volume", "volume"), ("size", "size_bytes")
        ),
        facts.VolumeImported: _fields(
            "domain-volume-import-end", ("volume", "volume"), ("success", "success")
        ),
        facts.QubeStarting: _fields("domain-pre-start", _GUID, ("mem_required", "memory_mib")),
        facts.QubeSpawning: _fields("domain-pre-spawn", _GUID),
        facts.QubeSpawned: _fields("domain-spawn", _GUID),
        facts.QubeUnpausing: _fields("domain-pre-unpaused"),
        facts.QubeUnpaused: _fields("domain-unpaused"),
        facts.QubeStarted: _fields("domain-start", _GUID),
        facts.QubeStartFailed: _fields("domain-start-failed", ("reason", "reason")),
        facts.QubeStopping: _fields("domain-pre-shutdown", ("force", "force")),
        facts.QubeStopFailed: _fields("domain-shutdown-failed", ("reason", "reason")),
        facts.QubeStopped: _fields("domain-stopped"),
        facts.QubeHalted: _fields("domain-shutdown"),
        facts.QubePausing: _fields("domain-pre-paused"),
        facts.QubePaused: _fields("domain-paused"),
    }
)


def spell(fact: Fact) -> Iterator[tuple[QubeName | None, Said]]:
    """Yield the events that a fact becomes, each with its subject.

    A qube that comes or goes is told of by the system (`domain-add`), whose subject is empty.
    """
    name = fact.subject
    match fact:
        case facts.QubeCreated():
            yield None, Said("domain-add", (("vm", name),))
            for stem in ("domain-init", "domain-load", "domain-create-on-disk"):
                yield name, Said(stem)
        case facts.QubeRemoving():
            yield None, Said("domain-pre-delete", (("vm", name),))
        case facts.QubeRemoved():
            yield None, Said("domain-delete", (("vm", name),))
        case _:
            for said in SPELLINGS[type(fact)](fact):
                yield name, said
