"""What the how-tos show works as they say."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import world
from daemon_process import DaemonProcess
from docs.pages import DOCS
from qubeward.errors import PropertyValueError
from qubeward.extensions import EXTENSIONS
from qubeward.server import gate


def load(name: str) -> Any:
    path = DOCS / "howto/examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def test_a_call_of_ones_own_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    route = load("count_tags").ROUTE
    monkeypatch.setattr(gate, "ROUTES", {**gate.ROUTES, route.method.name: route})
    async with world.made_world() as made:
        await made.create("tpl", "TemplateVM")
        tags = (await made.ok("admin.vm.tag.List", "tpl")).split()
        assert await made.ok("admin.vm.tag.Count", "tpl") == str(len(tags))
        refused = await made.refused("admin.vm.tag.Count", "tpl", "unexpected")
        assert refused.wire_name == "ProtocolError"


async def test_a_property_of_ones_own_has_a_default_and_a_check() -> None:
    prop = load("fan_speed").PROPERTY
    async with world.made_world() as made:
        template = await made.create("tpl", "TemplateVM")
        work = await made.create("work", "AppVM", template="tpl")
        assert prop.value(made.system, work) == 50
        template.properties[prop.row.name] = prop.check(made.system, template, 70)
        assert prop.value(made.system, work) == 70
        with pytest.raises(PropertyValueError):
            prop.check(made.system, work, 101)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module: ModuleType = load("offline")
    monkeypatch.setattr(world, "EXTENSIONS", (*EXTENSIONS, module.register))
    return module


async def test_an_extension_acts_in_the_change_and_refuses_calls(offline: ModuleType) -> None:
    async with world.made_world() as made:
        await world.populate(made)
        await made.ok("admin.vm.property.Set", "work", "netvm", "net")
        await made.ok("admin.vm.tag.Set", "work", "offline")
        assert made.value("work", "netvm") is None
        for method, payload in (("Set", "net"), ("Reset", "")):
            refused = await made.refused(f"admin.vm.property.{method}", "work", "netvm", payload)
            assert refused.wire_name == "PermissionDenied"
        await made.ok("admin.vm.property.Set", "work", "netvm", "")
        await made.ok("admin.vm.property.Set", "base", "netvm", "net")


async def test_an_extensions_edit_is_undone_with_the_change(offline: ModuleType) -> None:
    async with world.made_world() as made:
        await world.populate(made)
        await made.ok("admin.vm.property.Set", "work", "netvm", "net")
        made.backend.failing = "no space left"
        await made.refused("admin.vm.tag.Set", "work", "offline")
        assert made.value("work", "netvm") == "net"
        assert await made.ok("admin.vm.tag.Get", "work", "offline") == "0"


def test_a_small_client_lists_the_qubes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = load("list_qubes")
    daemon = DaemonProcess(tmp_path, ["hypervisor.driver=fake", "storage.default_driver=file"])
    daemon.start()
    try:
        path = str(tmp_path / "run/qubesd.sock")
        client.ask(path, "admin.vm.Create.TemplateVM", "dom0", "", b"name=debian label=black")
        client.main(path)
        assert capsys.readouterr().out == "dom0: Running\ndebian: Halted\n"
        with pytest.raises(RuntimeError, match="QubesVMNotStartedError: Domain is powered off"):
            client.ask(path, "admin.vm.Kill", "debian")
    finally:
        daemon.stop()
