"""admin.api.*"""

from functools import cache
from typing import Any

from ..spec import METHODS, AnyMethod, describe
from ..spec.method import ByArgument, PerDialect, Stream
from .call import AnyRoute, Call, Route


def _grammar(codec: Any) -> Any:
    if isinstance(codec, PerDialect):
        return {"r4": codec.r4.name, "draft": codec.draft.name}
    if isinstance(codec, ByArgument):
        return {"by_argument": [one.name for one in codec.codecs]}
    if isinstance(codec, Stream):
        return {"head": codec.head.name, "line": codec.is_line, "then": codec.name}
    return codec.name


def row(method: AnyMethod) -> dict[str, Any]:
    """Return one row of the table as plain data."""
    return {
        "name": method.name,
        "dest": method.dest.value,
        "argument": _grammar(method.arg),
        "payload": _grammar(method.payload),
        "reply": "events" if method.stream else _grammar(method.reply),
        "effect": method.effect.value,
        "scope": method.scope.value,
        "since": method.since.value,
        "summary": method.summary,
        "errors": sorted({error.wire_name for error in method.errors}),
    }


@cache
def _table() -> dict[str, Any]:
    return {"version": 1, "methods": [row(method) for method in METHODS.values()]}


def describe_(_call: Call[None, None]) -> Any:
    return _table()


ROUTES: tuple[AnyRoute, ...] = (Route(describe.DESCRIBE, describe_),)
