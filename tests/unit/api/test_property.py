"""admin.property.* and admin.vm.property.*"""

import pytest

from qubeward.model.property import NoDefault
from qubeward.model.qube_properties import QUBE
from qubeward.model.system_properties import SYSTEM
from world import made_world, populate

EVERY_QUBE = ("dom0", "tpl", "work", "net", "alone", "base", "disp", "far")


@pytest.mark.parametrize("name", EVERY_QUBE)
async def test_every_property_of_every_class_can_be_asked_in_every_way(name: str) -> None:
    async with made_world() as made:
        await populate(made)
        listed = (await made.ok("admin.vm.property.List", name)).splitlines()
        rows = (await made.ok("admin.vm.property.GetAll", name)).splitlines()
        assert [row.split(" ")[0] for row in rows] == listed
        for prop, row in zip(listed, rows, strict=True):
            assert row == f"{prop} " + await made.ok("admin.vm.property.Get", name, prop)
            default = await made.ok("admin.vm.property.GetDefault", name, prop)
            assert default == "" or default.startswith("type=")
            assert await made.ok("admin.vm.property.Help", name, prop)
            assert await made.ok("admin.vm.property.HelpRst", name, prop)


async def test_every_property_of_the_system_can_be_asked_in_every_way() -> None:
    async with made_world() as made:
        listed = (await made.ok("admin.property.List")).splitlines()
        rows = (await made.ok("admin.property.GetAll")).splitlines()
        assert [row.split(" ")[0] for row in rows] == listed == sorted(listed)
        for prop, row in zip(listed, rows, strict=True):
            assert row == f"{prop} " + await made.ok("admin.property.Get", "dom0", prop)
            await made.ok("admin.property.GetDefault", "dom0", prop)
            assert await made.ok("admin.property.Help", "dom0", prop)
            assert await made.ok("admin.property.HelpRst", "dom0", prop)


@pytest.mark.parametrize("name", EVERY_QUBE)
async def test_a_value_that_a_property_has_is_one_that_it_takes(name: str) -> None:
    async with made_world() as made:
        await populate(made)
        qube = made.qube(name)
        for prop in (await made.ok("admin.vm.property.List", name)).splitlines():
            reading = await made.ok("admin.vm.property.Get", name, prop)
            value = reading.split(" ", 2)[2]
            answer = await made.call("admin.vm.property.Set", name, prop, value)
            if hasattr(answer, "wire_name"):
                # Read-only, fixed at birth, dom0's, or none where a value is needed.
                assert answer.wire_name in ("QubesPropertyValueError", "QubesValueError"), prop
                assert await made.ok("admin.vm.property.Get", name, prop) == reading
            elif isinstance(QUBE[prop].default(made.system, qube), NoDefault):  # type: ignore[index]
                assert await made.ok("admin.vm.property.Get", name, prop) == reading
            else:
                answer = await made.call("admin.vm.property.Reset", name, prop)
                assert getattr(answer, "wire_name", "") in ("", "QubesVMInUseError")


async def test_a_property_of_another_class_is_none_of_this() -> None:
    async with made_world() as made:
        await populate(made)
        for name, prop in (
            ("work", "relayvm"),
            ("far", "memory"),
            ("dom0", "netvm"),
            ("tpl", "template"),
        ):
            for call, payload in (("Get", ""), ("GetDefault", ""), ("Help", ""), ("HelpRst", ""),
                                  ("Reset", ""), ("Set", "work")):  # fmt: skip
                answer = await made.refused(f"admin.vm.property.{call}", name, prop, payload)
                assert answer.wire_name in ("QubesNoSuchPropertyError", "QubesValueError")


async def test_setting_an_equal_value_is_told_again() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", "memory", "400")
        stream = made.subscribe("work")
        await made.ok("admin.vm.property.Set", "work", "memory", "400")
        assert stream.names()[1:] == ["work:property-pre-set:memory", "work:property-set:memory"]


async def test_a_reset_is_told_in_four_words() -> None:
    async with made_world() as made:
        await populate(made)
        stream = made.subscribe("work")
        await made.ok("admin.vm.property.Reset", "work", "memory")
        assert stream.names()[1:] == [
            f"work:property-{stem}:memory" for stem in ("pre-reset", "pre-del", "reset", "del")
        ]


@pytest.mark.parametrize("spelled", ["0500", " 500", "500\n", "5_00", "500"])
async def test_numbers_are_taken_as_clients_spell_them(spelled: str) -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", "memory", spelled)
        assert made.value("work", "memory") == 500


@pytest.mark.parametrize(
    "prop", ["memory", "maxmem", "vcpus", "qrexec_timeout", "shutdown_timeout"]
)
async def test_a_number_too_long_for_anything_is_refused(prop: str) -> None:
    async with made_world() as made:
        await populate(made)
        for size in (41, 400, 4000, 5000):
            answer = await made.refused("admin.vm.property.Set", "work", prop, "9" * size)
            assert answer.wire_name in ("QubesValueError", "QubesPropertyValueError")


async def test_a_number_beyond_all_sense_is_kept_and_breaks_no_life() -> None:
    async with made_world() as made:
        await populate(made)
        most = "9" * 23
        for prop in ("maxmem", "vcpus", "qrexec_timeout", "shutdown_timeout", "backup_timestamp"):
            await made.ok("admin.vm.property.Set", "work", prop, most)
        await made.ok("admin.vm.Start", "work")
        await made.ok("admin.vm.Shutdown", "work", "wait")
        await made.ok("admin.vm.property.Set", "work", "memory", most)
        answer = await made.refused("admin.vm.Start", "work")
        assert answer.wire_name == "QubesMemoryError"


async def test_text_with_line_ends_comes_back_whole_from_a_list_of_all() -> None:
    async with made_world() as made:
        await populate(made)
        value = "a\\nb c\\\\"
        await made.ok("admin.vm.property.Set", "work", "kernelopts", value)
        rows = (await made.ok("admin.vm.property.GetAll", "work")).splitlines()
        (row,) = [row for row in rows if row.startswith("kernelopts ")]
        assert row.endswith("a\\\\nb c\\\\\\\\")


async def test_every_property_of_the_system_is_in_one_table() -> None:
    assert set(SYSTEM) == {row.row.name for row in SYSTEM.values()}
