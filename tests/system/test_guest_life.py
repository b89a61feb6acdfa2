"""Real guests, managed through the API alone: every call of a qube's life, and what must survive."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from daemon_process import INTERNAL, CallFailedError, DaemonProcess, event_stream, until
from guest_images import MiniImages, mini_images

__all__ = ["mini_images"]

pytestmark = pytest.mark.guest

UP = "qubeward: qube {} is up"


def install_kernel(root: Path, images: MiniImages) -> None:
    kernels = root / "var/lib/qubes/vm-kernels"
    kernels.mkdir(parents=True)
    shutil.copytree(images.kernels_dir / images.version, kernels / images.version)


def import_root(daemon: DaemonProcess, template: str, image: Path) -> None:
    size = image.stat().st_size
    reply = daemon.call(
        "internal.vm.volume.ImportBegin", template, "root", str(size), where=INTERNAL
    )
    path = daemon.root / reply.split(" ", 1)[1].lstrip("/")
    subprocess.run(["cp", "--sparse=always", str(image), str(path)], check=True)
    daemon.call("internal.vm.volume.ImportEnd", template, "root", "ok", where=INTERNAL)


@pytest.fixture(scope="module")
def daemon(mini_images):
    # Not below pytest's own directories, which are closed to the account that guests run as.
    root = Path(tempfile.mkdtemp(prefix="qubeward-"))
    root.chmod(0o755)
    install_kernel(root, mini_images)
    daemon = DaemonProcess(root, ["hypervisor.accel=tcg"])
    daemon.start()
    daemon.call("admin.vm.Create.TemplateVM", payload="name=mini label=black")
    import_root(daemon, "mini", mini_images.root)
    daemon.call("admin.property.Set", arg="default_template", payload="mini")
    yield daemon
    for line in daemon.call("admin.vm.List").splitlines():
        name = line.split(" ")[0]
        if name not in ("dom0", "mini") and daemon.state(name) != "Halted":
            daemon.call("admin.vm.Kill", name)
    assert daemon.stop() == 0, daemon.log.read_text()
    shutil.rmtree(root)


@pytest.fixture
def qube(daemon, request):
    name = "q" + str(abs(hash(request.node.name)) % 10**6)
    daemon.call("admin.vm.Create.AppVM", payload=f"name={name} label=red")
    daemon.call("admin.vm.property.Set", name, "memory", "128")
    daemon.call("admin.vm.property.Set", name, "vcpus", "1")
    yield name
    if daemon.state(name) != "Halted":
        daemon.call("admin.vm.Kill", name)
    daemon.call("admin.vm.Remove", name)


def wait_up(daemon: DaemonProcess, name: str, times: int = 1) -> None:
    """Wait until the guest has come up so many times, and its shell waits for a line."""

    def is_up() -> bool:
        parts = daemon.console(name).split(UP.format(name))
        return len(parts) > times and f"root@{name}" in parts[-1]

    until(is_up, 60)


def type_at(daemon: DaemonProcess, name: str, line: str) -> None:
    tty = os.open(daemon.call("admin.vm.Console", name), os.O_RDWR | os.O_NOCTTY)
    os.write(tty, line.encode() + b"\n")
    time.sleep(1.5)  # QEMU looks once a second whether anybody has the tty open
    os.close(tty)


def test_every_call_of_a_qubes_life_does_what_it_says(daemon, qube):
    with event_stream(daemon, qube) as events:
        daemon.call("admin.vm.Start", qube)
        assert daemon.state(qube) == "Running"
        wait_up(daemon, qube)
        assert "root on vda, private on vdb, volatile on vdc" in daemon.console(qube)
        figures = daemon.call("admin.vm.CurrentState", qube)
        assert "mem=131072" in figures
        assert "power_state=Running" in figures
        assert daemon.call("admin.vm.property.Get", qube, "xid") != "default=True type=int -1"
        daemon.call("admin.vm.Start", qube)  # already: nothing happens

        daemon.call("admin.vm.Pause", qube)
        assert daemon.state(qube) == "Paused"
        with pytest.raises(CallFailedError, match="NotRunning"):
            daemon.call("admin.vm.Shutdown", qube)
        daemon.call("admin.vm.Unpause", qube)
        assert daemon.state(qube) == "Running"

        with pytest.raises(CallFailedError, match="NotHalted"):
            daemon.call("admin.vm.Remove", qube)
        daemon.call("admin.vm.Shutdown", qube, "wait")
        assert daemon.state(qube) == "Halted"
        events.until("domain-shutdown")
    names = [n for n in events.names(qube) if n.startswith("domain-")]
    assert names == [
        "domain-pre-start", "domain-pre-spawn", "domain-spawn", "domain-pre-unpaused",
        "domain-unpaused", "domain-start", "domain-pre-paused", "domain-paused",
        "domain-pre-unpaused", "domain-unpaused", "domain-pre-shutdown", "domain-stopped",
        "domain-shutdown",
    ]  # fmt: skip
    assert daemon.call("admin.vm.property.Get", qube, "xid") == "default=True type=int -1"


def test_a_second_start_is_quick_and_kill_is_at_once(daemon, qube):
    daemon.call("admin.vm.Start", qube)
    daemon.call("admin.vm.Kill", qube)
    before = time.monotonic()
    daemon.call("admin.vm.Start", qube)
    assert time.monotonic() - before < 5  # libvirt must not look for KVM again: that takes longer
    daemon.call("admin.vm.Kill", qube)
    assert daemon.state(qube) == "Halted"


def test_a_guest_that_powers_itself_off_is_halted(daemon, qube):
    daemon.call("admin.vm.Start", qube)
    wait_up(daemon, qube)
    with event_stream(daemon, qube) as events:
        type_at(daemon, qube, "poweroff -f")
        events.until("domain-shutdown", 10)
    assert events.names(qube).count("domain-stopped") == 1
    assert daemon.state(qube) == "Halted"


def test_private_is_kept_and_root_and_volatile_are_fresh(daemon, qube):
    daemon.call("admin.vm.Start", qube)
    wait_up(daemon, qube)
    type_at(daemon, qube, "touch /rw/kept /etc/lost /volatile/lost; sync; echo written")
    until(lambda: "\nwritten" in daemon.console(qube).replace("\r", ""))
    daemon.call("admin.vm.Shutdown", qube, "wait")
    daemon.call("admin.vm.Start", qube)
    wait_up(daemon, qube, times=2)
    type_at(daemon, qube, "ls /rw/kept /etc/lost /volatile/lost; echo li''sted")
    until(lambda: "\nlisted" in daemon.console(qube).replace("\r", ""))
    shown = daemon.console(qube).rsplit("is up", 1)[1]
    assert "\n/rw/kept" in shown.replace("\r", "")
    assert "/etc/lost: No such file" in shown
    assert "/volatile/lost: No such file" in shown


def test_qemu_is_not_root(daemon, qube):
    daemon.call("admin.vm.Start", qube)
    uuid = daemon.call("admin.vm.property.Get", qube, "uuid").split()[-1]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and uuid.encode() in (entry / "cmdline").read_bytes():
                owner = (entry / "status").read_text().split("Uid:\t")[1].split()[0]
                assert owner != "0"
                break
        except OSError:
            continue
    else:
        pytest.fail("no such process")


def test_running_guests_outlive_a_killed_daemon(daemon, qube):
    daemon.call("admin.vm.Start", qube)
    wait_up(daemon, qube)
    before = daemon.call("admin.vm.property.Get", qube, "start_time")
    daemon.kill()
    daemon.start()
    assert daemon.state(qube) == "Running"
    assert daemon.call("admin.vm.property.Get", qube, "start_time") == before
    with event_stream(daemon, qube) as events:
        type_at(daemon, qube, "echo still he''re")
        until(lambda: "still here" in daemon.console(qube))
        daemon.call("admin.vm.Shutdown", qube, "wait")
        events.until("domain-shutdown")
    assert daemon.state(qube) == "Halted"


def test_a_guest_that_ended_while_the_daemon_was_away_is_halted_and_can_start_again(daemon, qube):
    daemon.call("admin.vm.Start", qube)
    wait_up(daemon, qube)
    tty = os.open(daemon.call("admin.vm.Console", qube), os.O_RDWR | os.O_NOCTTY)
    daemon.kill()
    os.write(tty, b"touch /rw/kept; sync; poweroff -f\n")
    until(lambda: "Power down" in daemon.console(qube) or "reboot:" in daemon.console(qube))
    os.close(tty)
    time.sleep(1)
    daemon.start()
    assert daemon.state(qube) == "Halted"
    daemon.call("admin.vm.Start", qube)
    wait_up(daemon, qube, times=2)
    type_at(daemon, qube, "ls /rw/kept && echo it is the''re")
    until(lambda: "it is there" in daemon.console(qube))
