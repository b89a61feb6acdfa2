"""`qubeward call`, `methods`, and the options before every command."""

import socket
from pathlib import Path

import pytest

from qubeward.spec import METHODS

from .conftest import Typed


def test_call_gives_the_reply_as_it_is(typed: Typed) -> None:
    assert typed.out("call", "admin.vm.tag.Get", "work", "x") == "0"
    typed("call", "admin.vm.tag.Set", "work", "x", stdin="never read")
    assert typed("call", "admin.vm.tag.Get", "work", "x").stdout_bytes == b"1"
    assert typed.out("call", "admin.vm.List", "work").startswith("work class=AppVM state=Halted")


def test_call_takes_the_payload_from_either_place(typed: Typed) -> None:
    typed("call", "admin.vm.property.Set", "work", "memory", stdin="500")
    assert typed.out("prefs", "work", "memory") == "500\n"
    typed("call", "admin.vm.property.Set", "work", "memory", "--payload", "600", stdin="700")
    assert typed.out("prefs", "work", "memory") == "600\n"


def test_call_passes_on_what_it_does_not_know(typed: Typed) -> None:
    assert typed.fails("call", "admin.vm.Dance", "work") == (
        "qubeward: Invalid No such method: admin.vm.Dance\n".replace("Invalid ", "")
    )
    assert "Invalid tag" in typed.fails("call", "admin.vm.tag.Get", "work", "a.b")
    typed.fails("call", "admin.vm.tag.Get", "wörk", "ä b")


def test_call_finds_the_socket_of_internal_calls(typed: Typed) -> None:
    out = typed.out(
        "call", "internal.vm.volume.ImportBegin", "work", "private", "--payload", "4096"
    )
    assert out.startswith("4096 /")
    typed.fails("call", "internal.vm.volume.ImportEnd", "work", "private", "--payload", "fail\nno")


def test_methods_prints_the_table(typed: Typed) -> None:
    names = {line.split()[0] for line in typed.out("methods").splitlines()[1:]}
    assert names == set(METHODS)
    assert len(typed.out("methods", "label").splitlines()) == 6
    rows = typed.json("methods", "tag", "--json")["methods"]
    assert {row["name"] for row in rows} == {n for n in METHODS if "tag" in n}


def test_without_a_daemon_every_command_says_so(tmp_path: Path) -> None:
    nobody = Typed("--root", str(tmp_path))
    for words in (
        ("ls",),
        ("ls", "--json"),
        ("start", "work"),
        ("create", "work"),
        ("remove", "--yes", "work"),
        ("prefs", "work"),
        ("tags", "work"),
        ("features", "work"),
        ("notes", "work"),
        ("labels",),
        ("events",),
        ("console", "work"),
        ("call", "admin.vm.List", "dom0"),
        ("call", "admin.Events", "dom0"),
        ("methods", "--json"),
    ):
        assert "is the daemon running" in nobody.fails(*words, status=3), words


def test_a_socket_may_be_named(typed: Typed, root: Path, tmp_path: Path) -> None:
    assert "work" in Typed("--socket", str(root / "run/qubesd.sock")).out("ls", "--names")
    draft = Typed("--socket", str(root / "run/qubeward/draft.sock"), "--dialect", "draft")
    assert "work" in draft.out("ls")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
    assert "nobody listens" in Typed("--socket", str(tmp_path / "s")).fails("ls", status=3)


def test_the_wrong_dialect_is_told(root: Path) -> None:
    wrong = Typed("--socket", str(root / "run/qubeward/draft.sock"))
    assert "does not parse" in wrong.fails("prefs", "--system", status=3)


def test_the_root_may_come_from_the_environment(
    typed: Typed, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUBEWARD_ROOT", str(root))
    assert "work" in Typed().out("ls", "--names")


def test_words_that_make_no_sense_are_usage_errors() -> None:
    for words in (("dance",), ("ls", "--dance"), ("--dialect", "x", "ls"), ("completion", "csh")):
        Typed()(*words, status=2)
    assert "qubeward, version" in Typed().out("--version")


def test_every_command_has_help() -> None:
    for name in (
        Typed().out("--help").partition("Commands:")[2].partition("Exit status")[0].split("\n")
    ):
        if name.strip():
            assert "Usage:" in Typed().out(name.split()[0], "--help")
    assert "3    no connection" in Typed().out("--help")
