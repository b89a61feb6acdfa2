"""Requests on the wire."""

import pytest

from qubeward.errors import AdminError, ProtocolError
from qubeward.untrusted import Codec
from qubeward.wire.request import RequestReader, encode_request

ANY: Codec[bytes] = Codec(
    name="*", decode=lambda raw: raw, encode=lambda raw: raw, examples=(b"",), rejects=()
)


def parts(raw: bytes, **limits: int) -> tuple[bytes, ...]:
    reader = RequestReader(**limits)
    reader.feed(raw)
    method, *words = reader.end()
    return (method, *(word.parse(ANY) for word in words))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"m+a dom0 name work\0p", (b"m", b"a", b"dom0", b"work", b"p")),
        (b"m dom0 name work\0", (b"m", b"", b"dom0", b"work", b"")),
        (b"m+ dom0 name work\0", (b"m", b"", b"dom0", b"work", b"")),
        (b"m+a+b dom0 name work\0", (b"m", b"a+b", b"dom0", b"work", b"")),
        (b"m+a dom0 keyword adminvm\0", (b"m", b"a", b"dom0", b"dom0", b"")),
        (b"m+a dom0 name work\0a\0b", (b"m", b"a", b"dom0", b"work", b"a\0b")),
        (b"m+a dom0 name two words\0", (b"m", b"a", b"dom0", b"two words", b"")),
        (b" dom0 name work\0", (b"", b"", b"dom0", b"work", b"")),
        (b"m+a  name work\0", (b"m", b"a", b"", b"work", b"")),
    ],
)
def test_a_request_is_split_into_its_five_parts(raw: bytes, expected: tuple[bytes, ...]) -> None:
    assert parts(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0", b"m+a dom0 name work", b"m+a dom0 work\0", b"m+a dom0\0", b"m+a name work\0",
     b"m+a dom0 keyword work\0", b"m+a dom0 other work\0", b"m+a dom0 NAME work\0",
     b"m dom0 keyword dom0\0"],
)  # fmt: skip
def test_what_is_no_request_is_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        parts(raw)


def test_a_request_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    head = b"m dom0 name work\0"
    assert len(parts(head + b"x" * (65536 - len(head)))[4]) == 65536 - len(head)
    with pytest.raises(ProtocolError, match="longer than 65536"):
        parts(head + b"x" * (65537 - len(head)))


def test_a_header_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    fixed = len(b"m+ dom0 name work")
    assert parts(b"m+%b dom0 name work\0" % (b"a" * (4096 - fixed)))
    with pytest.raises(ProtocolError, match="header"):
        parts(b"m+%b dom0 name work\0" % (b"a" * (4097 - fixed)))


def test_a_reader_that_got_too_much_keeps_nothing_and_stays_refusing() -> None:
    reader = RequestReader(limit=100)
    for size in (60, 60, 10):
        try:
            reader.feed(b"x" * size)
        except ProtocolError:
            continue
    with pytest.raises(ProtocolError, match="longer than 100"):
        reader.end()


def test_what_is_encoded_is_read_back() -> None:
    raw = encode_request("admin.vm.tag.Set", b"a+b", b"dom0", b"work", b"\0payload")
    assert parts(raw) == (b"admin.vm.tag.Set", b"a+b", b"dom0", b"work", b"\0payload")


@pytest.mark.parametrize(
    ("arg", "source", "dest"),
    [(b"a b", b"dom0", b"work"), (b"a\0", b"dom0", b"work"), (b"", b"d 0", b"work"),
     (b"", b"d\0", b"work"), (b"", b"dom0", b"w\0")],
)  # fmt: skip
def test_what_a_header_can_not_carry_is_not_encoded(arg: bytes, source: bytes, dest: bytes) -> None:
    with pytest.raises(AdminError):
        encode_request("m", arg, source, dest)
