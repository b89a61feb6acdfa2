"""Images in the LUKS1 format, encrypted with a key that only the caller gets to know.

QEMU reads them by itself: no device mapper, no tool. `qemu-img create` makes the same in seconds,
because it measures how often it must hash a passphrase for that to be slow to guess. Ours are 256
random bits, which nobody guesses.

LUKS1 On-Disk Format Specification 1.2.3: figure 1 is the layout, figures 2 and 3 are the header,
section 2.4 is the splitting of keys. QEMU wants all eight slots to be there, apart from each other,
with 4000 stripes.
"""

import errno
import hashlib
import os
import secrets
import struct
from pathlib import Path
from typing import Final
from uuid import uuid4

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ..host import files

_SECTOR_BYTES: Final = 512
_KEY_BYTES: Final = 64  # XTS has two of AES-256
_DIGEST_BYTES: Final = 20
_SALT_BYTES: Final = 32
_STRIPES: Final = 4000
_SLOTS: Final = 8
_SLOT_ON, _SLOT_OFF = 0x00AC71F3, 0x0000DEAD
_FIRST_SLOT_SECTOR: Final = 8
_SLOT_SECTORS: Final = 504  # 500 of them are used: each begins at a page
_OVERHEAD_BYTES: Final = 2 * 1024 * 1024  # so that payloads are aligned as their images are
_ITERATIONS: Final = 1000  # the fewest that the format allows
# Where file systems, swap and partition tables have their signatures. Some are two bytes, which are
# in noise now and then.
_BLANK_BYTES: Final = 128 * 1024


def overhead_bytes() -> int:
    """Return how much larger than its payload an image is."""
    return _OVERHEAD_BYTES


def make_luks(path: Path, size_bytes: int) -> str:
    """Make an image with a payload of this size, and return the passphrase that opens it.

    A file must not exist; it is sparse, and nobody else's to read. A block device must have room
    for `overhead_bytes()` more than the payload, which is put at its end. The payload's first
    128 KiB read as zeros, and the rest as noise until it is written. Raises `OSError`. Blocks for
    some 15 ms.
    """
    passphrase = secrets.token_hex(32)
    is_device = path.is_block_device()
    if not is_device:
        files.make_sparse(path, _OVERHEAD_BYTES + size_bytes)
    try:
        # exclusive: a device that is mounted, or in use otherwise, is refused
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        try:
            before_bytes = os.lseek(fd, 0, os.SEEK_END) - size_bytes
            if before_bytes < _OVERHEAD_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            payload_sector = before_bytes // _SECTOR_BYTES
            blank_sectors = min(_BLANK_BYTES, size_bytes) // _SECTOR_BYTES
            for sector, data in _pieces(passphrase.encode(), payload_sector, blank_sectors):
                _write(fd, data, sector * _SECTOR_BYTES)
        finally:
            os.close(fd)
    except OSError:
        if not is_device:
            files.remove_file(path)
        raise
    return passphrase


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def _pieces(
    passphrase: bytes, payload_sector: int, blank_sectors: int
) -> tuple[tuple[int, bytes], ...]:
    """Return what to write, each with its sector: header, first key slot, beginning of payload."""
    key = secrets.token_bytes(_KEY_BYTES)
    key_salt, slot_salt = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha256", key, key_salt, _ITERATIONS, _DIGEST_BYTES)
    head = struct.pack(
        ">6sH32s32s32sII20s32sI40s",
        *(b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256"),
        *(payload_sector, _KEY_BYTES, digest, key_salt, _ITERATIONS),
        str(uuid4()).encode("ascii"),
    )
    for slot in range(_SLOTS):
        state, iterations, salt = _SLOT_OFF, 0, b""
        if slot == 0:
            state, iterations, salt = _SLOT_ON, _ITERATIONS, slot_salt
        sector = _FIRST_SLOT_SECTOR + slot * _SLOT_SECTORS
        head += struct.pack(">II32sII", state, iterations, salt, sector, _STRIPES)
    slot_key = hashlib.pbkdf2_hmac("sha256", passphrase, slot_salt, _ITERATIONS, _KEY_BYTES)
    return (
        (0, head.ljust(_FIRST_SLOT_SECTOR * _SECTOR_BYTES, b"\0")),
        (_FIRST_SLOT_SECTOR, _encrypt(slot_key, _split(key))),
        (payload_sector, _encrypt(key, bytes(blank_sectors * _SECTOR_BYTES))),
    )


def _split(key: bytes) -> bytes:
    """Return the key in 4000 stripes, any of which is needed to have it back (AFsplit)."""
    stripes = secrets.token_bytes(_KEY_BYTES * (_STRIPES - 1))
    last = bytes(_KEY_BYTES)
    for at in range(0, len(stripes), _KEY_BYTES):
        last = _diffuse(_xor(last, stripes[at : at + _KEY_BYTES]))
    return stripes + _xor(last, key)


def _diffuse(block: bytes) -> bytes:
    """Return the digests of the block's pieces, each numbered."""
    size = hashlib.sha256().digest_size
    return b"".join(
        hashlib.sha256(number.to_bytes(4) + block[at : at + size]).digest()
        for number, at in enumerate(range(0, len(block), size))
    )


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


def _encrypt(key: bytes, data: bytes) -> bytes:
    """Encrypt sectors with aes-xts-plain64, the first being number 0."""
    aes = algorithms.AES(key)
    return b"".join(
        Cipher(aes, modes.XTS(number.to_bytes(16, "little")))
        .encryptor()
        .update(data[at : at + _SECTOR_BYTES])
        for number, at in enumerate(range(0, len(data), _SECTOR_BYTES))
    )
