"""Names that have been parsed: holding one is proof that it is well formed."""

import re
from dataclasses import dataclass
from typing import Final, NewType
from uuid import UUID

from .errors import (
    BadValueError,
    InvalidLabelError,
    InvalidTagError,
    InvalidUuidError,
    ProtocolError,
)
from .untrusted import Codec

QubeName = NewType("QubeName", str)
TagName = NewType("TagName", str)
FeatureName = NewType("FeatureName", str)
LabelName = NewType("LabelName", str)
PropertyName = NewType("PropertyName", str)
PoolName = NewType("PoolName", str)
VolumeName = NewType("VolumeName", str)
Vid = NewType("Vid", str)
RevisionId = NewType("RevisionId", str)
ClassName = NewType("ClassName", str)

ADMIN: Final = QubeName("dom0")
ADMIN_UUID: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class QubeUuid:
    """A reference to a qube by its uuid instead of its name."""

    value: UUID


QubeRef = QubeName | QubeUuid

_QUBE = re.compile(rb"[a-zA-Z][a-zA-Z0-9_.-]{0,30}")
_RESERVED = frozenset({b"Domain-0", b"none", b"default"})
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TAG = re.compile(rb"[A-Za-z0-9_-]+")
_LABEL = re.compile(rb"[A-Za-z0-9._-]+")
_POOL = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_REVISION = re.compile(rb"[A-Za-z0-9:_.-]{1,128}")


def _qube(raw: bytes) -> QubeName:
    if not _QUBE.fullmatch(raw) or raw in _RESERVED or raw.endswith(b"-dm"):
        raise BadValueError("qube name", "allowed: a letter, then up to 30 of [a-zA-Z0-9_.-]")
    return QubeName(raw.decode("ascii"))


def _qube_ref(raw: bytes) -> QubeRef:
    if not raw.startswith(b"uuid:"):
        return _qube(raw)
    if not _UUID.fullmatch(raw, 5):
        raise InvalidUuidError("allowed: 36 characters, lower case")
    return QubeUuid(UUID(raw[5:].decode("ascii")))


def _spell_ref(ref: QubeRef) -> bytes:
    return f"uuid:{ref.value}".encode() if isinstance(ref, QubeUuid) else ref.encode("ascii")


def _tag(raw: bytes) -> TagName:
    if not _TAG.fullmatch(raw):
        raise InvalidTagError("allowed: one or more of [A-Za-z0-9_-]")
    return TagName(raw.decode("ascii"))


def _label_ref(raw: bytes) -> LabelName:
    if not _LABEL.fullmatch(raw):
        raise InvalidLabelError("allowed: one or more of [A-Za-z0-9._-]")
    return LabelName(raw.decode("ascii"))


def _label(raw: bytes) -> LabelName:
    if raw.isdigit():
        raise InvalidLabelError("only digits")
    return _label_ref(raw)


def _pool(raw: bytes) -> PoolName:
    if not _POOL.fullmatch(raw):
        raise ProtocolError("pool name", "allowed: 1 to 64 of [A-Za-z0-9._-]")
    return PoolName(raw.decode("ascii"))


def _revision(raw: bytes) -> RevisionId:
    if not _REVISION.fullmatch(raw):
        raise ProtocolError("revision", "allowed: 1 to 128 of [A-Za-z0-9:_.-]")
    return RevisionId(raw.decode("ascii"))


def _ascii(value: str) -> bytes:
    return value.encode("ascii")


QUBE: Final[Codec[QubeName]] = Codec(
    name="qube",
    decode=_qube,
    encode=_ascii,
    examples=(QubeName("work"), ADMIN, QubeName("a" * 31)),
    rejects=(b"", b"-work", b"a" * 32, b"w\xc3\xb6rk", b"work\n", b"none", b"x-dm", b"Domain-0"),
)
QUBE_REF: Final[Codec[QubeRef]] = Codec(
    name="qube|uuid:UUID",
    decode=_qube_ref,
    encode=_spell_ref,
    examples=(QubeName("work"), QubeUuid(ADMIN_UUID)),
    rejects=(*QUBE.rejects, b"uuid:", b"uuid:1111", b"uuid:" + b"A" * 36),
)
TAG: Final[Codec[TagName]] = Codec(
    name="tag",
    decode=_tag,
    encode=_ascii,
    examples=(TagName("personal"), TagName("-x"), TagName("created-by-dom0")),
    rejects=(b"", b"a.b", b"a:b", b"a+b", b"a\n", b"\xff"),
)
LABEL: Final[Codec[LabelName]] = Codec(
    name="label",
    decode=_label,
    encode=_ascii,
    examples=(LabelName("red"), LabelName("9bad"), LabelName("a.b")),
    rejects=(b"", b"12", b"a/b", b"red\n", b"\xff"),
)
LABEL_REF: Final[Codec[LabelName]] = Codec(
    name="label or its index",
    decode=_label_ref,
    encode=_ascii,
    examples=(LabelName("red"), LabelName("1")),
    rejects=(b"", b"a/b", b"red\n", b"\xff"),
)
POOL: Final[Codec[PoolName]] = Codec(
    name="pool",
    decode=_pool,
    encode=_ascii,
    examples=(PoolName("varlibqubes"), PoolName("ssd-2")),
    rejects=(b"", b"bad name", b"a/b", b"pool\n", b"\xff", b"a" * 65),
)
REVISION: Final[Codec[RevisionId]] = Codec(
    name="snapshot",
    decode=_revision,
    encode=_ascii,
    examples=(RevisionId("1"), RevisionId("1700000000-back")),
    rejects=(b"", b"bad rev", b"a/b", b"1\n", b"\xff", b"1" * 129),
)
