from collections.abc import Iterable

import pytest

from qubeward.errors import StorageError
from qubeward.storage.qcow2_layout import Layer
from qubeward.storage.qcow2_ledger import Ledger
from qubeward.storage.qcow2_pointer import Content, Pointer

RAW, ON_IT, ON_THAT = Layer(1, 0, "raw"), Layer(2, 1, "qcow2"), Layer(3, 2, "qcow2")
A, B = "appvms/a/private", "appvms/b/private"


def at(layer: int, *merged: int) -> Pointer:
    return Pointer(content=Content(layer=layer, size_bytes=512, time_s=0.0), merged=merged)


class World:
    def __init__(
        self,
        pointers: dict[str, Pointer],
        layers: Iterable[Layer] = (RAW, ON_IT, ON_THAT),
        overlays: dict[str, int] | None = None,
        broken: dict[str, str] | None = None,
    ) -> None:
        self.deleted: list[int] = []
        self.ledger = Ledger(lambda doomed: self.deleted.extend(one.number for one in doomed))
        self.missing = self.ledger.open(pointers, broken or {}, overlays or {}, layers)


def test_nothing_is_known_of_a_pool_that_is_not_open() -> None:
    ledger = Ledger(lambda _: None)
    with pytest.raises(StorageError, match="not open"):
        ledger.find(A)
    with pytest.raises(StorageError, match="not open"):
        ledger.find_overlay(A)


def test_what_nobody_names_is_deleted_from_the_top_down() -> None:
    world = World({A: at(3)})
    assert world.deleted == []
    world.ledger.put(A, None)
    assert world.deleted == [3, 2, 1]


def test_what_nobody_names_is_deleted_as_the_pool_opens() -> None:
    assert World({A: at(1)}).deleted == [3, 2]
    assert World({}).deleted == [3, 2, 1]
    assert World({A: at(1)}, overlays={B: 2}).deleted == [3]


def test_a_layer_stays_for_a_clone_and_a_running_overlay() -> None:
    world = World({A: at(2)}, overlays={B: 3})
    world.ledger.put(A, None)
    assert world.deleted == []
    world.ledger.drop_overlay(B)
    assert world.deleted == [3, 2, 1]


def test_a_layer_stays_while_somebody_uses_it() -> None:
    world = World({A: at(3)})
    with world.ledger.borrowed(A) as pointer:
        assert pointer == at(3)
        world.ledger.put(A, None)
        assert world.deleted == []
    assert world.deleted == [3, 2, 1]


def test_an_overlay_is_gone_for_good_before_its_layer_is() -> None:
    world = World({A: at(1)}, overlays={B: 3})
    world.ledger.drop_overlay(B, lambda: world.deleted.append(-1))
    assert world.deleted == [-1, 3, 2]
    world.ledger.put_overlay(B, 1)
    world.ledger.drop_overlay(B, lambda: world.deleted.append(-2))
    assert world.deleted == [-1, 3, 2], "without a need there is no wait for the disk"


@pytest.mark.parametrize(
    "world",
    [
        World({A: at(3)}, broken={B: "can't be read"}),
        World({A: at(3), B: at(9)}),
        World({A: at(3)}, overlays={B: 9}),
        World({A: at(8)}, layers=(RAW, ON_IT, ON_THAT, Layer(8, 7, "qcow2"))),
    ],
    ids=["broken pointer", "missing layer", "missing below an overlay", "missing below a layer"],
)
def test_nothing_is_deleted_if_not_all_is_known(world: World) -> None:
    world.ledger.put(A, None)
    assert world.deleted == []
    assert not world.ledger.is_complete


def test_what_nobody_names_needs_nothing_below() -> None:
    world = World({A: at(1)}, layers=(RAW, Layer(8, 7, "qcow2")))
    assert world.missing == []
    assert world.deleted == [8]


def test_a_missing_layer_is_named() -> None:
    world = World({A: at(3)}, layers=(ON_IT, ON_THAT))
    assert world.missing == [1]
    with pytest.raises(StorageError, match="layer 1 of its content is missing"):
        world.ledger.chain(A, 3)


def test_a_broken_volume_says_so_until_it_is_removed() -> None:
    world = World({A: at(3)}, broken={B: "can't be read"})
    with pytest.raises(StorageError, match="can't be read"):
        world.ledger.find(B)
    assert world.ledger.find(A) == at(3)
    world.ledger.put(B, None)
    assert world.ledger.find(B) is None


def test_no_number_is_given_twice() -> None:
    assert World({A: at(3)}).ledger.next_number() == 4
    assert World({A: at(3, 8)}).ledger.next_number() == 9
    assert World({A: at(7)}).ledger.next_number() == 8
    world = World({})
    assert [world.ledger.next_number() for _ in range(3)] == [4, 5, 6]


def test_a_new_layer_stays_only_if_somebody_names_it() -> None:
    world = World({A: at(3)})
    for number in (4, 5):
        world.ledger.add(Layer(number, 3, "qcow2"))
    world.ledger.put(A, at(4))
    world.ledger.release(4)
    world.ledger.release(5)
    assert world.deleted == [5]
    assert [layer.number for layer in world.ledger.chain(A, 4)] == [4, 3, 2, 1]
