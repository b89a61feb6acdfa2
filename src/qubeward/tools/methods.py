"""The method table as a reference, family by family."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from .. import spec
from ..errors import AdminError
from ..spec.method import (
    AnyMethod,
    ByArgument,
    Dest,
    PerDialect,
    Scope,
    Since,
    Stream,
    codecs_of,
)
from ..untrusted import Codec
from .markdown import code, first_line, page, table

_DESTS = {Dest.ADMIN: "`dom0`", Dest.QUBE: "a qube, not `dom0`", Dest.ANY: "`dom0` or a qube"}
_SCOPES = {Scope.LOCAL: "one qube", Scope.GLOBAL: "the whole system"}
_SINCE = {
    Since.DRAFT: "the draft page",
    Since.R4: "Qubes OS 4, after the draft",
    Since.OURS: "this project",
}
_MOST_EXAMPLES, _LONGEST_EXAMPLE = 2, 48

_INTRODUCTION = """\
Every call that the daemon answers, printed from the table that it answers by
(`src/qubeward/spec/`). `admin.api.Describe` returns the same as JSON.

A grammar in code is what stands on the wire; `-` is nothing at all, what stands in brackets may be
missing. Where the two dialects differ, both are given: `r4` is spoken on `run/qubesd.sock`, `draft`
on `run/qubeward/draft.sock`. A few calls are for the host's own programs, and are answered on
`run/qubesd.internal.sock` alone.

Any call can also end in these: `ProtocolError` (a framing, an argument or a payload against the
grammar, a wrong kind of destination, no such call), `QubesVMNotFoundError` and
`QubesVMInvalidUUIDError` (source or destination), `PermissionDenied`, and `QubesException` (the
change could not be stored; the daemon is busy or stopping; an internal error, with its number in
the log). [errors.md](errors.md) has all of them.

`effect` is the right that a caller needs: `ro` reads, `rw` changes, `rwx` also runs something."""


def families() -> Iterator[tuple[str, tuple[AnyMethod, ...]]]:
    """Yield each family of the table: the first line of its file, and its rows."""
    modules = [m for m in vars(spec).values() if isinstance(m, ModuleType)]
    of_row = {
        row.name: module
        for module in modules
        if module.__name__.startswith(f"{spec.__name__}.")
        for row in getattr(module, "METHODS", ())
    }
    for module in dict.fromkeys(of_row[name] for name in spec.METHODS):
        yield first_line(module.__doc__).rstrip("."), module.METHODS


def _spellings(thing: Any) -> list[tuple[str, Codec[Any]]]:
    """Return the codecs that a thing may be spelled with, each with the dialect if there is one."""
    if isinstance(thing, PerDialect):
        return [("r4", thing.r4), ("draft", thing.draft)]
    return [("", codec) for codec in codecs_of(thing)]


def grammar(thing: Any) -> str:
    """Return what may stand on the wire."""
    if isinstance(thing, Stream):
        head = f"{thing.head.name}\\n" if thing.is_line else ""
        return f"{code(f'{head}<{thing.name}>')}, of any length"
    if isinstance(thing, ByArgument):
        names = ", ".join(code(codec.name) for codec in thing.codecs)
        return f"{thing.name}, by the argument: {names}"
    spelled = [(dialect, code(codec.name)) for dialect, codec in _spellings(thing)]
    if len({name for _, name in spelled}) == 1:
        return spelled[0][1]
    return "; ".join(f"{dialect}: {name}" for dialect, name in spelled)


def _examples(thing: Any) -> str:
    """Return examples of a thing, as the wire has them."""
    if isinstance(thing, ByArgument | Stream):
        return ""
    codec = _spellings(thing)[0][1]
    spelled = [codec.encode(example) for example in codec.examples]
    texts = [raw.decode() for raw in spelled if raw and len(raw) <= _LONGEST_EXAMPLE]
    fit = [text for text in texts if text.isprintable() and "`" not in text][:_MOST_EXAMPLES]
    return f" (such as {', '.join(code(text) for text in fit)})" if fit else ""


def _errors_of(codec: Codec[Any]) -> Iterator[str]:
    """Yield the wire names of what the codec raises, found by asking it."""
    for raw in codec.rejects:
        try:
            codec.decode(raw)
        except AdminError as error:
            yield error.wire_name


def error_names(method: AnyMethod) -> list[str]:
    """Return the wire names of the errors of a method, of its argument and of its payload."""
    names = {error.wire_name for error in method.errors}
    for thing in (method.arg, method.payload):
        for _, codec in _spellings(thing):
            names.update(_errors_of(codec))
    return sorted(names)


def _entry(method: AnyMethod) -> str:
    rows = [
        ("socket", code("run/qubesd.internal.sock")) if method.internal else None,
        ("destination", _DESTS[method.dest]),
        ("argument", grammar(method.arg) + _examples(method.arg)),
        ("payload", grammar(method.payload) + _examples(method.payload)),
        ("reply", "events" if method.stream else grammar(method.reply)),
        ("effect", f"{code(method.effect.value)}, on {_SCOPES[method.scope]}"),
        ("since", _SINCE[method.since]),
        ("errors", ", ".join(code(name) for name in error_names(method)) or "none of its own"),
    ]
    given = [row for row in rows if row is not None]
    return f"### {method.name}\n\n{method.summary}\n\n{table(('', ''), given)}"


def methods_page() -> str:
    """Return the reference of all calls."""
    parts = [_INTRODUCTION]
    for title, rows in families():
        parts.append(f"## {title}")
        parts += [_entry(row) for row in rows]
    return page("Calls", *parts)
