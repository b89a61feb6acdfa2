"""Archives in cpio's newc format, which the kernel unpacks as its first root file system.

Our own writer and not Debian's cpio: a device node needs root there, and owner, times and order of
the files would be the host's. The format is a fixed header (kernel: initramfs/buffer-format).
"""

import stat

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_ALIGN = 4
_END_ALIGN = 512


class Archive:
    """A newc archive that grows; all belongs to root and is dated 1970."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._names: set[str] = set()

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add a folder. Its parents come first."""
        self._add(name, stat.S_IFDIR | mode, links=2)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self._add(name, stat.S_IFCHR | mode, device=(major, minor))

    def close(self) -> bytes:
        """Return the whole archive."""
        parts = [*self._parts, _entry(_TRAILER, 0, 0, b"", links=1, device=(0, 0))]
        return _padded(b"".join(parts), _END_ALIGN)

    def _add(
        self,
        name: str,
        mode: int,
        data: bytes = b"",
        *,
        links: int = 1,
        device: tuple[int, int] = (0, 0),
    ) -> None:
        if not name or name.startswith("/") or "\0" in name or name == _TRAILER:
            raise ValueError(name)
        if name in self._names:
            raise ValueError(f"{name} is in the archive already")
        parent, slash, _ = name.rpartition("/")
        if slash and parent not in self._names:
            raise ValueError(f"{name} comes before its folder")
        self._names.add(name)
        inode = len(self._names)
        self._parts.append(_entry(name, inode, mode, data, links=links, device=device))


def _entry(
    name: str, inode: int, mode: int, data: bytes, *, links: int, device: tuple[int, int]
) -> bytes:
    path = name.encode() + b"\0"
    owner, group, mtime, checksum = 0, 0, 0, 0
    fields = (
        *(inode, mode, owner, group, links, mtime, len(data)),
        *(0, 0, *device, len(path), checksum),
    )
    header = _MAGIC + b"".join(b"%08X" % field for field in fields)
    return _padded(header + path, _ALIGN) + _padded(data, _ALIGN)


def _padded(data: bytes, align: int) -> bytes:
    return data + bytes(-len(data) % align)
