"""Every fact is plain data, and becomes at least one event of the wire."""

from dataclasses import FrozenInstanceError, fields
from uuid import UUID

import pytest

from qubeward import facts
from qubeward.facts import Fact
from qubeward.names import QubeName
from qubeward.spec.event import spell

KINDS = [
    kind
    for kind in vars(facts).values()
    if isinstance(kind, type) and issubclass(kind, Fact) and kind is not Fact
]
VALUES = {"memory_mib": 400, "size_bytes": 5, "usage_bytes": 4, "force": True, "success": True,
          "start_guid": UUID(int=5), "old": "old", "new": "new"}  # fmt: skip


def example(kind: type[Fact], subject: str | None = "work") -> Fact:
    names = [field.name for field in fields(kind) if field.name != "subject"]
    name = None if subject is None else QubeName(subject)
    return kind(name, **{name: VALUES.get(name, "some") for name in names})


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_says_something_on_the_wire(kind) -> None:
    said = list(spell(example(kind)))
    assert said
    for subject, event in said:
        assert subject in (None, "work")
        assert event.name
        assert all(isinstance(key, str) for key, _ in event.fields)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_is_equal_to_its_like_and_does_not_change(kind) -> None:
    assert example(kind) == example(kind)
    assert example(kind) != example(kind, "other")
    with pytest.raises(FrozenInstanceError):
        example(kind).subject = None


def test_what_comes_and_goes_is_told_by_the_system() -> None:
    for kind, name in (
        (facts.QubeCreated, "domain-add"),
        (facts.QubeRemoving, "domain-pre-delete"),
        (facts.QubeRemoved, "domain-delete"),
    ):
        subject, event = next(iter(spell(example(kind))))
        assert (subject, event.name) == (None, name)
        assert dict(event.fields)["vm"] == "work"
