"""What the initramfs holds."""

from pathlib import Path

from qubeward.workshop.initramfs import WANTED, build_initramfs, order_of_modules


def modules_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "6.1.0"
    (folder / "kernel").mkdir(parents=True)
    modular = [name for name in WANTED if name != "ext4"]
    for name in modular:
        (folder / "kernel" / f"{name}.ko").write_bytes(name.encode())
    (folder / "modules.dep").write_text("".join(f"kernel/{name}.ko:\n" for name in modular))
    (folder / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    return folder


def test_modules_are_listed_in_the_order_the_init_loads_them(tmp_path: Path) -> None:
    folder = modules_folder(tmp_path)
    archive = build_initramfs(b"busybox", folder, order_of_modules(folder))
    names = "".join(f"{name}.ko\n" for name in WANTED if name != "ext4")
    assert f"lib/modules/order\0{names}" in archive.decode(errors="replace").replace("\0\0", "\0")


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = modules_folder(tmp_path)
    first, second = (
        build_initramfs(b"busybox", folder, order_of_modules(folder)) for _ in range(2)
    )
    assert first == second
