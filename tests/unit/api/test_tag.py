"""admin.vm.tag.*"""

from world import made_world, populate


async def test_adding_a_tag_that_is_there_tells_nobody_and_stores_nothing() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.tag.Set", "work", "x")
        stream, stored = made.subscribe(), len(made.backend.commits)
        await made.ok("admin.vm.tag.Set", "work", "x")
        assert stream.names() == ["connection-established"]
        assert len(made.backend.commits) == stored


async def test_tags_are_listed_sorted() -> None:
    async with made_world() as made:
        await populate(made)
        for tag in ("b", "a", "C", "-", "10", "9"):
            await made.ok("admin.vm.tag.Set", "far", tag)
        listed = (await made.ok("admin.vm.tag.List", "far")).splitlines()
        assert listed == sorted(listed)
        assert {"b", "a", "C", "-", "10", "9"} <= set(listed)


async def test_a_tag_that_is_not_there_can_not_be_removed() -> None:
    async with made_world() as made:
        answer = await made.refused("admin.vm.tag.Remove", "dom0", "x")
        assert answer.wire_name == "QubesTagNotFoundError"
        assert answer.fields == ("dom0", "x")
