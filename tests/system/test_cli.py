"""The program as users run it: processes, pipes, signals and shells, on a daemon that runs nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon_process import SOURCE, DaemonProcess, until
from guest_images import build_lock, cache_dir

ENV = {**os.environ, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1"}
COMMAND = [sys.executable, "-m", "qubeward"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(tmp_path, ["hypervisor.driver=fake"])
    daemon.start()
    yield daemon
    daemon.stop()


def run(
    daemon: DaemonProcess, *words: str, status: int = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, "--root", str(daemon.root), *words],
        env={**ENV, **options.pop("env", {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **({"stdin": subprocess.DEVNULL} | options),
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_a_qubes_life_by_the_command_line(daemon: DaemonProcess) -> None:
    run(daemon, "create", "tpl", "--class", "TemplateVM", "--label", "black")
    run(daemon, "prefs", "--system", "default_template", "tpl")
    run(daemon, "create", "work", "--property", "memory=300")
    run(daemon, "start", "work")
    assert "Running" in run(daemon, "ls", "work").stdout
    assert run(daemon, "remove", "--yes", "work", status=1).stderr.startswith("qubeward: ")
    run(daemon, "shutdown", "--wait", "work")
    daemon.stop()
    assert "is the daemon running" in run(daemon, "ls", status=3).stderr
    daemon.kill()
    daemon.start()
    assert json.loads(run(daemon, "ls", "--json", "work").stdout)[0]["memory"] == 300
    run(daemon, "remove", "--yes", "work")
    assert run(daemon, "ls", "--names").stdout == "dom0\ntpl\n"


def test_a_second_daemon_is_refused(daemon: DaemonProcess) -> None:
    assert "another daemon" in run(daemon, "daemon", status=1).stderr


def test_events_go_on_when_the_daemon_comes_back(daemon: DaemonProcess, tmp_path: Path) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"

    def seen() -> list[str]:
        return [json.loads(line)["event"] for line in out.read_text().splitlines()]

    with out.open("w") as to, errors.open("w") as also_to:
        listening = subprocess.Popen(
            [*COMMAND, "--root", str(daemon.root), "events", "--json"],
            env=ENV, stdout=to, stderr=also_to,
        )  # fmt: skip
    try:
        until(lambda: seen() == ["connection-established"])
        run(daemon, "labels", "add", "teal", "0x008080")
        run(daemon, "create", "tpl", "--class", "TemplateVM")
        until(lambda: "domain-add" in seen())
        daemon.stop()
        until(lambda: "trying again" in errors.read_text())
        daemon.start()
        until(lambda: seen().count("connection-established") == 2)
        run(daemon, "tags", "tpl", "--add", "x")
        until(lambda: "domain-tag-add:x" in seen())
    finally:
        listening.send_signal(signal.SIGINT)
        assert listening.wait(20) == 130
    assert "Traceback" not in errors.read_text()


def test_a_reader_that_leaves_is_no_disaster(daemon: DaemonProcess) -> None:
    with subprocess.Popen(
        [*COMMAND, "--root", str(daemon.root), "methods"],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as listing:  # fmt: skip
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == b""


def test_it_starts_within_a_second(daemon: DaemonProcess) -> None:
    run(daemon, "ls")  # compiles
    begin = time.monotonic()
    run(daemon, "ls")
    assert time.monotonic() - begin < 1
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "qubeward", "--root", str(daemon.root), "ls"],
        env=ENV, capture_output=True, text=True, timeout=60, check=True,
    ).stderr  # fmt: skip
    for heavy in ("rich", "libvirt", "structlog", "lxml", "jinja2", "sqlite3"):
        assert f"| {heavy}\n" not in loaded.replace(" ", "").replace("|", "| "), heavy


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """An environment in which `qubeward` is a program, as when it is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "qubeward"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qubeward "$@"\n')
    script.chmod(0o755)
    return {**ENV, "PATH": f"{folder}:{os.environ['PATH']}"}


def shell(name: str, script: str, program: dict[str, str], root: Path) -> list[str]:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here")
    done = subprocess.run(
        [found, "-c", script],
        env={**program, "QUBEWARD_ROOT": str(root)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes(daemon: DaemonProcess, program: dict[str, str]) -> None:
    run(daemon, "create", "tpl", "--class", "TemplateVM")

    def offered(*words: str) -> list[str]:
        typed = " ".join(f"'{word}'" for word in words)
        script = (
            'eval "$(qubeward completion bash)"; complete -p qubeward >/dev/null || exit 1\n'
            f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}\n"
            "_qubeward_completion qubeward\n"
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        return shell("bash", script, program, daemon.root)

    assert offered("qubeward", "unp") == ["unpause"]
    assert offered("qubeward", "start", "") == ["dom0", "tpl"]
    assert offered("qubeward", "prefs", "tpl", "memo") == ["memory"]


def test_fish_completes(daemon: DaemonProcess, program: dict[str, str]) -> None:
    script = "qubeward completion fish | source; complete -C 'qubeward unp'"
    assert "unpause" in shell("fish", script, program, daemon.root)


def test_zsh_reads_its_script(daemon: DaemonProcess, program: dict[str, str]) -> None:
    script = (
        "autoload -U compinit; compinit -u -D; source <(qubeward completion zsh)\n"
        "print ${_comps[qubeward]}"
    )
    assert shell("zsh", script, program, daemon.root) == ["_qubeward_completion"]


@pytest.mark.slow
def test_the_mini_template_is_built_and_started(daemon: DaemonProcess) -> None:
    with build_lock():
        run(daemon, "template", "build", "mini", env={"QUBEWARD_CACHE": str(cache_dir())})
    assert run(daemon, "prefs", "--system", "default_template").stdout == "mini\n"
    run(daemon, "create", "work")
    run(daemon, "start", "work")
