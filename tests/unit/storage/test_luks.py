"""An encrypted image is one that QEMU opens with its passphrase, and nobody without."""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qubeward.host import files
from qubeward.storage.luks import make_luks, overhead_bytes

MIB = 1 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loop devices are root's")


def qemu(program: str, path: Path, passphrase: str, *words: str) -> str:
    """Run qemu-img or qemu-io on the image; return what it printed, or raise what it said."""
    key = path.with_name(f"{path.name}.key")
    key.write_text(passphrase)
    try:
        done = subprocess.run(
            [
                *(program, *words, "--object", f"secret,id=key,file={key}", "--image-opts"),
                f"driver=luks,key-secret=key,file.filename={path}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        key.unlink()
    if done.returncode != 0:
        raise ValueError(done.stdout + done.stderr)
    return done.stdout


def qemu_io(path: Path, passphrase: str, command: str) -> str:
    return qemu("qemu-io", path, passphrase, "-c", command)


def payload_bytes(path: Path, passphrase: str) -> int:
    _, _, after = qemu("qemu-img", path, passphrase, "info").partition("virtual size: ")
    return int(after.partition("(")[2].split(" bytes")[0])


@contextmanager
def loop_device(folder: Path, size_bytes: int) -> Iterator[Path]:
    image = folder / "loop.img"
    files.make_sparse(image, size_bytes)
    argv = ["losetup", "--find", "--show", str(image)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device: {done.stderr}")
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", str(device)], check=True)
        image.unlink()


def test_qemu_writes_and_reads_it_and_the_host_sees_nothing_plain(tmp_path: Path) -> None:
    image = tmp_path / "volatile.img"
    passphrase = make_luks(image, 8 * MIB)
    qemu_io(image, passphrase, "write -P 0x61 7M 1M")
    qemu_io(image, passphrase, "read -P 0x61 7M 1M")
    with pytest.raises(ValueError, match="verification failed"):
        qemu_io(image, passphrase, "read -P 0x62 7M 1M")
    assert b"a" * 16 not in image.read_bytes()


def test_another_passphrase_opens_nothing(tmp_path: Path) -> None:
    image = tmp_path / "volatile.img"
    passphrase = make_luks(image, MIB)
    wrong = passphrase[:-1] + ("0" if passphrase[-1] != "0" else "1")
    with pytest.raises(ValueError, match="Invalid password"):
        qemu_io(image, wrong, "read 0 512")


def test_no_two_images_have_a_key_in_common(tmp_path: Path) -> None:
    images = [tmp_path / "one.img", tmp_path / "other.img"]
    passphrases = [make_luks(image, MIB) for image in images]
    assert passphrases[0] != passphrases[1]
    assert all(len(bytes.fromhex(passphrase)) == 32 for passphrase in passphrases)
    for image, passphrase in zip(images, passphrases, strict=True):
        qemu_io(image, passphrase, "write -P 0x61 0 1M")
    # the same sector of the same text: only the key can differ
    payloads = {image.read_bytes()[-512:] for image in images}
    assert len(payloads) == 2


@given(sectors=st.integers(1, 1 << 40).map(lambda number: number % (1 << 33) or 1))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_payload_has_the_size_that_was_asked_for(tmp_path: Path, sectors: int) -> None:
    image = tmp_path / "volatile.img"
    passphrase = make_luks(image, sectors * 512)
    try:
        assert payload_bytes(image, passphrase) == sectors * 512
        assert image.stat().st_size == sectors * 512 + overhead_bytes()
    finally:
        image.unlink()


@pytest.mark.parametrize("size_bytes", [1 << 20, 512, 1000, 7])
def test_no_guest_finds_a_file_system_in_the_noise(tmp_path: Path, size_bytes: int) -> None:
    image = tmp_path / "volatile.img"
    passphrase = make_luks(image, size_bytes)
    blank_bytes = min(128 << 10, size_bytes // 512 * 512)
    qemu_io(image, passphrase, f"read -P 0 0 {blank_bytes}")


def test_a_new_image_takes_little_and_is_nobody_elses(tmp_path: Path) -> None:
    image = tmp_path / "volatile.img"
    make_luks(image, 1 << 40)
    assert image.stat().st_blocks * 512 < MIB
    assert image.stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    image = tmp_path / "volatile.img"
    image.write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        make_luks(image, MIB)
    assert image.read_bytes() == b"somebody's"


def test_what_could_not_be_written_is_removed_and_its_passphrase_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "volatile.img"
    monkeypatch.setattr("secrets.token_hex", lambda count: "5ec7e7" * count)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as failed:
        make_luks(image, MIB)
    assert "5ec7e7" not in repr(failed.value) + str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_making_one_takes_a_moment(tmp_path: Path) -> None:
    times = []
    for number in range(5):
        began = time.perf_counter()
        make_luks(tmp_path / f"{number}.img", MIB)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.04


@pytest.mark.skipif(shutil.which("cryptsetup") is None, reason="cryptsetup is not installed")
def test_it_is_what_others_take_for_luks(tmp_path: Path) -> None:
    image = tmp_path / "volatile.img"
    passphrase = make_luks(image, MIB)

    def opens(key: str) -> int:
        argv = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", str(image)]
        return subprocess.run(argv, input=key.encode(), capture_output=True, check=False).returncode

    assert opens(passphrase) == 0
    assert opens(passphrase[::-1]) == 2
    dump = subprocess.run(
        ["cryptsetup", "luksDump", str(image)], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[-1] for line in dump.splitlines() if line.startswith("Cipher")] == [
        "aes",
        "xts-plain64",
    ]
    assert dump.count("ENABLED") == 1


@needs_root
def test_a_block_device_that_is_larger_has_a_payload_of_the_same_size(tmp_path: Path) -> None:
    with loop_device(tmp_path, 12 * MIB) as device:
        subprocess.run(["dd", "if=/dev/urandom", f"of={device}"], capture_output=True, check=False)
        passphrase = make_luks(device, 7 * MIB)
        assert payload_bytes(device, passphrase) == 7 * MIB
        qemu_io(device, passphrase, "write -P 0x61 6M 1M")
        qemu_io(device, passphrase, "read -P 0x61 6M 1M")


@needs_root
def test_a_block_device_without_the_room_or_in_use_is_left_alone(tmp_path: Path) -> None:
    with loop_device(tmp_path, 8 * MIB) as device:
        with pytest.raises(OSError, match="No space left"):
            make_luks(device, 8 * MIB - overhead_bytes() + 512)
        fd = os.open(device, os.O_RDWR | os.O_EXCL)
        try:
            with pytest.raises(OSError, match="busy"):
                make_luks(device, MIB)
        finally:
            os.close(fd)
        assert not any(device.read_bytes())
        assert make_luks(device, 8 * MIB - overhead_bytes())
