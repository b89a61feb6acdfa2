"""admin.vm.feature.*"""

import pytest

from world import made_world, populate


async def test_features_are_listed_oldest_first() -> None:
    async with made_world() as made:
        await populate(made)
        for name in ("b", "a", "c"):
            await made.ok("admin.vm.feature.Set", "work", name, "")
        await made.ok("admin.vm.feature.Set", "work", "b", "again")
        assert await made.ok("admin.vm.feature.List", "work") == "b\na\nc\n"


async def test_an_empty_feature_is_there_and_false() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.feature.Set", "work", "x", "")
        assert await made.ok("admin.vm.feature.Get", "work", "x") == ""
        await made.ok("admin.vm.feature.Remove", "work", "x")
        answer = await made.refused("admin.vm.feature.Get", "work", "x")
        assert answer.wire_name == "QubesFeatureNotFoundError"


@pytest.mark.parametrize(
    ("call", "found_at"),
    [
        ("CheckWithTemplate", ["tpl"]),
        ("CheckWithNetvm", ["net"]),
        ("CheckWithAdminVM", ["dom0"]),
        ("CheckWithTemplateAndAdminVM", ["tpl", "dom0"]),
    ],
)
async def test_a_check_falls_back_to_where_its_name_says_and_nowhere_else(
    call: str, found_at: list[str]
) -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", "netvm", "net")
        for place in ("tpl", "net", "dom0"):
            await made.ok("admin.vm.feature.Set", place, "x", f"of {place}")
            answer = await made.call(f"admin.vm.feature.{call}", "work", "x")
            found = [p for p in found_at if "x" in made.qube(p).features]
            expected = f"of {found[0]}" if found else None
            got = answer.content.decode() if hasattr(answer, "content") else None
            assert got == expected, place
        await made.ok("admin.vm.feature.Set", "work", "x", "own")
        assert await made.ok(f"admin.vm.feature.{call}", "work", "x") == "own"


async def test_a_disposable_falls_back_to_its_template_s_template() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.feature.Set", "tpl", "x", "1")
        assert await made.ok("admin.vm.feature.CheckWithTemplate", "disp", "x") == "1"


async def test_dom0_and_remote_qubes_have_features_too() -> None:
    async with made_world() as made:
        await populate(made)
        for name in ("dom0", "far"):
            await made.ok("admin.vm.feature.Set", name, "x", "1")
            for call in ("Get", "CheckWithTemplate", "CheckWithNetvm", "CheckWithAdminVM",
                         "CheckWithTemplateAndAdminVM"):  # fmt: skip
                assert await made.ok(f"admin.vm.feature.{call}", name, "x") == "1"
