"""Whatever the bytes, a codec gives a value or an `AdminError`, and spells the value the same way."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import AdminError
from qubeward.names import LABEL, LABEL_REF, QUBE, QUBE_REF, TAG
from qubeward.spec import METHODS
from qubeward.spec.method import codecs_of
from qubeward.spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from qubeward.untrusted import Codec, Untrusted


def _codecs() -> Iterator[Codec[Any]]:
    yield from (QUBE, QUBE_REF, TAG, LABEL, LABEL_REF)
    for rows in (QUBE_PROPERTIES, SYSTEM_PROPERTIES):
        yield from (row.codec for row in rows.values())
    for method in METHODS.values():
        for codec in (method.arg, method.payload, method.reply):
            yield from codecs_of(codec)


CODECS = list({id(codec): codec for codec in _codecs()}.values())
_ODD = (b"\0", b"\n", b"\r", b" ", b"+", b"%", b"=", b"\\", b"\xff", b"\xc3\xa9", b"-", b"_", b"0")


@st.composite
def near(draw: st.DrawFn, codec: Codec[Any]) -> bytes:
    """Bytes that the codec takes or refuses by its own account, bent a little."""
    known = [codec.encode(example) for example in codec.examples] + list(codec.rejects)
    raw = draw(st.sampled_from([text[:200] for text in known]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        cut = draw(st.integers(0, 2))
        raw = raw[:at] + draw(st.sampled_from(_ODD) | st.binary(max_size=3)) + raw[at + cut :]
    return raw


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_any_bytes_are_a_value_or_refused(codec: Codec[Any]) -> None:
    @given(near(codec) | st.binary(max_size=40))
    def check(raw: bytes) -> None:
        try:
            value = Untrusted(raw).parse(codec)
        except AdminError:
            return
        spelled = codec.encode(value)
        again = codec.decode(spelled)
        assert codec.encode(again) == spelled
        assert again == value or value != value  # noqa: PLR0124  # NaN is a number of JSON

    check()


def test_untrusted_bytes_do_not_show_in_logs() -> None:
    assert repr(Untrusted(b"evil")) == "<untrusted, 4 bytes>"
    assert "evil" not in str(Untrusted(b"evil"))
    assert len(Untrusted(b"evil")) == 4
    assert not Untrusted(b"")
