"""A guest with an encrypted disk: it is one like others to the guest, and noise to the host."""

import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon_process import DaemonProcess, until
from drivers.hypervisors import (
    EmbedHost,
    World,
    embed_host,
    libvirt_world,
    listed_keys,
    make_accounts,
    mini_guest,
    reachable_folder,
    remove,
    sparse,
)
from guest_images import MiniImages, mini_images
from qubeward.host.process import run_in_thread
from qubeward.hypervisor.driver import Disk, DomainState
from qubeward.hypervisor.embed import embed_root
from qubeward.storage.luks import make_luks

__all__ = ["embed_host", "libvirt_world", "mini_images"]

MIB = 1 << 20
TEXT = "what the guest writes"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's business")


def encrypted(folder: Path, size_bytes: int) -> Disk:
    image = folder / "volatile.img"
    image.unlink(missing_ok=True)
    key = make_luks(image, size_bytes)
    return Disk(serial="volatile", path=str(image), format="luks", key=key)


def embed_dir(root: Path) -> Path:
    return embed_root(root, is_root=os.geteuid() == 0)


def files_with(text: bytes, *folders: Path) -> list[Path]:
    """The files below the folders that hold the text."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    # libvirt's lock of this process is on driver.pid: whoever closes that file lets go of it
    return [path for path in files if path.name != "driver.pid" and text in path.read_bytes()]


def told_to_processes(text: bytes) -> list[Path]:
    """The processes that have the text in their arguments or surroundings."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if text in (process / name).read_bytes():
                    found.append(process / name)
            except OSError:
                continue  # it ended meanwhile
    return found


@pytest.mark.guest
@pytest.mark.parametrize("machine", ["q35", "pc"])
async def test_the_guest_finds_its_disk_in_its_place_and_the_host_finds_nothing(
    machine: str,
    embed_host: EmbedHost,
    libvirt_world: World,
    mini_images: MiniImages,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    connection = embed_host.shared.connection
    settings = replace(connection._settings, machine=machine)
    monkeypatch.setattr(connection, "_settings", settings)
    folder = libvirt_world.folder
    private = Disk(serial="private", path=str(sparse(folder / "private.img", 64 * MIB)))
    volatile = encrypted(folder, 512 * MIB)
    guest = mini_guest(libvirt_world, mini_images, f"secret-{machine}", private, volatile)
    await guest.boot()
    assert listed_keys(folder) == []
    shown = guest.log.read_text()
    assert "root on vda, private on vdb, volatile on vdc" in shown
    assert await guest.run("cat /sys/block/vdc/serial /sys/block/vdd/serial") == "volatilekernel"
    assert await guest.run("cat /sys/block/vdc/size") == str(512 * MIB // 512)

    for disk in ("/rw", "/volatile"):
        await guest.run(f"yes '{TEXT}' | head -n 10000 > {disk}/text; sync")
        assert await guest.run(f"tail -n 1 {disk}/text") == TEXT
    assert TEXT.encode() in (folder / "private.img").read_bytes()
    image = (folder / "volatile.img").read_bytes()
    assert TEXT.encode() not in image
    assert image.startswith(b"LUKS\xba\xbe\0\1")

    key = str(volatile.key).encode()
    assert len(key) == 64
    assert files_with(guest.spec.name.encode(), embed_dir(folder))  # it would have been found
    assert files_with(key, folder, embed_dir(folder)) == []
    assert told_to_processes(key) == []
    assert key.decode() not in caplog.text + repr(guest.spec)
    await libvirt_world.hypervisor.destroy(guest.spec.uuid)


@pytest.mark.guest
@needs_root
async def test_a_full_host_pauses_the_guest_and_it_goes_on_when_there_is_room(
    libvirt_world: World,
    mini_images: MiniImages,
) -> None:
    at = libvirt_world.folder / "small"
    at.mkdir()
    options = "size=12m,mode=0711"
    await run_in_thread(["mount", "-t", "tmpfs", "-o", options, "none", str(at)], timeout_s=10)
    try:
        guest = mini_guest(libvirt_world, mini_images, "full", encrypted(at, 512 * MIB))
        uuid = guest.spec.uuid
        await guest.boot()
        dd = "dd if=/dev/zero of=/volatile/zeros bs=1M count=16 conv=fsync"
        await guest.type(f"{dd} && echo writ''ten")
        assert await libvirt_world.until(uuid, DomainState.PAUSED, timeout_s=60) == "I/O error"
        assert "written" not in guest.log.read_text()
        more = ["mount", "-o", "remount,size=256m", str(at)]
        await run_in_thread(more, timeout_s=10)
        await libvirt_world.hypervisor.unpause(uuid)
        await guest.until_shown("written")
        assert await guest.run("dmesg | grep -c 'I/O error'") == "0"
        await libvirt_world.hypervisor.destroy(uuid)
    finally:
        await run_in_thread(["umount", "--lazy", str(at)], timeout_s=10)
        at.rmdir()


SCRIPT = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from drivers.hypervisors import World, embed_libvirt
    from qubeward.hypervisor.acceleration import hide_kvm
    from qubeward.hypervisor.driver import Disk

    async def main(folder, key):
        world = World(embed_libvirt(Path(folder)), Path(folder))
        await world.hypervisor.open(world.on_change)
        path = str(Path(folder) / "volatile.img")
        disk = Disk(serial="volatile", path=path, format="luks", key=key)
        uuid = await world.running("chatty", disks=(disk,))
        await world.hypervisor.destroy(uuid)
        await world.hypervisor.close()

    hide_kvm()
    asyncio.run(main(sys.argv[1], sys.stdin.read()))
""")


@pytest.fixture
def chatty() -> Iterator[Path]:
    make_accounts()
    folder = reachable_folder()
    yield folder
    remove(folder)


def test_libvirt_says_no_key_however_much_it_says(chatty: Path, tmp_path: Path) -> None:
    key = str(encrypted(chatty, MIB).key)
    log = tmp_path / "libvirt.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(chatty)],
        input=key,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(["src", "tests"]),
            "LIBVIRT_DEBUG": "1",
            "LIBVIRT_LOG_OUTPUTS": f"1:file:{log}",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = log.read_text(errors="replace")
    assert "encrypted-vda-format" in said
    assert key not in said + done.stdout + done.stderr
    assert files_with(key.encode(), chatty, embed_dir(chatty)) == []


@pytest.fixture
def daemon(mini_images: MiniImages) -> Iterator[DaemonProcess]:
    root = reachable_folder()
    root.chmod(0o755)
    kernels = root / "var/lib/qubes/vm-kernels"
    kernels.mkdir(parents=True)
    shutil.copytree(mini_images.kernels_dir / mini_images.version, kernels / mini_images.version)
    made = DaemonProcess(root, ["hypervisor.accel=tcg"])
    made.start()
    yield made
    if made.state("work") != "Halted":
        made.call("admin.vm.Kill", "work")
    assert made.stop() == 0, made.log.read_text()
    remove(root)


@pytest.mark.guest
def test_a_qubes_ephemeral_volume_is_encrypted_anew_at_each_start(
    daemon: DaemonProcess,
    mini_images: MiniImages,
) -> None:
    daemon.call("admin.vm.Create.StandaloneVM", payload="name=work label=red")
    daemon.call("admin.vm.property.Set", "work", "memory", "128")
    size = str(mini_images.root.stat().st_size)
    reply = daemon.call(
        "internal.vm.volume.ImportBegin", "work", "root", size, where="run/qubesd.internal.sock"
    )
    path = daemon.root / reply.split(" ", 1)[1].lstrip("/")
    subprocess.run(["cp", "--sparse=always", str(mini_images.root), str(path)], check=True)
    daemon.call(
        "internal.vm.volume.ImportEnd", "work", "root", "ok", where="run/qubesd.internal.sock"
    )
    daemon.call("admin.vm.volume.Set.ephemeral", "work", "volatile", "True")
    heads = set()
    for times in (1, 2):
        daemon.call("admin.vm.Start", "work")
        until(lambda: daemon.console("work").count("qube work is up") == times, 60)  # noqa: B023
        assert "volatile on vdc" in daemon.console("work")
        uuid = daemon.call("admin.vm.property.Get", "work", "uuid").split()[-1]
        (process,) = told_to_processes(uuid.encode())
        line = process.read_bytes()
        assert not re.search(rb"[0-9a-f]{64}", line)
        (image,) = re.findall(rb'"filename": "([^"]*/volatile[^"]*)"', line)
        with open(image, "rb") as file:  # noqa: PTH123  # bytes
            heads.add(file.read(4096))
        daemon.call("admin.vm.Kill", "work")
    assert len(heads) == 2
    assert all(head.startswith(b"LUKS\xba\xbe\0\1") for head in heads)
    said = daemon.log.read_bytes()
    said += b"".join(path.read_bytes() for path in embed_dir(daemon.root).glob("log/**/*.log"))
    assert b"encrypted-vdc-key" in said
    assert not re.search(rb"[0-9a-f]{64}", said)
    assert listed_keys(daemon.root) == []
