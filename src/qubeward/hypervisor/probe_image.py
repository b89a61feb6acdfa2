"""A firmware image that enters 64-bit mode and leaves QEMU: proof that a processor works.

Given to QEMU as `-bios`, it is all the software there is. It runs from the reset vector through
real and protected mode into long mode, and there writes to the port of `isa-debug-exit`. Broken
virtualisation often gets through the first two and dies or hangs in the third.
"""

import struct

EXIT_PORT = 0xF4
_EXIT_VALUE = 0x2A
EXIT_STATUS = (_EXIT_VALUE << 1) | 1  # isa-debug-exit's rule

_SIZE = 0x10000  # the smallest ROM QEMU takes; it is mapped at 0xF0000 too
_BASE = 0xF0000  # where the code runs: below 2 MiB, so that one large page covers all
_START = 0xF000  # offset of the code in the image
_RESET = 0xFFF0  # offset of the processor's first instruction

_CODE32, _DATA, _CODE64 = 0x08, 0x10, 0x18
# the "accessed" bits are set already: the table is in ROM, the processor must not write to it
_GDT = struct.pack("<4Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00AF9B000000FFFF)

# page tables, in RAM: one entry each at level 4, 3 and 2, the last a 2 MiB page from address 0
_PML4, _PDPT, _PD = 0x1000, 0x2000, 0x3000
_PRESENT_WRITABLE, _LARGE = 0x03, 0x80

_EFER = 0xC0000080


def probe_image() -> bytes:
    """Return the image, 64 KiB."""
    gdt_offset = _START + 0x200
    pointer_offset = gdt_offset + len(_GDT)
    image = bytearray(_SIZE)

    real = _real_mode(pointer_offset)
    protected = _protected_mode(_BASE + _START + len(real))
    code = real + protected + _long_mode()
    image[_START : _START + len(code)] = code
    image[gdt_offset : gdt_offset + len(_GDT)] = _GDT
    pointer = struct.pack("<HI", len(_GDT) - 1, _BASE + gdt_offset)
    image[pointer_offset : pointer_offset + len(pointer)] = pointer
    # jmp F000:START: from the copy below 4 GiB to the one below 1 MiB
    image[_RESET : _RESET + 5] = b"\xea" + struct.pack("<HH", _START, _BASE >> 4)
    return bytes(image)


def _real_mode(gdt_pointer_offset: int) -> bytes:
    before_jump = (
        b"\xfa"  # cli
        b"\x2e\x66\x0f\x01\x16"  # lgdt cs:[pointer], all 32 bits of the base
        + struct.pack("<H", gdt_pointer_offset)
        + b"\x0f\x20\xc0"  # mov eax, cr0
        + b"\x66\x83\xc8\x01"  # or eax, 1: protection on
        + b"\x0f\x22\xc0"  # mov cr0, eax
    )
    target = _BASE + _START + len(before_jump) + 8
    return before_jump + b"\x66\xea" + struct.pack("<IH", target, _CODE32)  # jmp 8:target


def _protected_mode(start: int) -> bytes:
    before_jump = (
        b"\x66\xb8"  # mov ax, data
        + struct.pack("<H", _DATA)
        + b"\x8e\xd8\x8e\xc0\x8e\xd0"  # mov ds, ax; mov es, ax; mov ss, ax
        + _store(_PML4, _PDPT | _PRESENT_WRITABLE)
        + _store(_PDPT, _PD | _PRESENT_WRITABLE)
        + _store(_PD, _LARGE | _PRESENT_WRITABLE)
        + b"\x0f\x20\xe0"  # mov eax, cr4
        + b"\x83\xc8\x20"  # or eax, 0x20: physical address extension
        + b"\x0f\x22\xe0"  # mov cr4, eax
        + b"\xb8"  # mov eax, PML4
        + struct.pack("<I", _PML4)
        + b"\x0f\x22\xd8"  # mov cr3, eax
        + b"\xb9"  # mov ecx, EFER
        + struct.pack("<I", _EFER)
        + b"\x0f\x32"  # rdmsr
        + b"\x0d\x00\x01\x00\x00"  # or eax, 0x100: long mode enable
        + b"\x0f\x30"  # wrmsr
        + b"\x0f\x20\xc0"  # mov eax, cr0
        + b"\x0d\x00\x00\x00\x80"  # or eax, 0x80000000: paging on
        + b"\x0f\x22\xc0"  # mov cr0, eax
    )
    return before_jump + b"\xea" + struct.pack("<IH", start + len(before_jump) + 7, _CODE64)


def _store(address: int, value: int) -> bytes:
    """Return the code of `mov dword [address], value; mov dword [address + 4], 0`."""
    low = b"\xc7\x05" + struct.pack("<II", address, value)
    return low + b"\xc7\x05" + struct.pack("<II", address + 4, 0)


def _long_mode() -> bytes:
    return (
        b"\x48\xb8"  # mov rax, value << 32: it takes 64-bit registers to get this right
        + struct.pack("<Q", _EXIT_VALUE << 32)
        + b"\x48\xc1\xe8\x20"  # shr rax, 32
        + b"\xe6"  # out port, al
        + bytes([EXIT_PORT])
        + b"\xf4\xeb\xfd"  # again: hlt; jmp again
    )
