"""What libvirt's embedded driver must stand: hung and killed guests, restarts, second daemons."""

import asyncio
import os
import signal
import subprocess  # a test may
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from jinja2 import DictLoader

from drivers.hypervisors import (
    EmbedHost,
    World,
    key_files,
    listed_keys,
    make_accounts,
    reachable_folder,
    remove,
    sparse,
)
from qubeward.errors import HypervisorError
from qubeward.host.process import run_in_thread
from qubeward.hypervisor import domain
from qubeward.hypervisor.driver import Disk, DomainState
from qubeward.hypervisor.embed import embed_root, find_account
from qubeward.hypervisor.fake import FakeHypervisor
from qubeward.hypervisor.libvirt_words import libvirt
from qubeward.storage.luks import make_luks

MIB = 1 << 20
PAUSED, RUNNING = DomainState.PAUSED, DomainState.RUNNING
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts are root's business")


def qemu_pid(uuid: UUID) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"qemu-system-x86_64") and str(uuid).encode() in words:
                return int(folder.name)
    raise AssertionError(uuid)


async def test_the_host_has_the_memory_that_the_kernel_says(embed_host: EmbedHost) -> None:
    hypervisor = embed_host.hypervisor()
    host = await hypervisor.open(lambda _: None)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert (host.memory_mib, host.cpus) == (pages >> 20, os.cpu_count())
    await hypervisor.close()


async def test_a_second_start_takes_less_than_a_second(libvirt_world: World) -> None:
    hypervisor = libvirt_world.hypervisor
    await hypervisor.create(libvirt_world.spec("first"))
    began = time.monotonic()
    await hypervisor.create(libvirt_world.spec("second"))
    assert time.monotonic() - began < 1


@needs_root
async def test_qemu_is_not_root(libvirt_world: World) -> None:
    uuid = await libvirt_world.running()
    account = find_account("qubeward-qemu")
    assert account is not None
    assert os.stat(f"/proc/{qemu_pid(uuid)}").st_uid == account.uid  # noqa: PTH116


async def test_a_killed_guest_is_reported_within_a_second(libvirt_world: World) -> None:
    uuid = await libvirt_world.running()
    os.kill(qemu_pid(uuid), signal.SIGKILL)
    await libvirt_world.until(uuid, None, timeout_s=1)


@pytest.mark.slow
async def test_a_hung_guest_delays_no_other_and_can_be_destroyed(libvirt_world: World) -> None:
    hypervisor = libvirt_world.hypervisor
    hung = await libvirt_world.running("hung")
    other = await libvirt_world.running("other")
    os.kill(qemu_pid(hung), signal.SIGSTOP)
    async with asyncio.TaskGroup() as tasks:
        stuck = [tasks.create_task(fails(hypervisor.pause(hung))) for _ in range(2)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert len(await hypervisor.domains()) == 2
        await hypervisor.pause(other)
        await libvirt_world.until(other, PAUSED)
        assert await hypervisor.console(hung)
        with pytest.raises(HypervisorError, match="still hang"):
            await hypervisor.pause(hung)
        assert time.monotonic() - began < 1
        assert not any(task.done() for task in stuck)
        await hypervisor.destroy(hung)
        assert time.monotonic() - began < 4
    assert libvirt_world.states(hung)[-1] is None
    assert [info.uuid for info in await hypervisor.domains()] == [other]


async def fails(call: object) -> None:
    with pytest.raises(HypervisorError):
        await call  # type: ignore[misc]


async def test_a_start_that_is_given_up_leaves_nothing(libvirt_world: World) -> None:
    spec = libvirt_world.spec()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await libvirt_world.hypervisor.create(spec)
    async with asyncio.timeout(5):
        while await libvirt_world.hypervisor.domains():  # noqa: ASYNC110  # what we promise
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    assert list(await libvirt_world.hypervisor.domains()) == []
    assert libvirt_world.states(spec.uuid)[-1:] in ([], [None])


async def test_a_reason_that_libvirt_forgot_is_asked_for_again(
    embed_host: EmbedHost, libvirt_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = embed_host.shared.connection
    real, calls = connection._libvirt, []

    class Forgetful:
        def lookupByUUIDString(self, uuid: str) -> object:  # noqa: N802  # libvirt's
            calls.append(uuid)
            if len(calls) % 2:
                raise libvirt.libvirtError("no reason")
            return real.lookupByUUIDString(uuid)

    uuid = await libvirt_world.running()
    monkeypatch.setattr(connection, "_libvirt", Forgetful())
    assert connection._find(uuid).name() == "work"
    assert connection._find(uuid4()) is None
    assert len(calls) == 4


async def test_the_console_log_is_written_and_kept(libvirt_world: World) -> None:
    log = libvirt_world.folder / "console.log"
    log.write_text("before\n")
    await libvirt_world.running(console_log=str(log))
    assert log.read_text().startswith("before\n")


@needs_root
async def test_disks_are_the_accounts_and_shared_files_only_readable(
    libvirt_world: World,
) -> None:
    folder = libvirt_world.folder
    base, root, modules = (folder / name for name in ("base.raw", "root.qcow2", "modules.img"))
    for path in (base, modules):
        path.write_bytes(bytes(1 << 20))
        path.chmod(0o600)
    argv = ("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", str(base), str(root))
    await run_in_thread(argv, timeout_s=10)
    root.chmod(0o600)
    disks = (
        Disk(serial="root", path=str(root), format="qcow2"),
        Disk(serial="kernel", path=str(modules), read_only=True),
    )
    await libvirt_world.running(disks=disks)
    account = find_account("qubeward-qemu")
    assert account is not None
    assert root.stat().st_uid == account.uid
    for path in (base, modules):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, account.gid, 0o640)


@pytest.fixture
def small_tmpfs(embed_host: EmbedHost) -> Iterator[Path]:
    at = embed_host.folder / "small"
    at.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0711", "none", str(at)]
    subprocess.run(argv, check=True)
    yield at
    subprocess.run(["umount", "--lazy", str(at)], check=True)
    at.rmdir()


@pytest.fixture
def loop_device(embed_host: EmbedHost) -> Iterator[Path]:
    image = sparse(embed_host.folder / "device.img", 4 * MIB)
    argv = ["losetup", "--find", "--show", str(image)]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop device: {made.stderr}")
    yield Path(made.stdout.strip())
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


# xor ax,ax; mov ds,ax; mov sp,7c00h; mov ss,ax; L: mov ax,4300h; mov dl,80h; mov si,7c20h; int 13h
# jc X; add dword [7c28h],64; jmp L; X: hlt; jmp X; a packet for int 13h, function 43h, from sector 64
_FILL_DISK = (
    b"\x31\xc0\x8e\xd8\xbc\x00\x7c\x8e\xd0\xb8\x00\x43\xb2\x80\xbe\x20\x7c\xcd\x13"
    b"\x72\x08\x66\x83\x06\x28\x7c\x40\xeb\xec\xf4\xeb\xfd\x10\x00\x40\x00\x00\x7c\0\0\x40"
)


@pytest.mark.slow
@needs_root
async def test_a_full_host_pauses_the_guest_that_wants_to_write(
    small_tmpfs: Path, libvirt_world: World
) -> None:
    image = sparse(small_tmpfs / "root.img", 64 * MIB)
    with image.open("r+b") as file:
        file.write(_FILL_DISK.ljust(510, b"\0") + b"\x55\xaa")
    uuid = await libvirt_world.running(disks=(Disk(serial="root", path=str(image)),))
    for times in (1, 2):
        async with asyncio.timeout(20):
            # not `until`, which may see an earlier pause
            while libvirt_world.states(uuid) != [PAUSED, *[RUNNING, PAUSED] * times]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert libvirt_world.changes[-1].reason == "I/O error"
        assert image.stat().st_blocks * 512 == times * MIB
        argv = ["mount", "-o", f"remount,size={times + 1}m", str(small_tmpfs)]
        await run_in_thread(argv, timeout_s=10)
        await libvirt_world.hypervisor.unpause(uuid)
    await libvirt_world.hypervisor.destroy(uuid)


@needs_root
async def test_a_block_device_that_was_made_larger_is_seen_to_be(
    loop_device: Path, libvirt_world: World
) -> None:
    disk = Disk(serial="private", path=str(loop_device))
    uuid = await libvirt_world.running(disks=(disk,))
    with pytest.raises(HypervisorError):
        await libvirt_world.hypervisor.resize_disk(uuid, "private", 8 * MIB)
    os.truncate(libvirt_world.folder / "device.img", 8 * MIB)
    await run_in_thread(["losetup", "--set-capacity", str(loop_device)], timeout_s=10)
    await libvirt_world.hypervisor.resize_disk(uuid, "private", 8 * MIB)
    assert await libvirt_world.size_bytes(uuid, disk) == 8 * MIB
    await libvirt_world.hypervisor.destroy(uuid)


def encrypted(folder: Path) -> Disk:
    image = folder / "volatile.img"
    image.unlink(missing_ok=True)
    return Disk(serial="volatile", path=str(image), format="luks", key=make_luks(image, MIB))


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_an_encrypted_disk_is_opened_and_its_key_is_gone(libvirt_world: World) -> None:
    disk = encrypted(libvirt_world.folder)
    uuid = await libvirt_world.running(disks=(disk,))
    assert listed_keys(libvirt_world.folder) == []
    assert b"-sandbox\0on," in cmdline(qemu_pid(uuid))
    account = find_account("qubeward-qemu")  # None, if we aren't root
    owner = os.geteuid() if account is None else account.uid
    assert (libvirt_world.folder / "volatile.img").stat().st_uid == owner


async def test_a_wrong_key_fails_the_start_and_leaves_nothing(libvirt_world: World) -> None:
    disk = encrypted(libvirt_world.folder)
    wrong = "0" * 64
    spec = libvirt_world.spec(disks=(replace(disk, key=wrong),))
    with pytest.raises(HypervisorError, match="Invalid password") as failed:
        await libvirt_world.hypervisor.create(spec)
    assert wrong not in str(failed.value) + repr(failed.value)
    assert listed_keys(libvirt_world.folder) == []
    assert list(await libvirt_world.hypervisor.domains()) == []


@pytest.mark.slow
async def test_a_template_of_ones_own_adds_devices_beside_encrypted_disks(
    embed_host: EmbedHost, libvirt_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (Path(domain.__file__).parent / "templates" / domain.TEMPLATE).read_text()
    mine = "<input type='keyboard' bus='virtio'/>" * domain.SPARE_PORTS
    templates = {domain.TEMPLATE: source.replace("</devices>", f"{mine}</devices>")}
    connection = embed_host.shared.connection
    monkeypatch.setattr(connection, "_templates", domain.environment(DictLoader(templates)))
    for machine in ("q35", "pc"):
        settings = replace(connection._settings, machine=machine)
        monkeypatch.setattr(connection, "_settings", settings)
        disks = (Disk(serial="root", path=str(sparse(libvirt_world.folder / "root.img", MIB))),)
        disks += (encrypted(libvirt_world.folder),)
        uuid = await libvirt_world.running(machine, disks=disks)
        await libvirt_world.hypervisor.destroy(uuid)


DAEMON = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from uuid import UUID
    from drivers.hypervisors import World, embed_libvirt
    from qubeward.errors import HypervisorError
    from qubeward.hypervisor.acceleration import hide_kvm

    async def main(folder, uuid):
        hypervisor = embed_libvirt(Path(folder))
        world = World(hypervisor, Path(folder))
        try:
            await hypervisor.open(world.on_change)
        except HypervisorError as error:
            print(error, flush=True)
            return
        for info in await hypervisor.domains():
            print("found", info.uuid, info.state.value, flush=True)
            await hypervisor.pause(info.uuid)
            print("paused", await world.until(info.uuid, info.state.PAUSED), flush=True)
            await world.until(info.uuid, None, timeout_s=30)
            print("gone", flush=True)
            await hypervisor.close()
            return
        await world.running(uuid=UUID(uuid))
        print("running", flush=True)
        await asyncio.sleep(60)

    hide_kvm()
    asyncio.run(main(*sys.argv[1:]))
""")


@asynccontextmanager
async def daemon(folder: Path, uuid: UUID) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, str(folder), str(uuid)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", "tests"])},
        cwd=Path(__file__).parent.parent.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def says(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def test_a_daemon_that_was_killed_finds_its_guests_again() -> None:
    make_accounts()
    folder, uuid = reachable_folder(), uuid4()
    async with daemon(folder, uuid) as first:
        assert await says(first) == "running"
        first.kill()
        await first.wait()
    async with daemon(folder, uuid) as second:
        assert await says(second) == f"found {uuid} running"
        assert await says(second) == "paused paused"
        os.kill(qemu_pid(uuid), signal.SIGKILL)
        assert await says(second) == "gone"
    remove(folder)


async def test_a_second_daemon_is_told_that_there_is_one(libvirt_world: World) -> None:
    folder = libvirt_world.folder
    with key_files(folder).written(libvirt_world.spec(disks=(encrypted(folder),))):
        async with daemon(folder, uuid4()) as second:
            assert "another process serves this system" in await says(second)
        assert len(listed_keys(folder)) == 1  # the first may be starting a guest


@pytest.mark.slow
async def test_keys_that_a_killed_daemon_left_are_gone_after_the_next_start() -> None:
    make_accounts()
    folder, uuid = reachable_folder(), uuid4()
    killed = key_files(folder).written(
        World(FakeHypervisor(), folder).spec(disks=(encrypted(folder),))
    )
    killed.__enter__()
    assert len(listed_keys(folder)) == 1
    try:
        async with daemon(folder, uuid) as first:
            assert await says(first) == "running"
            assert listed_keys(folder) == []
            os.kill(qemu_pid(uuid), signal.SIGKILL)
    finally:
        remove(folder)


async def test_an_opened_driver_lists_what_runs_already(
    libvirt_world: World, embed_host: EmbedHost
) -> None:
    uuid = await libvirt_world.running()
    await libvirt_world.hypervisor.close()
    libvirt_world.hypervisor = embed_host.hypervisor()
    await libvirt_world.hypervisor.open(libvirt_world.on_change)
    assert [info.uuid for info in await libvirt_world.hypervisor.domains()] == [uuid]
    await libvirt_world.hypervisor.destroy(uuid)
    assert libvirt_world.states(uuid)[-1] is None


@needs_root
def test_root_needs_an_account_that_is_not_root() -> None:
    make_accounts()
    with pytest.raises(HypervisorError, match="useradd"):
        find_account("qubeward-nobody")
    with pytest.raises(HypervisorError, match="must not run as root"):
        find_account("root")


def test_the_embedded_root_depends_on_the_systems_root_alone() -> None:
    one = embed_root(Path("/"), is_root=True)
    assert one == embed_root(Path("/"), is_root=True)
    assert one != embed_root(Path("/srv"), is_root=True)
    assert str(one).startswith("/run/qubeward/e/")
    long = embed_root(Path("/" + "x" * 90), is_root=False)
    assert len(str(long)) <= 50
    assert embed_root(Path("/srv/q"), is_root=False) == Path("/srv/q/run/qubeward/e")
