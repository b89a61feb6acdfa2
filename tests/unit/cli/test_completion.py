"""What a shell is offered."""

import pytest
from click.shell_completion import BashComplete

from daemon_process import DaemonProcess
from qubeward.__main__ import program
from qubeward.spec import METHODS

from .conftest import Typed


def offered(typed: Typed, *words: str) -> list[str]:
    *before, last = words
    found = BashComplete(program, {}, "qubeward", "_QUBEWARD_COMPLETE").get_completions(
        [*typed.options, *before], last
    )
    return [item.value for item in found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_ask_the_program(shell: str) -> None:
    script = Typed().out("completion", shell)
    assert "_QUBEWARD_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_commands_and_what_the_table_has(typed: Typed) -> None:
    assert offered(typed, "sta") == ["start"]
    assert offered(typed, "call", "admin.vm.tag.") == [
        name for name in METHODS if name.startswith("admin.vm.tag.")
    ]
    assert offered(typed, "prefs", "work", "mem") == ["memory"]
    assert offered(typed, "prefs", "--system", "default_t") == ["default_template"]
    assert offered(typed, "create", "--property", "mem") == ["memory="]
    assert offered(typed, "create", "--class", "Temp") == ["TemplateVM"]
    assert offered(typed, "template", "build", "m") == ["mini"]


def test_what_the_daemon_has(typed: Typed) -> None:
    typed("tags", "work", "--add", "personal")
    typed("features", "work", "service.cups", "1")
    assert offered(typed, "start", "") == ["dom0", "tpl", "work"]
    assert offered(typed, "start", "work", "") == ["dom0", "tpl"]
    assert offered(typed, "create", "--template", "t") == ["tpl"]
    assert offered(typed, "create", "--label", "gr") == ["green", "gray"]
    assert offered(typed, "tags", "work", "--remove", "p") == ["personal"]
    assert offered(typed, "features", "work", "s") == ["service.cups"]


def test_without_a_daemon_nothing_is_offered_and_nothing_said(
    daemon: DaemonProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = Typed("--root", str(daemon.root / "none"))
    for words in (("start", ""), ("create", "--label", ""), ("tags", "work", "--remove", "")):
        assert offered(nobody, *words) == []
    assert capfd.readouterr() == ("", "")
