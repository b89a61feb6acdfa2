"""The disk fills up under the daemon: changes still land, and what needs space is refused."""

import os
from pathlib import Path

import pytest

from daemon_process import CallFailedError, DaemonProcess, event_stream, until
from drivers.filesystems import mounted

pytestmark = pytest.mark.slow

FAKE = ["hypervisor.driver=fake", "storage.default_driver=file", "log.format=json"]


@pytest.fixture
def daemon(tmp_path):
    with mounted("ext4", tmp_path, size_mib=512) as at:
        made = DaemonProcess(at / "root", list(FAKE))
        made.root.mkdir()
        made.start()
        made.call("admin.vm.Create.TemplateVM", payload="name=tpl label=black")
        made.call("admin.vm.Create.AppVM", arg="tpl", payload="name=work label=red")
        yield made
        if made.process.poll() is None:
            made.kill()


def fill_up(root: Path) -> Path:
    """Take every block that is left."""
    filler = root / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(os.urandom(size))
                    os.fsync(file.fileno())
            except OSError:
                continue
    return filler


def test_the_store_commits_on_a_full_disk_and_takes_its_reserve_again(daemon) -> None:
    reserve = daemon.root / "var/lib/qubeward/state.reserve"
    until(reserve.exists)
    size = reserve.stat().st_blocks * 512
    assert size >= 16 << 20
    filler = fill_up(daemon.root)
    with event_stream(daemon) as events:
        for number in range(300):
            daemon.call("admin.vm.feature.Set", "work", f"f{number}", "x" * 200)
        events.until("pool-space", 15)
    assert not reserve.exists(), "it was needed"
    assert "held back" in daemon.log.read_text()
    with pytest.raises(CallFailedError, match="less than its floor"):
        daemon.call("admin.vm.Create.AppVM", arg="tpl", payload="name=new label=red")
    with pytest.raises(CallFailedError, match="less than its floor"):
        daemon.call("admin.vm.Start", "work")
    daemon.kill()
    daemon.start()
    assert len(daemon.call("admin.vm.feature.List", "work").split()) == 300
    filler.unlink()
    daemon.call("admin.vm.Create.AppVM", arg="tpl", payload="name=new label=red")
    until(lambda: _change_until(daemon, reserve), 30)


def _change_until(daemon: DaemonProcess, reserve: Path) -> bool:
    daemon.call("admin.vm.tag.Set", "work", "again")
    daemon.call("admin.vm.tag.Remove", "work", "again")
    return reserve.exists() and reserve.stat().st_blocks * 512 >= 16 << 20


def test_an_import_that_fills_the_disk_changes_nothing(daemon) -> None:
    daemon.call("admin.vm.volume.ImportWithSize", "work", "private", "5\nhello")
    image = daemon.root / "var/lib/qubes/appvms/work/private.img"
    free = os.statvfs(daemon.root).f_bavail * os.statvfs(daemon.root).f_frsize
    data = b"%d\n" % (free * 2) + os.urandom(1 << 20) * (free * 2 // (1 << 20) + 1)
    with pytest.raises(CallFailedError, match="No space left"):
        daemon.call("admin.vm.volume.ImportWithSize", "work", "private", data)
    assert image.read_bytes() == b"hello"
    names = {path.name for path in image.parent.iterdir()}
    assert {name for name in names if "@" not in name} == {"private.img", "private.record"}
    left = os.statvfs(daemon.root).f_bavail * os.statvfs(daemon.root).f_frsize
    assert left > free - (4 << 20)
    daemon.call("admin.vm.Start", "work")
