"""`qubeward prefs`, `tags`, `features`, `notes` and `labels`: what is kept about qubes."""

import pytest

from .conftest import Typed


def test_prefs_are_shown_set_and_reset(typed: Typed) -> None:
    assert "memory" in typed.out("prefs", "work")
    assert typed.out("prefs", "work", "memory") == "400\n"
    typed("prefs", "work", "memory", "500")
    assert typed.json("prefs", "work", "--json")["memory"] == {
        "value": 500,
        "type": "int",
        "is_default": False,
    }
    typed("prefs", "work", "memory", "--default")
    assert typed.json("prefs", "work", "--json")["memory"]["is_default"]
    assert "MiB" in typed.out("prefs", "work", "memory", "--explain")


def test_none_is_no_qube_and_else_a_word(typed: Typed) -> None:
    typed("prefs", "work", "default_dispvm", "none")
    assert typed.json("prefs", "work", "--json")["default_dispvm"]["value"] is None
    typed("prefs", "work", "default_user", "none")
    assert typed.out("prefs", "work", "default_user") == "none\n"
    typed("prefs", "work", "audiovm", "")
    assert typed.out("prefs", "work", "audiovm") == "\n"


@pytest.mark.parametrize("words", [("--system",), ("dom0", "--global"), ("--system", "dom0")])
def test_prefs_of_the_system(typed: Typed, words: tuple[str, ...]) -> None:
    assert "default_template" in typed.out("prefs", *words)
    typed("prefs", *words, "stats_interval", "7")
    assert typed.out("prefs", *words, "stats_interval") == "7\n"
    typed("prefs", *words, "stats_interval", "--unset")
    assert typed.out("prefs", *words, "stats_interval") == "3\n"


def test_prefs_that_make_no_sense_are_refused(typed: Typed) -> None:
    typed("prefs", status=2)
    typed("prefs", "work", "--default", status=2)
    typed("prefs", "work", "memory", "1", "--default", status=2)
    assert "No such property" in typed.fails("prefs", "work", "memroy")
    assert "No such property" in typed.fails("prefs", "work", "memroy", "1")
    assert "decimal" in typed.fails("prefs", "work", "memory", "much")
    typed.fails("prefs", "nope", "memory")


def test_tags(typed: Typed) -> None:
    typed("tags", "work", "--add", "a", "--add", "b")
    assert {"a", "b"} <= set(typed.out("tags", "work").splitlines())
    assert {"a", "b"} <= set(typed.json("tags", "work", "--json"))
    typed("tags", "work", "--has", "a")
    typed("tags", "work", "--remove", "a")
    typed("tags", "work", "--has", "a", status=1)
    assert "Tag not set" in typed.fails("tags", "work", "--remove", "a")
    assert "Invalid tag" in typed.fails("tags", "work", "--add", "a.b")


def test_features(typed: Typed) -> None:
    typed("features", "work", "service.cups", "1")
    typed("features", "work", "share", "100 %")
    assert typed.json("features", "work", "--json") == {"service.cups": "1", "share": "100 %"}
    assert typed.out("features", "work").splitlines()[0].split() == ["service.cups", "1"]
    assert typed.out("features", "work", "share") == "100 %\n"
    typed("features", "work", "share", "")
    assert typed.out("features", "work", "share") == "\n"
    typed("features", "work", "share", "--unset")
    assert "Feature not set" in typed.fails("features", "work", "share")
    typed("features", "tpl", "os", "Linux")
    assert typed.out("features", "work", "os", "--inherit", "template") == "Linux\n"
    typed("features", "work", "--unset", status=2)
    typed("features", "work", "os", "1", "--unset", status=2)


def test_notes_are_shown_set_and_edited(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed.out("notes", "work") == ""
    typed("notes", "work", "--set", stdin="für die Konten\n")
    assert typed.out("notes", "work") == "für die Konten\n"
    monkeypatch.setenv("VISUAL", "sed -i s/die/alle/")
    typed("notes", "work", "--edit")
    assert typed.out("notes", "work") == "für alle Konten\n"
    monkeypatch.setenv("VISUAL", "true")
    typed("notes", "work", "--edit")
    assert typed.out("notes", "work") == "für alle Konten\n"
    assert "UTF-8" in typed.fails("notes", "work", "--set", stdin=b"\xff\xfe")
    typed.fails("notes", "dom0")


def test_labels(typed: Typed) -> None:
    assert typed.out("labels").splitlines()[0].split() == ["1", "red", "0xcc0000"]
    typed("labels", "add", "teal", "0x008080")
    try:
        assert {"index": 9, "name": "teal", "color": "0x008080"} in typed.json("labels", "--json")
    finally:
        typed("labels", "remove", "teal")
    assert "color" in typed.fails("labels", "add", "teal", "blue")
    typed.fails("labels", "remove", "red")
