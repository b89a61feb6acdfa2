"""Rules act inside the change that makes a fact; guards refuse calls."""

from dataclasses import replace

import pytest

from qubeward.errors import ForbiddenError
from qubeward.facts import FeatureSet, TagAdded, TagRemoved
from qubeward.hooks import Asked, Hooks
from qubeward.model.change import Change
from qubeward.names import FeatureName, TagName
from unit.model.systems import add, empty_system, state_of


def test_a_rule_s_edits_land_with_the_change_and_make_facts_in_turn() -> None:
    hooks = Hooks()
    system = empty_system(react=hooks.react)
    work = add(system, "work")
    told: list[object] = []

    def mark(change: Change, fact: TagAdded) -> None:
        change.set_feature(change.system.qubes[fact.subject], FeatureName(f"has-{fact.tag}"), "1")

    hooks.rule(TagAdded, mark)
    hooks.rule(FeatureSet, lambda _, fact: told.append(fact))
    commits = []
    system.commit = commits.append
    with system.change() as change:
        change.add_tag(work, TagName("x"))
    assert work.features == {"has-x": "1"}
    assert [type(fact) for fact in commits[0].facts] == [TagAdded, FeatureSet]
    assert len(told) == 1


def test_a_rule_is_for_its_kind_of_fact_alone() -> None:
    hooks = Hooks()
    system = empty_system(react=hooks.react)
    told: list[object] = []
    hooks.rule(TagRemoved, lambda _, fact: told.append(fact))
    with system.change() as change:
        change.add_tag(system.admin, TagName("x"))
    assert told == []


def test_a_rule_that_refuses_undoes_what_was_done_before_it() -> None:
    hooks = Hooks()
    system = empty_system(react=hooks.react)

    def refuse(_change: Change, _fact: TagAdded) -> None:
        raise ForbiddenError("this")

    hooks.rule(TagAdded, refuse)
    before = state_of(system)
    with pytest.raises(ForbiddenError), system.change() as change:
        change.add_tag(system.admin, TagName("x"))
    assert state_of(system) == before


def test_guards_are_asked_for_their_method_in_the_order_they_came() -> None:
    hooks = Hooks()
    asked: list[str] = []
    hooks.guard("admin.vm.Kill", lambda a: asked.append(f"1 {a.method}"))
    hooks.guard("admin.vm.Kill", lambda a: asked.append(f"2 {a.method}"))
    admin = empty_system().admin
    call = Asked(empty_system(), admin, "admin.vm.Kill", admin, None, None)
    for guard in hooks.guards("admin.vm.Kill"):
        guard(replace(call))
    assert asked == ["1 admin.vm.Kill", "2 admin.vm.Kill"]
    assert hooks.guards("admin.vm.Start") == ()
