"""What the calls of admin.vm.* carry: types and their codecs."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from ..errors import ProtocolError
from ..names import QUBE, ClassName, QubeName
from ..untrusted import Codec
from .classes import CLASSES, QubeClass
from .method import PerDialect

_REMEMBERED_ROWS: Final = 1 << 14


class PowerState(StrEnum):
    """Where a qube is in its life, as the wire says it."""

    NA = "NA"
    HALTED = "Halted"
    TRANSIENT = "Transient"
    RUNNING = "Running"
    PAUSED = "Paused"
    SUSPENDED = "Suspended"
    HALTING = "Halting"
    DYING = "Dying"
    CRASHED = "Crashed"


class Row(NamedTuple):
    """One qube in a list."""

    name: QubeName
    klass: ClassName
    state: PowerState
    uuid: UUID


@dataclass(frozen=True, slots=True)
class ShutdownOptions:
    """How to shut down: whatever depends on the qube, and waiting for the end."""

    force: bool = False
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """A qube's state with figures: memory in KiB, CPU time in nanoseconds."""

    memory_kib: int
    max_memory_kib: int
    cpu_time_ns: int
    state: PowerState


def _class(raw: bytes) -> ClassName:
    name = ClassName(raw.decode("ascii", "replace"))
    if name not in CLASSES:
        raise ProtocolError("class", "no such class of qube")
    return name


def fields(raw: bytes, what: str) -> dict[str, str]:
    """Return the `key=value` words of a text, each key once; raise `ProtocolError` for others."""
    if not raw.isascii():
        raise ProtocolError(what, "not ASCII")
    found: dict[str, str] = {}
    for token in raw.decode("ascii").split(" "):
        key, equals, value = token.partition("=")
        if not equals or key in found:
            raise ProtocolError(what, "allowed: key=value, single spaces, each key once")
        found[key] = value
    return found


def _row(raw: bytes, known: set[str]) -> dict[str, str]:
    name, _, rest = raw.partition(b" ")
    found = fields(rest, "row of a list")
    if not known <= found.keys():
        raise ProtocolError("row of a list", "a field is missing")
    return {"name": QUBE.decode(name), **found}


def _r4_row(raw: bytes) -> Row:
    found = _row(raw, {"class", "state", "uuid"})
    try:
        state, uuid = PowerState(found["state"]), UUID(found["uuid"])
    except ValueError:
        raise ProtocolError("row of a list", "no such state or uuid") from None
    return Row(QubeName(found["name"]), ClassName(found["class"]), state, uuid)


def _draft_row(raw: bytes) -> Row:
    return _r4_row(raw + b" uuid=00000000-0000-0000-0000-000000000000")


# A list of all qubes is asked for often, and most of its rows are those of last time.
@lru_cache(maxsize=_REMEMBERED_ROWS)
def _spell_r4(row: Row) -> bytes:
    return f"{row.name} class={row.klass} state={row.state} uuid={row.uuid}".encode()


@lru_cache(maxsize=_REMEMBERED_ROWS)
def _spell_draft(row: Row) -> bytes:
    return f"{row.name} class={row.klass} state={row.state}".encode()


_NIL = UUID(int=0)
_EXAMPLE = Row(QubeName("work"), ClassName("AppVM"), PowerState.HALTED, _NIL)

CLASS: Final[Codec[ClassName]] = Codec(
    name="class",
    decode=_class,
    encode=lambda name: name.encode("ascii"),
    examples=(ClassName("AppVM"),),
    rejects=(b"", b"Foo", b"\xff"),
)
R4_ROW: Final[Codec[Row]] = Codec(
    name="name class=C state=S uuid=U",
    decode=_r4_row,
    encode=_spell_r4,
    examples=(_EXAMPLE,),
    rejects=(b"work", b"work class=AppVM", b"work class=AppVM state=On uuid=1"),
)
DRAFT_ROW: Final[Codec[Row]] = Codec(
    name="name class=C state=S",
    decode=_draft_row,
    encode=_spell_draft,
    examples=(_EXAMPLE,),
    rejects=(b"work", b"work class=AppVM"),
)


def _template(raw: bytes) -> QubeName | None:
    return QUBE.decode(raw) if raw else None


def _no_template(raw: bytes) -> None:
    if raw:
        raise ProtocolError("argument", "qubes of this class have no template")


def creator_arg(row: QubeClass) -> Codec[QubeName | None]:
    if row.template is None:
        return Codec(
            name="-",
            decode=_no_template,
            encode=lambda _: b"",
            examples=(None,),
            rejects=(b"fedora",),
            may_be_empty=True,
        )
    return Codec(
        name=f"[{row.template}]",
        decode=_template,
        encode=lambda name: (name or "").encode("ascii"),
        examples=(None, QubeName("tpl")),
        rejects=(b"1tpl", b"\xff"),
        may_be_empty=True,
    )


_SHUTDOWN_WORDS = ("force", "wait")


def _shutdown(raw: bytes) -> ShutdownOptions:
    words = raw.decode("ascii", "replace").split("+") if raw else []
    if len(set(words)) != len(words) or not set(words) <= set(_SHUTDOWN_WORDS):
        raise ProtocolError("argument", "allowed: force, wait, or both joined by +")
    return ShutdownOptions(force="force" in words, wait="wait" in words)


def _plain_shutdown(raw: bytes) -> ShutdownOptions:
    if raw:
        raise ProtocolError("request", "unexpected argument")
    return ShutdownOptions()


def _spell_shutdown(options: ShutdownOptions) -> bytes:
    return b"+".join(w.encode() for w in _SHUTDOWN_WORDS if getattr(options, w))


SHUTDOWN_OPTIONS: Final[PerDialect[ShutdownOptions]] = PerDialect(
    r4=Codec(
        name="[force][+][wait]",
        decode=_shutdown,
        encode=_spell_shutdown,
        examples=(ShutdownOptions(), ShutdownOptions(force=True, wait=True)),
        rejects=(b"bogus", b"force+bogus", b"force+wait+", b"wait+wait", b"\xff"),
        may_be_empty=True,
    ),
    draft=Codec(
        name="-",
        decode=_plain_shutdown,
        encode=lambda _: b"",
        examples=(ShutdownOptions(),),
        rejects=(b"force",),
        may_be_empty=True,
    ),
)


def _figures(raw: bytes) -> Figures:
    found = fields(raw, "state")
    try:
        return Figures(
            int(found["mem"]),
            int(found["mem_static_max"]),
            int(found["cputime"]),
            PowerState(found["power_state"]),
        )
    except (KeyError, ValueError):
        raise ProtocolError("state", "a field is missing or no number") from None


FIGURES: Final[Codec[Figures]] = Codec(
    name="mem=KiB mem_static_max=KiB cputime=ns power_state=S",
    decode=_figures,
    encode=lambda f: (
        f"mem={f.memory_kib} mem_static_max={f.max_memory_kib} cputime={f.cpu_time_ns}"
        f" power_state={f.state}"
    ).encode(),
    examples=(Figures(0, 0, 0, PowerState.HALTED),),
    rejects=(b"", b"mem=x mem_static_max=1 cputime=1 power_state=Halted"),
)
