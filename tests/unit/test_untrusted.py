"""What a caller sent can be counted and parsed, and nothing else."""

import pytest

from qubeward.errors import ProtocolError
from qubeward.names import TAG
from qubeward.untrusted import NOTHING, Untrusted


def test_untrusted_bytes_are_no_bytes() -> None:
    raw = Untrusted(b"evil")
    assert not isinstance(raw, bytes)
    for act in (bytes, lambda r: r + b"", lambda r: r.decode(), lambda r: b"" + r):
        with pytest.raises((TypeError, AttributeError)):
            act(raw)


def test_untrusted_bytes_are_counted_and_parsed() -> None:
    assert len(Untrusted(b"evil")) == 4
    assert not Untrusted(b"")
    assert Untrusted(b"evil").parse(TAG) == "evil"


def test_nothing_is_nothing() -> None:
    assert NOTHING.decode(b"") is None
    with pytest.raises(ProtocolError):
        NOTHING.decode(b"x")
