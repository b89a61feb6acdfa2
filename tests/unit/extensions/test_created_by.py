"""Who made a qube, and what the maker gives to what it makes."""

from qubeward.server.gate import OnlyAdmin
from world import R4, R4_UNJUDGED, made_world, populate


class Yes(OnlyAdmin):
    def allows(self, *_: object) -> bool:
        return True


async def test_a_new_qube_is_tagged_with_its_maker() -> None:
    async with made_world() as made:
        await populate(made)
        assert "created-by-dom0" in made.qube("work").tags
        await made.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=child label=red", source="net")
        assert "created-by-net" in made.qube("child").tags
        assert "created-by-dom0" not in made.qube("child").tags


async def test_the_tag_lands_in_the_same_commit_as_the_qube() -> None:
    async with made_world() as made:
        await made.create("tpl", "TemplateVM")
        uuid = made.qube("tpl").uuid
        (commit,) = [
            c for c in made.backend.commits if ("qube", (uuid,)) in {w[:2] for w in c.writes}
        ]
        assert ("tag", (uuid, "created-by-dom0")) in {write[:2] for write in commit.writes}


async def test_only_dom0_sets_or_removes_the_tag() -> None:
    async with made_world(policy=Yes()) as made:
        await populate(made)
        for endpoint in (R4, R4_UNJUDGED):
            for call, tag in (
                ("Set", "created-by-x"),
                ("Set", "created-by-"),
                ("Remove", "created-by-dom0"),
            ):
                answer = await made.refused(
                    f"admin.vm.tag.{call}", "work", tag, source="net", endpoint=endpoint
                )
                assert answer.wire_name == "PermissionDenied"
            await made.ok("admin.vm.tag.Set", "work", "created", source="net", endpoint=endpoint)
        await made.ok("admin.vm.tag.Remove", "work", "created-by-dom0")
        await made.ok("admin.vm.tag.Set", "work", "created-by-x")


async def test_a_maker_s_feature_names_tags_for_what_it_makes() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.feature.Set", "net", "tag-created-vm-with", "one two")
        await made.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=child label=red", source="net")
        assert {"one", "two", "created-by-net"} <= made.qube("child").tags
        await made.create("other", "AppVM", template="tpl")
        assert "one" not in made.qube("other").tags


async def test_a_bad_tag_in_the_maker_s_feature_is_passed_over() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.feature.Set", "net", "tag-created-vm-with", "good b@d created-by-x")
        await made.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=child label=red", source="net")
        tags = made.qube("child").tags
        assert "good" in tags
        assert "b@d" not in tags
        assert "created-by-x" not in tags


async def test_a_maker_s_feature_names_the_guivm_of_what_it_makes() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.feature.Set", "net", "set-created-guivm", "work")
        for name, klass in (("child", "AppVM"), ("remote", "RemoteVM")):
            template = "tpl" if klass == "AppVM" else ""
            payload = f"name={name} label=red"
            await made.ok(f"admin.vm.Create.{klass}", "dom0", template, payload, source="net")
        assert made.value("child", "guivm") == "work"
        assert "guivm-work" in made.qube("child").tags
        assert "guivm-dom0" not in made.qube("child").tags
        assert "created-by-net" in made.qube("remote").tags


async def test_a_guivm_that_is_not_there_is_passed_over() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.feature.Set", "net", "set-created-guivm", "ghost")
        await made.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=child label=red", source="net")
        assert made.value("child", "guivm") == "dom0"
