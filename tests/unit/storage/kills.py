"""Kills before any change that a driver makes by a command, at each point of each operation.

For drivers that run the host's tools. What a `Lab` runs is counted; before the change of a number
the daemon is killed. A kill before a scan is one before the next change: a scan leaves nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qubeward.host.process import Completed
from qubeward.storage.driver import Driver, VolumeSpec
from qubeward.storage.host_tools import Run

SIZE = 4 << 20
BYTES = 8  # of each content, at the beginning and at the end


class KilledError(BaseException):
    """Stands for SIGKILL: no handler of the code under test catches it."""


@dataclass
class Lab(ABC):
    """A pool whose commands are run by `program`."""

    program: Run
    number: int | None = None
    changes: list[str] = field(default_factory=list)

    def run(
        self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        if not self.is_scan(argv):
            if len(self.changes) == self.number:
                self.before_kill(argv)
                raise KilledError
            self.changes.append(" ".join(argv))
        return self.program(argv, timeout_s=timeout_s, env=env, check=check)

    async def begin(self) -> None:
        """Open the pool, as a new daemon does first of all."""
        await self.open().open()

    def open(self, number: int | None = None) -> Driver:
        """Return the driver as a new daemon has it, to be killed before that change."""
        self.number = number
        self.changes.clear()
        return self.make()

    def before_kill(self, argv: Sequence[str]) -> None:
        """Do what happens to the change that the daemon was killed before."""
        return  # nothing, but for power cuts

    @abstractmethod
    def is_scan(self, argv: Sequence[str]) -> bool:
        """Say whether the command changes nothing."""

    @abstractmethod
    def make(self) -> Driver:
        """Make a driver that runs its commands by `run`."""

    @abstractmethod
    def left(self) -> set[str]:
        """List what is there beside volumes and revisions, by name."""

    def spec(self, name: str, volume: str, **more: Any) -> VolumeSpec:
        vid = self.make().vid(name, volume, template=False)
        return VolumeSpec(vid=vid, size_bytes=SIZE, **more)

    @property
    def root(self) -> VolumeSpec:
        return self.spec("debian", "root", save_on_stop=True)

    def private(self, **more: Any) -> VolumeSpec:
        return self.spec("work", "private", save_on_stop=True, **more)

    def both(self) -> VolumeSpec:
        return self.private(source=self.root.vid, snap_on_start=True)

    async def clear(self) -> None:
        """Remove all volumes."""
        driver = self.open()
        for vid in await driver.vids():
            await driver.remove(vid)


def write(path: Path, data: bytes) -> None:
    assert len(data) == BYTES
    with path.open("r+b") as file:
        for offset in (0, SIZE - BYTES):
            file.seek(offset)
            file.write(data)


def read(path: Path) -> bytes:
    """Return the content, which must be whole."""
    with path.open("rb") as file:
        data = file.read(BYTES)
        file.seek(SIZE - BYTES)
        assert file.read(BYTES) == data, "half of one content and half of another"
    return data


@dataclass
class Attempt:
    """What one run of some work has to do with, and what it has done so far."""

    driver: Driver
    volume: VolumeSpec
    root: VolumeSpec
    new: bytes
    is_written: bool = False

    async def guest(self) -> None:
        image = await self.driver.start(self.volume)
        write(image.path, self.new)
        self.is_written = True


async def start(it: Attempt) -> None:
    await it.driver.start(it.volume)


async def run_guest(it: Attempt) -> None:
    await it.guest()
    await it.driver.stop(it.volume)


async def start_over_leftover(it: Attempt) -> None:
    await it.guest()
    await it.driver.start(it.volume)


async def import_(it: Attempt) -> None:
    write(await it.driver.import_begin(it.volume, SIZE), it.new)
    await it.driver.import_end(it.volume, success=True)


async def import_over_leftover(it: Attempt) -> None:
    image = await it.driver.start(it.volume)
    write(image.path, it.new.replace(b"new", b"lef"))
    await import_(it)


async def give_up_import(it: Attempt) -> None:
    write(await it.driver.import_begin(it.volume, SIZE), b"given up")
    await it.driver.import_end(it.volume, success=False)


async def clone(it: Attempt) -> None:
    image = await it.driver.start(it.root)
    write(image.path, it.new)
    await it.driver.stop(it.root)
    await it.driver.clone(it.volume, it.root)
    await it.driver.import_end(it.volume, success=True)


async def revert(it: Attempt) -> None:
    await it.driver.revert(it.volume, (await it.driver.revisions(it.volume.vid))[-1].id)


async def snapshot(it: Attempt) -> None:
    await it.driver.snapshot(it.volume)


async def snapshot_and_run(it: Attempt) -> None:
    await it.driver.start(it.volume)
    await it.driver.snapshot(it.volume)
    await run_guest(it)


async def resize(it: Attempt) -> None:
    await it.driver.resize(it.volume, SIZE + 1, running=False)


async def export(it: Attempt) -> None:
    read(await it.driver.export_begin(it.volume))
    await it.driver.export_end(it.volume)


Work = Callable[[Attempt], Awaitable[None]]
#: The work, and the volume's `revisions_to_keep`; None is an origin that starts as its source.
WORK: list[tuple[Work, int | None]] = [
    (start, 0), (start, 1), (start, -1), (start, None),
    (run_guest, 0), (run_guest, 1), (run_guest, 3), (run_guest, None),
    (start_over_leftover, 0), (start_over_leftover, 1),
    (import_, 0), (import_, 1), (import_over_leftover, 0), (import_over_leftover, 3),
    (give_up_import, 1), (clone, 0), (clone, 1), (revert, 1), (revert, 3),
    (snapshot, 3), (snapshot_and_run, 3), (resize, 1), (export, 1),
]  # fmt: skip
#: What each may leave of a volume that was `old`, before that `before`; else it is `old` or `new`.
LEAVES: dict[Work, set[str]] = {
    start: {"old"}, snapshot: {"old"}, resize: {"old"}, export: {"old"}, give_up_import: {"old"},
    revert: {"old", "before"}, import_over_leftover: {"old", "new", "leftover"},
}  # fmt: skip
_NAMES = ("old", "new", "leftover")


def name_of(value: object) -> str | None:
    """Name a parameter of a test."""
    return getattr(value, "__name__", None)


async def commit(driver: Driver, volume: VolumeSpec, data: bytes) -> None:
    write((await driver.start(volume)).path, data)
    await driver.stop(volume)


async def read_committed(driver: Driver, volume: VolumeSpec) -> bytes:
    data = read(await driver.export_begin(volume))
    await driver.export_end(volume)
    return data


async def recover(lab: Lab, volume: VolumeSpec) -> None:
    """Do what the daemon does when it finds after a crash that no guest runs."""
    for one in (lab.root, volume):
        await lab.open().stop(one)
        await lab.open().import_end(one, success=False)


async def try_kills(lab: Lab, work: Work, revisions_to_keep: int | None) -> None:
    """Whatever the point of the kill, the volume is old or new, whole; nothing else stays."""
    volume = lab.private(revisions_to_keep=revisions_to_keep or 0)
    kept = replace(volume, revisions_to_keep=max(1, volume.revisions_to_keep))
    if revisions_to_keep is None:
        volume = lab.both()
    for one in (lab.root, kept):
        await lab.open().create(one)
    await commit(lab.open(), kept, b"earliest")
    found, number, finished = set(), 0, False
    while not finished:
        contents = {name: b"%s %04d" % (name[:3].encode(), number) for name in _NAMES}
        if revisions_to_keep is None:
            contents["source"] = bytes(BYTES)
        else:
            contents["before"] = await read_committed(lab.open(), kept)
        await commit(lab.open(), kept, contents["old"])
        it = Attempt(lab.open(number), volume, lab.root, contents["new"])
        try:
            await work(it)
            finished = True
        except KilledError:
            await lab.begin()
        # Who needs the volume before anybody has recovered it gets one content or another, whole.
        at_once = await read_committed(lab.open(), volume)
        assert at_once in contents.values()
        await recover(lab, volume)
        content = await read_committed(lab.open(), volume)
        (name,) = (name for name in contents if contents[name] == content)
        found.add(name)
        if it.is_written:
            assert name == "new", "what a guest wrote is lost"
        if at_once == contents["new"]:
            assert name == "new", "what was committed is lost"
        revisions = await lab.open().revisions(volume.vid)
        # The next commit drops one too many.
        assert len(revisions) <= kept.revisions_to_keep + 1
        assert lab.left() == set()
        number += 1
    assert number > 1 or work is export or volume.revisions_to_keep < 0
    wanted = LEAVES.get(work, {"old", "new"})
    if revisions_to_keep is None:  # the recovery may commit it as no guest has yet written to it
        assert found - {"source"} <= wanted
    else:
        assert found == wanted


async def try_kills_of_unsaved(lab: Lab, work: Work, volume: VolumeSpec) -> None:
    """Whatever the point of the kill, nothing stays of what is not saved."""
    await lab.open().create(lab.root)
    await commit(lab.open(), lab.root, b"template")
    number, finished = 0, False
    while not finished:
        try:
            await work(Attempt(lab.open(number), volume, lab.root, b"scribble"))
            finished = True
        except KilledError:
            await lab.begin()
        again = await lab.open().start(volume)
        assert read(again.path) == (bytes(BYTES) if volume.source is None else b"template")
        await lab.open().stop(volume)
        assert list(await lab.open().vids()) == [lab.root.vid]
        assert lab.left() == set()
        assert await read_committed(lab.open(), lab.root) == b"template"
        number += 1
    assert number > 1


async def try_kills_of_a_life(lab: Lab, verb: str) -> None:
    """A creation or removal that was cut off is undone by a removal."""
    number, finished = 0, False
    while not finished:
        if verb == "remove":
            driver = lab.open()
            await driver.create(lab.private())
            await commit(driver, lab.private(revisions_to_keep=1), b"old 0000")
            await driver.snapshot(lab.private())
            await driver.import_begin(lab.private(), SIZE)
            await driver.start(lab.private())
        driver = lab.open(number)
        try:
            if verb == "create":
                await driver.create(lab.private())
            else:
                await driver.remove(lab.private().vid)
            finished = True
        except KilledError:
            await lab.begin()
        if verb == "create":
            await lab.open().create(lab.private())
        await lab.open().remove(lab.private().vid)
        assert list(await lab.open().vids()) == []
        number += 1
    assert number > 1


async def try_kills_under_a_snapshot(lab: Lab, work: Work) -> None:
    """Who starts from a volume that was cut off, before its recovery, gets one content whole."""
    user = lab.spec("other", "root", source=lab.private().vid, snap_on_start=True)
    await lab.open().create(lab.private())
    await commit(lab.open(), lab.private(), b"old 0000")
    number, finished, found = 0, False, set()
    while not finished:
        old, new = await read_committed(lab.open(), lab.private()), b"new %04d" % number
        try:
            await work(Attempt(lab.open(number), lab.private(), lab.root, new))
            finished = True
        except KilledError:
            await lab.begin()
        image = await lab.open().start(user)
        assert read(image.path) in {old, new}
        found.add(read(image.path) == new)
        assert not await lab.open().is_outdated(user)
        await lab.open().stop(user)
        await lab.open().stop(lab.private())
        number += 1
    assert found == {False, True}
