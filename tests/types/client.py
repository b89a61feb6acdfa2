"""What a type checker knows of calls: each row gives its reply's type, and takes its own words.

Never run. An ignored error that is none any more fails, too.
"""

from typing import assert_type

from qubeward.client import BlockingClient, Client, Qube
from qubeward.facts import PropertyValue
from qubeward.names import FeatureName, LabelName, PropertyName, QubeName, TagName, VolumeName
from qubeward.spec import describe, feature, label, notes, property, tag, vm, volume  # noqa: A004
from qubeward.spec.label import Color
from qubeward.spec.property_body import Default, Reading
from qubeward.spec.vm_body import Figures, Row, ShutdownOptions
from qubeward.spec.volume_body import ImportTarget


async def replies(client: Client) -> None:
    assert_type(await client.call(vm.LIST, "dom0", None), tuple[Row, ...])
    assert_type(await client.call(vm.CURRENT_STATE, "work"), Figures)
    assert_type(await client.call(tag.LIST, "work", None), tuple[TagName, ...])
    assert_type(await client.call(tag.GET, "work", TagName("a")), bool)
    assert_type(await client.call(feature.GET, "work", FeatureName("os")), str)
    assert_type(await client.call(label.GET, "dom0", LabelName("red")), Color)
    assert_type(await client.call(notes.GET, "work"), str)
    assert_type(await client.call(property.QUBE.get, "work", PropertyName("ip")), Reading)
    assert_type(
        await client.call(property.SYSTEM.get_default, "dom0", PropertyName("clockvm")),
        Default | None,
    )
    target = await client.call(volume.IMPORT_BEGIN, "work", VolumeName("root"), 4096)
    assert_type(target, ImportTarget)


async def words(client: Client) -> None:
    await client.call(tag.SET, "work", TagName("a"))
    await client.call(tag.SET, "work", TagName("a"), None)
    await client.call(feature.SET, "work", FeatureName("os"), "Linux")
    await client.call(vm.SHUTDOWN, "work", ShutdownOptions(wait=True), timeout_s=5)
    await client.call(property.QUBE.set, "work", PropertyName("memory"), 400)


async def wrong(client: Client) -> None:
    await client.call(tag.SET, "work")  # type: ignore[arg-type]
    await client.call(tag.SET, "work", "a")  # type: ignore[misc]
    await client.call(tag.SET, "work", QubeName("a"))  # type: ignore[misc]
    await client.call(feature.SET, "work", FeatureName("os"))  # type: ignore[arg-type]
    await client.call(feature.SET, "work", FeatureName("os"), 1)  # type: ignore[misc]
    await client.call(vm.START, "work", b"now")  # type: ignore[misc]
    await client.call(notes.SET, "work", None, b"bytes")  # type: ignore[misc]
    await client.call("admin.vm.Start", "work")  # type: ignore[call-overload]


async def objects(qube: Qube) -> None:
    assert_type(await qube.row(), Row)
    assert_type(await qube.properties.get("memory"), PropertyValue)
    assert_type(await qube.features.get("os", inherit="template"), str)


def blocking(client: BlockingClient) -> None:
    assert_type(client.call(vm.LIST, "dom0", None), tuple[Row, ...])
    assert_type(client.run(lambda c: Qube(c, "work").tags.all()), tuple[TagName, ...])
    client.call(describe.DESCRIBE, "dom0")
    client.call(tag.SET, "work", 7)  # type: ignore[misc]
