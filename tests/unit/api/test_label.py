"""admin.label.*"""

import pytest

from world import made_world, populate


async def test_a_new_label_can_be_read_at_once_and_has_the_next_number() -> None:
    async with made_world() as made:
        await made.ok("admin.label.Create", "dom0", "teal", "0x00ABcd")
        assert await made.ok("admin.label.Get", "dom0", "teal") == "0x00abcd"
        assert await made.ok("admin.label.Get", "dom0", "9") == "0x00abcd"
        await made.ok("admin.label.Create", "dom0", "mint", "0x000001")
        assert await made.ok("admin.label.Index", "dom0", "mint") == "10"
        listed = (await made.ok("admin.label.List")).splitlines()
        assert listed[:2] == ["red", "orange"]
        assert listed[-2:] == ["teal", "mint"]


@pytest.mark.parametrize("name", ["red", "8", "black"])
async def test_the_first_eight_stay(name: str) -> None:
    async with made_world() as made:
        answer = await made.refused("admin.label.Remove", "dom0", name)
        assert answer.wire_name == "ProtocolError"


async def test_a_label_that_is_worn_stays() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.label.Create", "dom0", "teal", "0x008080")
        await made.ok("admin.vm.property.Set", "work", "label", "teal")
        answer = await made.refused("admin.label.Remove", "dom0", "teal")
        assert answer.wire_name == "QubesLabelInUseError"
        await made.ok("admin.vm.property.Set", "work", "label", "red")
        await made.ok("admin.label.Remove", "dom0", "9")
        answer = await made.refused("admin.label.Get", "dom0", "teal")
        assert answer.wire_name == "QubesLabelNotFoundError"


async def test_a_label_is_made_once() -> None:
    async with made_world() as made:
        answer = await made.refused("admin.label.Create", "dom0", "red", "0x000000")
        assert answer.wire_name == "QubesLabelInUseError"
        assert await made.ok("admin.label.Get", "dom0", "red") == "0xcc0000"
