from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import StorageError
from qubeward.storage.layout import load_vids, parse_vid

POOL = Path("/pool")

AWKWARD = st.text(alphabet=st.sampled_from("./\\-\0\n ab~%é"), max_size=12)
PART = (
    st.sampled_from(["appvms", "vm-templates", "..", ".", "", "work", "root", "-dirty"]) | AWKWARD
)


@pytest.mark.parametrize(
    "vid",
    [
        "", "/", "appvms", "appvms/work", "appvms/work/", "appvms//root", "/appvms/work/root",
        "appvms/work/root/", "appvms/work/root/x", "appvms/../root", "appvms/work/..",
        "appvms/.work/root", "appvms/work/root\n", "appvms/work/ro\0ot", "appvms/work/root-dirty",
        "appvms/work/root.img", "vm-kernels/1/root", "appvms/wörk/root", "appvms/-x/root",
        "appvms/" + "w" * 65 + "/root", "appvms/work/" + "r" * 65,
    ],
)  # fmt: skip
def test_what_is_no_vid_is_refused(vid: str) -> None:
    with pytest.raises(StorageError, match="volume id"):
        parse_vid(POOL, vid)


def test_a_vid_names_its_files() -> None:
    at = parse_vid(POOL, "appvms/my.work_1-2/private")
    assert [str(path) for path in at.by_worth] == [
        "/pool/appvms/my.work_1-2/private-dirty.img.new",
        "/pool/appvms/my.work_1-2/private-dirty.img.of",
        "/pool/appvms/my.work_1-2/private-import.img.new",
        "/pool/appvms/my.work_1-2/private-import.img",
        "/pool/appvms/my.work_1-2/private-dirty.img",
        "/pool/appvms/my.work_1-2/private.record",
        "/pool/appvms/my.work_1-2/private.img",
    ]


@given(st.lists(PART, min_size=1, max_size=5).map("/".join) | st.text())
def test_no_text_leads_out_of_the_pool(vid: str) -> None:
    try:
        at = parse_vid(POOL, vid)
    except StorageError:
        return
    for path in at.by_worth:
        relative = path.relative_to(POOL)
        assert len(relative.parts) == 3
        assert not {"..", "."} & set(relative.parts)
        assert "\0" not in str(path)
    assert f"{POOL}/{vid}.img" == str(at.committed)


@given(st.data())
def test_two_volumes_never_share_a_file(data: st.DataObject) -> None:
    vid = st.from_regex(r"\Aappvms/a/[A-Za-z][A-Za-z0-9_]{0,3}\Z")
    one, other = data.draw(vid), data.draw(vid)
    shared = set(parse_vid(POOL, one).by_worth) & set(parse_vid(POOL, other).by_worth)
    assert bool(shared) == (one == other)


def test_vids_are_found_from_any_of_their_files_and_strangers_passed_over(tmp_path: Path) -> None:
    assert list(load_vids(tmp_path)) == []
    for name in (
        "appvms/work/private.img", "appvms/work/private-dirty.img", "appvms/work/root-dirty.img",
        "appvms/work/volatile-import.img", "appvms/work/old.img.3@2024-01-01T00:00:00Z",
        "appvms/work/notes.txt", "appvms/work/.img", "appvms/stray", "appvms/.hidden/root.img",
        "vm-templates/debian/root.record", "elsewhere/x/root.img",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert list(load_vids(tmp_path)) == [
        "appvms/work/old", "appvms/work/private", "appvms/work/root", "appvms/work/volatile",
        "vm-templates/debian/root",
    ]  # fmt: skip
