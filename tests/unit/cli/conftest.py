"""A daemon that runs nothing, for all tests of commands; and commands as a user types them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daemon_process import DaemonProcess
from qubeward.__main__ import program


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(
        tmp_path_factory.mktemp("r"),
        ["hypervisor.driver=fake", "store.driver=memory", "storage.default_driver=file"],
    )
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def root(daemon: DaemonProcess) -> Path:
    return daemon.root


class Typed:
    """Types commands, and looks at what comes of them."""

    def __init__(self, *options: str) -> None:
        self.options = options

    def __call__(self, *words: str, status: int = 0, stdin: str | bytes = "") -> Result:
        """Run a command that must end with this status."""
        found = CliRunner().invoke(program, [*self.options, *words], input=stdin)
        assert found.exit_code == status, (found.output, found.exception)
        assert "Traceback" not in found.output
        return found

    def out(self, *words: str, **options: Any) -> str:
        return self(*words, **options).stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.out(*words))

    def fails(self, *words: str, status: int = 1, **options: Any) -> str:
        """Run a command that must fail; return what it says."""
        return self(*words, status=status, **options).stderr


@pytest.fixture
def typed(root: Path) -> Iterator[Typed]:
    """Commands to the daemon, which has a template `tpl` and a qube `work`, and afterwards none."""
    typed = Typed("--root", str(root))
    typed("create", "tpl", "--class", "TemplateVM", "--label", "black")
    typed("create", "work", "--template", "tpl")
    yield typed
    for row in reversed(typed.json("ls", "--json")):
        if row["state"] != "Halted" and row["name"] != "dom0":
            typed("kill", row["name"])
    rows = [row for row in typed.json("ls", "--json") if row["name"] != "dom0"]
    rows.sort(key=lambda row: row["class"] == "TemplateVM")
    for row in rows:
        typed("remove", "--yes", row["name"])
