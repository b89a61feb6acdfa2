"""The programs that clients of Qubes OS run for imports: data in, the daemon's answer out."""

import os
import subprocess

import pytest

from daemon_process import DaemonProcess

FAKE = ["hypervisor.driver=fake", "storage.default_driver=file"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    made = DaemonProcess(tmp_path_factory.mktemp("import") / "root", list(FAKE))
    made.root.mkdir()
    made.start()
    made.call("admin.vm.Create.TemplateVM", payload="name=tpl label=black")
    made.call("admin.vm.Create.AppVM", arg="tpl", payload="name=work label=red")
    yield made
    assert made.stop() == 0


def run(daemon: DaemonProcess, method: str, *words: str, data: bytes, dest: str = "work"):
    environment = {**os.environ, "QREXEC_REMOTE_DOMAIN": "dom0", "QREXEC_REQUESTED_TARGET": dest}
    return subprocess.run(
        [daemon.root / "etc/qubes-rpc" / method, *words],
        input=data,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_data_of_any_size_becomes_the_volume(daemon) -> None:
    data = os.urandom(1 << 20) * 20
    head = b"%d\n" % len(data)
    done = run(daemon, "admin.vm.volume.ImportWithSize", "private", data=head + data)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\0", b"")
    image = daemon.root / "var/lib/qubes/appvms/work/private.img"
    assert image.read_bytes() == data
    done = run(daemon, "admin.vm.volume.Import", "private", data=data[::-1])
    assert done.stdout == b"0\0"
    assert image.read_bytes() == data[::-1]


@pytest.mark.parametrize(
    ("words", "dest", "error"),
    [
        (("private",), "work", b"2\0StoragePoolException\0"),
        (("nosuch",), "work", b"2\0PermissionDenied\0"),
        (("private",), "ghost", b"2\0QubesVMNotFoundError\0"),
        (("a b",), "work", b"2\0ProtocolError\0"),
        ((), "work", b"2\0ProtocolError\0"),
    ],
)
def test_a_refusal_is_the_answer_however_much_is_sent(daemon, words, dest, error) -> None:
    done = run(daemon, "admin.vm.volume.Import", *words, data=bytes(3 << 20), dest=dest)
    assert done.returncode == 0
    assert done.stdout.startswith(error), done
    assert done.stdout.endswith(b"\0")


def test_an_administrators_own_program_is_left_alone(daemon) -> None:
    path = daemon.root / "etc/qubes-rpc/admin.vm.volume.Import"
    mine = "#!/bin/sh\nexit 7\n"
    before = path.read_text()
    path.write_text(before + "# changed\n")
    other = path.with_name("admin.vm.volume.ImportWithSize")
    other.write_text(mine)
    assert daemon.stop() == 0
    daemon.start()
    assert path.read_text() == before
    assert other.read_text() == mine
    done = run(daemon, "admin.vm.volume.Import", "private", data=b"x")
    assert done.stdout.startswith(b"2\0")


def test_without_a_daemon_it_says_so(daemon) -> None:
    assert daemon.stop() == 0
    done = run(daemon, "admin.vm.volume.Import", "private", data=b"x")
    assert done.returncode == 1
    assert b"qubesd.sock" in done.stderr
    daemon.start()
