"""The header of a qcow2 image: made for a fresh overlay, and read again when its guest is gone.

docs/interop/qcow2.rst of QEMU is the format. A fresh overlay takes a tenth of a millisecond here,
and a hundred times as long with `qemu-img create`: header, refcount table and block, and an L1
table of zeros, each in clusters of its own.

QEMU's account may write to an overlay. A guest that broke out could let the header name any file
of the host as what is below, or as where the data is; later the daemon would read that. So the
header is checked before anything else reads the overlay: it must be as it was made, but for what
QEMU has to change.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ..host import files

_MAGIC: Final = b"QFI\xfb"
_VERSION: Final = 3
_CLUSTER_BITS: Final = 16
_CLUSTER_BYTES: Final = 1 << _CLUSTER_BITS
_SECTOR_BYTES: Final = 512
# Up to and with the kind of compression, padded.
_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQII8x")
_LEAST_HEADER_BYTES: Final = _HEADER.size - 8
_BACKING_AT: Final = 8
_BACKING: Final = struct.Struct(">QI")
_EXTENSION: Final = struct.Struct(">II")
_BACKING_FORMAT: Final = 0xE2792ACA
_REFCOUNT_ORDER: Final = 4  # 16 bits each, which is what QEMU makes
_L1_ENTRY_BYTES: Final = 8
_L1_REACH_BYTES: Final = _CLUSTER_BYTES * (_CLUSTER_BYTES // 8)  # of one entry
_MOST_L1_BYTES: Final = 32 << 20  # QEMU opens no image that has more
_MOST_OFFSET: Final = 1 << 56  # of anything in an image
_TABLE, _BLOCK, _L1 = 1, 2, 3  # the clusters where they are
# QEMU sets these when it was killed with lazy refcounts, and when it met something wrong. Any other
# makes data be elsewhere or otherwise than in what we made.
_DIRTY_OR_CORRUPT: Final = 3
_MOST_NAME_BYTES: Final = 1023
# Parts of the first cluster that neither we nor QEMU use, which needs less than 1 KiB.
_SPARE: Final = (32 << 10, 48 << 10)


class _Fields(NamedTuple):
    """The header as the format has it; what is 0 in all that we make may be left out."""

    magic: bytes = _MAGIC
    version: int = _VERSION
    backing_offset: int = 0
    backing_bytes: int = 0
    cluster_bits: int = _CLUSTER_BITS
    size_bytes: int = 0
    encryption: int = 0
    l1_entries: int = 0
    l1_offset: int = _L1 * _CLUSTER_BYTES
    table_offset: int = _TABLE * _CLUSTER_BYTES
    table_clusters: int = 1
    snapshots: int = 0
    snapshots_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = _REFCOUNT_ORDER
    header_bytes: int = _HEADER.size


class BadImageError(Exception):
    """An image is not what was made, or not what the format allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What matters of the header of an overlay of ours. `backing` is empty without one."""

    size_bytes: int
    backing: str
    backing_format: str
    backing_offset: int
    l1_offset: int
    l1_entries: int


def make_overlay(path: Path, size_bytes: int, backing: str = "", backing_format: str = "") -> None:
    """Make an image with nothing in it of its own, at least as large as said. It must not exist.

    `backing` is the path of what is below, as seen from the image's directory. Raises `OSError`.
    Not synced.
    """
    l1_entries = max(1, -(-size_bytes // _L1_REACH_BYTES))
    l1_clusters = -(-l1_entries * _L1_ENTRY_BYTES // _CLUSTER_BYTES)
    if l1_clusters * _CLUSTER_BYTES > _MOST_L1_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    clusters = _L1 + l1_clusters
    files.make_sparse(path, clusters * _CLUSTER_BYTES)
    try:
        with _opened(path, os.O_RDWR) as fd:
            _write(fd, _pack(size_bytes, l1_entries, backing.encode(), backing_format.encode()), 0)
            _write(fd, struct.pack(">Q", _BLOCK * _CLUSTER_BYTES), _TABLE * _CLUSTER_BYTES)
            _write(fd, struct.pack(">H", 1) * clusters, _BLOCK * _CLUSTER_BYTES)
    except OSError:
        files.remove_file(path)
        raise


def _pack(size_bytes: int, l1_entries: int, backing: bytes, backing_format: bytes) -> bytes:
    extensions = b""
    if backing:
        extensions = _EXTENSION.pack(_BACKING_FORMAT, len(backing_format))
        extensions += backing_format.ljust(-(-len(backing_format) // 8) * 8, b"\0")
    extensions += _EXTENSION.pack(0, 0)
    fields = _Fields(
        backing_offset=_HEADER.size + len(extensions) if backing else 0,
        backing_bytes=len(backing),
        size_bytes=-(-size_bytes // _SECTOR_BYTES) * _SECTOR_BYTES,
        l1_entries=l1_entries,
    )
    return _HEADER.pack(*fields) + extensions + backing


def read_header(path: Path) -> Header:
    """Read the header of an overlay of ours, which a guest may have run on since.

    Raises `BadImageError` if QEMU can't have made it so of what it was, and `OSError`.
    """
    with _opened(path, os.O_RDONLY) as fd:
        return parse_header(os.pread(fd, _CLUSTER_BYTES, 0))


def parse_header(data: bytes) -> Header:
    """Parse the first cluster of an image; see `read_header`."""
    if len(data) < _CLUSTER_BYTES or data[:4] != _MAGIC:
        raise BadImageError("it is no qcow2 image")
    fields = _Fields(*_HEADER.unpack_from(data))
    if (fields.version, fields.cluster_bits) != (_VERSION, _CLUSTER_BITS):
        raise BadImageError("it is a qcow2 image of another kind")
    if fields.encryption or fields.incompatible & ~_DIRTY_OR_CORRUPT:
        raise BadImageError("it is a qcow2 image with features that it was not made with")
    if fields.l1_entries * _L1_ENTRY_BYTES > _MOST_L1_BYTES or fields.l1_offset >= _MOST_OFFSET:
        raise BadImageError("its table is too large, or out of place")
    if fields.size_bytes % _SECTOR_BYTES or (
        fields.size_bytes > fields.l1_entries * _L1_REACH_BYTES
    ):
        raise BadImageError("its size is wrong")
    name_end = fields.backing_offset + fields.backing_bytes
    if fields.backing_bytes > _MOST_NAME_BYTES or name_end > len(data):
        raise BadImageError("the name of its backing file is out of place")
    try:
        backing = data[fields.backing_offset : name_end].decode("ascii")
        backing_format = _parse_backing_format(data, fields.header_bytes).decode("ascii")
    except UnicodeDecodeError as error:
        raise BadImageError("the name of its backing file is not ours") from error
    return Header(
        size_bytes=fields.size_bytes,
        backing=backing if fields.backing_offset else "",
        backing_format=backing_format,
        backing_offset=fields.backing_offset,
        l1_offset=fields.l1_offset,
        l1_entries=fields.l1_entries,
    )


def _parse_backing_format(data: bytes, at: int) -> bytes:
    found = b""
    if at < _LEAST_HEADER_BYTES:
        raise BadImageError("its header is too short")
    while at + _EXTENSION.size <= _SPARE[0]:
        kind, length = _EXTENSION.unpack_from(data, at)
        at += _EXTENSION.size
        if kind == 0:
            return found
        if kind == _BACKING_FORMAT:
            found = data[at : at + length]
        at += -(-length // 8) * 8
    raise BadImageError("its header is too long")


def has_own_data(path: Path, header: Header) -> bool:
    """Say whether anything was ever written to the image itself, or discarded from it."""
    left = header.l1_entries * _L1_ENTRY_BYTES
    with _opened(path, os.O_RDONLY) as fd:
        at = header.l1_offset
        while left:
            table = os.pread(fd, min(left, 1 << 20), at)
            if not table or table.strip(b"\0"):
                return True
            left, at = left - len(table), at + len(table)
    return False


def rename_backing(path: Path, header: Header, name: str) -> None:
    """Let the image name what is below it by another name.

    Whatever stops it, the image has the old name or the new. Not synced at the end.
    """
    offset = header.backing_offset + len(header.backing) - len(name)
    with _opened(path, os.O_RDWR) as fd:
        if not header.backing.endswith(name):
            offset = next(spare for spare in _SPARE if spare != header.backing_offset)
            _write(fd, name.encode("ascii"), offset)
            os.fsync(fd)
        # In the first sector, which disks write whole or not at all.
        _write(fd, _BACKING.pack(offset, len(name)), _BACKING_AT)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
