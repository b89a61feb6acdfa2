"""Outputs that appear whole or not at all."""

import os
import time
from pathlib import Path

import pytest

from qubeward.workshop.publish import digest_of, publish_image, staging


def test_interrupted_build_leaves_nothing_and_keeps_the_old_output(tmp_path: Path) -> None:
    dest = tmp_path / "out" / "root.img"
    cache = tmp_path / "cache"
    publish_image(dest, cache_dir=cache, name="mini", key="1", make=writer(b"old"))

    def interrupted(image: Path) -> None:
        image.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_image(dest, cache_dir=cache, name="mini", key="2", make=interrupted)
    assert dest.read_bytes() == b"old"
    assert [path.name for path in dest.parent.iterdir()] == ["root.img"]
    assert [path.name for path in (cache / "images").iterdir()] == ["mini-1.img"]


def test_same_key_is_built_once_and_another_replaces_it(tmp_path: Path) -> None:
    built: list[Path] = []

    def make(image: Path) -> None:
        built.append(image)
        image.write_bytes(b"%d" % len(built))

    for key in ("1", "1", "2"):
        publish_image(tmp_path / "a.img", cache_dir=tmp_path, name="mini", key=key, make=make)
    assert len(built) == 2
    assert (tmp_path / "a.img").read_bytes() == b"2"
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["mini-2.img"]


def test_image_is_readable_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        publish_image(
            tmp_path / "a.img", cache_dir=tmp_path, name="mini", key="1", make=writer(b"")
        )
    finally:
        os.umask(old)
    assert (tmp_path / "a.img").stat().st_mode & 0o777 == 0o644


def test_folder_that_a_killed_build_left_goes_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / ".out.old", tmp_path / ".out.young"
    for left in (old, young):
        left.mkdir()
    two_days_ago = time.time() - 48 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    with staging(tmp_path, "out"):
        assert not old.exists()
        assert young.exists()


def test_digest_tells_where_one_part_ends() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of(b"ab") == digest_of("ab")


def writer(data: bytes):
    return lambda image: image.write_bytes(data)
