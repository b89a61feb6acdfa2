"""The datasets of one qube: what a scan finds, and the commands that change it.

Each command is one change that ZFS makes whole or not at all, on the disk when the command ends.
Names were parsed before they come here, so none can be taken for an option.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from ..errors import StorageError
from .driver import Usage
from .host_tools import Run, call
from .zfs_names import State, parse_mark

_MISSING: Final = "dataset does not exist"
# udev looks into each device that comes or was written to; meanwhile that is in use.
_BUSY: Final = "is busy"
_BUSY_TIMEOUT_S: Final = 10
_BUSY_POLL_S: Final = 0.05
#: Of a volume that was made and never used.
_EMPTY: Final = "qubeward:empty"
_SCANNED: Final = (
    f"name,volsize,origin,written,referenced,usedbydataset,usedbysnapshots,defer_destroy,{_EMPTY}"
)
# A size is whole blocks; nobody chooses larger ones for guests' disks.
_BLOCK_BYTES: Final = 128 * 1024
# The host does not look for partitions in what a guest wrote.
_OF_VOLUMES: Final = ("-o", "volmode=dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot. `is_doomed`: it goes with the last clone of it, and counts no more.

    `written_bytes`: how much was written since the snapshot before it, in the same dataset.
    """

    dataset: str
    name: str
    size_bytes: int
    written_bytes: int
    is_doomed: bool

    @property
    def place(self) -> str:
        """Its whole name."""
        return f"{self.dataset}@{self.name}"

    @property
    def epoch_s(self) -> int:
        """When it was made, by its name; 0 if it is not one of ours."""
        mark = parse_mark(self.name)
        return mark[0] if mark else 0

    @property
    def state(self) -> State | None:
        """What it stands for; None if it is not one of ours, or doomed."""
        mark = parse_mark(self.name)
        return mark[1] if mark and not self.is_doomed else None


@dataclass(slots=True, kw_only=True)
class Dataset:
    """A ZFS volume with its snapshots, oldest first. `used_bytes` is of itself, then of them."""

    size_bytes: int
    origin: str
    referenced_bytes: int
    used_bytes: tuple[int, int]
    is_empty: bool
    snapshots: list[Snapshot] = field(default_factory=list)


class Zfs:
    """ZFS on this host, below a container."""

    def __init__(self, container: str, run: Run) -> None:
        self.container = container
        self._run = run

    @property
    def what(self) -> str:
        """Say which pool it is, in errors."""
        return f"container {self.container}"

    def usage(self) -> Usage:
        """Return the container's usage, or raise `StorageError` if it isn't there."""
        text = self.call(
            self.what, "list", "-Hp", "-t", "filesystem", "-o", "used,available", self.container
        )
        used_bytes, available_bytes = (int(word) for word in text.split())
        return Usage(size_bytes=used_bytes + available_bytes, usage_bytes=used_bytes)

    def names(self) -> list[str]:
        """List all volumes below the container."""
        argv = ("list", "-Hp", "-r", "-t", "volume", "-o", "name", self.container)
        return self.call(self.what, *argv).split()

    def scan(self, what: str, qube: str) -> "QubeDatasets":
        """Find a qube's datasets. `what` is named by errors, of this scan and of what follows."""
        argv = ("list", "-Hp", "-r", "-t", "volume,snapshot", "-s", "createtxg", "-o", _SCANNED)
        found = QubeDatasets(self, what, qube)
        try:
            text = self.call(what, *argv, qube)
        except StorageError as error:
            if _MISSING not in error.fields[1]:
                raise
        else:
            found.fill(text)
        return found

    def call(self, what: str, *words: str) -> str:
        """Run `zfs`, or raise `StorageError`. What is in use for a moment is waited for."""
        deadline_s = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                return call(self._run, what, ("zfs", *words))
            except StorageError as error:
                if _BUSY not in error.fields[1] or time.monotonic() > deadline_s:
                    raise
            time.sleep(_BUSY_POLL_S)


class QubeDatasets:
    """A qube's datasets as of a scan, and as they are after what was done here since."""

    def __init__(self, zfs: Zfs, what: str, qube: str) -> None:
        self._zfs = zfs
        self._what = what
        self._qube = qube
        self._is_there = False
        self.all: dict[str, Dataset] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.all

    def fill(self, text: str) -> None:
        """Take in what a scan printed."""
        self._is_there = True
        rows = [line.split("\t") for line in text.splitlines()]
        for name, size, origin, _, referenced, used, of_snapshots, _, empty in rows:
            if "@" not in name:
                self.all[name] = Dataset(
                    size_bytes=int(size),
                    origin="" if origin == "-" else origin,
                    referenced_bytes=int(referenced),
                    used_bytes=(int(used), int(of_snapshots)),
                    is_empty=empty == "yes",
                )
        for name, size, _, written, _, _, _, doomed, _ in rows:
            dataset, _, snapshot = name.partition("@")
            if snapshot and dataset in self.all:
                one = Snapshot(
                    dataset=dataset,
                    name=snapshot,
                    size_bytes=int(size),
                    written_bytes=int(written),
                    is_doomed=doomed == "on",
                )
                self.all[dataset].snapshots.append(one)

    def create(self, name: str, size_bytes: int, *, is_empty: bool = False) -> None:
        """Make a volume that takes nothing and reads as zeros; `is_empty` notes that it does."""
        size_bytes = _whole_blocks(size_bytes)
        note = ("-o", f"{_EMPTY}=yes") if is_empty else ()
        self._make_qube()
        self._call("create", "-s", *_OF_VOLUMES, *note, "-V", str(size_bytes), name)
        self._add(name, size_bytes, origin="", is_empty=is_empty)

    def clone(self, snapshot: Snapshot, name: str) -> None:
        """Make a volume which starts as the snapshot is."""
        self._make_qube()
        self._call("clone", *_OF_VOLUMES, snapshot.place, name)
        self._add(name, snapshot.size_bytes, origin=snapshot.place)

    def snapshot(self, dataset: str, epoch_s: int, state: State) -> Snapshot:
        """Make a snapshot."""
        one = Snapshot(
            dataset=dataset,
            name=f"{epoch_s}-{state}",
            size_bytes=self.all[dataset].size_bytes,
            written_bytes=0,
            is_doomed=False,
        )
        self._call("snapshot", one.place)
        self.all[dataset].snapshots.append(one)
        return one

    def restate(self, snapshot: Snapshot, state: State) -> Snapshot:
        """Let a snapshot stand for something else. Its clones stay its clones."""
        new = replace(snapshot, name=f"{snapshot.epoch_s}-{state}")
        self._call("rename", snapshot.place, new.place)
        snapshots = self.all[snapshot.dataset].snapshots
        snapshots[snapshots.index(snapshot)] = new
        return new

    def drop(self, snapshots: Iterable[Snapshot]) -> None:
        """Remove snapshots of one dataset: now, or with the last clone of each."""
        doomed = list(snapshots)
        if doomed:
            dataset = doomed[0].dataset
            names = ",".join(one.name for one in doomed)
            self._call("destroy", "-d", f"{dataset}@{names}")
            self.all[dataset].snapshots = [
                replace(one, is_doomed=one.is_doomed or one in doomed)
                for one in self.all[dataset].snapshots
            ]

    def rename(self, name: str, new: str) -> None:
        """Give a volume another name, which is free. Who has it open goes on."""
        self._call("rename", name, new)
        moved = self.all[new] = self.all.pop(name)
        moved.snapshots = [replace(one, dataset=new) for one in moved.snapshots]

    def grow(self, name: str, size_bytes: int) -> None:
        """Make a volume at least this large; nothing to do if it is."""
        size_bytes = _whole_blocks(size_bytes)
        if self.all[name].size_bytes < size_bytes:
            self._call("set", f"volsize={size_bytes}", name)
            self.all[name].size_bytes = size_bytes

    def use(self, name: str) -> None:
        """Note that a volume may be empty no more."""
        if self.all[name].is_empty:
            self._call("inherit", _EMPTY, name)
            self.all[name].is_empty = False

    def remove(self, name: str) -> None:
        """Remove a volume with its snapshots. What was cloned from them stays whole.

        One of the clones is promoted: it gets the snapshots, and the volume is a clone of it then.
        """
        while (used := self._with_clones(name)) is not None:
            self._call("promote", used)
        self._call("destroy", "-r", name)
        del self.all[name]

    def remove_qube(self) -> None:
        """Remove the qube's file system if nothing is in it."""
        if self._is_there and not self.all:
            try:
                self._call("destroy", self._qube)
            except StorageError:
                return  # it has got another volume meanwhile
            self._is_there = False

    def _with_clones(self, name: str) -> str | None:
        """Return a clone of the volume's newest snapshot that has any; None if none has.

        Those that have none are removed, and the others get names that fit anywhere: they will be
        another volume's, which may have snapshots of the same names.
        """
        if not self.all[name].snapshots:
            return None
        argv = ("list", "-Hp", "-t", "snapshot", "-d", "1", "-s", "createtxg")
        text = self._zfs.call(self._what, *argv, "-o", "name,clones,guid", name)
        rows = [line.split("\t") for line in text.splitlines()]
        used = [(place, clones, guid) for place, clones, guid in rows if clones not in {"", "-"}]
        if not used:
            return None
        unused = [place.partition("@")[2] for place, clones, _ in rows if clones in {"", "-"}]
        if unused:
            self._call("destroy", "-d", f"{name}@{','.join(unused)}")
        for place, _, guid in used:
            if not place.endswith("-moved"):
                self._call("rename", place, f"{name}@{guid}-moved")
        return used[-1][1].split(",")[0]

    def _make_qube(self) -> None:
        if not self._is_there:
            never_mounted = ("-o", "canmount=off", "-o", "mountpoint=none")
            self._call("create", "-p", *never_mounted, self._qube)
            self._is_there = True

    def _add(self, name: str, size_bytes: int, origin: str, *, is_empty: bool = False) -> None:
        self.all[name] = Dataset(
            size_bytes=size_bytes,
            origin=origin,
            referenced_bytes=0,
            used_bytes=(0, 0),
            is_empty=is_empty,
        )

    def _call(self, *words: str) -> None:
        self._zfs.call(self._what, *words)


def _whole_blocks(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
