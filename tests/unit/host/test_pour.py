"""What comes is what is written, wherever it is cut; zeros take no room; failures are told."""

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qubeward.host import files, pour
from qubeward.host.pour import Pour, Pumped, TooLongError

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 64 * KIB
LOTS = 1 << 40
many_files = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def opened(path: Path, size_bytes: int = 0) -> Iterator[int]:
    """A fresh sparse file of this size."""
    path.unlink(missing_ok=True)
    files.make_sparse(path, size_bytes)
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def streams() -> Iterator[tuple[socket.socket, socket.socket]]:
    sender, receiver = socket.socketpair()
    with closing(sender), closing(receiver):
        yield sender, receiver


def send(sender: socket.socket, pieces: list[bytes]) -> threading.Thread:
    """Send in another thread, then close."""

    def work() -> None:
        for piece in pieces:
            sender.sendall(piece)
        sender.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def drain(into: Pour, fd: int) -> None:
    """Pump until the end, as the server does."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while (why := into.pump(fd, most_bytes=3 * MIB, patience_s=0)) is not Pumped.END:
        if why is Pumped.WAITING:
            assert poll.poll(10_000)
    into.finish()


def pour_all(fd: int, data: bytes) -> None:
    into = Pour(fd, None)
    into.feed(data)
    into.finish()


def extents(path: Path) -> list[tuple[int, int]]:
    with path.open("rb") as file:
        return list(files.data_extents(file.fileno(), path.stat().st_size))


@contextmanager
def loop_device(folder: Path, size_bytes: int, fill: bytes = b"") -> Iterator[Path]:
    image = folder / "loop.img"
    image.write_bytes(fill * size_bytes)
    os.truncate(image, size_bytes)
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


#: Data and zeros, of lengths around what blocks and buffers are.
PIECES = st.lists(
    st.tuples(
        st.sampled_from([b"\0", b"\1", b"\0\0\1", b"\0" * 4095 + b"\1"]),
        st.one_of(
            st.integers(0, 200), st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, MIB])
        ),
    ).map(lambda piece: (piece[0] * (piece[1] // len(piece[0]) + 1))[: piece[1]]),
    max_size=8,
)


@many_files
@given(
    fed=st.binary(max_size=100),
    pieces=PIECES,
    blocking=st.booleans(),
    sparse=st.booleans(),
    size=st.sampled_from([0, BLOCK, 20 * MIB]),
)
def test_what_comes_is_what_is_written_however_it_is_cut(
    tmp_path: Path, fed: bytes, pieces: list[bytes], blocking: bool, sparse: bool, size: int
) -> None:
    whole = fed + b"".join(pieces)
    with streams() as (sender, receiver), opened(tmp_path / "out", size) as fd:
        receiver.setblocking(blocking)
        thread = send(sender, pieces)
        into = Pour(fd, None, sparse=sparse)
        into.feed(fed)
        drain(into, receiver.fileno())
        thread.join()
    assert into.done_bytes == len(whole)
    found = (tmp_path / "out").read_bytes()
    assert found == whole.ljust(size, b"\0")


def test_holes_stay_holes_and_zeros_are_found_at_blocks_of_the_file(tmp_path: Path) -> None:
    first = b"\1" * (BLOCK + 5)
    # what was read with the header shifts all that follows it
    whole = first + bytes(3 * BLOCK) + b"\2" + bytes(4 * BLOCK)
    with streams() as (sender, receiver), opened(tmp_path / "out", len(whole)) as fd:
        thread = send(sender, [whole[7:]])
        into = Pour(fd, len(whole))
        into.feed(whole[:7])
        drain(into, receiver.fileno())
        thread.join()
    assert (tmp_path / "out").read_bytes() == whole
    assert extents(tmp_path / "out") == [(0, 2 * BLOCK), (4 * BLOCK, 5 * BLOCK)]


def test_zeros_at_the_end_make_the_file_longer_and_take_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as fd:
        pour_all(fd, bytes(5 * MIB))
    assert (tmp_path / "out").stat().st_size == 5 * MIB
    assert files.allocated_bytes(tmp_path / "out") == 0


def test_without_sparse_zeros_are_written_over_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"\1" * MIB)
    fd = os.open(path, os.O_WRONLY)
    with closing(os.fdopen(fd, "wb")):
        into = Pour(fd, None, sparse=False)
        into.feed(bytes(MIB))
        into.finish()
    assert path.read_bytes() == bytes(MIB)


@pytest.mark.parametrize("blocking", [True, False])
def test_while_nothing_comes_it_returns_with_what_came(tmp_path: Path, blocking: bool) -> None:
    with streams() as (sender, receiver), opened(tmp_path / "out") as fd:
        receiver.setblocking(blocking)
        into = Pour(fd, None)
        assert into.pump(receiver.fileno(), most_bytes=LOTS, patience_s=0) is Pumped.WAITING
        sender.sendall(b"some")
        assert into.pump(receiver.fileno(), most_bytes=LOTS, patience_s=0) is Pumped.WAITING
        assert into.done_bytes == 4
        assert os.pread(fd, 9, 0) == b"some"
        sender.close()
        assert into.pump(receiver.fileno(), most_bytes=LOTS, patience_s=0) is Pumped.END


def test_all_waits_of_a_turn_together_take_no_more_than_its_patience(tmp_path: Path) -> None:
    with streams() as (sender, receiver), opened(tmp_path / "out") as fd:
        receiver.setblocking(False)
        over = threading.Event()

        def trickle() -> None:
            while not over.wait(0.01):
                sender.send(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        into = Pour(fd, None)
        began = time.monotonic()
        why = into.pump(receiver.fileno(), most_bytes=LOTS, patience_s=0.1)
        taken_s = time.monotonic() - began
        over.set()
        thread.join()
    assert why is Pumped.WAITING
    assert into.done_bytes > 1
    assert 0.09 < taken_s < 2


def test_a_turn_moves_no_more_than_it_may(tmp_path: Path) -> None:
    with streams() as (sender, receiver), opened(tmp_path / "out") as fd:
        thread = send(sender, [b"x" * MIB])
        into = Pour(fd, None)
        for turn in range(1, 5):
            why = into.pump(receiver.fileno(), most_bytes=MIB // 4, patience_s=5)
            assert (why, into.done_bytes) == (Pumped.MORE, turn * MIB // 4)
        assert into.pump(receiver.fileno(), most_bytes=1, patience_s=5) is Pumped.END
        thread.join()


def test_a_pipe_is_a_stream_too(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with opened(tmp_path / "out") as fd, closing(os.fdopen(reader, "rb")):
        os.write(writer, b"through a pipe")
        os.close(writer)
        into = Pour(fd, None)
        assert into.pump(reader, most_bytes=LOTS, patience_s=0) is Pumped.END
        assert os.pread(fd, 99, 0) == b"through a pipe"


@pytest.mark.parametrize("limit", [0, 1, BLOCK, MIB, MIB + 1])
def test_up_to_the_limit_is_fine_and_nothing_is_written_beyond(tmp_path: Path, limit: int) -> None:
    for more in (0, 1, MIB):
        with streams() as (sender, receiver), opened(tmp_path / "out", 3 * MIB) as fd:
            thread = send(sender, [b"x" * limit, b"y" * more])
            into = Pour(fd, limit)
            if more:
                with pytest.raises(TooLongError, match=f"more than {limit} bytes came"):
                    drain(into, receiver.fileno())
                receiver.recv(MIB, socket.MSG_WAITALL)
            else:
                drain(into, receiver.fileno())
            thread.join()
            assert into.done_bytes == limit
        assert (tmp_path / "out").read_bytes() == b"x" * limit + bytes(3 * MIB - limit)


def test_a_stream_that_stays_open_at_its_limit_has_not_ended(tmp_path: Path) -> None:
    with streams() as (sender, receiver), opened(tmp_path / "out") as fd:
        sender.sendall(b"1234")
        into = Pour(fd, 4)
        assert into.pump(receiver.fileno(), most_bytes=LOTS, patience_s=0) is Pumped.WAITING
        sender.shutdown(socket.SHUT_WR)
        assert into.pump(receiver.fileno(), most_bytes=LOTS, patience_s=0) is Pumped.END


def test_what_is_fed_past_the_limit_is_not_written(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as fd:
        into = Pour(fd, 4)
        into.feed(memoryview(b"123"))
        with pytest.raises(TooLongError):
            into.feed(b"45")
        assert (into.done_bytes, os.pread(fd, 9, 0)) == (3, b"123")


def test_a_sender_that_resets_is_an_error(tmp_path: Path) -> None:
    with streams() as (sender, receiver), opened(tmp_path / "out") as fd:
        receiver.sendall(b"never read")
        sender.sendall(b"x")
        sender.close()
        into = Pour(fd, None)
        with pytest.raises(ConnectionResetError):
            drain(into, receiver.fileno())


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_no_more_room_is_an_error_and_what_was_written_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as fd, files_of_at_most(2 * MIB):
        into = Pour(fd, None)
        with pytest.raises(OSError) as raised:
            into.feed(b"x" * 3 * MIB)
        assert raised.value.errno == errno.EFBIG
        assert into.done_bytes == 2 * MIB


def test_an_import_takes_one_buffer_of_memory(tmp_path: Path) -> None:
    with streams() as (sender, receiver), opened(tmp_path / "out") as fd:
        piece = b"x" * MIB
        thread = send(sender, [piece] * 64)
        tracemalloc.start()
        drain(Pour(fd, None), receiver.fileno())
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        thread.join()
    assert peak_bytes < 2 * MIB


def test_the_disk_is_written_to_while_bytes_come_and_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, *what: told.append(what))
    monkeypatch.setattr(os, "fdatasync", lambda fd: told.append((fd,)))
    begun = [(at * 8 * MIB, 8 * MIB, os.POSIX_FADV_DONTNEED) for at in range(2)]
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 20 * MIB)
    files.make_sparse(target, 0)
    with opened(tmp_path / "out") as fd:
        pour_all(fd, source.read_bytes())
        assert told == [*begun, (fd,)]
        told.clear()
    pour.copy(source, target)
    assert told[:-1] == begun
    assert len(told[-1]) == 1


def test_a_write_that_takes_less_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:1000], at))
    data = os.urandom(5000)
    with opened(tmp_path / "out") as fd:
        pour_all(fd, data)
        assert os.pread(fd, 9999, 0) == data


def test_a_device_gets_data_alone_if_sparse_and_everything_if_not(tmp_path: Path) -> None:
    whole = b"\1" * BLOCK + bytes(BLOCK) + b"\2" * BLOCK
    for sparse, middle in ((True, b"\xff"), (False, b"\0")):
        with loop_device(tmp_path, 4 * BLOCK, b"\xff") as device:
            fd = os.open(device, os.O_RDWR)
            with closing(os.fdopen(fd, "rb", buffering=0)):
                into = Pour(fd, 4 * BLOCK, sparse=sparse)
                into.feed(whole)
                into.finish()
            assert device.read_bytes() == (
                b"\1" * BLOCK + middle * BLOCK + b"\2" * BLOCK + b"\xff" * BLOCK
            )


@pytest.mark.parametrize("more", [b"\1", b"\0"])
def test_a_device_that_is_too_small_is_full_for_zeros_too(tmp_path: Path, more: bytes) -> None:
    with loop_device(tmp_path, BLOCK) as device:
        fd = os.open(device, os.O_RDWR)
        with closing(os.fdopen(fd, "rb", buffering=0)):
            pour_all(fd, b"\1" * BLOCK)
            with pytest.raises(OSError) as raised:
                pour_all(fd, b"\1" * BLOCK + more * BLOCK)
            assert raised.value.errno == errno.ENOSPC


class Watch:
    """What an operation under way tells; cancels itself when it is told to."""

    def __init__(self, cancel_after_bytes: int = LOTS) -> None:
        self.cancelled = threading.Event()
        self.seen: list[int] = []
        self._after = cancel_after_bytes

    @property
    def done_bytes(self) -> int:
        return self.seen[-1]

    @done_bytes.setter
    def done_bytes(self, done_bytes: int) -> None:
        self.seen.append(done_bytes)
        if done_bytes >= self._after:
            self.cancelled.set()


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.EINVAL, "half"])
@many_files
@given(pieces=PIECES, holes=st.lists(st.integers(0, 5 * MIB), max_size=3), extra=st.booleans())
def test_a_copy_is_equal_with_and_without_the_kernels_help(
    tmp_path: Path,
    refusal: int | str | None,
    pieces: list[bytes],
    holes: list[int],
    extra: bool,
) -> None:
    real = os.copy_file_range

    def answer(from_fd: int, to_fd: int, count: int, *offsets: int) -> int:
        if isinstance(refusal, int):
            raise OSError(refusal, "refused")
        return real(from_fd, to_fd, max(1, count // 2) if refusal else count, *offsets)

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"".join(pieces))
    for hole in holes:
        with source.open("r+b") as file:
            file.seek(hole, os.SEEK_END)
            file.write(b"after a hole")
    size = source.stat().st_size
    target.unlink(missing_ok=True)
    files.make_sparse(target, size + MIB if extra else size // 2)
    watch = Watch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "copy_file_range", answer)
        assert pour.copy(source, target, watch)
    assert target.read_bytes() == source.read_bytes().ljust(size + MIB if extra else size, b"\0")
    assert watch.seen == sorted(watch.seen)
    assert watch.done_bytes == size


def test_what_the_kernel_copied_is_not_written_again_and_its_refusal_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked, written = os.pwrite, [], []

    def copy_some(from_fd: int, to_fd: int, count: int, *_: int) -> int:
        asked.append(count)
        if len(asked) == 2:
            raise OSError(errno.EXDEV, "refused")
        return count

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        written.append((offset, len(data)))
        return real(fd, data, offset)

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 4 * MIB)
    files.make_sparse(target, 4 * MIB)
    monkeypatch.setattr(os, "copy_file_range", copy_some)
    monkeypatch.setattr(os, "pwrite", pwrite)
    pour.copy(source, target)
    assert asked == [MIB, MIB]
    assert written == [(MIB, MIB), (2 * MIB, MIB), (3 * MIB, MIB)]


def test_a_failure_of_the_kernels_copy_is_the_copys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * MIB)
    files.make_sparse(target, MIB)
    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        pour.copy(source, target)


@pytest.mark.parametrize("kernel", [True, False])
def test_a_copy_has_holes_where_the_image_has_holes_or_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "refused")

    if not kernel:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    files.make_sparse(source, 1 << 40)
    with source.open("r+b") as file:
        file.write(b"\1" * BLOCK + bytes(BLOCK) + b"\1" * BLOCK)
        file.seek((1 << 40) - BLOCK)
        file.write(b"\1" * BLOCK)
    files.make_sparse(target, 1 << 40)
    assert pour.copy(source, target)
    end = 1 << 40
    assert extents(target) == [(0, BLOCK), (2 * BLOCK, 3 * BLOCK), (end - BLOCK, end)]


def test_a_cancelled_copy_ends_and_says_so(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 8 * MIB)
    files.make_sparse(target, 8 * MIB)
    assert not pour.copy(source, target, Watch(cancel_after_bytes=3 * MIB))
    assert target.read_bytes() == b"x" * 3 * MIB + bytes(5 * MIB)


def test_an_image_that_gets_shorter_meanwhile_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * MIB)
    files.make_sparse(target, 0)
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(OSError, match="became shorter"):
        pour.copy(source, target)


def test_a_copy_between_devices_and_files_both_ways(tmp_path: Path) -> None:
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(b"\1" * BLOCK + bytes(2 * BLOCK) + b"\2" * 513)
    files.make_sparse(back, 0)
    with loop_device(tmp_path, 8 * BLOCK) as device:
        assert pour.copy(image, device)
        assert pour.copy(device, back)
    assert back.read_bytes() == image.read_bytes().ljust(8 * BLOCK, b"\0")
    assert files.allocated_bytes(back) == 2 * BLOCK


def test_a_device_too_small_for_a_copy_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"\1" * 2 * BLOCK)
    with loop_device(tmp_path, BLOCK) as device:
        with pytest.raises(OSError) as raised:
            pour.copy(image, device)
        assert raised.value.errno == errno.ENOSPC
        assert device.read_bytes() == bytes(BLOCK)
