"""`qubeward volume`, and the pools of `create` and `clone`."""

import os
from pathlib import Path

import pytest

from .conftest import Typed

GIB = 1 << 30


def info(typed: Typed, volume: str, qube: str = "work") -> dict:
    return typed.json("volume", "info", qube, volume, "--json")


def test_ls_says_what_becomes_of_each(typed: Typed) -> None:
    head, *rows = typed.out("volume", "ls", "work").splitlines()
    assert head.split() == [
        "VOLUME", "KIND", "SIZE", "USED", "POOL", "RW", "SNAPSHOTS", "OUTDATED",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == ["root", "private", "volatile", "kernel"]
    assert "fresh copy  10 GiB" in rows[0]
    assert "kept" in rows[1]
    assert "up to 1" in rows[1]
    assert [row["kind"] for row in typed.json("volume", "ls", "work", "--json")] == [
        "fresh copy", "kept", "volatile", "kernel's",
    ]  # fmt: skip
    assert "No such domain" in typed.fails("volume", "ls", "nope")


def test_ls_shows_the_volumes_of_some_qubes_or_of_all(typed: Typed) -> None:
    head, *rows = typed.out("volume", "ls", "tpl", "work").splitlines()
    assert head.split()[:2] == ["QUBE", "VOLUME"]
    assert [row.split()[:2] for row in rows] == [
        [qube, name]
        for qube in ("tpl", "work")
        for name in ("root", "private", "volatile", "kernel")
    ]
    found = typed.json("volume", "ls", "--json")
    assert {(row["qube"], row["name"]) for row in found} >= {("tpl", "root"), ("work", "private")}
    assert "dom0" not in {row["qube"] for row in found}
    assert "No such domain" in typed.fails("volume", "ls", "work", "nope")


def test_info_shows_all(typed: Typed) -> None:
    found = info(typed, "root")
    assert found["source"] == "vm-templates/tpl/root"
    assert found["size"] == 10 * GIB
    assert "(10 GiB)" in typed.out("volume", "info", "work", "root")
    assert "work has no volume nope" in typed.fails("volume", "info", "work", "nope")


def test_resize_takes_a_size_or_what_is_to_be_added(typed: Typed) -> None:
    typed("volume", "resize", "work", "private", "3GiB")
    assert info(typed, "private")["size"] == 3 * GIB
    typed("volume", "resize", "work", "private", "+512M")
    assert info(typed, "private")["size"] == 3 * GIB + (512 << 20)
    assert "none is made smaller" in typed.fails("volume", "resize", "work", "private", "1G")
    assert "a size is" in typed.fails("volume", "resize", "work", "private", "big", status=2)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"begin" + bytes(3 << 20) + os.urandom(1 << 20) + b"end")
    return path


def test_what_is_imported_from_a_file_is_exported_again(
    typed: Typed, image: Path, tmp_path: Path
) -> None:
    typed("volume", "import", "work", "private", str(image))
    assert info(typed, "private")["size"] == image.stat().st_size
    out = tmp_path / "out"
    typed("volume", "export", "work", "private", str(out))
    assert out.read_bytes() == image.read_bytes()
    assert out.stat().st_blocks * 512 < 2 << 20, "holes are holes"
    assert "exists" in typed.fails("volume", "export", "work", "private", str(out))
    typed("volume", "export", "--force", "work", "private", str(out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image", "out"]
    assert "keeps nothing" in typed.fails("volume", "export", "work", "volatile", "x")


def test_an_import_that_fails_keeps_the_old(typed: Typed, image: Path, tmp_path: Path) -> None:
    typed("volume", "import", "work", "private", str(image))
    said = typed.fails("volume", "import", "work", "private", str(image), "--size", "9M")
    assert f"{image.stat().st_size} of {9 << 20} bytes came" in said
    typed.fails("volume", "import", "work", "private", str(tmp_path / "nope"))
    assert info(typed, "private")["size"] == image.stat().st_size


def test_snapshots_are_taken_listed_and_gone_back_to(typed: Typed, tmp_path: Path) -> None:
    for letter in ("a", "b"):
        (tmp_path / letter).write_text(letter)
    typed("volume", "import", "work", "private", str(tmp_path / "a"))
    name = typed.out("volume", "snapshot", "work", "private").strip()
    listed = typed.json("volume", "snapshots", "work", "private", "--json")
    assert listed[-1]["snapshot"] == name
    assert listed[-1]["time"] > 0
    assert name in typed.out("volume", "snapshots", "work", "private")
    typed("volume", "import", "work", "private", str(tmp_path / "b"))
    typed("volume", "revert", "work", "private")
    typed("volume", "export", "work", "private", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "a"
    assert "no revision 77" in typed.fails("volume", "revert", "work", "private", "77")
    typed("volume", "set", "tpl", "private", "revisions_to_keep=0")
    assert "no snapshot is kept" in typed.fails("volume", "revert", "tpl", "private")


def test_a_volume_is_cloned_and_cleared(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    typed("volume", "import", "work", "private", str(tmp_path / "a"))
    typed("create", "other", "--template", "tpl")
    typed("volume", "clone", "work", "private", "other")
    assert info(typed, "private", "other")["size"] == 1
    typed.fails("volume", "clear", "other", "private", stdin="n\n")
    typed("volume", "clear", "--yes", "other", "private")
    typed("volume", "export", "other", "private", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"\0"
    typed.fails("volume", "clone", "work", "private", "other", "volatile")


def test_settings_are_set(typed: Typed) -> None:
    typed("volume", "set", "work", "private", "revisions_to_keep=0", "rw=no")
    found = info(typed, "private")
    assert (found["revisions_to_keep"], found["rw"]) == (0, False)
    typed("volume", "set", "work", "volatile", "ephemeral=yes")
    assert info(typed, "volatile")["kind"] == "volatile, encrypted"
    for bad in ("rw=perhaps", "revisions_to_keep=many", "size=1"):
        typed.fails("volume", "set", "work", "private", bad)


def test_qubes_are_made_and_cloned_in_pools(typed: Typed) -> None:
    typed("pool", "add", "ssd", "file", "dir_path=/srv/ssd2")
    typed("create", "all", "--template", "tpl", "--pool", "ssd")
    typed("create", "one", "--template", "tpl", "--volume", "volatile=ssd")
    typed("clone", "one", "two", "--volume", "private=ssd")
    typed("clone", "all", "three")
    found = {
        (qube, volume): info(typed, volume, qube)["pool"]
        for qube in ("all", "one", "two", "three")
        for volume in ("private", "volatile")
    }
    assert found == {
        ("all", "private"): "ssd", ("all", "volatile"): "ssd",
        ("one", "private"): "varlibqubes", ("one", "volatile"): "ssd",
        ("two", "private"): "ssd", ("two", "volatile"): "ssd",
        ("three", "private"): "ssd", ("three", "volatile"): "ssd",
    }  # fmt: skip
    both = ("--pool", "ssd", "--volume", "private=ssd")
    assert "not both" in typed.fails("create", "x", "--template", "tpl", *both, status=2)
    assert "No such storage pool: nope" in typed.fails("clone", "one", "x", "--pool", "nope")
    typed("remove", "--yes", "all", "one", "two", "three")
    typed("pool", "remove", "--yes", "ssd")
