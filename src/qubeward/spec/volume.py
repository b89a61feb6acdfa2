"""admin.vm.volume.* and the calls behind the host's own import programs.

`internal.vm.volume.ImportBegin` and `ImportEnd` (ADMIN-API §1.10) let a program of the host fill a
volume: begin, write the file that the reply names, end. They are for the internal socket alone.
"""

from dataclasses import dataclass
from typing import Final

from ..errors import ForbiddenError, NotHaltedError, ProtocolError, StorageError
from ..names import VolumeName
from ..untrusted import NOTHING, Codec
from .body import SIZE, optional, word
from .method import AnyMethod, Dest, Effect, Method, Scope, Since


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """Where an importer writes: exactly this many bytes, into this file (below the root)."""

    size_bytes: int
    path: str


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How an import went; `why` is for people."""

    success: bool
    why: str = ""


def _target(raw: bytes) -> ImportTarget:
    size, space, path = raw.partition(b" ")
    if not space or not path.startswith(b"/"):
        raise ProtocolError("import target", "expected: SIZE PATH")
    return ImportTarget(SIZE.decode(size), path.decode("utf-8", "replace"))


def _result(raw: bytes) -> ImportResult:
    word_, _, why = raw.partition(b"\n")
    if word_ not in (b"ok", b"fail"):
        raise ProtocolError("import result", "expected: ok, or fail and a line of explanation")
    return ImportResult(word_ == b"ok", why.decode("utf-8", "replace"))


def _spell_result(result: ImportResult) -> bytes:
    return b"ok" if result.success else b"fail\n" + result.why.encode()


VOLUME: Final = word("volume", VolumeName, VolumeName("private"))
TARGET: Final[Codec[ImportTarget]] = Codec(
    name="SIZE PATH",
    decode=_target,
    encode=lambda target: f"{target.size_bytes} {target.path}".encode(),
    examples=(ImportTarget(1024, "/var/lib/qubes/appvms/work/private-import.img"),),
    rejects=(b"", b"12", b"x /a", b"12 a"),
)
RESULT: Final[Codec[ImportResult]] = Codec(
    name="ok | fail\\nWHY",
    decode=_result,
    encode=_spell_result,
    examples=(ImportResult(True), ImportResult(False, "short read")),
    rejects=(b"", b"maybe"),
)

IMPORT_BEGIN = Method(
    name="internal.vm.volume.ImportBegin",
    dest=Dest.QUBE,
    arg=VOLUME,
    payload=optional(SIZE),
    reply=TARGET,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.R4,
    summary="Begin to replace a volume's content, of a given size or the volume's own.",
    errors=(ForbiddenError, NotHaltedError, StorageError),
    internal=True,
)
IMPORT_END = Method(
    name="internal.vm.volume.ImportEnd",
    dest=Dest.QUBE,
    arg=VOLUME,
    payload=RESULT,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.R4,
    summary="End an import: switch to the new content at once, or drop it.",
    errors=(ForbiddenError, StorageError),
    internal=True,
)

METHODS: tuple[AnyMethod, ...] = (IMPORT_BEGIN, IMPORT_END)
