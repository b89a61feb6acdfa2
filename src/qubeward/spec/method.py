"""What one row of the method table says."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from ..errors import AdminError
from ..untrusted import Codec

A = TypeVar("A")
P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")


class Dest(Enum):
    """Which destinations a method takes."""

    ADMIN = "dom0"
    QUBE = "qube"
    ANY = "dom0|qube"


class Effect(Enum):
    """The capability a caller needs, as the default policy's includes name it."""

    READ = "ro"
    WRITE = "rw"
    EXECUTE = "rwx"


class Scope(Enum):
    """Whether a call touches one qube or the whole system."""

    LOCAL = "local"
    GLOBAL = "global"


class Since(Enum):
    """Who brought the call: the draft page, upstream's R4, or this project."""

    DRAFT = "draft"
    R4 = "r4"
    OURS = "qubeward"


@dataclass(frozen=True, slots=True)
class PerDialect(Generic[T]):
    """One thing, spelled in two ways."""

    r4: Codec[T]
    draft: Codec[T]


@dataclass(frozen=True, slots=True)
class ByArgument(Generic[A, P]):
    """A payload whose grammar follows from the parsed argument.

    `codecs` lists those that can come out, for the reference and the tests.
    """

    choose: Callable[[A], Codec[P]]
    name: str
    codecs: tuple[Codec[P], ...]


@dataclass(frozen=True, slots=True)
class Stream(Generic[P]):
    """A payload of any length that is never held in memory.

    `head` parses its beginning, which is judged before a byte of the rest is stored: up to the
    first line feed if `is_line`, else nothing at all. `name` says what the rest is.
    """

    head: Codec[P]
    name: str
    is_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[A, P, R]):
    """One row: everything about a method but the code that does it.

    `stream` True: the reply is a stream of events instead of `reply`. `internal` True: the call is
    for the host's own programs, on the internal socket, and no policy can hand it out.
    `errors` are those beyond the codecs' that a caller who may make the call can meet.
    """

    name: str
    dest: Dest
    arg: Codec[A] | PerDialect[A]
    payload: Codec[P] | PerDialect[P] | ByArgument[A, P] | Stream[P]
    reply: Codec[R] | PerDialect[R]
    effect: Effect
    scope: Scope
    since: Since
    summary: str
    errors: tuple[type[AdminError], ...] = ()
    stream: bool = False
    internal: bool = False


AnyMethod = Method[Any, Any, Any]


def codecs_of(thing: Any) -> tuple[Codec[Any], ...]:
    """Return the codecs that an argument, payload or reply may be spelled with."""
    if isinstance(thing, PerDialect):
        return (thing.r4, thing.draft)
    if isinstance(thing, ByArgument):
        return thing.codecs
    if isinstance(thing, Stream):
        return (thing.head,)
    return (thing,)
