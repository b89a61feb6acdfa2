"""The events of `admin.Events` as a reference, spelled by the daemon's own table."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from .. import facts
from ..facts import Fact
from ..spec.event import ESTABLISHED, spell
from .markdown import code, first_line, page, table

_INTRODUCTION = f"""\
What `admin.Events` can send. The first event of a stream is always `{ESTABLISHED}`; after it,
nothing is missed for as long as the stream lasts. An event has a subject (a qube's name, or nothing
for the system), a name, and fields. Words in capitals stand for what is meant. A property of the
system has the system as its subject.

An event of a change goes out once the change is on disk; `pre-` events of a change therefore go out
with it. Events of a start or a stop under way go out as things happen. Values are texts: `None`,
`True` and `False` are spelled so. `oldvalue` of a feature is left out where there was none."""


def _sample(kind: type[Fact]) -> Fact:
    """Return a fact whose every field is its own name in capitals."""
    values: dict[str, Any] = {f.name: f.name.upper() for f in dataclasses.fields(kind)}
    return kind(**{**values, "subject": "QUBE"})


def _kinds() -> Iterator[type[Fact]]:
    # not Fact.__subclasses__(): it has what each class was before it was given slots, too
    for kind in vars(facts).values():
        if isinstance(kind, type) and issubclass(kind, Fact) and kind is not Fact:
            yield kind


def events_page() -> str:
    """Return the reference of all events."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for kind in _kinds():
        for subject, said in spell(_sample(kind)):
            fields = ", ".join(f"{code(key)} = {value}" for key, value in said.fields)
            key = (code(said.name), subject or "the system", fields or "none")
            rows.setdefault(key, []).append(first_line(kind.__doc__))
    lines = [(*key, " Or: ".join(dict.fromkeys(docs))) for key, docs in rows.items()]
    return page(
        "Events", _INTRODUCTION, table(("event", "subject", "fields", "what happened"), lines)
    )
