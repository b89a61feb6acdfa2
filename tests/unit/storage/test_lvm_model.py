"""A small LVM: takes the command lines that the driver issues, and holds to LVM's rules.

Each logical volume is a file; the node in the group's directory is a link to it, as LVM's is. What
it refuses, it refuses in LVM's words (2.03.16). A command line that LVM would not take, or that the
driver has no reason to issue, is an error of the test. Its own tests are at the end.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from qubeward.host import files
from qubeward.host.process import Completed

MIB = 1 << 20
EXTENT = 4 * MIB
GROUP, POOL = "vg", "pool"
RESERVED = re.compile(
    r"_(cdata|cmeta|corig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vorigin)|^(snapshot|pvmove)"
)
SCANNED = "lv_name,lv_size,data_percent,origin,pool_lv,lv_active,lv_device_open,lv_tags"
OF_POOL = "lv_name,lv_size,segtype,zero,data_percent,lv_metadata_size,metadata_percent"
REPORT = ["--reportformat", "json", "--units", "b", "--nosuffix", "--options"]
MAKE = ["--yes", "--type", "thin", "--thinpool"]
COPY = ["--snapshot", "--setactivationskip", "n", "--activate", "y", "--name"]


class RefusedError(Exception):
    """What LVM prints when it refuses."""


@dataclass
class ModelLv:
    data: Path
    size: int
    pool: str = POOL
    origin: str = ""
    active: bool = True
    #: Listed, but not made in the pool: a power cut came between.
    unborn: bool = False
    tags: list[str] = field(default_factory=list)


class LvmModel:
    """One volume group with one thin pool. `devices` stands for /dev, `data` for the disks."""

    def __init__(self, where: Path) -> None:
        self.devices, self._data = where / "dev", where / "data"
        self._data.mkdir()
        (self.devices / GROUP).mkdir(parents=True)
        self.lvs: dict[str, ModelLv] = {}
        self.pool_row = {
            "lv_name": POOL, "lv_size": str(1 << 30), "segtype": "thin-pool", "zero": "zero",
            "data_percent": "12.34", "lv_metadata_size": str(1 << 24), "metadata_percent": "0.50",
        }  # fmt: skip
        self.seen: list[str] = []
        self._numbers = count()
        self._is_cut = False
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "lvs": self._lvs, "lvcreate": self._lvcreate, "lvrename": self._lvrename,
            "lvremove": self._lvremove, "lvextend": self._lvextend, "lvchange": self._lvchange,
        }  # fmt: skip

    def run(
        self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        assert timeout_s > 0
        assert env["LC_ALL"] == "C"
        assert not check
        self.seen.append(" ".join(argv))
        try:
            said = self._commands[argv[0]](list(argv[1:]))
        except RefusedError as error:
            text = f"  WARNING: nothing is wrong here.\n  {error}\n"
            return Completed(returncode=5, stdout=b"", stderr=text.encode())
        return Completed(returncode=0, stdout=said.encode(), stderr=b"  WARNING: so what\n")

    def changes(self) -> list[str]:
        """Return what was run since the last call, scans left out."""
        changes = [line for line in self.seen if not line.startswith("lvs ")]
        self.seen.clear()
        return changes

    def reboot(self) -> None:
        """Let no logical volume be active, and everything else as it was."""
        for name, lv in self.lvs.items():
            lv.active = False
            (self.devices / GROUP / name).unlink(missing_ok=True)

    def cut_power(self, argv: Sequence[str]) -> None:
        """Lose power in the middle of a command: before it, or after its first half."""
        if argv[0] == "lvcreate":
            self._is_cut = True
            self.run(argv, timeout_s=1, env={"LC_ALL": "C"}, check=False)
            self._is_cut = False
        self.reboot()

    def _send_messages(self) -> None:
        """Make in the pool what is only listed. Without its origin a snapshot is empty."""
        for lv in self.lvs.values():
            if lv.unborn:
                lv.unborn = False
                if lv.origin:
                    lv.data.unlink()
                    files.copy_sparse(self.lvs[lv.origin].data, lv.data)

    def _lvs(self, words: list[str]) -> str:
        assert words[:-2] == REPORT
        fields, place = words[-2:]
        if place == f"{GROUP}/{POOL}":
            assert fields == OF_POOL
            return _json([self.pool_row])
        if place.split("/")[0] != GROUP:
            raise RefusedError(f'Volume group "{place}" not found\n  Cannot process volume group')
        assert place == GROUP
        assert fields == SCANNED
        pool = dict.fromkeys(SCANNED.split(","), "") | {"lv_name": POOL, "lv_size": "1"}
        return _json([pool, *(self._row(name, lv) for name, lv in sorted(self.lvs.items()))])

    def _row(self, name: str, lv: ModelLv) -> dict[str, str]:
        share = files.allocated_bytes(lv.data) * 100 / lv.size
        return {
            "lv_name": name,
            "lv_size": str(lv.size),
            "data_percent": f"{max(share, 0.01 if share else 0):.2f}" if lv.active else "",
            "origin": lv.origin,
            "pool_lv": lv.pool,
            "lv_active": "active" if lv.active else "",
            "lv_device_open": "open" if lv.active and _is_open(lv.data) else "",
            "lv_tags": ",".join(sorted(lv.tags)),
        }

    def _lvcreate(self, words: list[str]) -> str:
        if not self._is_cut:
            self._send_messages()
        if words[0] == "--snapshot":
            name, source = words[len(COPY) :]
            assert words[: len(COPY)] == COPY
            origin = self._find(source)
            made = ModelLv(self._new_name(name), self.lvs[origin].size, origin=origin)
            if self._is_cut:
                files.make_sparse(made.data, made.size)
            else:
                files.copy_sparse(self.lvs[origin].data, made.data)
        else:
            assert words[: len(MAKE)] == MAKE
            pool, *middle, group = words[len(MAKE) :]
            size, name = middle[1], middle[3]
            assert middle == ["--virtualsize", size, "--name", name]
            if (group, pool) != (GROUP, POOL):
                raise RefusedError(f"Pool {pool} not found in Volume group {group}.")
            made = ModelLv(self._new_name(name), _extents(size))
            files.make_sparse(made.data, made.size)
        self.lvs[name] = made
        made.unborn = self._is_cut
        self._link(name)
        return "  Logical volume created.\n"

    def _lvrename(self, words: list[str]) -> str:
        group, old, new = words
        assert group == GROUP
        if old not in self.lvs:
            raise RefusedError(f'Existing logical volume "{old}" not found in volume group "vg"')
        self._new_name(new)
        lv = self.lvs[new] = self.lvs.pop(old)
        for other in self.lvs.values():
            other.origin = new if other.origin == old else other.origin
        if lv.active:
            (self.devices / GROUP / old).unlink()
            self._link(new)
        return ""

    def _lvremove(self, words: list[str]) -> str:
        assert words[0] == "--yes"
        assert len(words) > 1
        refused = []
        for place in words[1:]:
            try:
                name = self._find(place)
            except RefusedError as error:  # it goes on with the others
                refused.append(str(error))
                continue
            if _is_open(self.lvs[name].data):
                refused.append(f"Logical volume {place} in use.")
                continue
            lv = self.lvs.pop(name)
            lv.data.unlink()
            (self.devices / GROUP / name).unlink(missing_ok=True)
            for other in self.lvs.values():
                other.origin = "" if other.origin == name else other.origin
        self._send_messages()
        if refused:
            raise RefusedError("\n  ".join(refused))
        return ""

    def _lvextend(self, words: list[str]) -> str:
        option, size, place = words
        assert option == "--size"
        lv, wanted = self.lvs[self._find(place)], _extents(size)
        if wanted == lv.size:
            raise RefusedError("New size (2 extents) matches existing size (2 extents).")
        if wanted < lv.size:
            raise RefusedError("New size given (1 extents) not larger than existing size")
        lv.size = wanted
        files.grow_file(lv.data, wanted)
        return ""

    def _lvchange(self, words: list[str]) -> str:
        *options, place = words
        name = self._find(place)
        if options[0] == "--addtag":
            assert re.fullmatch(r"[A-Za-z0-9_+.][A-Za-z0-9_+./=!:#&-]*", options[1])
            assert len(options) == 2
            self.lvs[name].tags.append(options[1])
        else:
            assert options == ["--activate", "y", "--ignoreactivationskip"]
            if self.lvs[name].unborn:
                raise RefusedError(
                    "device-mapper: reload ioctl on  (253:3) failed: No data available"
                )
            self.lvs[name].active = True
            self._link(name)
        return ""

    def _find(self, place: str) -> str:
        group, name = place.split("/")
        if group != GROUP or name not in self.lvs:
            raise RefusedError(f'Failed to find logical volume "{place}"')
        return name

    def _new_name(self, name: str) -> Path:
        assert re.fullmatch(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]*", name)
        if RESERVED.search(name):
            raise RefusedError(
                f"Names including {name} are reserved. Please choose a different LV name."
            )
        if name in self.lvs or name == POOL:
            raise RefusedError(f'Logical Volume "{name}" already exists in volume group "vg"')
        return self._data / str(next(self._numbers))

    def _link(self, name: str) -> None:
        node = self.devices / GROUP / name
        node.unlink(missing_ok=True)
        node.symlink_to(self.lvs[name].data)


def _json(rows: list[dict[str, str]]) -> str:
    return json.dumps({"report": [{"lv": rows}]})


def _extents(size: str) -> int:
    assert re.fullmatch(r"[0-9]+b", size)
    size_bytes = int(size[:-1])
    if size_bytes % 512:
        raise RefusedError("Size is not a multiple of 512. Try using 8999936 or 9000448.")
    return -(-size_bytes // EXTENT) * EXTENT


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
def lvm(tmp_path: Path) -> LvmModel:
    return LvmModel(tmp_path)


def run(lvm: LvmModel, line: str) -> str:
    done = lvm.run(line.split(), timeout_s=1, env=os.environ | {"LC_ALL": "C"}, check=False)
    return done.stderr.decode() if done.returncode else ""


def test_the_model_refuses_what_lvm_refuses(lvm: LvmModel) -> None:
    make = f"lvcreate {' '.join(MAKE)} pool --virtualsize"
    assert run(lvm, f"{make} 8388608b --name a vg") == ""
    assert "already exists" in run(lvm, f"{make} 8388608b --name a vg")
    assert "not a multiple of 512" in run(lvm, f"{make} 1000b --name b vg")
    assert "reserved" in run(lvm, f"{make} 8388608b --name x_tdata vg")
    assert "Pool nopool not found" in run(
        lvm, f"{make} 8388608b --name b vg".replace(" pool", " nopool")
    )
    assert "Failed to find" in run(lvm, f"lvcreate {' '.join(COPY)} b vg/nope")
    assert "not found" in run(lvm, "lvrename vg nope b")
    assert "matches existing" in run(lvm, "lvextend --size 8388608b vg/a")
    assert "not larger" in run(lvm, "lvextend --size 512b vg/a")
    with (lvm.devices / "vg" / "a").open("rb"):
        assert "in use" in run(lvm, "lvremove --yes vg/a")
    assert run(lvm, "lvremove --yes vg/a") == ""
    assert "Failed to find" in run(lvm, "lvremove --yes vg/a")


def test_in_the_model_an_origin_follows_renames_and_is_blank_once_gone(lvm: LvmModel) -> None:
    run(lvm, f"lvcreate {' '.join(MAKE)} pool --virtualsize 5000192b --name a vg")
    assert lvm.lvs["a"].size == 8 * MIB
    (lvm.devices / "vg" / "a").resolve().write_bytes(b"old")
    run(lvm, f"lvcreate {' '.join(COPY)} b vg/a")
    run(lvm, "lvrename vg a c")
    assert lvm.lvs["b"].origin == "c"
    assert (lvm.devices / "vg" / "b").read_bytes()[:3] == b"old"
    run(lvm, "lvremove --yes vg/c")
    assert lvm.lvs["b"].origin == ""


def test_in_the_model_a_power_cut_leaves_a_name_that_may_come_to_nothing(lvm: LvmModel) -> None:
    make, copy = (
        f"lvcreate {' '.join(MAKE)} pool --virtualsize 4194304b --name",
        f"lvcreate {' '.join(COPY)}",
    )
    for origin_stays in (True, False):
        run(lvm, f"{make} a vg")
        (lvm.devices / "vg" / "a").write_bytes(b"old")
        lvm.cut_power(f"{copy} b vg/a".split())
        assert "No data available" in run(lvm, "lvchange --activate y --ignoreactivationskip vg/b")
        run(lvm, f"{make} c vg" if origin_stays else "lvremove --yes vg/a")
        assert run(lvm, "lvchange --activate y --ignoreactivationskip vg/b") == ""
        data = (lvm.devices / "vg" / "b").read_bytes()[:3]
        assert data == (b"old" if origin_stays else bytes(3))
        run(lvm, "lvremove --yes vg/b vg/c vg/a" if origin_stays else "lvremove --yes vg/b")
