"""Words that commands take: their types, and how the shell completes each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from ..client.call import Client
from ..client.errors import ConnectionFailedError
from ..client.qubes import Qube
from ..client.volumes import Pools, Volume
from ..errors import AdminError
from ..names import ADMIN
from ..spec import METHODS, label
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES, PropertyRow, Writable
from .session import Session, run

#: Seconds that a shell may wait for the daemon before it completes nothing.
_PATIENCE_S: Final = 1.0

T = TypeVar("T")
Found = Iterable[tuple[str, str]]


class Word(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases only
    """A word that is sent as it is. `find` lists (word, help) for the shell to offer."""

    def __init__(self, name: str, find: Callable[[click.Context], Found]) -> None:
        self.name = name
        self._find = find

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer what begins like the word so far, and is not on the line already."""
        given = ctx.params.get(param.name or "") or ()
        taken = set(given) if isinstance(given, tuple) else set()
        try:
            return [
                CompletionItem(word, help=text or None)
                for word, text in self._find(ctx)
                if word.startswith(incomplete) and word not in taken
            ]
        except (AdminError, ConnectionFailedError):
            return []  # a shell is no place for errors


def _session(ctx: click.Context) -> Session:
    return Session.of(ctx.find_root().params)


def _subject(ctx: click.Context) -> str:
    # An option that still lacks its value leaves the words around it unparsed.
    unparsed = ctx.args[0] if ctx.args else ADMIN
    return str(ctx.params.get("qube") or ctx.params.get("dest") or unparsed)


def _qubes(ctx: click.Context) -> Found:
    rows = run(_session(ctx).qubes(timeout_s=_PATIENCE_S).rows())
    return [(row.name, f"{row.klass}, {row.state.value}") for row in rows]


def _qubes_or_properties(ctx: click.Context) -> Found:
    return _properties_of_system(ctx) if ctx.params.get("system") else _qubes(ctx)


def _labels(ctx: click.Context) -> Found:
    client = _session(ctx).client(timeout_s=_PATIENCE_S)
    return [(name, "") for name in run(client.call(label.LIST, ADMIN, None))]


def _tags(ctx: click.Context) -> Found:
    qube = _session(ctx).qubes(timeout_s=_PATIENCE_S)[_subject(ctx)]
    return [(name, "") for name in run(qube.tags.all())]


def _features(ctx: click.Context) -> Found:
    qube = _session(ctx).qubes(timeout_s=_PATIENCE_S)[_subject(ctx)]
    return [(name, "") for name in run(qube.features.names())]


def _rows(rows: Iterable[PropertyRow]) -> Found:
    return [(row.name, " ".join(row.doc.split())) for row in rows]


def _properties_of_system(_ctx: click.Context) -> Found:
    return _rows(SYSTEM_PROPERTIES.values())


def _properties(ctx: click.Context) -> Found:
    return _rows((SYSTEM_PROPERTIES if ctx.params.get("system") else QUBE_PROPERTIES).values())


def _settable(_ctx: click.Context) -> Found:
    rows = [row for row in QUBE_PROPERTIES.values() if row.writable is not Writable.NO]
    return [(f"{name}=", text) for name, text in _rows(rows)]


def _methods(_ctx: click.Context) -> Found:
    return [(row.name, row.summary) for row in METHODS.values()]


def _pools(ctx: click.Context) -> Found:
    return [(name, "") for name in run(Pools(_quick(ctx)).names())]


def _drivers(ctx: click.Context) -> Found:
    return [(d.name, " ".join(d.options)) for d in run(Pools(_quick(ctx)).drivers())]


def _options_of_pool(ctx: click.Context) -> Found:
    chosen = ctx.params.get("driver")
    drivers = run(Pools(_quick(ctx)).drivers())
    return [(f"{name}=", "") for d in drivers if d.name == chosen for name in d.options]


def _volumes(ctx: click.Context) -> Found:
    qube = Qube(_quick(ctx), str(ctx.params.get("to") or ctx.params.get("qube") or ADMIN))
    return [(name, "") for name in run(qube.volumes())]


def _snapshots(ctx: click.Context) -> Found:
    volume = Volume(_quick(ctx), _subject(ctx), str(ctx.params.get("volume")))
    return [(each.id, "") for each in run(volume.snapshots())]


def _places(ctx: click.Context) -> Found:
    return [(f"{name}=", "") for name in ("root", "private", "volatile")]


def _quick(ctx: click.Context) -> Client:
    return _session(ctx).client(timeout_s=_PATIENCE_S)


def _fixed(*names: str) -> Callable[[click.Context], Found]:
    return lambda _: [(f"{name}=", "") for name in names]


QUBE: Final = Word("qube", _qubes)
POOL: Final = Word("pool", _pools)
DRIVER: Final = Word("driver", _drivers)
VOLUME: Final = Word("volume", _volumes)
SNAPSHOT: Final = Word("snapshot", _snapshots)
QUBE_OR_PROPERTY: Final = Word("qube", _qubes_or_properties)
LABEL: Final = Word("label", _labels)
TAG: Final = Word("tag", _tags)
FEATURE: Final = Word("feature", _features)
PROPERTY: Final = Word("property", _properties)
METHOD: Final = Word("method", _methods)


class Assignment(click.ParamType):  # type: ignore[type-arg]
    """`NAME=VALUE`. `find` lists (`NAME=`, help) for the shell to offer."""

    name = "name=value"

    def __init__(self, find: Callable[[click.Context], Found]) -> None:
        self._find = find

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split the word."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return key, text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the names that can be set."""
        return Word("", self._find).shell_complete(ctx, param, incomplete)


ASSIGNMENT: Final = Assignment(_settable)
PLACE: Final = Assignment(_places)
POOL_OPTION: Final = Assignment(_options_of_pool)
POOL_SETTING: Final = Assignment(_fixed("revisions_to_keep", "ephemeral_volatile"))
VOLUME_SETTING: Final = Assignment(_fixed("revisions_to_keep", "rw", "ephemeral"))


def names(words: Sequence[str]) -> list[str]:
    """Return the words in order, each once."""
    return list(dict.fromkeys(words))
