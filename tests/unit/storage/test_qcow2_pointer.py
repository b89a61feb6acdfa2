import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import StorageError
from qubeward.storage.qcow2_pointer import (
    Content,
    Kept,
    Pointer,
    format_pointer,
    parse_pointer,
)

VID = "appvms/work/private"


def content(layer: int, size_bytes: int = 512, time_s: float = 0.0) -> Content:
    return Content(layer=layer, size_bytes=size_bytes, time_s=time_s)


def run(pointer: Pointer, keep: int, *layers: int) -> Pointer:
    for layer in layers:
        pointer = pointer.commit(content(layer), keep)
    return pointer


def kept(pointer: Pointer) -> list[tuple[int, int]]:
    return [(one.number, one.content.layer) for one in pointer.kept]


NEW = Pointer(content=content(0))
LAYERS = st.integers(0, (1 << 63) - 1)
CONTENTS = st.builds(
    Content,
    layer=LAYERS,
    size_bytes=LAYERS,
    time_s=st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def pointers(draw: st.DrawFn) -> Pointer:
    numbers = sorted(draw(st.sets(st.integers(1, 1 << 40), max_size=4)))
    return Pointer(
        content=draw(CONTENTS),
        kept=tuple(Kept(number=number, content=draw(CONTENTS)) for number in numbers),
        last_revision=max([0, *numbers]) + draw(st.integers(0, 3)),
        merged=tuple(draw(st.lists(st.integers(1, 1 << 40), max_size=2))),
    )


@given(pointers())
def test_what_is_written_is_read(pointer: Pointer) -> None:
    assert parse_pointer(VID, format_pointer(pointer)) == pointer


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_pointer_or_a_storage_error(data: bytes) -> None:
    with contextlib.suppress(StorageError):
        parse_pointer(VID, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(pointers(), st.data())
def test_a_pointer_with_any_field_changed_is_a_pointer_or_a_storage_error(
    pointer: Pointer, data: st.DataObject
) -> None:
    fields = json.loads(format_pointer(pointer))
    place = data.draw(st.sampled_from([fields, *fields["revisions"]]))
    name = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        del place[name]
    else:
        place[name] = data.draw(JSON)
    with contextlib.suppress(StorageError):
        parse_pointer(VID, json.dumps(fields).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 4096, b"[" * 100_000, b"9" * 10_000, b"{}", b"[]", b"null", b'{"version": 2}',
        b'{"version": true}',
        *(
            format_pointer(run(NEW, 2, 1, 2, 3)).replace(old, new, 1)
            for old, new in (
                (b'"version": 1', b'"version": 2'),
                (b'"layer": 3', b'"layer": 0'),
                (b'"layer": 3', b'"layer": -3'),
                (b'"layer": 3', b'"layer": true'),
                (b'"layer": 3', b'"layer": "3"'),
                (b'"layer": 3', b'"layer": 3.0'),
                (b'"size_bytes": 512', b'"size_bytes": 9223372036854775808'),
                (b'"time_s": 0.0', b'"time_s": NaN'),
                (b'"time_s": 0.0', b'"time_s": 1e999'),
                (b'"id": 2', b'"id": 3'),
                (b'"last_revision": 3', b'"last_revision": 2'),
            )
        ),
    ],
    ids=lambda data: repr(data[-24:])[:40],
)  # fmt: skip
def test_what_is_no_pointer_is_refused(data: bytes) -> None:
    with pytest.raises(StorageError):
        parse_pointer(VID, data)


def test_a_commit_keeps_what_was_and_drops_the_oldest() -> None:
    assert kept(run(NEW, 2, 1)) == [(1, 0)]
    assert kept(run(NEW, 2, 1, 2, 3)) == [(2, 1), (3, 2)]
    assert kept(run(run(NEW, 2, 1, 2, 3), 1, 4)) == [(4, 3)]
    assert kept(run(run(NEW, 2, 1, 2, 3), 0, 4)) == []
    assert kept(run(run(NEW, 2, 1, 2, 3), -1, 4)) == []
    assert kept(run(run(NEW, 0, 1, 2), 2, 3)) == [(1, 2)]


def test_a_number_of_a_revision_is_never_given_again() -> None:
    none = run(run(NEW, 2, 1, 2, 3), 0, 4)
    assert kept(run(none, 2, 5)) == [(4, 4)]


def test_what_is_kept_already_is_not_kept_twice() -> None:
    once = run(NEW, 2, 1).snapshot()
    assert kept(once) == [(1, 0), (2, 1)]
    assert kept(once.snapshot()) == [(1, 0), (2, 1), (3, 1)]
    assert kept(run(once, 9, 2)) == [(1, 0), (2, 1)]
    grown = once.grow(1024)
    assert kept(run(grown, 9, 2)) == [(1, 0), (2, 1), (3, 1)], "it had another size"


def test_a_pointer_never_shrinks_by_growing() -> None:
    assert NEW.grow(4096).grow(512).content.size_bytes == 4096


def test_a_merge_renames_its_content_wherever_it_is_named() -> None:
    pointer = run(NEW, 9, 1, 2).snapshot().merge(2, 7)
    assert pointer.content.layer == 7
    assert kept(pointer) == [(1, 0), (2, 1), (3, 7)]
    assert pointer.merged == (2,)
    assert pointer.is_on(2)
    assert pointer.is_on(7)
    assert kept(run(pointer, 9, 8)) == kept(pointer), "it is no other content"
    assert not run(pointer, 9, 8).is_on(7)
    assert pointer.merge(2, 9) is pointer, "what was merged is not committed any more"


def test_a_revision_is_found_by_its_text() -> None:
    pointer = run(NEW, 9, 1, 2)
    assert pointer.find("2") == content(1)
    for text in ("3", "02", " 2", "2\n", "", "x"):
        assert pointer.find(text) is None


def test_an_empty_pointer_names_no_layer() -> None:
    assert NEW.is_empty
    assert not run(NEW, 0, 1).is_empty
    assert not replace(run(NEW, 9, 1, 2), content=content(0)).is_empty
