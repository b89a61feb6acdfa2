"""The tags `guivm-NAME` and `audiovm-NAME` follow the properties."""

import pytest

from world import Made, made_world, populate


def tags(made: Made, name: str, prefix: str) -> set[str]:
    return {tag for tag in made.qube(name).tags if tag.startswith(f"{prefix}-")}


both = pytest.mark.parametrize("prop", ["guivm", "audiovm"])


@both
async def test_a_new_qube_has_the_tag_of_the_default(prop: str) -> None:
    async with made_world() as made:
        await populate(made)
        for name in ("work", "tpl", "alone", "disp"):
            assert tags(made, name, prop) == {f"{prop}-dom0"}
        assert tags(made, "far", prop) == set()


@both
async def test_setting_the_property_replaces_the_tag(prop: str) -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", prop, "net")
        assert tags(made, "work", prop) == {f"{prop}-net"}
        await made.ok("admin.vm.property.Set", "work", prop, "alone")
        assert tags(made, "work", prop) == {f"{prop}-alone"}
        await made.ok("admin.vm.property.Set", "work", prop, "")
        assert tags(made, "work", prop) == set()
        await made.ok("admin.vm.property.Reset", "work", prop)
        assert tags(made, "work", prop) == {f"{prop}-dom0"}


@both
async def test_setting_the_default_replaces_the_tag_of_those_that_name_none(prop: str) -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", prop, "alone")
        await made.ok("admin.property.Set", "dom0", f"default_{prop}", "net")
        assert tags(made, "work", prop) == {f"{prop}-alone"}
        assert tags(made, "base", prop) == {f"{prop}-net"}


async def test_the_tags_of_one_property_are_not_those_of_the_other() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.tag.Set", "work", "guivmish")
        await made.ok("admin.vm.property.Set", "work", "guivm", "net")
        assert tags(made, "work", "audiovm") == {"audiovm-dom0"}
        assert "guivmish" in made.qube("work").tags
