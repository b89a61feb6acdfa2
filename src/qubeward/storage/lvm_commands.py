"""The logical volumes of one thin pool: what a scan finds, and the commands that change it.

Each command is one change of the group's metadata, which LVM writes in one go. What was made by
then must also be made in the thin pool, by a message that LVM sends after; a power cut between them
leaves a volume that is listed and can't be activated. LVM sends what is left when it next makes a
volume, but not before. If what it was to be a snapshot of is removed first, it comes out empty. So
messages are sent when a pool is opened, and when a volume can't be activated (`send_messages`).

Names were parsed before they come here, so none can be taken for an option.
"""

import json
import math
import threading
from dataclasses import dataclass, replace
from typing import Final

from ..errors import StorageError
from .driver import Usage
from .host_tools import Run, call

_REPORT: Final = ("--reportformat", "json", "--units", "b", "--nosuffix")
_SCANNED: Final = "lv_name,lv_size,data_percent,origin,pool_lv,lv_active,lv_device_open,lv_tags"
_OF_POOL: Final = "lv_name,lv_size,segtype,zero,data_percent,lv_metadata_size,metadata_percent"
_SECTOR_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Lv:
    """A thin logical volume.

    `origin`: what it is a snapshot of, by today's name; nothing if that is gone. `used_bytes`: what
    it maps, with the blocks that it shares; None if it isn't active.
    """

    name: str
    size_bytes: int
    used_bytes: int | None
    origin: str
    is_active: bool
    is_open: bool
    tags: frozenset[str] = frozenset()


class ThinPool:
    """A volume group and a thin pool in it."""

    def __init__(self, volume_group: str, thin_pool: str, run: Run) -> None:
        self.volume_group = volume_group
        self._thin_pool = thin_pool
        self._run = run
        self._sending = threading.Lock()

    @property
    def what(self) -> str:
        """Say which pool it is, in errors."""
        return f"thin pool {self.volume_group}/{self._thin_pool}"

    def check(self) -> Usage:
        """Return the pool's usage, or raise `StorageError` if it isn't there or can't be used."""
        place = f"{self.volume_group}/{self._thin_pool}"
        (row,) = self._report(self.what, _OF_POOL, place)
        if row["segtype"] != "thin-pool":
            raise StorageError(self.what, "it is no thin pool")
        if row["zero"] != "zero":
            # a guest that writes half a block would find another's data in the rest of it
            raise StorageError(self.what, "it does not zero new blocks: lvchange --zero y")
        size_bytes, metadata_bytes = int(row["lv_size"]), int(row["lv_metadata_size"])
        return Usage(
            size_bytes=size_bytes,
            usage_bytes=_share(size_bytes, row["data_percent"]) or 0,
            metadata_size_bytes=metadata_bytes,
            metadata_usage_bytes=_share(metadata_bytes, row["metadata_percent"]) or 0,
        )

    def send_messages(self) -> None:
        """Let LVM do in the pool what a power cut kept it from, by making and removing a volume."""
        name = f"qubeward-{self._thin_pool}"
        place = f"{self.volume_group}/{name}"
        with self._sending:
            try:
                self.make(self.what, name, 1)
            except StorageError:  # a power cut may have left it as well
                self.call(self.what, "lvremove", "--yes", place)
                self.make(self.what, name, 1)
            self.call(self.what, "lvremove", "--yes", place)

    def scan(self, what: str) -> "ThinVolumes":
        """Find the pool's volumes. `what` is named by errors, of this scan and of what follows."""
        return ThinVolumes(self, what, self.load(what))

    def load(self, what: str) -> dict[str, Lv]:
        """Ask LVM for the pool's volumes, by name."""
        rows = self._report(what, _SCANNED, self.volume_group)
        return {row["lv_name"]: _lv(row) for row in rows if row["pool_lv"] == self._thin_pool}

    def make(self, what: str, name: str, size_bytes: int) -> None:
        """Make a thin volume: `lvcreate`."""
        self.call(
            what,
            *("lvcreate", "--yes", "--type", "thin", "--thinpool", self._thin_pool),
            *("--virtualsize", f"{_whole_sectors(size_bytes)}b", "--name", name, self.volume_group),
        )

    def call(self, what: str, *argv: str) -> str:
        """Run a command of LVM's, or raise `StorageError`."""
        return call(self._run, what, argv)

    def _report(self, what: str, fields: str, place: str) -> list[dict[str, str]]:
        text = self.call(what, "lvs", *_REPORT, "--options", fields, place)
        rows: list[dict[str, str]] = json.loads(text)["report"][0]["lv"]
        return rows


class ThinVolumes:
    """The pool's volumes as of a scan, and as they are after what was done here since."""

    def __init__(self, pool: ThinPool, what: str, found: dict[str, Lv]) -> None:
        self._pool = pool
        self._group = pool.volume_group
        self._what = what
        self.lvs = found

    def __contains__(self, name: str) -> bool:
        return name in self.lvs

    def scan_again(self) -> None:
        """Find what others have changed meanwhile."""
        self.lvs = self._pool.load(self._what)

    def create(self, name: str, size_bytes: int) -> None:
        """Make a volume that takes nothing and reads as zeros."""
        self._pool.make(self._what, name, size_bytes)
        self._add(name, size_bytes, origin="")

    def copy(self, source: str, name: str) -> None:
        """Make a snapshot, which can be written to."""
        self._call(
            *("lvcreate", "--snapshot", "--setactivationskip", "n", "--activate", "y"),
            *("--name", name, self._of(source)),
        )
        self._add(name, self.lvs[source].size_bytes, origin=source)

    def rename(self, name: str, new: str) -> None:
        """Give a volume another name, which is free. Who has it open goes on."""
        self._call("lvrename", self._group, name, new)
        self.lvs[new] = replace(self.lvs.pop(name), name=new)
        for lv in tuple(self.lvs.values()):
            if lv.origin == name:
                self.lvs[lv.name] = replace(lv, origin=new)

    def grow(self, name: str, size_bytes: int) -> None:
        """Make a volume at least this large; nothing to do if it is."""
        if self.lvs[name].size_bytes < size_bytes:
            self._call("lvextend", "--size", f"{_whole_sectors(size_bytes)}b", self._of(name))
            self.lvs[name] = replace(self.lvs[name], size_bytes=size_bytes)

    def activate(self, name: str) -> None:
        """Give a volume its device; nothing to do if it has one."""
        if not self.lvs[name].is_active:
            argv = ("lvchange", "--activate", "y", "--ignoreactivationskip", self._of(name))
            try:
                self._call(*argv)
            except StorageError:
                self._pool.send_messages()
                self._call(*argv)
            self.lvs[name] = replace(self.lvs[name], is_active=True)

    def tag(self, name: str, tag: str) -> None:
        """Tag a volume."""
        self._call("lvchange", "--addtag", tag, self._of(name))
        self.lvs[name] = replace(self.lvs[name], tags=self.lvs[name].tags | {tag})

    def remove(self, *names: str) -> None:
        """Remove volumes, which are there. What others share with them stays."""
        if names:
            self._call("lvremove", "--yes", *(self._of(name) for name in names))
            for name in names:
                del self.lvs[name]

    def _add(self, name: str, size_bytes: int, origin: str) -> None:
        self.lvs[name] = Lv(
            name=name,
            size_bytes=size_bytes,
            used_bytes=None,
            origin=origin,
            is_active=True,
            is_open=False,
        )

    def _call(self, *argv: str) -> None:
        self._pool.call(self._what, *argv)

    def _of(self, name: str) -> str:
        return f"{self._group}/{name}"


def _lv(row: dict[str, str]) -> Lv:
    size_bytes = int(row["lv_size"])
    return Lv(
        name=row["lv_name"],
        size_bytes=size_bytes,
        used_bytes=_share(size_bytes, row["data_percent"]),
        origin=row["origin"],
        is_active=row["lv_active"] == "active",
        is_open=row["lv_device_open"] == "open",
        tags=frozenset(row["lv_tags"].split(",")) - {""},
    )


def _share(size_bytes: int, percent: str) -> int | None:
    """Return that much of the size, rounded up: LVM says 0.00 of nothing alone."""
    return math.ceil(size_bytes * float(percent) / 100) if percent else None


def _whole_sectors(size_bytes: int) -> int:
    """Round up to what LVM takes as a size; it rounds up to whole extents itself."""
    return max(1, -(-size_bytes // _SECTOR_BYTES)) * _SECTOR_BYTES
