"""The order of the gate's questions is part of the protocol."""

from uuid import UUID

import pytest

from qubeward.errors import ForbiddenError
from qubeward.model.qube import Qube
from qubeward.names import ADMIN_UUID, QubeName, QubeRef
from qubeward.server.gate import Endpoint, Gate, OnlyAdmin
from qubeward.spec import AnyMethod
from qubeward.wire.dialect import Dialect
from world import DRAFT, R4, R4_UNJUDGED, made_world, populate


@pytest.mark.parametrize(
    ("request_", "wire_name"),
    [
        # Each of these is wrong in all that comes later, too.
        (b"x.y +a no/source name no/dest\0p", "ProtocolError"),
        (b"x.y+a no/source name no/dest\0p", "QubesValueError"),
        (b"x.y+a uuid:1 name no/dest\0p", "QubesVMInvalidUUIDError"),
        (b"x.y+a ghost name no/dest\0p", "QubesValueError"),
        (b"x.y+a ghost name ghost\0p", "QubesVMNotFoundError"),
        (b"x.y+a dom0 name ghost\0p", "QubesVMNotFoundError"),
        (b"x.y+a dom0 name work\0p", "ProtocolError"),
        (b"admin.label.Create+ dom0 name work\0", "ProtocolError"),
        (b"admin.label.Create+no/label dom0 name work\0colour", "ProtocolError"),
        (b"admin.label.Create+no/label dom0 name dom0\0colour", "QubesInvalidLabelError"),
        (b"admin.label.Create+red dom0 name dom0\0colour", "QubesInvalidLabelValueError"),
        (b"admin.label.Create+red dom0 name dom0\x000x000000", "QubesLabelInUseError"),
    ],
)
async def test_what_is_wrong_first_is_said(request_: bytes, wire_name: str) -> None:
    async with made_world() as made:
        await populate(made)
        answer = await made.raw(request_)
        assert answer.split(b"\0")[1].decode() == wire_name


async def test_a_missing_payload_is_said_before_a_missing_argument() -> None:
    async with made_world() as made:
        answer = await made.refused("admin.label.Create")
        assert "payload missing" in str(answer)


async def test_dom0_is_dom0_by_its_uuid_too() -> None:
    async with made_world() as made:
        await populate(made)
        uuid = f"uuid:{ADMIN_UUID}"
        assert await made.ok("admin.label.List", uuid, source=uuid) == await made.ok(
            "admin.label.List"
        )
        answer = await made.refused("admin.vm.notes.Get", uuid)
        assert answer.wire_name == "ProtocolError"


async def test_a_qube_is_reached_by_its_uuid() -> None:
    async with made_world() as made:
        await populate(made)
        await made.ok("admin.vm.tag.Set", f"uuid:{made.qube('work').uuid}", "x")
        assert "x" in made.qube("work").tags
        answer = await made.refused("admin.vm.tag.Set", f"uuid:{UUID(int=5)}", "x")
        assert answer.wire_name == "QubesVMNotFoundError"


class Asked(OnlyAdmin):
    """A policy that notes what it is asked, and says yes."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, str, QubeRef, object]] = []

    def allows(self, source: Qube, method: AnyMethod, dest: QubeRef, arg: object) -> bool:
        self.questions.append((source.name, method.name, dest, arg))
        return True


async def test_policy_is_asked_of_parsed_things_before_any_lookup() -> None:
    policy = Asked()
    async with made_world(policy=policy) as made:
        await populate(made)
        await made.call("admin.vm.tag.Get", "ghost", "x", source="work", endpoint=R4_UNJUDGED)
        assert policy.questions == [("work", "admin.vm.tag.Get", "ghost", "x")]


async def test_what_policy_allowed_on_a_qube_that_is_not_there_is_as_denied() -> None:
    async with made_world(policy=Asked()) as made:
        await populate(made)
        answer = await made.refused(
            "admin.vm.tag.Get", "ghost", "x", source="work", endpoint=R4_UNJUDGED
        )
        assert answer.wire_name == "PermissionDenied"


async def test_dom0_is_not_judged_and_neither_is_who_comes_by_the_administrators_socket() -> None:
    policy = Asked()
    async with made_world(policy=policy) as made:
        await populate(made)
        await made.ok("admin.vm.tag.Get", "work", "x", endpoint=R4_UNJUDGED)
        await made.ok("admin.vm.tag.Get", "work", "x", source="work", endpoint=R4)
        assert not policy.questions


async def test_an_endpoint_made_for_a_qube_speaks_for_that_qube_whoever_the_bytes_name() -> None:
    channel = Endpoint(Dialect.R4, judged=False, source=QubeName("work"))
    policy = Asked()
    async with made_world(policy=policy) as made:
        await populate(made)
        for claimed in ("dom0", "work", "net"):
            await made.ok(
                "admin.vm.tag.Set", "net", f"by-{claimed}", source=claimed, endpoint=channel
            )
        assert {source for source, *_ in policy.questions} == {"work"}
        forged = await made.refused(
            "admin.vm.tag.Remove", "net", "created-by-dom0", source="dom0", endpoint=channel
        )
        assert forged.wire_name == "PermissionDenied"


@pytest.mark.parametrize(
    ("method", "dest", "arg", "payloads"),
    [
        ("admin.vm.property.Set", "work", "netvm", ("net", "ghost", "alone", "")),
        ("admin.vm.property.Set", "work", "label", ("red", "ghost")),
        ("admin.vm.Create.AppVM", "dom0", "tpl", ("name=work label=red", "name=fresh label=ghost")),
        ("admin.property.Set", "dom0", "default_template", ("tpl", "work", "ghost")),
        ("admin.label.Create", "dom0", "red", ("0x000000",)),
    ],
)
async def test_a_denied_caller_can_not_find_out_what_exists(
    method: str, dest: str, arg: str, payloads: tuple[str, ...]
) -> None:
    async with made_world() as made:
        await populate(made)
        answers = [
            await made.refused(method, dest, word, payload, source="net", endpoint=R4_UNJUDGED)
            for payload in payloads
            for word in {arg, "ghost"} - ({"ghost"} if "property" in method else set())
        ]
        assert {(a.wire_name, a.template, a.fields) for a in answers} == {
            ("PermissionDenied", "Denied", ())
        }


async def test_a_guard_is_asked_after_policy_and_before_the_call() -> None:
    async with made_world() as made:
        await populate(made)
        seen: list[tuple[object, ...]] = []

        def guard(asked: object) -> None:
            seen.append((asked.source.name, asked.method, asked.dest.name, asked.arg))  # type: ignore[attr-defined]
            raise ForbiddenError("today")

        made.hooks.guard("admin.vm.tag.Set", guard)
        made.corridor._gate = Gate(made.world, OnlyAdmin(), made.hooks)
        answer = await made.refused("admin.vm.tag.Set", "work", "x")
        assert answer.fields == ("today",)
        assert seen == [("dom0", "admin.vm.tag.Set", "work", "x")]
        denied = await made.refused(
            "admin.vm.tag.Set", "work", "x", source="net", endpoint=R4_UNJUDGED
        )
        assert denied.template == "Denied"
        assert len(seen) == 1


async def test_the_endpoint_chooses_the_dialect() -> None:
    async with made_world() as made:
        await populate(made)
        r4 = await made.ok("admin.vm.property.Get", "work", "vcpus", endpoint=R4)
        draft = await made.ok("admin.vm.property.Get", "work", "vcpus", endpoint=DRAFT)
        assert (r4, draft) == ("default=True type=int 2", "default=yes 2")
