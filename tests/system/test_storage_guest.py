"""Real guests on volumes of every kind, on the drivers that any host has (ADMIN-API 5.1)."""

import contextlib
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon_process import INTERNAL, CallFailedError, DaemonProcess, until
from drivers.filesystems import mounted
from drivers.hypervisors import remove
from guest_console import GuestConsole
from guest_images import MiniImages, mini_images

__all__ = ["mini_images"]

pytestmark = pytest.mark.guest

MIB = 1 << 20
DATA = "var/lib/qubes"
#: Each driver with the file system below it; None: where the tests are.
PLACES = {"file-reflink": "btrfs", "qcow2": None, "file": None}
KILLS = 2


@contextlib.contextmanager
def place(driver: str) -> Iterator[Path]:
    """Make a root for a daemon, with the file system for this driver."""
    # Not below pytest's own directories, which are closed to the account that guests run as.
    root = Path(tempfile.mkdtemp(prefix="qubeward-tests-"))
    root.chmod(0o755)
    (root / DATA).parent.mkdir(parents=True)
    try:
        kind = PLACES[driver]
        if kind is None:
            (root / DATA).mkdir()
            yield root
            return
        with tempfile.TemporaryDirectory(prefix="qubeward-tests-") as disk:
            Path(disk).chmod(0o711)
            with mounted(kind, Path(disk)) as at:
                at.chmod(0o711)
                (root / DATA).symlink_to(at)
                yield root
    finally:
        with contextlib.suppress(FileNotFoundError):
            if (root / DATA).is_symlink():
                (root / DATA).unlink()
        remove(root)


def import_root(daemon: DaemonProcess, template: str, image: Path) -> None:
    size = str(image.stat().st_size)
    reply = daemon.call("internal.vm.volume.ImportBegin", template, "root", size, where=INTERNAL)
    path = daemon.root / reply.split(" ", 1)[1].lstrip("/")
    subprocess.run(["cp", "--sparse=always", str(image), str(path)], check=True)
    daemon.call("internal.vm.volume.ImportEnd", template, "root", "ok", where=INTERNAL)


@pytest.fixture(params=PLACES)
def daemon(request: pytest.FixtureRequest, mini_images: MiniImages) -> Iterator[DaemonProcess]:
    with place(request.param) as root:
        kernels = root / DATA / "vm-kernels"
        kernels.mkdir()
        shutil.copytree(
            mini_images.kernels_dir / mini_images.version, kernels / mini_images.version
        )
        settings = ["hypervisor.accel=tcg", f"storage.default_driver={request.param}"]
        made = DaemonProcess(root, settings)
        made.start()
        made.call("admin.vm.Create.TemplateVM", payload="name=mini label=black")
        made.call("admin.vm.property.Set", "mini", "memory", "128")
        import_root(made, "mini", mini_images.root)
        made.call("admin.property.Set", arg="default_template", payload="mini")
        yield made
        if made.process.poll() is not None:
            made.start()
        for line in made.call("admin.vm.List").splitlines():
            name = line.split(" ")[0]
            if name != "dom0" and made.state(name) != "Halted":
                made.call("admin.vm.Kill", name)
        assert made.stop() == 0, made.log.read_text()


def create(daemon: DaemonProcess, name: str) -> GuestConsole:
    daemon.call("admin.vm.Create.AppVM", payload=f"name={name} label=red")
    daemon.call("admin.vm.property.Set", name, "memory", "128")
    return GuestConsole(daemon, name)


def info(daemon: DaemonProcess, qube: str, volume: str) -> dict[str, str]:
    lines = daemon.call("admin.vm.volume.Info", qube, volume).splitlines()
    return dict(line.split("=", 1) for line in lines)


def shut_down(daemon: DaemonProcess, *names: str) -> None:
    for name in names:
        daemon.call("admin.vm.Shutdown", name, "wait")


def test_each_volume_does_what_its_kind_says(daemon: DaemonProcess) -> None:
    work = create(daemon, "work")
    work.boot()
    files = "/rw/a /etc/a /volatile/a"
    work.run(f"for f in {files}; do echo $f > $f; done; sync")
    assert work.run(f"cat {files}").split() == files.split()

    # Its template, at the same time: what that writes is for the next start.
    mini = GuestConsole(daemon, "mini")
    mini.boot()
    mini.run("echo new > /etc/new; echo kept > /rw/kept; sync")
    assert info(daemon, "work", "root")["is_outdated"] == "False"
    shut_down(daemon, "mini")
    assert info(daemon, "work", "root")["is_outdated"] == "True"
    assert work.run("cat /etc/new 2> /dev/null || echo none") == "none"

    # A disk grows under its guest.
    before = int(info(daemon, "work", "private")["size"])
    larger = before + 64 * MIB
    daemon.call("admin.vm.volume.Resize", "work", "private", str(larger))
    assert work.run(
        f"until [ $(cat /sys/block/vdb/size) = {larger // 512} ]; do sleep 1; done; echo seen"
    ) == "seen"  # fmt: skip
    tail = f"bs=1M count=1 seek={larger // MIB - 1}"
    work.run(f"echo end | dd of=/dev/vdb {tail} conv=notrunc 2> /dev/null; sync")
    shut_down(daemon, "work")
    assert int(info(daemon, "work", "private")["size"]) == larger

    work.boot()
    assert work.run("cat /rw/a") == "/rw/a"
    assert work.run("cat /etc/new") == "new"
    assert work.run("cat /sys/block/vdb/size") == str(larger // 512)
    tail = f"bs=1M count=1 skip={larger // MIB - 1}"
    assert work.run(f"dd if=/dev/vdb {tail} 2> /dev/null | head -n 1") == "end"
    assert work.run("ls /etc/a /volatile/a 2> /dev/null; echo -n") == ""
    assert info(daemon, "work", "root")["is_outdated"] == "False"
    work.run("echo b > /rw/b; rm /rw/a; sync")
    shut_down(daemon, "work")


def test_what_was_is_brought_back_and_copied(daemon: DaemonProcess) -> None:
    work = create(daemon, "work")
    work.boot()
    work.run("echo first > /rw/text; sync")
    shut_down(daemon, "work")
    kept = daemon.call("admin.vm.volume.Snapshot", "work", "private").strip()
    daemon.call("admin.vm.Clone", "work", payload="name=copy")
    work.boot()
    work.run("echo second > /rw/text; sync")
    shut_down(daemon, "work")

    copy = GuestConsole(daemon, "copy")
    copy.boot()
    assert copy.run("cat /rw/text") == "first"
    assert kept in daemon.call("admin.vm.volume.ListSnapshots", "work", "private").split()
    daemon.call("admin.vm.volume.Revert", "work", "private", kept)
    work.boot()
    assert work.run("cat /rw/text") == "first"
    shut_down(daemon, "work", "copy")


class Killer(threading.Thread):
    """Kills the daemon in a moment, and starts it again."""

    def __init__(self, daemon: DaemonProcess, after_s: float) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self._after_s = after_s

    def run(self) -> None:
        time.sleep(self._after_s)
        self._daemon.kill()
        self._daemon.start()


def insist(call: Callable[[], str]) -> str:
    """Make a call until it is answered by a daemon that lives to answer."""
    end = time.monotonic() + 120
    while True:
        try:
            return call()
        except CallFailedError:
            raise
        except (OSError, AssertionError):  # hung up on, or answered by nothing
            assert time.monotonic() < end
            time.sleep(0.05)


def start(daemon: DaemonProcess, console: GuestConsole) -> None:
    """Start a qube, whose start may be cut off and undone."""
    console.rewind()
    while not console.is_up:
        insist(lambda: daemon.call("admin.vm.Start", console.qube))
        until(lambda: console.is_up or insist(lambda: daemon.state(console.qube)) == "Halted", 90)


def stop(daemon: DaemonProcess, console: GuestConsole) -> None:
    """Shut a qube down, whose daemon may not live to see it."""
    while insist(lambda: daemon.state(console.qube)) != "Halted":
        with contextlib.suppress(CallFailedError):
            insist(lambda: daemon.call("admin.vm.Shutdown", console.qube, "wait"))


def files_of(root: Path) -> set[str]:
    data = root / DATA
    return {
        str(path.relative_to(data))
        for path in data.rglob("*")
        if path.is_file() and "vm-kernels" not in path.parts and path.suffix != ".record"
    }


def test_killed_at_any_moment_it_loses_nothing_that_a_guest_wrote(
    daemon: DaemonProcess, rounds: int
) -> None:
    rng = random.Random(3)
    before = files_of(daemon.root)
    work = create(daemon, "work")
    written: list[str] = []
    took_s = 8.0
    for number in range(max(KILLS, rounds)):
        began = time.monotonic()
        killer = Killer(daemon, rng.uniform(0, took_s))
        killer.start()
        start(daemon, work)
        assert work.run("cat /rw/text 2> /dev/null").split() == written
        assert work.run("ls /etc/lost /volatile/lost 2> /dev/null") == ""
        work.run(f"echo {number} >> /rw/text; touch /etc/lost /volatile/lost; sync")
        written.append(str(number))
        stop(daemon, work)
        took_s = 0.7 * took_s + 0.3 * (time.monotonic() - began)
        killer.join(90)
        assert not killer.is_alive()
    daemon.call("admin.vm.Remove", "work")
    assert files_of(daemon.root) == before, "nothing is left of it"
