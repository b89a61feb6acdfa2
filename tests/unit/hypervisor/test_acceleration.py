"""KVM is believed only when a guest ran, and hidden when it is not used."""

import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from qubeward.errors import HypervisorError
from qubeward.host.process import run
from qubeward.hypervisor import acceleration
from qubeward.hypervisor.acceleration import KVM, find_fault, hide_kvm, probe
from qubeward.hypervisor.embed import Account
from qubeward.hypervisor.probe_image import EXIT_STATUS, probe_image

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's business")


def fake_qemu(folder: Path, script: str) -> str:
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_test_guest_gets_into_64_bit_mode_and_out_again() -> None:
    assert len(probe_image()) == 0x10000
    assert EXIT_STATUS == 85
    assert find_fault("tcg") is None


def test_a_guest_that_stops_halfway_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    # the long mode part replaced by a jump to itself: what a hang in it looks like
    broken = probe_image().replace(b"\xe6\xf4", b"\xeb\xfe")
    monkeypatch.setattr(acceleration, "probe_image", lambda: broken)
    monkeypatch.setattr(acceleration, "_PROBE_TIMEOUT_S", 0.5)
    assert find_fault("tcg") == "the test guest: no end after 0.5 s"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("exit 85", None),
        ("exit 0", "the test guest ended with 0: no message"),
        ("echo one >&2; echo two >&2; kill -6 $$", "the test guest ended with -6: two"),
        ("exec sleep 60", "the test guest: no end after 0.2 s"),
    ],
)
def test_only_the_right_exit_status_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, fault: str | None
) -> None:
    monkeypatch.setattr(acceleration, "_PROBE_TIMEOUT_S", 0.2)
    assert find_fault("kvm", qemu=fake_qemu(tmp_path, script)) == fault


def test_a_broken_kvm_gives_tcg_and_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "find_fault", lambda *_, **__: "it hangs")
    found = probe("auto", device=Path("/dev/null"))
    assert found.accel == "tcg"
    assert found.warning == "KVM can't be used (it hangs): guests are emulated, and slow"
    with pytest.raises(HypervisorError, match="it hangs"):
        probe("kvm", device=Path("/dev/null"))


def test_a_kvm_that_works_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "find_fault", lambda *_, **__: None)
    assert probe("auto", device=Path("/dev/null")).accel == "kvm"


def test_a_kvm_that_qemus_account_may_not_open_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceleration, "find_fault", lambda *_, **__: None)
    monkeypatch.setattr(acceleration, "may_open", lambda *_: False)
    found = probe("auto", account=Account("someone", 1, 1), device=Path("/dev/null"))
    assert found.accel == "tcg"
    assert "someone may not open /dev/null" in found.reason


def test_no_device_is_no_kvm(tmp_path: Path) -> None:
    assert probe("auto", device=tmp_path / "kvm").reason == f"there is no {tmp_path}/kvm"
    assert hide_kvm(tmp_path / "kvm") is None


def test_tcg_is_not_questioned() -> None:
    assert probe("tcg").warning is None


@pytest.mark.skipif(not KVM.exists(), reason="no /dev/kvm")
def test_what_the_probe_says_of_this_hosts_kvm_is_what_a_guest_does() -> None:
    assert (probe("auto").accel == "kvm") == (find_fault("kvm") is None)


def test_without_root_there_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "only root can hide it" in str(hide_kvm(Path("/dev/null")))


@needs_root
def test_a_hidden_device_is_hidden_from_children_and_only_from_them() -> None:
    script = textwrap.dedent("""
        import stat
        from pathlib import Path
        from qubeward.hypervisor.acceleration import hide_kvm
        from qubeward.host.process import run
        device = Path("/dev/zero")
        assert hide_kvm(device) is None
        assert stat.S_IMODE(device.stat().st_mode) == 0
        assert run(["stat", "-c", "%a %F", str(device)], timeout_s=5).stdout.startswith(b"0 regular")
        assert hide_kvm(device) is None
    """)
    run(
        [sys.executable, "-c", script],
        timeout_s=20,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert stat.S_ISCHR(Path("/dev/zero").stat().st_mode)
