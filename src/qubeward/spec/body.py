"""Codecs of arguments, payloads and replies that several families share."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import ForbiddenError, ProtocolError
from ..untrusted import Codec
from .method import PerDialect

T = TypeVar("T")

#: What the kernel's file offsets can say (off_t).
_LARGEST_SIZE: Final = (1 << 63) - 1
_NAME: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_FLAGS = {b"0": False, b"1": True}


def _flag(raw: bytes) -> bool:
    try:
        return _FLAGS[raw]
    except KeyError:
        raise ProtocolError("flag", "allowed: 0 or 1") from None


def _printable(raw: bytes) -> str:
    if not raw.isascii() or not raw.decode("ascii").isprintable():
        raise ProtocolError("text", "not printable ASCII")
    return raw.decode("ascii")


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError("text", "not UTF-8") from None


FLAG: Final[Codec[bool]] = Codec(
    name="0|1",
    decode=_flag,
    encode=lambda value: b"1" if value else b"0",
    examples=(True, False),
    rejects=(b"", b"2", b"01"),
)
TEXT: Final[Codec[str]] = Codec(
    name="text",
    decode=_utf8,
    encode=lambda value: value.encode("utf-8"),
    examples=("", "some text\nof two lines"),
    rejects=(b"\xff",),
    may_be_empty=True,
)
PRINTABLE: Final[Codec[str]] = Codec(
    name="printable ASCII, may be empty",
    decode=_printable,
    encode=lambda value: value.encode("ascii"),
    examples=("", "some value", "~!@#$%^&*()"),
    rejects=(b"a\nb", b"a\0b", b"\xc3\xa9", b"tab\t"),
    may_be_empty=True,
)


def _decimal(raw: bytes) -> int:
    if not re.fullmatch(rb"0|[1-9][0-9]{0,18}", raw):
        raise ProtocolError("number", "allowed: decimal, up to 19 digits, no leading zero")
    return int(raw)


DECIMAL: Final[Codec[int]] = Codec(
    name="decimal",
    decode=_decimal,
    encode=lambda value: str(value).encode(),
    examples=(0, 7, 10**18),
    rejects=(b"", b"01", b"-1", b"+1", b"1 ", b"1e3", b"9" * 20),
)


def _size(raw: bytes) -> int:
    size = _decimal(raw)
    if size > _LARGEST_SIZE:
        raise ProtocolError("size", f"allowed: up to {_LARGEST_SIZE} bytes")
    return size


SIZE: Final[Codec[int]] = Codec(
    name="bytes",
    decode=_size,
    encode=lambda value: str(value).encode(),
    examples=(0, 10 << 30, _LARGEST_SIZE),
    rejects=(*DECIMAL.rejects, str(_LARGEST_SIZE + 1).encode()),
)


def _wide_size(raw: bytes) -> int:
    return _size(raw.strip(b" \t\r\n"))


#: As R4's clients and its server have it: surrounding white space is no part of the number.
WIDE_SIZE: Final[Codec[int]] = Codec(
    name="bytes",
    decode=_wide_size,
    encode=lambda value: str(value).encode(),
    examples=SIZE.examples,
    rejects=(b"", b" ", *(bad for bad in SIZE.rejects if bad.strip() == bad)),
)

_WORDS = {
    **dict.fromkeys((b"0", b"no", b"false", b"off"), False),
    **dict.fromkeys((b"1", b"yes", b"true", b"on"), True),
}


def _boolean(raw: bytes) -> bool:
    try:
        return _WORDS[raw.lower()]
    except KeyError:
        raise ProtocolError("boolean", "allowed: 0 no false off 1 yes true on") from None


BOOLEAN: Final[Codec[bool]] = Codec(
    name="True|False",
    decode=_boolean,
    encode=lambda value: str(value).encode(),
    examples=(True, False),
    rejects=(b"", b"2", b"maybe", b" True", b"\xff"),
)


def _pair(raw: bytes) -> tuple[str, str]:
    key, equals, value = _printable(raw).partition("=")
    if not equals or not key:
        raise ProtocolError("line", "expected: name=value")
    return key, value


#: One `name=value`; the value may have more of `=`, and may be empty.
PAIR: Final[Codec[tuple[str, str]]] = Codec(
    name="property=value",
    decode=_pair,
    encode=lambda pair: f"{pair[0]}={pair[1]}".encode("ascii"),
    examples=(("driver", "file"), ("source", "")),
    rejects=(b"", b"garbage", b"=x", b"a=\xff"),
)


def lines(item: Codec[T]) -> Codec[tuple[T, ...]]:
    """Return the codec of a list with one item and a line feed a row."""

    def decode(raw: bytes) -> tuple[T, ...]:
        if raw and not raw.endswith(b"\n"):
            raise ProtocolError("list", "the last line has no end")
        return tuple(item.decode(line) for line in raw.split(b"\n")[:-1])

    rejects = tuple(bad + b"\n" for bad in item.rejects if bad and b"\n" not in bad)
    return Codec(
        name=f"<{item.name}>\\n",
        decode=decode,
        encode=lambda values: b"".join(item.encode(value) + b"\n" for value in values),
        examples=((), item.examples),
        rejects=(*rejects, b"no end"),
        may_be_empty=True,
    )


def optional(item: Codec[T]) -> Codec[T | None]:
    """Return the codec of a value that may be missing (no bytes)."""
    return Codec(
        name=f"[{item.name}]",
        decode=lambda raw: item.decode(raw) if raw else None,
        encode=lambda value: b"" if value is None else item.encode(value),
        examples=(None, *item.examples),
        rejects=tuple(bad for bad in item.rejects if bad),
        may_be_empty=True,
    )


def _never(raw: bytes) -> None:
    if raw:
        raise ProtocolError("request", "unexpected argument")


def entry(item: Codec[T]) -> PerDialect[T | None]:
    """Return the argument of a `*.List`: in the draft one object's identifier, in R4 nothing.

    The draft's general notes: such a call "can be also called with object identifier in argument
    to get only a single entry".
    """
    nothing: Codec[T | None] = Codec(
        name="-",
        decode=_never,
        encode=lambda _: b"",
        examples=(None,),
        rejects=(b"x",),
        may_be_empty=True,
    )
    return PerDialect(r4=nothing, draft=optional(item))


def known(name: str, make: Callable[[str], T], *examples: T) -> Codec[T]:
    """Return a codec of the name of something that exists.

    What can be no such name is answered as a name that nothing has is, and as R4 does: by
    `ForbiddenError`, before anything else is looked at.
    """

    def decode(raw: bytes) -> T:
        if not _NAME.fullmatch(raw):
            raise ForbiddenError(f"{name} of such a name")
        return make(raw.decode("ascii"))

    return Codec(
        name=name,
        decode=decode,
        encode=lambda value: str(value).encode("ascii"),
        examples=examples,
        rejects=(b"a/b", b"\xff", b"a\nb", b"a" * 129),
    )


def word(name: str, make: Callable[[str], T], *examples: T) -> Codec[T]:
    """Return a codec of any printable word: names that are only looked up, never made."""

    def decode(raw: bytes) -> T:
        return make(_printable(raw))

    return Codec(
        name=name,
        decode=decode,
        encode=lambda value: str(value).encode("ascii"),
        examples=examples,
        rejects=(b"\xff", b"a\nb"),
    )
