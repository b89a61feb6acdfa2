"""What the property calls carry: values, their kinds, and how each dialect spells them."""

import ipaddress
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ..errors import BadValueError, ProtocolError
from ..facts import PropertyValue
from ..names import QUBE, PropertyName
from ..untrusted import Codec
from .body import word
from .method import PerDialect

_ALLOWED = frozenset(string.printable.encode())
#: Characters. Clients set 23 digits (vector 263); what outgrows a float breaks sums with times.
_LONGEST_NUMBER: Final = 40
_BOOLEANS = {
    **dict.fromkeys(("0", "no", "false", "off"), False),
    **dict.fromkeys(("1", "yes", "true", "on"), True),
}


class Kind(StrEnum):
    """The type of a property, as the wire says it."""

    STR = "str"
    INT = "int"
    BOOL = "bool"
    VM = "vm"
    LABEL = "label"


def _ascii(raw: bytes) -> str:
    if not _ALLOWED.issuperset(raw):
        raise BadValueError("value", "not printable ASCII")
    return raw.decode("ascii")


def _int(raw: bytes) -> PropertyValue:
    text = _ascii(raw)
    if len(text) > _LONGEST_NUMBER:
        raise BadValueError("value", f"longer than {_LONGEST_NUMBER} characters")
    try:
        # As clients rely on: surrounding space, leading zeros and underscores are accepted.
        return int(text)
    except ValueError:
        raise BadValueError("value", "not a decimal number") from None


def _bool(raw: bytes) -> PropertyValue:
    try:
        return _BOOLEANS[_ascii(raw).lower()]
    except KeyError:
        raise BadValueError("value", "allowed: 0 no false off 1 yes true on") from None


def _vm(raw: bytes) -> PropertyValue:
    return QUBE.decode(raw) if raw else None


def _address(version: int) -> Callable[[bytes], PropertyValue]:
    def parse(raw: bytes) -> PropertyValue:
        try:
            address = ipaddress.ip_address(_ascii(raw))
        except ValueError:
            raise BadValueError("value", "not an IP address") from None
        if address.version != version:
            raise BadValueError("value", f"not an IPv{version} address")
        return str(address)

    return parse


def spell(value: PropertyValue) -> str:
    """Spell a value as the wire and the events do."""
    return "" if value is None else str(value)


def _codec(
    name: str,
    decode: Callable[[bytes], PropertyValue],
    examples: tuple[PropertyValue, ...],
    rejects: tuple[bytes, ...],
) -> Codec[PropertyValue]:
    return Codec(
        name=name,
        decode=decode,
        encode=lambda value: spell(value).encode("ascii"),
        examples=examples,
        rejects=rejects,
        may_be_empty=True,
    )


STR_VALUE: Final = _codec("printable ASCII", _ascii, ("", "some text"), (b"\xff", b"a\0b"))
INT_VALUE: Final = _codec(
    "decimal", _int, (0, 400, -5), (b"", b"abc", b"4.5", b"5\x000", b"9" * 41)
)
BOOL_VALUE: Final = _codec("boolean", _bool, (True, False), (b"", b"2", b"maybe", b" True"))
VM_VALUE: Final = _codec("[qube]", _vm, (None, "work"), (b"1bad", b"sys-net\n", b"\xff", b"none"))
LABEL_VALUE: Final = _codec("label or its index", _ascii, ("red", "1"), (b"\xff",))
IP_VALUE: Final = _codec("IPv4 address", _address(4), ("10.137.0.9",), (b"", b"1.2.3", b"::1"))
IP6_VALUE: Final = _codec("IPv6 address", _address(6), ("fd09::1",), (b"", b"x", b"1.2.3.4"))

BY_KIND: Final = {
    Kind.STR: STR_VALUE,
    Kind.INT: INT_VALUE,
    Kind.BOOL: BOOL_VALUE,
    Kind.VM: VM_VALUE,
    Kind.LABEL: LABEL_VALUE,
}


class Reading(NamedTuple):
    """A property as it is now: whether the value is the default, its kind and its wire text."""

    is_default: bool
    kind: Kind
    text: str


class NamedReading(NamedTuple):
    """One property of a GetAll."""

    name: PropertyName
    reading: Reading


def _split(raw: bytes, count: int) -> list[str]:
    try:
        words = raw.decode("utf-8").split(" ", count)
    except UnicodeDecodeError:
        raise ProtocolError("property", "not UTF-8") from None
    if len(words) != count + 1:
        raise ProtocolError("property", "a field is missing")
    return words


PROPERTY: Final = word("property", PropertyName, PropertyName("memory"), PropertyName("a+b"))
_KINDS: Final = {f"type={kind.value}": kind for kind in Kind}
_ESCAPED: Final = re.compile(r"\\([\\n])")


def _kind(text: str) -> Kind:
    try:
        return _KINDS[text]
    except KeyError:
        raise ProtocolError("property", "no such type") from None


def _spelling(yes: str, no: str, *, typed: bool) -> Codec[Reading]:
    truth = {f"default={yes}": True, f"default={no}": False}

    def decode(raw: bytes) -> Reading:
        default, *rest = _split(raw, 2 if typed else 1)
        if default not in truth:
            raise ProtocolError("property", f"allowed: default={yes} or default={no}")
        return Reading(truth[default], _kind(rest[0]) if typed else Kind.STR, rest[-1])

    def encode(reading: Reading) -> bytes:
        kind = f"type={reading.kind} " if typed else ""
        return f"default={yes if reading.is_default else no} {kind}{reading.text}".encode()

    return Codec(
        name=f"default={yes}|{no} " + ("type=T " if typed else "") + "value",
        decode=decode,
        encode=encode,
        examples=(Reading(True, Kind.STR, ""), Reading(False, Kind.STR, "some value")),
        rejects=(b"", b"default=maybe type=str x"),
    )


def _named(codec: Codec[Reading]) -> Codec[NamedReading]:
    def decode(raw: bytes) -> NamedReading:
        name, _, rest = raw.partition(b" ")
        reading = codec.decode(rest)
        text = _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else "\\", reading.text)
        return NamedReading(PROPERTY.decode(name), Reading(reading.is_default, reading.kind, text))

    def encode(row: NamedReading) -> bytes:
        reading = row.reading
        if "\\" in reading.text or "\n" in reading.text:
            escaped = reading.text.replace("\\", "\\\\").replace("\n", "\\n")
            reading = Reading(reading.is_default, reading.kind, escaped)
        return row.name.encode() + b" " + codec.encode(reading)

    return Codec(
        name=f"property {codec.name}",
        decode=decode,
        encode=encode,
        examples=(
            *(NamedReading(PropertyName("debug"), e) for e in codec.examples),
            NamedReading(PropertyName("kernelopts"), Reading(False, Kind.STR, "a\\nb\nc\\")),
        ),
        rejects=(b"debug",),
    )


R4_READING: Final = _spelling("True", "False", typed=True)
DRAFT_READING: Final = _spelling("yes", "no", typed=True)
DRAFT_VM_READING: Final = _spelling("yes", "no", typed=False)

READING: Final = PerDialect(r4=R4_READING, draft=DRAFT_READING)
VM_READING: Final = PerDialect(r4=R4_READING, draft=DRAFT_VM_READING)
NAMED_READING: Final = PerDialect(r4=_named(R4_READING), draft=_named(DRAFT_READING))
VM_NAMED_READING: Final = PerDialect(r4=_named(R4_READING), draft=_named(DRAFT_VM_READING))


@dataclass(frozen=True, slots=True)
class Default:
    """What a property is when it isn't set."""

    kind: Kind
    text: str


def _default(raw: bytes) -> Default | None:
    if not raw:
        return None
    kind, text = _split(raw, 1)
    return Default(_kind(kind), text)


DEFAULT: Final[Codec[Default | None]] = Codec(
    name="[type=T value]",
    decode=_default,
    encode=lambda d: b"" if d is None else f"type={d.kind.value} {d.text}".encode(),
    examples=(None, Default(Kind.INT, "60"), Default(Kind.VM, "")),
    rejects=(b"type=float 1", b"x"),
    may_be_empty=True,
)
