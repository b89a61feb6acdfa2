"""What libvirt's embedded driver must stand: hung and killed guests, restarts, second daemons."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from drivers.hypervisors import (
    EmbedHost,
    World,
    make_accounts,
    reachable_folder,
    remove,
)
from qubeward.errors import HypervisorError
from qubeward.host.process import run_in_thread
from qubeward.hypervisor.driver import Disk, DomainState
from qubeward.hypervisor.embed import embed_root, find_account

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
    async with daemon(libvirt_world.folder, uuid4()) as second:
        assert "another process serves this system" in await says(second)


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
