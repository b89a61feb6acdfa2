"""The feature `service.clocksync` follows the clockvm."""

from world import made_world, populate


async def test_the_clockvm_runs_the_service_and_the_one_before_does_not() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.property.Set", "dom0", "clockvm", "net")
        assert made.qube("net").features["service.clocksync"] == "1"
        await made.ok("admin.property.Set", "dom0", "clockvm", "work")
        assert "service.clocksync" not in made.qube("net").features
        assert made.qube("work").features["service.clocksync"] == "1"
        await made.ok("admin.property.Set", "dom0", "clockvm", "work")
        assert made.qube("work").features["service.clocksync"] == "1"
        await made.ok("admin.property.Reset", "dom0", "clockvm")
        assert "service.clocksync" not in made.qube("work").features


async def test_no_clockvm_is_no_error() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.property.Set", "dom0", "clockvm", "net")
        await made.ok("admin.vm.feature.Remove", "net", "service.clocksync")
        await made.ok("admin.property.Set", "dom0", "clockvm", "")
        assert "service.clocksync" not in made.qube("net").features
