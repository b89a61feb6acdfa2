"""admin.operation.*: long operations that are under way."""

import re
from typing import Final, NamedTuple

from ..errors import OperationNotFoundError, ProtocolError
from ..names import QUBE, QubeName
from ..untrusted import NOTHING, Codec
from .body import PAIR, SIZE, lines, optional
from .method import AnyMethod, Dest, Effect, Method, Scope, Since

_ID: Final = re.compile(rb"[0-9a-f]{1,32}")


class Progress(NamedTuple):
    """One operation: what is done, to which volume, and how far. `total_bytes` None: not known."""

    id: str
    kind: str
    qube: QubeName
    volume: str
    done_bytes: int
    total_bytes: int | None
    began_s: int


def _id(raw: bytes) -> str:
    if not _ID.fullmatch(raw):
        raise ProtocolError("operation", "allowed: hexadecimal digits")
    return raw.decode("ascii")


def _progress(raw: bytes) -> Progress:
    name, _, rest = raw.partition(b" ")
    found = dict(PAIR.decode(word) for word in rest.split(b" "))
    try:
        total = found["total"]
        return Progress(
            _id(name),
            found["kind"],
            QUBE.decode(found["qube"].encode()),
            found["volume"],
            SIZE.decode(found["done"].encode()),
            SIZE.decode(total.encode()) if total else None,
            SIZE.decode(found["began"].encode()),
        )
    except KeyError as error:
        raise ProtocolError("operation", f"{error.args[0]} is missing") from None


def _spell(one: Progress) -> bytes:
    total = "" if one.total_bytes is None else one.total_bytes
    return (
        f"{one.id} kind={one.kind} qube={one.qube} volume={one.volume}"
        f" done={one.done_bytes} total={total} began={one.began_s}"
    ).encode("ascii")


ID: Final[Codec[str]] = Codec(
    name="operation",
    decode=_id,
    encode=lambda identifier: identifier.encode("ascii"),
    examples=("0123456789abcdef",),
    rejects=(b"", b"x", b"A", b"0 1", b"\xff"),
)
PROGRESS: Final[Codec[Progress]] = Codec(
    name="operation kind=K qube=N volume=V done=BYTES total=[BYTES] began=SECONDS",
    decode=_progress,
    encode=_spell,
    examples=(
        Progress("0123456789abcdef", "import", QubeName("work"), "private", 5, 10, 1700000000),
        Progress("1f", "import", QubeName("new"), "root", 0, None, 1700000000),
    ),
    rejects=(b"", b"01", b"01 kind=x", b"xyz kind=a qube=b volume=c done=1 total=1 began=1"),
)

LIST = Method(
    name="admin.operation.List",
    dest=Dest.ADMIN,
    arg=optional(ID),
    payload=NOTHING,
    reply=lines(PROGRESS),
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.OURS,
    summary="List the imports and copies that are under way, with how far they are; or one.",
    errors=(OperationNotFoundError,),
)
CANCEL = Method(
    name="admin.operation.Cancel",
    dest=Dest.ADMIN,
    arg=ID,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.OURS,
    summary="End an operation early; the call that began it fails, and leaves nothing behind.",
    errors=(OperationNotFoundError,),
)

METHODS: tuple[AnyMethod, ...] = (LIST, CANCEL)
