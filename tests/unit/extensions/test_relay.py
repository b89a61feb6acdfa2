"""The tag `relayvm-NAME` follows the property."""

from world import made_world, populate


async def test_the_tag_names_who_carries_calls_to_a_remote_qube() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "far", "relayvm", "net")
        assert "relayvm-net" in made.qube("far").tags
        await made.ok("admin.vm.property.Set", "far", "relayvm", "work")
        assert "relayvm-net" not in made.qube("far").tags
        assert "relayvm-work" in made.qube("far").tags
        await made.ok("admin.vm.property.Reset", "far", "relayvm")
        assert not [tag for tag in made.qube("far").tags if tag.startswith("relayvm-")]
