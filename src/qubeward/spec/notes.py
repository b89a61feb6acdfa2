"""admin.vm.notes.*"""

import unicodedata
from typing import Final

from ..errors import ProtocolError, QubeError
from ..untrusted import NOTHING, Codec
from .body import TEXT
from .method import AnyMethod, Dest, Effect, Method, Scope, Since

#: Bytes (ADMIN-API §1.6).
NOTES_LIMIT = 256_000


def _is_safe(character: str) -> bool:
    if character in "\t\n ":
        return True
    # C* are control, format, surrogate, private and unassigned; Zl and Zp break lines.
    category = unicodedata.category(character)
    return category[0] != "C" and category not in {"Zl", "Zp"}


def _notes(raw: bytes) -> str:
    if len(raw) > NOTES_LIMIT:
        raise ProtocolError("notes", f"longer than {NOTES_LIMIT} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError("notes", "not UTF-8") from None
    return "".join(c if _is_safe(c) else "_" for c in text)


NOTES: Final[Codec[str]] = Codec(
    name="text, unsafe characters become _",
    decode=_notes,
    encode=lambda text: text.encode("utf-8"),
    examples=("Hello\nworld\ttab", "héllo"),
    rejects=(b"\xff\xfe", b"a" * (NOTES_LIMIT + 1)),
)

GET = Method(
    name="admin.vm.notes.Get",
    dest=Dest.QUBE,
    arg=NOTHING,
    payload=NOTHING,
    reply=TEXT,
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.R4,
    summary="Read the notes kept about a qube.",
    errors=(QubeError,),
)
SET = Method(
    name="admin.vm.notes.Set",
    dest=Dest.QUBE,
    arg=NOTHING,
    payload=NOTES,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.R4,
    summary="Replace the notes kept about a qube.",
    errors=(QubeError,),
)

METHODS: tuple[AnyMethod, ...] = (GET, SET)
