"""The feature `servicevm` and the icon follow `provides_network`."""

from world import made_world, populate


async def test_a_qube_that_provides_network_is_a_service() -> None:
    async with made_world() as made:
        await populate(made)
        assert made.qube("net").features["servicevm"] == "1"
        assert made.value("net", "icon") == "servicevm-red"
        await made.ok("admin.vm.property.Set", "net", "provides_network", "False")
        assert "servicevm" not in made.qube("net").features
        assert made.value("net", "icon") == "appvm-red"


async def test_a_reset_takes_the_feature_away_too() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Reset", "net", "provides_network")
        assert "servicevm" not in made.qube("net").features


async def test_setting_false_where_it_was_false_is_no_error() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", "provides_network", "False")
        assert "servicevm" not in made.qube("work").features


async def test_property_and_feature_land_in_one_commit() -> None:
    async with made_world() as made:
        await populate(made)
        before = len(made.backend.commits)
        await made.ok("admin.vm.property.Set", "work", "provides_network", "True")
        (commit,) = made.backend.commits[before:]
        assert {write.table for write in commit.writes} == {"property", "feature"}
