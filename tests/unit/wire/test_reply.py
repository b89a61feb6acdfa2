"""Replies on the wire, in bytes."""

import pytest

from qubeward.errors import TagNotFoundError
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


def test_a_success_is_zero_nul_content() -> None:
    assert encode_ok(b"a\0b") == b"0\0a\0b"
    assert encode_ok(b"") == b"0\0"


def test_an_event_is_one_nul_subject_name_pairs_and_a_nul() -> None:
    event = Event("work", "domain-tag-add:x", (("tag", "x"), ("more", "")))
    assert encode_event(event) == b"1\0work\0domain-tag-add:x\0tag\0x\0more\0\0\0"
    assert encode_event(Event("", "connection-established")) == b"1\0\0connection-established\0\0"


def test_an_error_is_two_nul_type_no_traceback_template_and_fields() -> None:
    raw = encode_failure(TagNotFoundError("work", "x"))
    assert raw == b"2\0QubesTagNotFoundError\0\0Tag not set for domain %s: %s\0work\0x\0"


def test_a_reader_reads_one_message_or_events_and_an_end() -> None:
    reader = ReplyReader()
    assert reader.feed(b"1\0work\0started\0k\0v") == []
    assert reader.feed(b"\0\0" + b"1\0\0other\0\0") == [
        Event("work", "started", (("k", "v"),)),
        Event("", "other"),
    ]
    assert reader.end() is None
    assert reader.feed(b"0\0x") == []
    assert reader.end() == Ok(b"x")


@pytest.mark.parametrize(
    "raw", [b"x", b"0", b"3\0", b"2\0a\0\0b", b"2\0a\0\0", b"2\0\0", b"1\0work\0half", b"00"]
)
def test_what_is_no_reply_or_half_of_one_is_refused(raw: bytes) -> None:
    reader = ReplyReader()
    reader.feed(raw)
    with pytest.raises(BadReplyError):
        reader.end()


def test_an_error_of_a_server_that_sends_finished_sentences_can_be_shown() -> None:
    assert str(Failure("X", "disk 50% full", ())) == "disk 50% full"
    assert str(Failure("X", "no %s", ("such",))) == "no such"
    assert str(Failure("X", "no %s", ())) == "no %s"
    assert str(Failure("X", "plain", ("left", "over"))) == "plain left over"


def test_text_that_utf8_can_not_spell_is_sent_escaped() -> None:
    assert b"\\udcff" in encode_event(Event("work", "odd", (("k", "\udcff"),)))
