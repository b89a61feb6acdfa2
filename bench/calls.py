"""The calls that are measured, as rows."""

from collections.abc import Callable
from dataclasses import dataclass

from .load import call

Cycle = tuple[bytes, ...]
#: How many callers "16-way" is.
WAYS = 16


def request(method: str, arg: str, dest: str, payload: str = "") -> bytes:
    """Spell a request of dom0."""
    return f"admin.{method}+{arg} dom0 name {dest}\0{payload}".encode()


@dataclass(frozen=True, slots=True)
class Subject:
    """What the calls are about: a qube for each slot, and a feature that all of them have."""

    qubes: tuple[str, ...]
    feature: str | None
    template: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One measured cycle of calls; `cycle(subject, slot)` spells it.

    `writes`: it changes the server's state, and puts it back. `one_way`: only by one caller.
    """

    name: str
    cycle: Callable[[Subject, int], Cycle]
    writes: bool = False
    one_way: bool = False


def _of(subject: Subject, slot: int) -> str:
    return subject.qubes[slot % len(subject.qubes)]


def _read(method: str, arg: str = "") -> Callable[[Subject, int], Cycle]:
    return lambda subject, slot: (request(method, arg, _of(subject, slot)),)


def _feature(subject: Subject, slot: int) -> Cycle:
    return (request("vm.feature.Get", subject.feature or "", _of(subject, slot)),)


def _list(_subject: Subject, _slot: int) -> Cycle:
    return (request("vm.List", "", "dom0"),)


def tagging(subject: Subject, slot: int) -> Cycle:
    """Spell a tag set and removed again, so that each call is a change."""
    qube, tag = _of(subject, slot), f"bench-{slot}"
    return (request("vm.tag.Set", tag, qube), request("vm.tag.Remove", tag, qube))


def _made(klass: str, *, based: bool) -> Callable[[Subject, int], Cycle]:
    def cycle(subject: Subject, slot: int) -> Cycle:
        name = f"bench-made-{slot}"
        arg = (subject.template or "") if based else ""
        return (
            request(f"vm.Create.{klass}", arg, "dom0", f"name={name} label=red"),
            request("vm.Remove", "", name),
        )

    return cycle


GET = Row("property.Get", _read("vm.property.Get", "memory"))
LIST = Row("vm.List", _list)
TAG = Row("tag.Set", tagging, writes=True)
ROWS = (
    GET,
    Row("feature.Get", _feature),
    Row("property.GetAll", _read("vm.property.GetAll")),
    LIST,
    TAG,
    Row("Create RemoteVM", _made("RemoteVM", based=False), writes=True, one_way=True),
    Row("Create AppVM", _made("AppVM", based=True), writes=True, one_way=True),
)


def _lines(path: str, *of: str) -> list[str]:
    return call(path, request(*of))[2:].decode().splitlines()


def find_subject(path: str, chosen: str | None = None) -> Subject:
    """Look at any server for what its calls can be about. Changes nothing."""
    rows = [line.split(" ") for line in _lines(path, "vm.List", "", "dom0")]
    classes = {words[0]: words[1].removeprefix("class=") for words in rows}
    qubes = [chosen] if chosen else [name for name in classes if name != "dom0"][: WAYS * 4]
    templates = [name for name, klass in classes.items() if klass == "TemplateVM"]
    for qube in qubes:
        features = _lines(path, "vm.feature.List", "", qube)
        if features:
            return Subject((qube,), features[0], next(iter(templates), None))
    return Subject(tuple(qubes[:WAYS]) or ("dom0",), None, next(iter(templates), None))


def measurable(subject: Subject, *, writes: bool) -> tuple[Row, ...]:
    """Return the rows that a server's state and the user's leave allow."""
    return tuple(
        row
        for row in ROWS
        if (writes or not row.writes)
        and (subject.feature or row.name != "feature.Get")
        and (subject.template or row.name != "Create AppVM")
    )
