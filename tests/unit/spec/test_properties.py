"""The table of properties."""

import pytest

from qubeward.model.qube_properties import QUBE
from qubeward.model.system_properties import SYSTEM
from qubeward.spec.classes import CLASSES
from qubeward.spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES, PropertyRow
from qubeward.spec.property_body import (
    BY_KIND,
    IP6_VALUE,
    IP_VALUE,
    VM_NAMED_READING,
    Kind,
    NamedReading,
    Reading,
)

ROWS = [*QUBE_PROPERTIES.values(), *SYSTEM_PROPERTIES.values()]


def test_every_row_has_a_default_and_a_check() -> None:
    assert QUBE.keys() == QUBE_PROPERTIES.keys()
    assert SYSTEM.keys() == SYSTEM_PROPERTIES.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_documented(row: PropertyRow) -> None:
    assert row.doc[0].isupper()
    assert row.doc.rstrip().endswith(".")
    assert row.doc.count("``") % 2 == 0


@pytest.mark.parametrize("row", QUBE_PROPERTIES.values(), ids=lambda row: row.name)
def test_every_property_of_qubes_is_one_of_some_class(row: PropertyRow) -> None:
    assert row.classes
    assert row.classes <= CLASSES.keys()


def test_every_kind_has_a_codec() -> None:
    assert BY_KIND.keys() == set(Kind)
    assert {row.codec.name for row in ROWS} <= {
        codec.name for codec in (*BY_KIND.values(), IP_VALUE, IP6_VALUE)
    }


@pytest.mark.parametrize("text", ["", "plain", "\\", "\\n", "\n", "\\\\n", "a\\\nb", " x ", "é"])
def test_a_value_in_a_list_of_all_is_read_as_it_was(text: str) -> None:
    for codec in (VM_NAMED_READING.r4, VM_NAMED_READING.draft):
        row = NamedReading(QUBE["kernelopts"].row.name, Reading(False, Kind.STR, text))  # type: ignore[index]
        raw = codec.encode(row)
        assert b"\n" not in raw
        assert codec.decode(raw) == row
