"""admin.vmclass.* and admin.vm.*: what the calls say. How they act is in tests/unit/ops."""

import pytest

from world import made_world, populate


async def test_a_list_has_dom0_first_and_the_rest_by_name() -> None:
    async with made_world() as made:
        await populate(made)
        names = [line.split(" ")[0] for line in (await made.ok("admin.vm.List")).splitlines()]
        assert names == ["dom0", *sorted(names[1:])]
        assert len(names) == 8
        assert (await made.ok("admin.vm.List", "work")).startswith(
            "work class=AppVM state=Halted uuid="
        )


async def test_what_has_no_domain_runs_always_and_says_no_to_power() -> None:
    async with made_world() as made:
        await populate(made)
        for name in ("dom0", "far"):
            assert "state=Running" in await made.ok("admin.vm.List", name)
            assert "power_state=Running" in await made.ok("admin.vm.CurrentState", name)
            for call in ("Shutdown", "Kill", "Pause", "Unpause"):
                answer = await made.refused(f"admin.vm.{call}", name)
                assert answer.wire_name == "QubesVMError"
            answer = await made.refused("admin.vm.Start", name)
            assert answer.wire_name == "QubesVMNotHaltedError"


async def test_state_is_one_line_without_an_end() -> None:
    async with made_world() as made:
        await populate(made)
        off = await made.ok("admin.vm.CurrentState", "work")
        assert off == "mem=0 mem_static_max=0 cputime=0 power_state=Halted"
        await made.ok("admin.vm.Start", "work")
        on = await made.ok("admin.vm.CurrentState", "work")
        assert on.endswith("power_state=Running")
        assert "mem=409600 " in on


@pytest.mark.parametrize(
    ("state", "calls"),
    [
        ("halted", {"Shutdown": "QubesVMNotStartedError", "Kill": "QubesVMNotStartedError",
                    "Pause": "QubesVMNotRunningError", "Unpause": "QubesVMNotPausedError"}),
        ("running", {"Start": "", "Unpause": "QubesVMNotPausedError",
                     "Remove": "QubesVMNotHaltedError"}),
        ("paused", {"Start": "", "Pause": "QubesVMNotRunningError",
                    "Shutdown": "QubesVMNotRunningError", "Remove": "QubesVMNotHaltedError"}),
    ],
)  # fmt: skip
async def test_what_a_state_does_not_allow_says_which(state: str, calls: dict[str, str]) -> None:
    async with made_world() as made:
        await populate(made)
        if state != "halted":
            await made.ok("admin.vm.Start", "work")
            await made.settle()
        if state == "paused":
            await made.ok("admin.vm.Pause", "work")
        for call, wire_name in calls.items():
            answer = await made.call(f"admin.vm.{call}", "work")
            assert getattr(answer, "wire_name", "") == wire_name, call


async def test_dom0_can_not_be_removed() -> None:
    async with made_world() as made:
        answer = await made.refused("admin.vm.Remove", "dom0")
        assert answer.wire_name == "QubesVMInUseError"


async def test_classes_are_listed() -> None:
    async with made_world() as made:
        classes = (await made.ok("admin.vmclass.List")).splitlines()
        assert classes == sorted(classes)
        assert set(classes) == {
            "AdminVM",
            "AppVM",
            "DispVM",
            "RemoteVM",
            "StandaloneVM",
            "TemplateVM",
        }
