"""A name is in its grammar, or it is none."""

from uuid import UUID

import pytest

from qubeward.errors import (
    BadValueError,
    InvalidLabelError,
    InvalidTagError,
    InvalidUuidError,
)
from qubeward.names import ADMIN_UUID, LABEL, LABEL_REF, QUBE, QUBE_REF, TAG, QubeUuid


@pytest.mark.parametrize(
    "name", [b"a", b"A", b"sys-net", b"a.b_c-d9", b"a" * 31, b"dom0", b"nones"]
)
def test_a_qube_s_name_is_a_letter_and_up_to_thirty_more(name: bytes) -> None:
    assert QUBE.decode(name) == name.decode()


@pytest.mark.parametrize(
    "name",
    [b"", b"1a", b"-a", b".a", b"_a", b"a" * 32, b"a b", b"a/b", b"a\n", b"a:b", b"a+b", b"\xc3\xa9",
     b"Domain-0", b"none", b"default", b"work-dm", b"uuid:x"],
)  # fmt: skip
def test_what_is_no_qube_s_name_is_a_bad_value(name: bytes) -> None:
    with pytest.raises(BadValueError) as caught:
        QUBE.decode(name)
    assert caught.value.wire_name == "QubesValueError"


def test_a_reference_is_a_name_or_a_uuid_in_lower_case() -> None:
    uuid = UUID("0123abcd-0000-4000-8000-0123456789ab")
    assert QUBE_REF.decode(f"uuid:{uuid}".encode()) == QubeUuid(uuid)
    assert QUBE_REF.decode(b"uuid:" + str(ADMIN_UUID).encode()) == QubeUuid(ADMIN_UUID)
    assert QUBE_REF.decode(b"uuid") == "uuid"


@pytest.mark.parametrize(
    "raw",
    [b"uuid:", b"uuid:0", b"uuid:0123ABCD-0000-4000-8000-0123456789AB",
     b"uuid:0123abcd00004000800001234567 89ab", b"uuid:0123abcd-0000-4000-8000-0123456789ab ",
     b"uuid:{0123abcd-0000-4000-8000-0123456789ab}", b"uuid:0123abcd000040008000-0123456789abcdef"],
)  # fmt: skip
def test_a_uuid_that_is_none_says_so(raw: bytes) -> None:
    with pytest.raises(InvalidUuidError):
        QUBE_REF.decode(raw)


@pytest.mark.parametrize("raw", [b"a.b", b"a b", b"", b"a\n", b"a:b", b"\xff", b"a" * 10 + b"\0"])
def test_a_tag_out_of_its_grammar_is_refused_as_clients_expect(raw: bytes) -> None:
    with pytest.raises(InvalidTagError) as caught:
        TAG.decode(raw)
    assert caught.value.wire_name == "QubesInvalidTagError"


def test_a_label_is_not_only_digits_but_may_be_named_by_its_number() -> None:
    with pytest.raises(InvalidLabelError):
        LABEL.decode(b"3")
    assert LABEL_REF.decode(b"3") == "3"
    assert LABEL.decode(b"3d") == "3d"


def test_digits_of_another_script_are_no_digits() -> None:
    with pytest.raises(InvalidLabelError):
        LABEL.decode("٣".encode())
