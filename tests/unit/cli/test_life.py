"""`qubeward start`, `shutdown`, `kill`, `pause` and `unpause`."""

from .conftest import Typed


def state(typed: Typed, qube: str = "work") -> str:
    return typed.json("ls", "--json", qube)[0]["state"]


def test_a_qube_lives(typed: Typed) -> None:
    for words, then in (
        (("start",), "Running"),
        (("pause",), "Paused"),
        (("unpause",), "Running"),
        (("shutdown", "--wait"), "Halted"),
        (("start",), "Running"),
        (("kill",), "Halted"),
        (("start",), "Running"),
        (("shutdown", "--force", "--wait"), "Halted"),
    ):
        typed(*words, "work")
        assert state(typed) == then, words


def test_several_qubes_at_once_fail_one_by_one(typed: Typed) -> None:
    said = typed.fails("start", "nope", "work", "tpl", "work")
    assert said == "qubeward: No such domain: nope\n"
    assert state(typed) == state(typed, "tpl") == "Running"


def test_the_wrong_state_is_told(typed: Typed) -> None:
    assert typed.fails("kill", "work") == "qubeward: Domain is powered off: work\n"
    assert typed.fails("pause", "work") == "qubeward: Domain is not running: work\n"
    assert "not paused" in typed.fails("unpause", "work")
    typed("start", status=2)


def test_shutdown_waits_in_the_draft_dialect_too(typed: Typed) -> None:
    draft = Typed(*typed.options, "--dialect", "draft")
    draft("start", "work")
    assert "draft" in draft.fails("shutdown", "--force", "work")
    draft("shutdown", "--wait", "work")
    assert state(typed) == "Halted"
