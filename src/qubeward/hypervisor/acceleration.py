"""Whether guests can use KVM here: proven by one that does, never believed."""

import ctypes
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from ..errors import HypervisorError
from ..host.process import ProgramError, run
from .access import may_open
from .domain import Accel
from .embed import Account
from .probe_image import EXIT_PORT, EXIT_STATUS, probe_image

AccelSetting = Literal["auto", "kvm", "tcg"]

KVM = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"

_PROBE_TIMEOUT_S = 5.0

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """How guests will be accelerated, why, and what the administrator should be told once."""

    accel: Accel
    reason: str
    warning: str | None = None


def probe(
    setting: AccelSetting, *, account: Account | None = None, device: Path = KVM
) -> Acceleration:
    """Find out how guests can be accelerated. Blocks up to 5 s: for start-up only.

    Raises `HypervisorError` if the setting asks for KVM and KVM doesn't work.
    """
    match setting:
        case "tcg":
            return Acceleration(accel="tcg", reason="asked for")
        case "auto" | "kvm":
            why_not = _why_not_kvm(account, device)
        case _:
            assert_never(setting)
    if why_not is None:
        return Acceleration(accel="kvm", reason="a test guest ran")
    if setting == "kvm":
        raise HypervisorError("set up", f'accel = "kvm", but {why_not}')
    warning = f"KVM can't be used ({why_not}): guests are emulated, and slow"
    return Acceleration(accel="tcg", reason=why_not, warning=warning)


def find_fault(accelerator: str, *, account: Account | None = None, qemu: str = QEMU) -> str | None:
    """Run the test guest with this accelerator; return what went wrong, None if it worked."""
    with tempfile.TemporaryDirectory(prefix="qubeward-probe-") as directory:
        image = Path(directory) / "probe.bin"
        image.write_bytes(probe_image())
        try:
            done = run(
                _argv(qemu, accelerator, image, account), timeout_s=_PROBE_TIMEOUT_S, check=False
            )
        except ProgramError as error:
            return f"the test guest: {error.why}"
    if done.returncode == EXIT_STATUS:
        return None
    last = done.stderr.decode(errors="replace").strip().splitlines()
    return f"the test guest ended with {done.returncode}: {last[-1] if last else 'no message'}"


def hide_kvm(device: Path = KVM) -> str | None:
    """Cover the device for this process and its children; return a warning if that can't be.

    libvirt tries a broken KVM again at each start of a guest, for tens of seconds, as long as it
    sees the device. Call this before any other thread starts: only the caller's is covered.
    """
    if not _is_device(device):
        return None
    if os.geteuid() != 0:
        return (
            f"{device} is unused but visible, and only root can hide it:"
            " if KVM is broken here, each start of a guest is slow"
        )
    try:
        _cover(device)
    except OSError as error:
        return (
            f"{device} is unused but can't be hidden ({error}):"
            " if KVM is broken here, each start of a guest is slow"
        )
    return None


def _cover(device: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    # Slaves, not private: what is mounted on the host later must be seen here. In a chroot, the
    # root is no mount point; then the mount that holds the device is enough.
    for place in (Path("/"), *device.parents):
        if libc.mount(None, bytes(place), None, _MS_REC | _MS_SLAVE, None) == 0:
            break
    else:
        _check(-1, "mount --make-rslave")
    handle, cover = tempfile.mkstemp(prefix="qubeward-no-kvm-")
    try:
        os.fchmod(handle, 0)
        _check(libc.mount(os.fsencode(cover), bytes(device), None, _MS_BIND, None), "mount --bind")
    finally:
        os.close(handle)
        Path(cover).unlink()


def _why_not_kvm(account: Account | None, device: Path) -> str | None:
    if not _is_device(device):
        return f"there is no {device}"
    if account is not None and not may_open(device, account, 6):
        # worth saying only if it would work
        broken = find_fault("kvm", account=account)
        return broken or f"{account.name} may not open {device}: add it to the device's group"
    return find_fault("kvm", account=account)


def _argv(qemu: str, accelerator: str, image: Path, account: Account | None) -> Sequence[str]:
    cpu = "host" if accelerator == "kvm" else "qemu64"
    machine = f"q35,accel={accelerator}"
    return (
        *(qemu, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-sandbox", "on", "-machine", machine, "-cpu", cpu, "-m", "16"),
        *("-bios", str(image), "-device", f"isa-debug-exit,iobase={EXIT_PORT},iosize=4"),
        *(() if account is None else ("-runas", account.name)),
    )


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
