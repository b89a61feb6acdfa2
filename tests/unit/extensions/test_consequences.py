"""What follows from a property for others."""

from qubeward.facts import DefaultChanged, StateChanged
from qubeward.names import PropertyName, VolumeName
from world import made_world, populate


async def test_a_new_template_brings_its_root_volume() -> None:
    async with made_world() as made:
        await populate(made)
        await made.create("other", "TemplateVM")
        await made.ok("admin.vm.property.Set", "work", "template", "other")
        volumes = made.qube("work").volumes
        assert volumes[VolumeName("root")].source == "vm-templates/other/root"
        assert volumes[VolumeName("private")].source is None
        await made.ok("admin.vm.Start", "work")  # the new source is there to be copied


async def test_a_disposable_follows_its_template_s_template() -> None:
    async with made_world() as made:
        await populate(made)
        volumes = made.qube("disp").volumes
        assert volumes[VolumeName("root")].source == "vm-templates/tpl/root"
        assert volumes[VolumeName("private")].source == "appvms/base/private"


async def test_the_disposables_of_a_qube_whose_template_changes_follow() -> None:
    async with made_world() as made:
        await populate(made)
        await made.create("other", "TemplateVM")
        await made.ok("admin.vm.property.Set", "base", "template", "other")
        assert made.qube("base").volumes[VolumeName("root")].source == "vm-templates/other/root"
        assert made.qube("disp").volumes[VolumeName("root")].source == "vm-templates/other/root"


async def test_a_default_that_moves_is_told_of_every_qube_that_names_none() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.property.Set", "work", "netvm", "")
        made.facts.clear()
        await made.ok("admin.property.Set", "dom0", "default_netvm", "net")
        told = {f.subject for f in made.facts if isinstance(f, DefaultChanged)}
        assert "work" not in told
        assert "far" not in told
        assert {"base", "alone", "disp"} <= told
        assert "tpl" not in told  # a template has no netvm by default


async def test_a_default_set_to_what_it_was_moves_nothing() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.property.Set", "dom0", "default_netvm", "net")
        made.facts.clear()
        await made.ok("admin.property.Set", "dom0", "default_netvm", "net")
        assert not [fact for fact in made.facts if isinstance(fact, DefaultChanged)]


async def test_what_is_computed_from_a_property_is_told_with_it() -> None:
    async with made_world() as made:
        await populate(made)
        made.facts.clear()
        await made.ok("admin.vm.property.Set", "work", "label", "blue")
        assert StateChanged(made.qube("work").name, PropertyName("icon")) in made.facts
