from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import StorageError
from qubeward.storage.qcow2_layout import Layer, load_files, parse_layer, place_of

POOL = Path("/pool")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("1.raw", Layer(1, 0, "raw")), ("12.qcow2", Layer(12, 0, "qcow2")),
        ("12-on-7.qcow2", Layer(12, 7, "qcow2")),
        ("0.raw", None), ("01.raw", None), ("12-on-0.qcow2", None), ("12-on-7.raw", None),
        ("12.raw.new", None), ("12.new", None), ("12.vmdk", None), ("x.raw", None), ("", None),
        ("12-on-7.qcow2\n", None), ("../12.raw", None), ("\u0661.raw", None), ("1" * 19 + ".raw", None),
    ],
)  # fmt: skip
def test_a_layer_is_told_by_its_name(name: str, layer: Layer | None) -> None:
    assert parse_layer(name) == layer
    if layer is not None:
        assert layer.name == name


def test_files_are_found_again_by_their_names(tmp_path: Path) -> None:
    for vid in ("appvms/work/private", "vm-templates/debian-12/root"):
        at = place_of(tmp_path, vid)
        at.directory.mkdir(parents=True)
        paths = [
            at.pointer,
            at.raw,
            at.imported,
            at.exported,
            at.record,
            at.overlay(0),
            at.overlay(7),
        ]
        for path in (*paths, at.pointer.with_name(f"{at.pointer.name}.new")):
            path.touch()
        for name in (
            "x-y.volume",
            ".volume",
            "private.img",
            "private-dirty-on-07.qcow2",
            "x.volume.old",
        ):
            (at.directory / name).touch()
        found = [found for found in load_files(tmp_path) if found.vid == vid]
        assert sorted(one.path for one in found if not one.is_new) == sorted(paths)
        assert [one.path.name for one in found if one.is_new] == [f"{at.volume}.volume.new"]
        assert [one.on for one in found if one.on is not None] == [0, 7]
        assert sorted(at.load_all()) == sorted(one.path for one in found)


def test_what_is_no_qube_has_no_files(tmp_path: Path) -> None:
    for name in ("appvms/.x", "appvms/-x", "elsewhere/work"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "private.volume").touch()
    (tmp_path / "appvms" / "work").touch()
    assert list(load_files(tmp_path)) == []


@given(st.text())
def test_no_text_leads_out_of_the_pool(vid: str) -> None:
    try:
        at = place_of(POOL, vid)
    except StorageError:
        return
    assert str(at.pointer) == f"{POOL}/{vid}.volume"
