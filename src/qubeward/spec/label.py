"""admin.label.*"""

import re
from typing import Final, NewType

from ..errors import InvalidLabelValueError, LabelInUseError, LabelNotFoundError, ProtocolError
from ..names import LABEL, LABEL_REF
from ..untrusted import NOTHING, Codec
from .body import DECIMAL, entry, lines
from .method import AnyMethod, Dest, Effect, Method, Scope, Since

Color = NewType("Color", str)

_COLOR = re.compile(rb"0x[0-9a-fA-F]{6}")


def _color(raw: bytes) -> Color:
    value = raw.strip()
    if not _COLOR.fullmatch(value):
        raise InvalidLabelValueError("allowed: 0xRRGGBB")
    return Color(value.decode("ascii").lower())


COLOR: Final[Codec[Color]] = Codec(
    name="0xRRGGBB",
    decode=_color,
    encode=lambda color: color.encode("ascii"),
    examples=(Color("0xcc0000"),),
    rejects=(b"cc0000", b"0x00fff", b"0x00ffffff", b"0xGGGGGG", b"0x\xff\xff\xff"),
)

LIST = Method(
    name="admin.label.List",
    dest=Dest.ADMIN,
    arg=entry(LABEL),
    payload=NOTHING,
    reply=lines(LABEL),
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="List the labels, by index.",
)
CREATE = Method(
    name="admin.label.Create",
    dest=Dest.ADMIN,
    arg=LABEL,
    payload=COLOR,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Make a label of a color.",
    errors=(LabelInUseError,),
)
GET = Method(
    name="admin.label.Get",
    dest=Dest.ADMIN,
    arg=LABEL_REF,
    payload=NOTHING,
    reply=COLOR,
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Tell a label's color.",
    errors=(LabelNotFoundError,),
)
INDEX = Method(
    name="admin.label.Index",
    dest=Dest.ADMIN,
    arg=LABEL_REF,
    payload=NOTHING,
    reply=DECIMAL,
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Tell a label's index.",
    errors=(LabelNotFoundError,),
)
REMOVE = Method(
    name="admin.label.Remove",
    dest=Dest.ADMIN,
    arg=LABEL_REF,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Remove a label that no qube wears; the first eight stay.",
    errors=(LabelNotFoundError, LabelInUseError, ProtocolError),
)

METHODS: tuple[AnyMethod, ...] = (LIST, CREATE, GET, INDEX, REMOVE)
