"""Looking things up, and numbers that are given."""

from uuid import UUID

import pytest

from qubeward.errors import LabelNotFoundError, QubeNotFoundError
from qubeward.names import ADMIN_UUID, LabelName, QubeName, QubeUuid
from qubeward.spec.label import Color
from unit.model.systems import add, empty_system


def test_qubes_are_found_by_name_and_by_uuid() -> None:
    system = empty_system()
    work = add(system, "work")
    assert system.qube("work") is work
    assert system.find(QubeName("work")) is work
    assert system.find(QubeUuid(work.uuid)) is work
    assert system.find(QubeUuid(ADMIN_UUID)) is system.admin
    with pytest.raises(QubeNotFoundError):
        system.qube("nobody")
    with pytest.raises(QubeNotFoundError, match="uuid:"):
        system.find(QubeUuid(UUID(int=5)))


def test_dom0_is_listed_first_and_the_others_by_name() -> None:
    system = empty_system()
    for name in ("b", "Z", "a"):
        add(system, name)
    assert [qube.name for qube in system.in_order()] == ["dom0", "Z", "a", "b"]
    with system.change() as change:
        change.remove_qube(system.qube("a"))
    assert [qube.name for qube in system.in_order()] == ["dom0", "Z", "b"]


def test_the_lowest_free_number_is_given_again() -> None:
    system = empty_system()
    for name in ("a", "b", "c"):
        add(system, name)
    assert system.free_qid() == 4
    with system.change() as change:
        change.remove_qube(system.qube("b"))
    assert system.free_qid() == 2
    assert add(system, "d").qid == 2
    assert system.free_qid() == 4


@pytest.mark.parametrize("reference", ["red", "1", "label-1", "01"])
def test_a_label_is_found_by_name_or_index(reference) -> None:
    assert empty_system().label(reference).name == "red"


@pytest.mark.parametrize("reference", ["", "mauve", "0", "9", "label-", "-1", "1" * 10, "²"])
def test_what_is_no_label_is_said(reference) -> None:
    with pytest.raises(LabelNotFoundError):
        empty_system().label(reference)


def test_a_new_label_has_the_next_index() -> None:
    system = empty_system()
    label = system.new_label(LabelName("mine"), Color("0x010203"))
    assert label.index == 9
    assert label.name not in system.labels
    with system.change() as change:
        change.add_label(label)
    assert system.new_label(LabelName("more"), Color("0x010203")).index == 10
