"""What can't be understood is left out and said; the rest is there."""

import random
from uuid import UUID

import pytest

from qubeward.model.system import Host, System
from qubeward.names import ADMIN_UUID
from qubeward.store.load import fill, is_fresh
from qubeward.store.schema import TABLES

WORK = str(UUID(int=7))


def rows(**changed):
    found = {
        "qube": [(str(ADMIN_UUID), "dom0", "AdminVM", 0), (WORK, "work", "AppVM", 1)],
        "property": [(WORK, "memory", 500), (WORK, "netvm", "dom0")],
        "feature": [(WORK, "b", "1"), (WORK, "a", "")],
        "tag": [(WORK, "t")],
        "notes": [(WORK, "text")],
        "volume": [
            (WORK, "root", {"name": "root", "pool": "p", "vid": "appvms/work/root",
                            "size_bytes": 1}),
        ],
        "running": [],
        "label": [("red", 1, "0xcc0000"), ("mine", 9, "0x123456")],
        "pool": [("p", "memory", {})],
        "system_property": [("stats_interval", 5), ("updatevm", "work")],
        "counter": [("dispid", 1001)],
        "journal": [],
    }  # fmt: skip
    for table, more in changed.items():
        found[table] = [*found[table], *more]
    return found


def loaded(found) -> tuple[System, list[str]]:
    system, reports = System(Host(16384, 4)), []
    fill(system, found, reports.append)
    return system, reports


def test_rows_become_the_system() -> None:
    system, reports = loaded(rows())
    work = system.qube("work")
    assert not reports
    assert not is_fresh(system)
    assert work.properties == {"memory": 500, "netvm": "dom0"}
    assert list(work.features) == ["b", "a"]
    assert (work.tags, work.notes, work.qid) == ({"t"}, "text", 1)
    assert work.volumes["root"].vid == "appvms/work/root"
    assert list(system.labels) == ["red", "mine"]
    assert system.properties["stats_interval"] == 5
    assert system.counters == {"dispid": 1001}
    assert [r.name for r in system.references.to("work")] == ["updatevm"]
    assert [r.holder for r in system.references.to("dom0")] == [work]
    assert system.free_qid() == 2


def test_nothing_stored_is_a_fresh_system() -> None:
    for nothing in ({}, {table: [] for table in TABLES}):
        system, reports = loaded(nothing)
        assert is_fresh(system)
        assert len(system.labels) == 8
        assert not reports


UNKNOWN = [
    ("qube", (str(UUID(int=8)), "odd", "NoSuchVM", 2), "qube odd: unknown class NoSuchVM"),
    ("qube", (str(UUID(int=8)), "work", "AppVM", 2), "another of this name"),
    ("qube", ("no uuid", "odd", "AppVM", 2), "qube odd"),
    ("property", (WORK, "none-such", 1), "qube work: unknown property none-such"),
    ("system_property", ("none-such", 1), "unknown property none-such"),
    ("volume", (WORK, "private", {"none": "such"}), "qube work: volume private"),
    ("volume", (WORK, "private", {"name": "private"}), "qube work: volume private"),
    ("volume", (WORK, "private", ["a list"]), f"volume {WORK}: a cell of the wrong type"),
    ("volume", (WORK, "private", {"name": "private", "pool": 1, "vid": "x", "size_bytes": "y"}),
     "qube work: volume private: a value of the wrong type"),
    ("property", (WORK, "vcpus", ["3"]), "wrong type"),
    ("property", (WORK, b"vcpus", 3), "wrong type"),
    ("feature", (WORK, "x", 1), "wrong type"),
    ("tag", (WORK, 5), "wrong type"),
    ("notes", (WORK, b"x"), "wrong type"),
    ("qube", (str(UUID(int=8)), 5, "AppVM", 2), "wrong type"),
    ("pool", ("odd", "memory", []), "wrong type"),
    ("counter", ("odd", "x"), "wrong type"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "row", "said"), UNKNOWN)
def test_what_is_unknown_is_left_out_and_said(table, row, said) -> None:
    system, reports = loaded(rows(**{table: [row]}))
    plain, _ = loaded(rows())
    assert len(reports) == 1
    assert said in reports[0]
    assert list(system.qubes) == list(plain.qubes)
    assert system.qube("work").properties == plain.qube("work").properties
    assert system.qube("work").volumes == plain.qube("work").volumes
    assert system.properties == plain.properties


@pytest.mark.parametrize("table", [t.name for t in TABLES.values() if t.of_qube])
def test_what_belongs_to_a_qube_left_out_is_left_out(table) -> None:
    odd = str(UUID(int=8))
    values = ["x"] * (len(TABLES[table].columns) - 1)
    system, _ = loaded(rows(qube=[(odd, "odd", "NoSuchVM", 2)], **{table: [(odd, *values)]}))
    assert "odd" not in system.qubes


def test_no_mixed_up_store_keeps_the_system_from_loading(rounds) -> None:
    rng = random.Random(1)
    plain = [1, -1, 2.5, "", "x", "work", b"x", WORK]
    strange = [*plain[:-2], None, True, [], {}, ["x"], {"x": 1}]
    for _ in range(300 * rounds):
        mutant = rows()
        for _ in range(rng.randrange(1, 6)):
            table = rng.choice([name for name, found in mutant.items() if found])
            at = rng.randrange(len(mutant[table]))
            row = list(mutant[table][at])
            column = rng.randrange(len(row))
            is_json = TABLES[table].columns[column] in ("value", "configuration", "options")
            row[column] = rng.choice(strange if is_json else plain)
            mutant[table][at] = tuple(row)
        system, _ = loaded(mutant)
        assert not any(qube.klass is None for qube in system.in_order())
