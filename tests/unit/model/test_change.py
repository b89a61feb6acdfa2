"""A change happens whole or not at all, and leaves no trace when it doesn't."""

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from qubeward import facts
from qubeward.model.change import Change, Commit
from qubeward.model.label import Label
from qubeward.model.pool import Pool
from qubeward.model.system import System
from qubeward.model.volume import Volume
from qubeward.names import FeatureName, LabelName, PoolName, PropertyName, TagName, VolumeName
from qubeward.spec.classes import CLASSES
from qubeward.spec.label import Color
from unit.model.systems import (
    AbortedError,
    aborted_change,
    add,
    edit,
    empty_system,
    give,
    indexed,
    new_qube,
    pointers,
    state_of,
)

P = PropertyName


def furnished() -> System:
    system = empty_system()
    add(system, "tpl", "TemplateVM")
    add(system, "net", template="tpl", provides_network=True)
    add(system, "work", template="tpl", netvm="net")
    add(system, "zoo", template="tpl")
    work = system.qube("work")
    with system.change() as change:
        for name in ("a", "b", "c"):
            change.set_feature(work, FeatureName(name), name)
            change.add_tag(work, TagName(name))
        change.set_property(None, P("default_netvm"), "net")
        change.set_property(None, P("updatevm"), "net")
        change.add_label(Label(LabelName("mine"), 9, Color("0x010203")))
        change.add_label(Label(LabelName("last"), 10, Color("0x010203")))
        change.set_counter("dispid", 1001)
    return system


def _volume(size_bytes: int) -> Volume:
    return Volume(
        name=VolumeName("root"), pool=PoolName("x"), vid="appvms/work/root", size_bytes=size_bytes
    )


METHODS = {
    "set_property of a new one": lambda c, q: c.set_property(q, P("vcpus"), 3),
    "set_property over an old one": lambda c, q: c.set_property(q, P("netvm"), "zoo"),
    "set_property to none": lambda c, q: c.set_property(q, P("netvm"), None),
    "set_property of the system": lambda c, q: c.set_property(None, P("clockvm"), "work"),
    "set_property over one of the system": lambda c, q: c.set_property(None, P("updatevm"), "work"),
    "reset_property": lambda c, q: c.reset_property(q, P("template")),
    "reset_property of an unset one": lambda c, q: c.reset_property(q, P("memory")),
    "reset_property of the system": lambda c, q: c.reset_property(None, P("default_netvm")),
    "set_feature": lambda c, q: c.set_feature(q, FeatureName("new"), "1"),
    "set_feature again": lambda c, q: c.set_feature(q, FeatureName("a"), "other"),
    "remove_feature": lambda c, q: c.remove_feature(q, FeatureName("a")),
    "add_tag": lambda c, q: c.add_tag(q, TagName("new")),
    "add_tag again": lambda c, q: c.add_tag(q, TagName("a")),
    "remove_tag": lambda c, q: c.remove_tag(q, TagName("a")),
    "set_notes": lambda c, q: c.set_notes(q, "text"),
    "set_volume": lambda c, q: c.set_volume(q, _volume(7)),
    "add_qube": lambda c, q: c.add_qube(
        new_qube(c.system, "new", CLASSES["AppVM"], template="tpl", netvm="net")
    ),
    "remove_qube in the middle": lambda c, q: c.remove_qube(q),
    "remove_qube at the end": lambda c, q: c.remove_qube(c.system.qube("zoo")),
    "add_label": lambda c, q: c.add_label(c.system.new_label(LabelName("x"), Color("0x000000"))),
    "remove_label": lambda c, q: c.remove_label(c.system.label("mine")),
    "add_pool": lambda c, q: c.add_pool(Pool(PoolName("new"), "file", {})),
    "set_pool": lambda c, q: c.set_pool(c.system.pools["varlibqubes"].with_option("x", "1")),
    "remove_pool": lambda c, q: c.remove_pool(c.system.pools["varlibqubes"]),
    "set_counter": lambda c, q: c.set_counter("dispid", 1002),
    "set_counter anew": lambda c, q: c.set_counter("other", 1),
}


def test_every_edit_is_in_the_table() -> None:
    public = {name for name in vars(Change) if not name.startswith("_")}
    tested = {name.split()[0] for name in METHODS}
    assert tested == public - {
        "tell", "write", "system", "source", "writes", "facts", "undo",
    }  # fmt: skip


@pytest.mark.parametrize("act", METHODS.values(), ids=METHODS)
def test_undo_restores_the_exact_state(act) -> None:
    system = furnished()
    before = state_of(system)
    with aborted_change(system) as change:
        act(change, system.qube("work"))
    assert state_of(system) == before


@pytest.mark.parametrize("act", METHODS.values(), ids=METHODS)
def test_a_finished_change_can_be_undone_later_too(act) -> None:
    commits: list[Commit] = []
    system = furnished()
    before = state_of(system)
    system.commit = commits.append
    with system.change() as change:
        act(change, system.qube("work"))
    for commit in reversed(commits):
        for undo in reversed(commit.undo):
            undo()
    assert state_of(system) == before


@given(seed=st.integers(0, 2**32), setup=st.integers(0, 40), edits=st.integers(0, 25))
def test_edits_aborted_at_any_point_leave_the_state_before(seed, setup, edits) -> None:
    rng = random.Random(seed)
    system = furnished()
    with system.change() as change:
        edit(change, rng, setup)
    before, sequence = state_of(system), system.sequence
    with aborted_change(system) as change:
        edit(change, rng, edits)
    assert state_of(system) == before
    assert system.sequence == sequence


@given(seed=st.integers(0, 2**32), changes=st.integers(1, 6))
def test_changes_undone_in_reverse_leave_the_state_before_them(seed, changes) -> None:
    rng = random.Random(seed)
    commits: list[Commit] = []
    system = furnished()
    before = state_of(system)
    system.commit = commits.append
    for _ in range(changes):
        with system.change() as change:
            edit(change, rng, 5)
    for commit in reversed(commits):
        for undo in reversed(commit.undo):
            undo()
    assert state_of(system) == before


def test_a_rule_that_refuses_undoes_the_whole_change() -> None:
    def refuse(_change: Change, fact: facts.Fact) -> None:
        if isinstance(fact, facts.TagAdded):
            raise AbortedError

    system = furnished()
    system.react = refuse
    before = state_of(system)
    with suppress(AbortedError), system.change() as change:
        change.set_feature(system.qube("work"), FeatureName("x"), "1")
        change.add_tag(system.qube("work"), TagName("x"))
        raise AssertionError("not refused")
    assert state_of(system) == before


def test_a_change_inside_a_change_is_refused() -> None:
    system = furnished()
    with system.change(), pytest.raises(RuntimeError, match="inside"), system.change():
        pass
    with system.change() as change:  # and the next is fine
        change.set_counter("x", 1)


def test_a_change_that_touches_nothing_takes_no_number() -> None:
    commits: list[Commit] = []
    system = furnished()
    system.commit = commits.append
    before = system.sequence
    with system.change() as change:
        change.add_tag(system.qube("work"), TagName("a"))  # it is there
    assert not commits
    assert system.sequence == before


def test_changes_are_numbered_in_order() -> None:
    commits: list[Commit] = []
    system = furnished()
    first = system.sequence
    system.commit = commits.append
    for number in range(3):
        with system.change() as change:
            change.set_counter("x", number)
    assert [commit.sequence for commit in commits] == [first + 1, first + 2, first + 3]


def test_a_closed_guard_keeps_changes_out() -> None:
    def closed() -> None:
        raise AbortedError

    system = furnished()
    system.guard = closed
    with pytest.raises(AbortedError), system.change():
        raise AssertionError("entered")


def test_facts_have_the_effective_value_before() -> None:
    told: list[facts.Fact] = []
    system = furnished()
    system.react = lambda _, fact: told.append(fact)
    give(system, "work", "memory", 500)
    with system.change() as change:
        change.reset_property(system.qube("work"), P("memory"))
        change.reset_property(None, P("updatevm"))
    assert told == [
        facts.PropertySet("work", P("memory"), 500, 400),
        facts.PropertyReset("work", P("memory"), 500),
        facts.PropertyReset(None, P("updatevm"), "net"),
    ]


def test_a_qube_is_stored_with_all_that_it_is_added_with() -> None:
    commits: list[Commit] = []
    system = furnished()
    qube = new_qube(system, "new", CLASSES["AppVM"], template="tpl")
    qube.features[FeatureName("f")] = "1"
    qube.tags.add(TagName("t"))
    qube.notes = "n"
    system.commit = commits.append
    with system.change() as change:
        change.add_qube(qube)
    tables = [write.table for write in commits[0].writes]
    assert set(tables) == {"qube", "property", "feature", "tag", "notes", "volume"}
    assert tables.count("volume") == 3


class ReferencesMachine(RuleBasedStateMachine):
    """The index of references says what a search through everything says."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed) -> None:
        self.rng = random.Random(seed)
        self.system = furnished()

    @rule(times=st.integers(1, 5))
    def edit(self, times) -> None:
        with self.system.change() as change:
            edit(change, self.rng, times)

    @rule(times=st.integers(1, 5))
    def edit_and_abort(self, times) -> None:
        with aborted_change(self.system) as change:
            edit(change, self.rng, times)

    @invariant()
    def index_equals_the_search(self) -> None:
        if hasattr(self, "system"):
            assert indexed(self.system) == pointers(self.system)

    @invariant()
    def numbers_are_unique_and_the_lowest_is_given(self) -> None:
        if hasattr(self, "system"):
            taken = [qube.qid for qube in self.system.qubes.values()]
            free = self.system.free_qid()
            assert len(taken) == len(set(taken))
            assert free not in taken
            assert all(qid in taken for qid in range(free))


TestReferences = ReferencesMachine.TestCase
