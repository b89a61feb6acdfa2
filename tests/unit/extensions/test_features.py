"""Features with a meaning: names that no call sets, and values that must be in order."""

import pytest

from world import made_world, populate

INTERNAL = ("deferred-netvm-original", "preload-dispvm", "preload-dispvm-completed",
            "preload-dispvm-in-progress")  # fmt: skip


@pytest.mark.parametrize("name", INTERNAL)
@pytest.mark.parametrize("dest", ["work", "dom0"])
async def test_what_the_daemon_keeps_itself_no_call_sets_or_removes(name: str, dest: str) -> None:
    async with made_world() as made:
        await populate(made)
        for call, payload in (("Set", "x"), ("Remove", "")):
            answer = await made.refused(f"admin.vm.feature.{call}", dest, name, payload)
            assert answer.wire_name == "PermissionDenied"
            assert name in str(answer)
        assert name not in made.qube(dest).features


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("service.x", True),
        ("service." + "x" * 48, True),
        ("service." + "x" * 49, False),
        ("service.", False),
        ("vm-config.x", True),
        ("vm-config.x" + "1" * 51, True),
        ("vm-config.x" + "1" * 52, False),
        ("vm-config.1", False),
        ("vm-config.", False),
        ("serviceability", True),
    ],
)
async def test_names_that_guests_are_told_have_their_limits(name: str, is_good: bool) -> None:
    async with made_world() as made:
        await populate(made)
        answer = await made.call("admin.vm.feature.Set", "work", name, "1")
        assert (name in made.qube("work").features) == is_good
        if not is_good:
            assert getattr(answer, "wire_name", "") == "QubesValueError"


@pytest.mark.parametrize(
    ("value", "is_good"), [("", True), ("0", True), ("-1", False), ("x", False), ("01", False)]
)
@pytest.mark.parametrize("name", ["preload-dispvm-max", "preload-dispvm-threshold"])
async def test_counts_of_preloaded_disposables_are_numbers(
    name: str, value: str, is_good: bool
) -> None:
    async with made_world() as made:
        await populate(made)
        await made.call("admin.vm.feature.Set", "base", name, value)
        assert (name in made.qube("base").features) == is_good


async def test_preloading_needs_a_template_for_disposables_that_reports_its_start() -> None:
    async with made_world() as made:
        await populate(made)
        words = ("preload-dispvm-max", "2")
        assert (
            await made.refused("admin.vm.feature.Set", "work", *words)
        ).wire_name == "QubesValueError"
        assert (
            await made.refused("admin.vm.feature.Set", "base", *words)
        ).wire_name == "QubesValueError"
        assert (
            await made.refused("admin.vm.feature.Set", "dom0", *words)
        ).wire_name == "QubesValueError"
        await made.ok(
            "admin.vm.feature.Set", "tpl", "supported-rpc.qubes.WaitForRunningSystem", "1"
        )
        await made.ok("admin.vm.feature.Set", "base", *words)
        await made.ok("admin.property.Set", "dom0", "default_dispvm", "base")
        await made.ok("admin.vm.feature.Set", "dom0", *words)
