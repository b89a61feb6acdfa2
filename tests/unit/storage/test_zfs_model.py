"""A small ZFS: takes the command lines that the driver issues, and holds to ZFS's rules.

Each ZFS volume and each snapshot is a file; the node in the devices' directory is a link to the
volume's, as udev makes it. What it refuses, it refuses in ZFS's words (2.1.11). A command line that
ZFS would not take, or that the driver has no reason to issue, is an error of the test. Its own
tests are at the end.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from qubeward.host import files
from qubeward.host.process import Completed

CONTAINER = "tank/qubes"
SCANNED = "name,volsize,origin,written,referenced,usedbydataset,usedbysnapshots,defer_destroy,qubeward:empty"
VOLMODE = ["-o", "volmode=dev"]
NEVER_MOUNTED = ["-o", "canmount=off", "-o", "mountpoint=none"]


class RefusedError(Exception):
    """What ZFS prints when it refuses."""


@dataclass
class ModelSnapshot:
    name: str
    data: Path
    size: int
    txg: int
    deferred: bool = False


@dataclass
class ModelVolume:
    data: Path
    size: int
    txg: int
    origin: str = "-"
    empty: bool = False
    snapshots: list[ModelSnapshot] = field(default_factory=list)


class ZfsModel:
    """One pool with one container. `devices` stands for /dev/zvol, `data` for the disks."""

    def __init__(self, where: Path) -> None:
        self.devices, self._data = where / "zvol", where / "data"
        self._data.mkdir()
        self.devices.mkdir()
        self.file_systems = {"tank", CONTAINER}
        self.volumes: dict[str, ModelVolume] = {}
        self.seen: list[str] = []
        self._numbers = count(1)
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "list": self._list, "create": self._create, "clone": self._clone,
            "snapshot": self._snapshot, "rename": self._rename, "destroy": self._destroy,
            "promote": self._promote, "set": self._set, "inherit": self._inherit,
        }  # fmt: skip

    def run(
        self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        assert timeout_s > 0
        assert env["LC_ALL"] == "C"
        assert not check
        program, command, *words = argv
        assert program == "zfs"
        self.seen.append(" ".join(argv))
        try:
            said = self._commands[command](words)
        except RefusedError as error:
            return Completed(returncode=1, stdout=b"", stderr=f"{error}\n".encode())
        return Completed(returncode=0, stdout=said.encode(), stderr=b"")

    def await_device(self, what: str, device: Path, dataset: str) -> Path:
        """Stand for `zfs_device.await_name`."""
        assert device.resolve() == self.volumes[dataset].data
        return device

    def changes(self) -> list[str]:
        """Return what was run since the last call, scans left out."""
        changes = [line for line in self.seen if not line.startswith("zfs list ")]
        self.seen.clear()
        return changes

    def names(self) -> set[str]:
        """Return all volumes, and all snapshots of them, without the container."""
        names = set(self.volumes)
        names |= {f"{name}@{one.name}" for name, v in self.volumes.items() for one in v.snapshots}
        return {name.removeprefix(f"{CONTAINER}/") for name in names}

    def _list(self, words: list[str]) -> str:
        if words[:-1] == ["-Hp", "-t", "filesystem", "-o", "used,available"]:
            if words[-1] not in self.file_systems:
                raise RefusedError(f"cannot open '{words[-1]}': dataset does not exist")
            return "4096\t1069547520\n"
        if words[:-1] == ["-Hp", "-r", "-t", "volume", "-o", "name"]:
            return "".join(f"{name}\n" for name in sorted(self.volumes))
        if words[:-1] == [
            "-Hp",
            "-t",
            "snapshot",
            "-d",
            "1",
            "-s",
            "createtxg",
            "-o",
            "name,clones,guid",
        ]:
            name = words[-1]
            return "".join(
                f"{name}@{one.name}\t{','.join(self._clones(name, one))}\t{one.txg + 10**18}\n"
                for one in self._find(name).snapshots
            )
        assert words[:-1] == [
            "-Hp",
            "-r",
            "-t",
            "volume,snapshot",
            "-s",
            "createtxg",
            "-o",
            SCANNED,
        ]
        if words[-1] not in self.file_systems:
            raise RefusedError(f"cannot open '{words[-1]}': dataset does not exist")
        rows = []
        for name, volume in self.volumes.items():
            if name.startswith(f"{words[-1]}/"):
                rows += self._rows(name, volume)
        return "".join(f"{row}\n" for _, row in sorted(rows))

    def _rows(self, name: str, volume: ModelVolume) -> list[tuple[int, str]]:
        used = files.allocated_bytes(volume.data)
        own = used if volume.origin == "-" else 4096
        old = 1024 * len(volume.snapshots)
        rows = [
            (
                volume.txg,
                f"{name}\t{volume.size}\t{volume.origin}\t{used}\t{used}\t{own}\t{old}\t-\t{'yes' if volume.empty else '-'}",
            )
        ]
        before = None
        for one in volume.snapshots:
            written = 0 if before is not None and _same(before, one.data) else 4096
            before = one.data
            rows.append(
                (
                    one.txg,
                    f"{name}@{one.name}\t{one.size}\t-\t{written}\t{used}\t-\t-\t{'on' if one.deferred else 'off'}\t-",
                )
            )
        return rows

    def _create(self, words: list[str]) -> str:
        if words[:-1] == ["-p", *NEVER_MOUNTED]:
            assert words[-1].rpartition("/")[0] in self.file_systems
            self.file_systems.add(words[-1])
            return ""
        assert words[: 1 + len(VOLMODE)] == ["-s", *VOLMODE]
        *middle, option, size, name = words[1 + len(VOLMODE) :]
        assert middle in ([], ["-o", "qubeward:empty=yes"])
        assert option == "-V"
        assert int(size) % (128 * 1024) == 0
        assert int(size) > 0
        self._check_new(name)
        volume = ModelVolume(self._new_file(), int(size), self._txg(), empty=bool(middle))
        files.make_sparse(volume.data, volume.size)
        self._add(name, volume)
        return ""

    def _clone(self, words: list[str]) -> str:
        *options, place, name = words
        assert options == VOLMODE
        one = self._find_snapshot(place)
        self._check_new(name)
        volume = ModelVolume(self._new_file(), one.size, self._txg(), origin=place)
        files.copy_sparse(one.data, volume.data)
        self._add(name, volume)
        return ""

    def _snapshot(self, words: list[str]) -> str:
        name, _, snapshot = words[0].partition("@")
        assert len(words) == 1
        volume = self._find(name)
        if any(one.name == snapshot for one in volume.snapshots):
            raise RefusedError(f"cannot create snapshot '{words[0]}': dataset already exists")
        one = ModelSnapshot(snapshot, self._new_file(), volume.size, self._txg())
        files.copy_sparse(volume.data, one.data)
        volume.snapshots.append(one)
        return ""

    def _rename(self, words: list[str]) -> str:
        old, new = words
        if "@" in old:
            one = self._find_snapshot(old)
            name, _, snapshot = new.partition("@")
            assert name == old.partition("@")[0]
            if any(other.name == snapshot for other in self.volumes[name].snapshots):
                raise RefusedError(f"cannot rename to '{new}': dataset already exists")
            one.name = snapshot
            self._move_origins(old, new)
            return ""
        volume = self._find(old)
        self._check_new(new)
        del self.volumes[old]
        (self.devices / old).unlink()
        self._add(new, volume)
        for one in volume.snapshots:
            self._move_origins(f"{old}@{one.name}", f"{new}@{one.name}")
        return ""

    def _destroy(self, words: list[str]) -> str:
        *options, name = words
        if options == ["-d"]:
            name, _, snapshots = name.partition("@")
            for snapshot in snapshots.split(","):
                self._find_snapshot(f"{name}@{snapshot}").deferred = True
            self._reap()
            return ""
        if name in self.file_systems:
            assert options == []
            if any(other.startswith(f"{name}/") for other in self.volumes):
                raise RefusedError(f"cannot destroy '{name}': filesystem has children")
            self.file_systems.remove(name)
            return ""
        assert options == ["-r"]
        volume = self._find(name)
        if any(self._clones(name, one) for one in volume.snapshots):
            raise RefusedError(f"cannot destroy '{name}': volume has dependent clones")
        if _is_open(volume.data):
            raise RefusedError(f"cannot destroy '{name}': dataset is busy")
        del self.volumes[name]
        (self.devices / name).unlink()
        for data in (volume.data, *(one.data for one in volume.snapshots)):
            data.unlink()
        self._reap()
        return ""

    def _promote(self, words: list[str]) -> str:
        (name,) = words
        clone = self._find(name)
        if clone.origin == "-":
            raise RefusedError(f"cannot promote '{name}': not a cloned filesystem")
        parent, _, last = clone.origin.partition("@")
        old = self.volumes[parent]
        index = next(i for i, one in enumerate(old.snapshots) if one.name == last) + 1
        moved, taken = old.snapshots[:index], {one.name for one in clone.snapshots}
        for one in moved:
            if one.name in taken:
                raise RefusedError(f"cannot promote '{name}': snapshot name conflicts")
        old.snapshots = old.snapshots[index:]
        clone.snapshots = [*moved, *clone.snapshots]
        clone.origin, old.origin = old.origin, f"{parent}@{last}"
        for one in moved:
            self._move_origins(f"{parent}@{one.name}", f"{name}@{one.name}")
        return ""

    def _set(self, words: list[str]) -> str:
        setting, name = words
        volume, size = self._find(name), int(setting.removeprefix("volsize="))
        assert size > volume.size
        assert size % (128 * 1024) == 0
        volume.size = size
        files.grow_file(volume.data, size)
        return ""

    def _inherit(self, words: list[str]) -> str:
        assert words[0] == "qubeward:empty"
        self._find(words[1]).empty = False
        return ""

    def _add(self, name: str, volume: ModelVolume) -> None:
        self.volumes[name] = volume
        node = self.devices / name
        node.parent.mkdir(parents=True, exist_ok=True)
        node.symlink_to(volume.data)

    def _check_new(self, name: str) -> None:
        if name in self.volumes or name in self.file_systems:
            raise RefusedError(f"cannot create '{name}': dataset already exists")
        if name.rpartition("/")[0] not in self.file_systems:
            raise RefusedError(f"cannot create '{name}': parent does not exist")

    def _find(self, name: str) -> ModelVolume:
        if name not in self.volumes:
            raise RefusedError(f"cannot open '{name}': dataset does not exist")
        return self.volumes[name]

    def _find_snapshot(self, place: str) -> ModelSnapshot:
        name, _, snapshot = place.partition("@")
        for one in self._find(name).snapshots:
            if one.name == snapshot:
                return one
        raise RefusedError(f"cannot open '{place}': dataset does not exist")

    def _clones(self, name: str, one: ModelSnapshot) -> list[str]:
        return [other for other, v in self.volumes.items() if v.origin == f"{name}@{one.name}"]

    def _move_origins(self, old: str, new: str) -> None:
        for volume in self.volumes.values():
            volume.origin = new if volume.origin == old else volume.origin

    def _reap(self) -> None:
        for name, volume in self.volumes.items():
            for one in tuple(volume.snapshots):
                if one.deferred and not self._clones(name, one):
                    volume.snapshots.remove(one)
                    one.data.unlink()

    def _txg(self) -> int:
        return next(self._numbers)

    def _new_file(self) -> Path:
        return self._data / str(self._txg())


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def _is_open(path: Path) -> bool:
    wanted = path.resolve()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == wanted:
                return True
        except FileNotFoundError:
            continue
    return False


@pytest.fixture
def zfs(tmp_path: Path) -> ZfsModel:
    return ZfsModel(tmp_path)


def run(zfs: ZfsModel, line: str) -> str:
    done = zfs.run(line.split(), timeout_s=1, env=os.environ | {"LC_ALL": "C"}, check=False)
    return done.stderr.decode() if done.returncode else ""


MAKE, CLONE = "zfs create -s -o volmode=dev -V 1048576", "zfs clone -o volmode=dev"
A, B = f"{CONTAINER}/a", f"{CONTAINER}/b"


def test_the_model_refuses_what_zfs_refuses(zfs: ZfsModel) -> None:
    assert run(zfs, f"{MAKE} {A}") == ""
    assert "already exists" in run(zfs, f"{MAKE} {A}")
    assert "parent does not exist" in run(zfs, f"{MAKE} {CONTAINER}/x/y")
    assert "does not exist" in run(zfs, f"{CLONE} {A}@x {B}")
    assert run(zfs, f"zfs snapshot {A}@x") == ""
    assert "already exists" in run(zfs, f"zfs snapshot {A}@x")
    assert run(zfs, f"{CLONE} {A}@x {B}") == ""
    assert "dependent clones" in run(zfs, f"zfs destroy -r {A}")
    assert "not a cloned" in run(zfs, f"zfs promote {A}")
    with (zfs.devices / B).open("rb"):
        assert "is busy" in run(zfs, f"zfs destroy -r {B}")
    assert run(zfs, f"zfs destroy -r {B}") == ""
    assert run(zfs, f"zfs destroy -r {A}") == ""
    assert zfs.names() == set()


def test_in_the_model_a_doomed_snapshot_goes_with_its_last_clone(zfs: ZfsModel) -> None:
    run(zfs, f"{MAKE} {A}")
    run(zfs, f"zfs snapshot {A}@x")
    run(zfs, f"{CLONE} {A}@x {B}")
    assert run(zfs, f"zfs destroy -d {A}@x") == ""
    assert zfs.names() == {"a", "a@x", "b"}
    assert run(zfs, f"zfs destroy -r {B}") == ""
    assert zfs.names() == {"a"}


def test_in_the_model_a_promoted_clone_gets_the_snapshots_up_to_its_own(zfs: ZfsModel) -> None:
    run(zfs, f"{MAKE} {A}")
    for snapshot in "xyz":
        run(zfs, f"zfs snapshot {A}@{snapshot}")
    run(zfs, f"{CLONE} {A}@y {B}")
    run(zfs, f"zfs snapshot {B}@x")
    assert "conflicts" in run(zfs, f"zfs promote {B}")
    run(zfs, f"zfs rename {B}@x {B}@w")
    assert run(zfs, f"zfs promote {B}") == ""
    assert zfs.names() == {"a", "a@z", "b", "b@x", "b@y", "b@w"}
    assert zfs.volumes[A].origin == f"{B}@y"
    assert re.fullmatch("-", zfs.volumes[B].origin)
