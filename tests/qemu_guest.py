"""A guest in a QEMU of its own, its console in the test's hands: no libvirt, no daemon."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk of the guest; the guest knows it by `serial`."""

    serial: str
    path: Path
    read_only: bool = False


@dataclass(slots=True)
class Guest:
    """A running guest. What its console printed is in `seen`."""

    process: asyncio.subprocess.Process
    monitor: Path
    seen: str = ""
    _searched: int = field(default=0, init=False)

    async def until(self, text: str, timeout_s: float = 60) -> str:
        """Wait until the console prints the text, and return what came before it."""
        async with asyncio.timeout(timeout_s):
            while (at := self.seen.find(text, self._searched)) < 0:
                assert await self._read(), f"the guest ended; its console:\n{self.seen}"
        before = self.seen[self._searched : at]
        self._searched = at + len(text)
        return before

    async def run(self, line: str) -> str:
        """Type a command at the root shell and return what it printed."""
        # The quotes keep what is typed, and echoed, from looking like what is printed.
        self.type(f"echo =be''gin=; {line}; echo =e''nd=")
        await self.until("=begin=\r\n")
        return (await self.until("=end=\r\n")).replace("\r\n", "\n").strip()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def press_power_button(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self.monitor)
        for command in ("qmp_capabilities", "system_powerdown"):
            writer.write(json.dumps({"execute": command}).encode() + b"\n")
            while b'"return"' not in await reader.readline():
                pass
        writer.close()
        await writer.wait_closed()

    async def end(self, timeout_s: float) -> None:
        """Wait until the guest has powered itself off."""
        async with asyncio.timeout(timeout_s):
            while await self._read():
                pass
            assert await self.process.wait() == 0

    async def _read(self) -> bool:
        assert self.process.stdout is not None
        data = await self.process.stdout.read(65536)
        self.seen += data.decode(errors="replace")
        return bool(data)


@asynccontextmanager
async def boot(
    folder: Path,
    *,
    vmlinuz: Path,
    initramfs: Path,
    drives: Sequence[Drive],
    name: str,
    memory_mib: int = 128,
) -> AsyncIterator[Guest]:
    """Boot a guest, and end it with the block. `folder` is for its monitor's socket."""
    monitor = folder / "qmp"
    argv = [
        *("qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", str(memory_mib)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-qmp", f"unix:{monitor},server=on,wait=off", "-device", "virtio-rng-pci"),
        *("-kernel", str(vmlinuz), "-initrd", str(initramfs)),
        *("-append", f"console=ttyS0 no_timer_check quiet qubeward.name={name}"),
    ]
    for drive in drives:
        mode = "on" if drive.read_only else "off"
        argv += [
            *("-drive", f"if=none,id={drive.serial},format=raw,readonly={mode},file={drive.path}"),
            *("-device", f"virtio-blk-pci,drive={drive.serial},serial={drive.serial}"),
        ]
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Guest(process, monitor)
    finally:
        if process.returncode is None:
            process.kill()
        # Its pipes closed too, or they would be found open at the end of the loop.
        await process.communicate()
