"""`qubeward ls`, `create` and `remove`."""

import re

import pytest

from .conftest import Typed


def test_ls_is_one_line_a_qube_where_no_terminal_is(typed: Typed) -> None:
    head, dom0, _tpl, work = typed.out("ls").splitlines()
    assert head.split() == ["NAME", "CLASS", "STATE", "LABEL", "TEMPLATE", "NETVM", "IP", "MEMORY"]
    assert re.split(r"\s+", work) == ["work", "AppVM", "Halted", "red", "tpl", "-", "-", "400"]
    assert dom0.startswith("dom0  AdminVM")
    assert len(typed.out("ls", "work").splitlines()) == 2
    assert typed.out("ls", "--names") == "dom0\ntpl\nwork\n"
    assert "\x1b" not in typed.out("ls")


def test_ls_json_has_values(typed: Typed) -> None:
    (work,) = typed.json("ls", "--json", "work")
    assert work == {
        "name": "work",
        "class": "AppVM",
        "state": "Halted",
        "label": "red",
        "template": "tpl",
        "netvm": None,
        "ip": None,
        "memory": 400,
    }


def test_ls_speaks_the_draft_dialect_too(typed: Typed) -> None:
    assert Typed(*typed.options, "--dialect", "draft").out("ls") == typed.out("ls")


def test_ls_of_nothing_that_is_there_fails(typed: Typed) -> None:
    assert typed.fails("ls", "nope") == "qubeward: No such domain: nope\n"


def test_create_sets_properties(typed: Typed) -> None:
    typed(
        "create", "mail", "--template=tpl", "--label=blue",
        "--property", "memory=500", "--property", "kernelopts=a=b c", "--property", "netvm=none",
    )  # fmt: skip
    assert typed.out("prefs", "mail", "memory") == "500\n"
    assert typed.out("prefs", "mail", "kernelopts") == "a=b c\n"
    assert typed.out("prefs", "mail", "label") == "blue\n"


@pytest.mark.parametrize("wrong", ["memory=much", "nonsense=1"])
def test_create_with_a_bad_property_leaves_nothing(typed: Typed, wrong: str) -> None:
    assert typed.fails("create", "mail", "--template=tpl", "--property", wrong).startswith(
        "qubeward: "
    )
    assert typed.out("ls", "--names") == "dom0\ntpl\nwork\n"


def test_create_refuses_what_makes_no_sense(typed: Typed) -> None:
    assert "already exists" in typed.fails("create", "work", "--template=tpl")
    typed("create", "x", "--class", "AdminVM", status=2)
    typed("create", "x", "--property", "memory", status=2)
    assert "Invalid qube name" in typed.fails("create", "1x", "--template=tpl")
    typed.fails("create", "ä b", "--template=tpl")


def test_remove_asks(typed: Typed) -> None:
    typed("create", "mail", "--template=tpl")
    typed("remove", "mail", "work", stdin="n\n", status=1)
    typed("remove", "mail", "work", stdin="", status=130)
    assert "mail" in typed.out("ls", "--names")
    typed("remove", "mail", "work", "mail", stdin="y\n")
    assert typed.out("ls", "--names") == "dom0\ntpl\n"


def test_remove_tells_each_that_stays(typed: Typed) -> None:
    assert "tpl" in typed.fails("remove", "--yes", "tpl", "work", "nope")
    assert typed.out("ls", "--names").startswith("dom0\ntpl\n")
