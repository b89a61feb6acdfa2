"""The daemon as a process: its start, its end, and what it says of both."""

import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon_process import DRAFT, INTERNAL, R4, SOURCE, DaemonProcess, event_stream, until
from qubeward.wire.request import encode_request

FAKE = ["hypervisor.driver=fake", "storage.default_driver=file", "log.format=json"]


@pytest.fixture
def daemon(tmp_path):
    made = DaemonProcess(tmp_path / "root", list(FAKE))
    made.root.mkdir()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def run_to_its_end(root, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected not to serve."""
    options = [word for setting in settings for word in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "qubeward", "--root", str(root), "daemon", *options],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_fresh_root_becomes_a_fresh_system(daemon) -> None:
    for version in ("6.1.9", "6.1.10"):
        kernel = daemon.root / "var/lib/qubes/vm-kernels" / version
        kernel.mkdir(parents=True)
        (kernel / "vmlinuz").touch()
    daemon.start()
    assert re.fullmatch(
        r"dom0 class=AdminVM state=Running uuid=[0-]+\n", daemon.call("admin.vm.List")
    )
    assert daemon.call("admin.label.List").split() == [
        "red", "orange", "yellow", "green", "gray", "blue", "purple", "black",
    ]  # fmt: skip
    assert daemon.call("admin.label.Index", arg="black") == "8"
    reading = daemon.call("admin.property.Get", arg="default_kernel")
    assert reading == "default=False type=str 6.1.10"
    reading = daemon.call("admin.property.Get", arg="default_pool_kernel")
    assert reading == "default=False type=str linux-kernel"
    db = sqlite3.connect(daemon.root / "var/lib/qubeward/state.db")
    assert db.execute("SELECT name, driver FROM pool ORDER BY name").fetchall() == [
        ("linux-kernel", "linux-kernel"), ("varlibqubes", "file"),
    ]  # fmt: skip
    db.close()
    assert daemon.stop() == 0


def test_a_second_daemon_on_the_root_is_refused(daemon) -> None:
    daemon.start()
    second = run_to_its_end(daemon.root, *FAKE)
    assert second.returncode == 1
    assert f"another daemon (process {daemon.process.pid}) serves {daemon.root}" in second.stderr
    assert "Traceback" not in second.stderr
    assert daemon.call("admin.vm.List").startswith("dom0 ")  # the first is none the worse


def test_one_may_start_once_the_other_is_gone(daemon) -> None:
    daemon.start()
    daemon.kill()
    daemon.start()
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("text", "settings", "why"),
    [
        ("[log]\nlevel = 5\n", [], "log.level"),
        ("", ["none.such=1"], "none.such"),
    ],
)
def test_bad_settings_end_it_with_status_2(tmp_path, text, settings, why) -> None:
    path = tmp_path / "etc/qubeward/qubeward.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    ended = run_to_its_end(tmp_path, *settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith("qubeward: ")
    assert why in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def store(root):
    path = root / "var/lib/qubeward/state.db"
    path.parent.mkdir(parents=True)
    return path


def test_a_damaged_store_ends_it_with_a_clear_word(tmp_path) -> None:
    store(tmp_path).write_bytes(b"no database" * 1000)
    ended = run_to_its_end(tmp_path, *FAKE)
    assert ended.returncode == 1
    (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert line["level"] == "critical"
    assert str(tmp_path / "var/lib/qubeward/state.db") in line["event"]


def test_a_newer_store_ends_it_with_a_clear_word(tmp_path) -> None:
    db = sqlite3.connect(store(tmp_path))
    db.execute("PRAGMA user_version = 1000")
    db.close()
    ended = run_to_its_end(tmp_path, *FAKE)
    assert ended.returncode == 1
    assert "newer version" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_stale_sockets_are_replaced(daemon) -> None:
    daemon.start()
    daemon.kill()
    assert (daemon.root / R4).exists()  # a dead one
    assert (daemon.root / DRAFT).exists()
    daemon.start()
    for name in (R4, DRAFT, INTERNAL):
        assert (daemon.root / name).stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(daemon.root / name))


def test_sockets_are_gone_after_a_clean_end(daemon) -> None:
    daemon.start()
    assert daemon.stop() == 0
    for name in (R4, DRAFT, INTERNAL):
        assert not (daemon.root / name).exists()


def test_a_restart_keeps_everything(daemon) -> None:
    daemon.start()
    daemon.call("admin.vm.Create.TemplateVM", payload="name=tpl label=black")
    daemon.call("admin.vm.Create.AppVM", arg="tpl", payload="name=work label=red")
    daemon.call("admin.label.Create", arg="mine", payload="0x010203")
    for name, value in (("b", "x y"), ("a", "")):
        daemon.call("admin.vm.feature.Set", "work", name, value)
    daemon.call("admin.vm.tag.Set", "work", "mine")
    daemon.call("admin.vm.notes.Set", "work", payload="long ü story\n")
    daemon.call("admin.vm.property.Set", "work", "memory", "500")
    daemon.call("admin.property.Set", arg="default_template", payload="tpl")

    def everything() -> list[str]:
        return [
            daemon.call("admin.vm.List"),
            daemon.call("admin.property.GetAll"),
            daemon.call("admin.label.List"),
            *(
                daemon.call(method, qube)
                for qube in ("dom0", "tpl", "work")
                for method in (
                    "admin.vm.property.GetAll",
                    "admin.vm.tag.List",
                    "admin.vm.feature.List",
                )
            ),
            daemon.call("admin.vm.feature.Get", "work", "b"),
            daemon.call("admin.vm.notes.Get", "work"),
        ]

    before = everything()
    for end in (daemon.stop, daemon.kill):
        end()
        daemon.start()
        assert everything() == before
    # The fake's guests end with the process: what ran is off, and nothing is left of it.
    daemon.call("admin.vm.Start", "work")
    daemon.kill()
    daemon.start()
    assert daemon.state("work") == "Halted"
    daemon.call("admin.vm.Start", "work")


def test_systemd_is_told_of_ready_watchdog_and_stopping(daemon, tmp_path, monkeypatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        daemon.start()
        assert listener.recv(4096).startswith(b"READY=1\n")
        words = [listener.recv(4096) for _ in range(4)]
        assert words == [b"WATCHDOG=1"] * 4
        assert daemon.stop() == 0
        listener.setblocking(False)
        rest = []
        try:
            while True:
                rest.append(listener.recv(4096))
        except BlockingIOError:
            pass
    assert [word for word in rest if word != b"WATCHDOG=1"] == [b"STOPPING=1"]


def test_an_end_by_sigterm_is_prompt_when_nothing_is_under_way(daemon) -> None:
    daemon.start()
    with event_stream(daemon):
        before = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - before < 5


def test_sigint_ends_it_too(daemon) -> None:
    daemon.start()
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(20) == 0


def ask(daemon: DaemonProcess, request: bytes) -> socket.socket:
    """Send a call and return its connection."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(30)
        sock.connect(str(daemon.root / R4))
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        sock.close()
        raise
    return sock


def rest_of(sock: socket.socket) -> bytes:
    with sock:
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_operations_under_way_are_finished_and_answered_at_the_end(daemon) -> None:
    daemon.start()
    daemon.call("admin.vm.Create.TemplateVM", payload="name=tpl label=black")
    requests = [
        encode_request("admin.vm.Create.AppVM", b"tpl", b"dom0", b"dom0", f"name=w{n} label=red".encode())
        for n in range(12)
    ] + [
        encode_request("admin.vm.tag.Set", f"t{n}".encode(), b"dom0", b"tpl") for n in range(12)
    ]  # fmt: skip
    random.Random(1).shuffle(requests)
    socks = [ask(daemon, request) for request in requests]
    # What was accepted before this answer came is under way.
    daemon.call("admin.vm.List")
    assert daemon.stop() == 0
    answers = [rest_of(sock) for sock in socks]
    assert answers == [b"0\0"] * len(requests)
    daemon.start()
    assert daemon.call("admin.vm.List").count("class=AppVM") == 12
    assert daemon.call("admin.vm.tag.List", "tpl").count("\nt") == 12


def test_whoever_calls_while_it_ends_is_answered_or_refused_never_half(daemon) -> None:
    """At any moment of its end, a call is done and kept, or not done."""
    daemon.start()
    acknowledged: list[str] = []
    stopping = threading.Event()

    def calls(number: int) -> None:
        for serial in range(10_000):
            tag = f"t{number}-{serial}"
            try:
                answer = rest_of(
                    ask(daemon, encode_request("admin.vm.tag.Set", tag.encode(), b"dom0", b"dom0"))
                )
            except OSError:
                return
            if answer == b"0\0":
                acknowledged.append(tag)
            elif stopping.is_set():
                assert answer == b"" or answer.startswith(b"2\0")
                return

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(calls, number) for number in range(4)]
        until(lambda: len(acknowledged) > 50)
        stopping.set()
        assert daemon.stop() == 0
        for future in futures:
            future.result(30)
    daemon.start()
    kept = set(daemon.call("admin.vm.tag.List", "dom0").split())
    assert set(acknowledged) <= kept
