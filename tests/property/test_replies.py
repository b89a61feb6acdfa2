"""Replies survive the wire, however they are cut."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import AdminError
from qubeward.wire.reply import (
    BadReplyError,
    Event,
    Failure,
    Ok,
    ReplyReader,
    encode_event,
    encode_failure,
    encode_ok,
)

#: Text as it can be sent: without zero bytes, and with what UTF-8 can spell.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
EVENTS = st.builds(
    Event,
    subject=TEXT,
    name=TEXT,
    fields=st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4).map(tuple),
)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    at = 0
    for cut in [*cuts, len(data)]:
        yield data[at : at + cut]
        at += cut
    yield data[at:]


CUTS = st.lists(st.integers(0, 9), max_size=30)


@given(st.binary(max_size=50), CUTS)
def test_a_success_survives_in_any_cuts(content: bytes, cuts: list[int]) -> None:
    reader = ReplyReader()
    assert [
        event for piece in pieces(encode_ok(content), cuts) for event in reader.feed(piece)
    ] == []
    assert reader.end() == Ok(content)


@given(st.lists(EVENTS, max_size=5), CUTS)
def test_events_survive_in_any_cuts(sent: list[Event], cuts: list[int]) -> None:
    reader = ReplyReader()
    data = b"".join(encode_event(event) for event in sent)
    assert [event for piece in pieces(data, cuts) for event in reader.feed(piece)] == sent
    assert reader.end() is None


@given(st.lists(st.text(max_size=10), max_size=4), CUTS)
def test_an_error_survives_in_any_cuts_with_percents_and_all(
    fields: list[str], cuts: list[int]
) -> None:
    class OddError(AdminError, wire="Odd", says="%s " * len(fields)):
        pass

    reader = ReplyReader()
    for piece in pieces(encode_failure(OddError(*fields)), cuts):
        reader.feed(piece)
    answer = reader.end()
    assert isinstance(answer, Failure)
    assert len(answer.fields) == len(fields)
    assert answer.template % answer.fields == str(answer)
    for got, sent in zip(answer.fields, fields, strict=True):
        assert got == sent.replace("\0", "").encode("utf-8", "backslashreplace").decode()


@given(st.lists(EVENTS, max_size=3), st.text(max_size=10))
def test_an_error_ends_a_stream(sent: list[Event], field: str) -> None:
    class OddError(AdminError, wire="Odd", says="%s"):
        pass

    reader = ReplyReader()
    data = b"".join(encode_event(event) for event in sent)
    assert reader.feed(data + encode_failure(OddError(field))) == sent
    assert isinstance(reader.end(), Failure)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"1\0" + tail), CUTS)
def test_any_bytes_are_messages_or_refused(data: bytes, cuts: list[int]) -> None:
    reader = ReplyReader()
    try:
        for piece in pieces(data, cuts):
            reader.feed(piece)
        reader.end()
    except BadReplyError:
        pass


@given(st.binary(min_size=101, max_size=300))
def test_a_reader_holds_no_more_than_its_limit(content: bytes) -> None:
    reader = ReplyReader(limit=100)
    with pytest.raises(BadReplyError, match="longer than 100"):
        reader.feed(encode_ok(content))
