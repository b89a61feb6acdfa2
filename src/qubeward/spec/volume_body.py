"""What the calls of volumes carry: types and their codecs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from ..errors import BadValueError, ProtocolError, VolumeTokenError
from ..names import REVISION, PoolName, RevisionId, Vid, VolumeName
from ..untrusted import Codec
from .body import BOOLEAN, PAIR, SIZE, known, lines
from .method import PerDialect

T = TypeVar("T")

_VID: Final = re.compile(rb"[!-~]{1,512}")
_TOKEN: Final = re.compile(rb"[0-9a-zA-Z]{1,64}")
_REVISIONS: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInfo:
    """A volume as the wire tells of it.

    `path` is below the daemon's root. `internal`, which the draft has, says that the volume is a
    part of a qube. `is_outdated` None: the driver can't tell.
    """

    pool: PoolName
    vid: str
    size_bytes: int
    usage_bytes: int
    rw: bool
    source: str
    save_on_stop: bool
    snap_on_start: bool
    path: str = ""
    revisions_to_keep: int = 0
    ephemeral: bool = False
    is_outdated: bool | None = None
    internal: bool = True


@dataclass(frozen=True, slots=True)
class VolumeValue(Generic[T]):
    """A volume of a pool by its vid, and what is asked of it."""

    vid: Vid
    value: T


class Dated(NamedTuple):
    """A snapshot and when it was taken, in seconds since 1970; 0 where nobody knows."""

    id: RevisionId
    time_s: int


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


def _vid(raw: bytes) -> Vid:
    if not _VID.fullmatch(raw):
        raise ProtocolError("volume id", "allowed: 1 to 512 printable characters without space")
    return Vid(raw.decode("ascii"))


def _token(raw: bytes) -> str:
    if not _TOKEN.fullmatch(raw):
        raise VolumeTokenError
    return raw.decode("ascii")


def _revisions(raw: bytes) -> int:
    if not _REVISIONS.fullmatch(raw):
        raise ProtocolError("number", "allowed: decimal, up to 19 digits, no leading zero")
    if int(raw) < -1:
        raise BadValueError("revisions_to_keep", "allowed: -1 or more")
    return int(raw)


VOLUME: Final = known("volume", VolumeName, VolumeName("private"))
VID: Final[Codec[Vid]] = Codec(
    name="vid",
    decode=_vid,
    encode=lambda vid: vid.encode("ascii"),
    examples=(Vid("appvms/work/private"),),
    rejects=(b"", b"a b", b"a\n", b"\xff"),
)
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
TOKEN: Final[Codec[str]] = Codec(
    name="token",
    decode=_token,
    encode=lambda token: token.encode("ascii"),
    examples=("0123456789abcdef0123456789abcdef",),
    rejects=(b"", b"a b", b"\xff", b"a" * 65),
)
REVISIONS_TO_KEEP: Final[Codec[int]] = Codec(
    name="number of snapshots, or -1",
    decode=_revisions,
    encode=lambda number: str(number).encode(),
    examples=(1, 0, -1, 9999999999999999999),
    rejects=(b"", b"-2", b"02", b"abc", b"1 ", b"+1", b"-", b"9" * 20, b"\xff"),
)


def _dated(raw: bytes) -> Dated:
    revision, _, seconds = raw.partition(b" ")
    return Dated(REVISION.decode(revision), SIZE.decode(seconds))


DATED: Final[Codec[Dated]] = Codec(
    name="snapshot seconds",
    decode=_dated,
    encode=lambda dated: f"{dated.id} {dated.time_s}".encode("ascii"),
    examples=(Dated(RevisionId("1"), 1700000000),),
    rejects=(b"", b"1", b"1 x", b"a/b 1"),
)


def of_volume(item: Codec[T]) -> Codec[VolumeValue[T]]:
    """Return the codec of `VID VALUE`: a volume of a pool, and one more word about it."""

    def decode(raw: bytes) -> VolumeValue[T]:
        vid, space, rest = raw.partition(b" ")
        if not space:
            raise ProtocolError("payload", f"expected: vid {item.name}")
        return VolumeValue(_vid(vid), item.decode(rest))

    def encode(pair: VolumeValue[T]) -> bytes:
        return pair.vid.encode("ascii") + b" " + item.encode(pair.value)

    vid = VID.examples[0]
    prefix = vid.encode("ascii") + b" "
    return Codec(
        name=f"vid {item.name}",
        decode=decode,
        encode=encode,
        examples=tuple(VolumeValue(vid, example) for example in item.examples),
        rejects=(b"", b" ", vid.encode("ascii"), *(prefix + bad for bad in item.rejects)),
    )


_Field = tuple[str, Callable[[VolumeInfo], object]]
_COMMON: Final[tuple[_Field, ...]] = (
    ("pool", lambda info: info.pool),
    ("vid", lambda info: info.vid),
    ("size", lambda info: info.size_bytes),
    ("usage", lambda info: info.usage_bytes),
    ("rw", lambda info: info.rw),
)
_SOURCE: Final[_Field] = ("source", lambda info: info.source)
_KIND: Final[tuple[_Field, ...]] = (
    ("save_on_stop", lambda info: info.save_on_stop),
    ("snap_on_start", lambda info: info.snap_on_start),
)
_R4: Final[tuple[_Field, ...]] = (
    *_COMMON,
    _SOURCE,
    ("path", lambda info: info.path),
    *_KIND,
    ("revisions_to_keep", lambda info: info.revisions_to_keep),
    ("ephemeral", lambda info: info.ephemeral),
    ("is_outdated", lambda info: info.is_outdated),
)
_DRAFT: Final[tuple[_Field, ...]] = (
    *_COMMON,
    ("internal", lambda info: info.internal),
    _SOURCE,
    *_KIND,
)
_INFO_EXAMPLE: Final = VolumeInfo(
    pool=PoolName("varlibqubes"),
    vid="appvms/work/private",
    size_bytes=2 << 30,
    usage_bytes=0,
    rw=True,
    source="",
    save_on_stop=True,
    snap_on_start=False,
)


def _boolean_of(found: dict[str, str], key: str) -> bool:
    return BOOLEAN.decode(found[key].encode())


def _info(raw: bytes) -> VolumeInfo:
    found = dict(_PAIRS.decode(raw))
    try:
        outdated = found.get("is_outdated")
        return VolumeInfo(
            pool=PoolName(found["pool"]),
            vid=found["vid"],
            size_bytes=SIZE.decode(found["size"].encode()),
            usage_bytes=SIZE.decode(found["usage"].encode()),
            rw=_boolean_of(found, "rw"),
            source=found["source"],
            save_on_stop=_boolean_of(found, "save_on_stop"),
            snap_on_start=_boolean_of(found, "snap_on_start"),
            path=found.get("path", ""),
            revisions_to_keep=_revisions(found.get("revisions_to_keep", "0").encode()),
            ephemeral=BOOLEAN.decode(found.get("ephemeral", "False").encode()),
            is_outdated=None if outdated is None else BOOLEAN.decode(outdated.encode()),
            internal=BOOLEAN.decode(found.get("internal", "True").encode()),
        )
    except KeyError as error:
        raise ProtocolError("volume", f"{error.args[0]} is missing") from None


def _speller(fields: tuple[_Field, ...]) -> Callable[[VolumeInfo], bytes]:
    def spell(info: VolumeInfo) -> bytes:
        pairs = ((name, read(info)) for name, read in fields)
        return "".join(f"{name}={value}\n" for name, value in pairs if value is not None).encode()

    return spell


_PAIRS: Final = lines(PAIR)
_BAD_INFO: Final = (b"pool=x", b"pool=x\n", b"garbage\n")
INFO: Final[PerDialect[VolumeInfo]] = PerDialect(
    r4=Codec(
        name="property=value\\n",
        decode=_info,
        encode=_speller(_R4),
        examples=(_INFO_EXAMPLE,),
        rejects=_BAD_INFO,
    ),
    draft=Codec(
        name="property=value\\n",
        decode=_info,
        encode=_speller(_DRAFT),
        examples=(_INFO_EXAMPLE,),
        rejects=_BAD_INFO,
    ),
)
