"""Calls through the real gate, in this process, in both dialects."""

from collections.abc import AsyncIterator

import pytest

from qubeward import errors, spec
from qubeward.client import BadReplyError, Client, Dialect, InProcess, Qube, Qubes, RemoteError
from qubeward.names import ADMIN_UUID, FeatureName, LabelName, PropertyName, QubeUuid, TagName
from qubeward.spec import feature, label, tag, vm
from qubeward.spec import property as properties
from qubeward.spec.property_body import Kind
from qubeward.spec.vm_body import PowerState
from world import DRAFT, R4, Made, made_world

ENDPOINTS = {Dialect.R4: R4, Dialect.DRAFT: DRAFT}


@pytest.fixture
async def made() -> AsyncIterator[Made]:
    async with made_world() as made:
        await made.create("tpl", "TemplateVM")
        await made.create("work", "AppVM", template="tpl")
        yield made


def client_of(made: Made, dialect: Dialect) -> Client:
    async def serve(request: bytes) -> AsyncIterator[bytes]:
        yield await made.raw(request, ENDPOINTS[dialect])

    return Client(InProcess(serve, dialect))


@pytest.fixture(params=Dialect, ids=lambda dialect: dialect.value)
def client(made: Made, request: pytest.FixtureRequest) -> Client:
    return client_of(made, request.param)


async def test_a_call_gives_the_rows_reply(client: Client) -> None:
    assert await client.call(tag.GET, "work", TagName("personal")) is False
    assert await client.call(tag.SET, "work", TagName("personal")) is None
    assert await client.call(tag.GET, "work", TagName("personal")) is True
    assert [row.name for row in await client.call(vm.LIST, "dom0", None)] == ["dom0", "tpl", "work"]
    assert await client.call(label.GET, "dom0", LabelName("red")) == "0xcc0000"


async def test_a_qube_may_be_named_by_its_uuid(client: Client, made: Made) -> None:
    dest = QubeUuid(made.qube("work").uuid)
    await client.call(tag.SET, dest, TagName("personal"))
    assert await client.call(tag.GET, f"uuid:{dest.value}", TagName("personal")) is True
    assert (await client.call(vm.LIST, QubeUuid(ADMIN_UUID), None))[0].name == "dom0"


async def test_errors_are_of_the_class_that_the_server_raised(client: Client) -> None:
    with pytest.raises(errors.QubeNotFoundError) as unknown:
        await client.call(vm.START, "nope")
    assert unknown.value.fields == ("nope",)
    with pytest.raises(errors.InvalidTagError):
        await client.call(tag.SET, "work", TagName("a.b"))
    with pytest.raises(errors.NotStartedError, match=r"^Domain is powered off: work$"):
        await client.call(vm.KILL, "work")
    with pytest.raises(errors.NoSuchMethodError):
        await client.call_raw("admin.vm.Dance", "work")


async def test_what_cannot_be_spelled_is_a_protocol_error(client: Client) -> None:
    for dest, name in (("work", "a b"), ("work", "a\0b"), ("work", "ü"), ("wörk", "a")):
        with pytest.raises(errors.ProtocolError):
            await client.call(tag.SET, dest, TagName(name))


async def test_percent_signs_survive_everywhere(client: Client) -> None:
    qube = Qube(client, "work")
    await qube.features.set("a", "100%s %(b)d %")
    assert await qube.features.get("a") == "100%s %(b)d %"
    await qube.notes.set("50 % of ü")
    assert await qube.notes.get() == "50 % of ü"
    with pytest.raises(errors.FeatureNotFoundError) as missing:
        await client.call(feature.GET, "work", FeatureName("%s"))
    assert str(missing.value) == "Feature not set for domain work: %s"


async def test_properties_are_values(client: Client) -> None:
    held = Qube(client, "work").properties
    await held.set("memory", 500)
    await held.set("debug", True)
    assert [await held.get(name) for name in ("memory", "debug", "netvm")] == [500, True, None]
    assert await held.get("template") == "tpl"
    reading = (await held.all())[PropertyName("memory")]
    assert (reading.is_default, reading.kind, reading.text) == (False, Kind.INT, "500")
    await held.reset("memory")
    assert (await held.read("memory")).is_default
    default = await held.default("memory")
    assert default is not None
    assert default.text == "400"
    assert "MiB" in await held.explain("memory")
    with pytest.raises(errors.NoSuchPropertyError):
        await held.set("memroy", 1)
    with pytest.raises(errors.NoSuchPropertyError):
        await held.get("memroy")
    assert await Qubes(client).system.get("stats_interval") == 3


async def test_tags_and_features_come_and_go(client: Client) -> None:
    qube = Qube(client, "work")
    await qube.tags.add("x")
    assert "x" in await qube.tags.all()
    assert await qube.tags.has("x")
    await qube.tags.remove("x")
    with pytest.raises(errors.TagNotFoundError):
        await qube.tags.remove("x")
    await Qube(client, "tpl").features.set("os", "Linux")
    assert await qube.features.get("os", inherit="template") == "Linux"
    await qube.features.set("f", "")
    assert "f" in await qube.features.names()
    await qube.features.remove("f")
    with pytest.raises(errors.FeatureNotFoundError):
        await qube.features.get("f")


async def test_a_qube_lives_through_its_handle(client: Client) -> None:
    qubes = Qubes(client)
    qube = await qubes.create("mail", klass="AppVM", label="red", template="tpl")
    await qube.start()
    assert (await qube.row()).state is PowerState.RUNNING
    assert (await qube.figures()).memory_kib > 0
    await qube.pause()
    await qube.unpause()
    assert (await qube.console()).startswith("/")
    await qube.shutdown(wait=True)
    assert (await qube.row()).state is PowerState.HALTED
    await qube.start()
    await qube.kill()
    await qube.remove()
    assert "mail" not in {row.name for row in await qubes.rows()}
    with pytest.raises(errors.QubeNotFoundError):
        await qube.row()
    with pytest.raises(errors.ProtocolError):
        await qubes.create("mail", klass="AdminVM", label="red")


async def test_force_needs_the_dialect_that_has_it(made: Made) -> None:
    await Qube(client_of(made, Dialect.R4), "work").start()
    with pytest.raises(errors.ProtocolError, match="draft"):
        await Qube(client_of(made, Dialect.DRAFT), "work").shutdown(force=True)
    await Qube(client_of(made, Dialect.R4), "work").shutdown(force=True, wait=True)


async def test_a_reply_of_the_other_dialect_is_told_from_an_error_of_the_call(made: Made) -> None:
    async def serve(request: bytes) -> AsyncIterator[bytes]:
        yield await made.raw(request, R4)

    confused = Client(InProcess(serve, Dialect.DRAFT))
    with pytest.raises(BadReplyError, match=r"admin\.property\.Get does not parse"):
        await confused.call(properties.SYSTEM.get, "dom0", PropertyName("clockvm"))


async def test_every_row_of_the_table_can_be_called_by_its_examples(client: Client) -> None:
    """No example of any codec trips over the client itself."""
    for row in spec.METHODS.values():
        if row.stream or row.internal or row.name == vm.REMOVE.name:
            continue
        arg = _first(row.arg, client)
        payload = row.payload
        codec = (
            payload.choose(PropertyName("default_dispvm"))
            if hasattr(payload, "choose")
            else payload
        )
        arg = PropertyName("default_dispvm") if hasattr(payload, "choose") else arg
        try:
            await client.call(row, "work", arg, _first(codec, client))
        except RemoteError:
            pytest.fail(f"{row.name} fails with what has no class")
        except errors.AdminError:
            pass


def _first(codec: object, client: Client) -> object:
    spoken = getattr(codec, client.transport.dialect.value, getattr(codec, "head", codec))
    return spoken.examples[0]  # type: ignore[attr-defined]
