"""A store that is lost is made again from what is kept beside the volumes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon_process import SOURCE, DaemonProcess, until

FAKE = ["hypervisor.driver=fake", "storage.default_driver=file"]


@pytest.fixture
def daemon(tmp_path):
    made = DaemonProcess(tmp_path / "root", list(FAKE))
    made.root.mkdir()
    made.start()
    call = made.call
    call("admin.label.Create", arg="teal", payload="0x008080")
    call("admin.pool.Add", arg="file", payload="name=ssd\ndir_path=/srv/ssd")
    call("admin.vm.Create.TemplateVM", payload="name=tpl label=black")
    call("admin.property.Set", arg="default_template", payload="tpl")
    call("admin.vm.Create.AppVM", payload="name=work label=teal")
    call("admin.vm.CreateInPool.StandaloneVM", payload="name=alone label=red pool=ssd")
    call("admin.vm.Create.RemoteVM", payload="name=far label=blue")
    call("admin.vm.property.Set", "work", "memory", "555")
    call("admin.vm.property.Set", "work", "template_for_dispvms", "True")
    call("admin.vm.Create.DispVM", arg="work", payload="name=brief label=red")
    call("admin.vm.feature.Set", "work", "service.cups", "1")
    call("admin.vm.tag.Set", "alone", "personal")
    call("admin.vm.notes.Set", "work", payload="for the accounts")
    call("admin.vm.volume.ImportWithSize", "work", "private", "5\nhello")
    call("admin.vm.volume.Resize", "alone", "private", str(3 << 30))
    call("admin.vm.volume.Set.rw", "alone", "private", "False")
    yield made
    if made.process.poll() is None:
        made.stop()


def tell(daemon: DaemonProcess) -> dict[str, object]:
    """Return all that is to be the same afterwards."""
    call = daemon.call
    told: dict[str, object] = {
        "list": call("admin.vm.List"),
        "labels": call("admin.label.List"),
        "pools": sorted(call("admin.pool.List").split()),
        "default": call("admin.property.Get", arg="default_template"),
    }
    for line in call("admin.vm.List").splitlines():
        name = line.split()[0]
        volumes = call("admin.vm.volume.List", name).split()
        told[name] = {
            "properties": call("admin.vm.property.GetAll", name),
            "features": call("admin.vm.feature.List", name),
            "tags": call("admin.vm.tag.List", name),
            "volumes": [call("admin.vm.volume.Info", name, volume) for volume in volumes],
        }
    told["notes"] = call("admin.vm.notes.Get", "work")
    return told


def lose_the_store(daemon: DaemonProcess) -> None:
    found = list((daemon.root / "var/lib/qubeward").glob("state.db*"))
    assert found
    for path in found:
        path.unlink()


def recover(daemon: DaemonProcess, *words: str, status: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "qubeward", "--root", str(daemon.root), "recover", *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("crash", [False, True])
def test_all_is_as_it_was_after_a_stop_and_soon_after_a_crash(daemon, crash) -> None:
    before = tell(daemon)
    if crash:
        until(lambda: "accounts" in record_of(daemon, "appvms/work/private"), 10)
        until(lambda: "personal" in (daemon.root / "srv/ssd/appvms/alone/root.record").read_text())
        until(lambda: "brief" in (daemon.root / "var/lib/qubes/qubeward.record").read_text(), 10)
        daemon.kill()
    else:
        assert daemon.stop() == 0
    lose_the_store(daemon)
    done = recover(daemon)
    assert {"tpl", "work", "alone", "far", "brief", "dom0"} <= set(done.stdout.split())
    assert "not known" not in done.stderr
    daemon.start()
    assert tell(daemon) == before
    daemon.call("admin.vm.Start", "work")
    daemon.call("admin.vm.Create.AppVM", payload="name=new label=teal")
    numbers = [daemon.call("admin.vm.property.Get", n, "qid") for n in ("new", "work", "alone")]
    assert len(set(numbers)) == 3


def record_of(daemon: DaemonProcess, vid: str) -> str:
    return (daemon.root / "var/lib/qubes" / f"{vid}.record").read_text()


def test_what_no_record_tells_is_said_and_not_invented(daemon) -> None:
    assert daemon.stop() == 0
    lose_the_store(daemon)
    (daemon.root / "var/lib/qubes/qubeward.record").unlink()
    (daemon.root / "var/lib/qubes/appvms/work/private.record").write_text("{")
    strange = daemon.root / "var/lib/qubes/appvms/strange"
    strange.mkdir()
    (strange / "private.img").write_bytes(b"x")
    done = recover(daemon)
    said = done.stderr
    assert "qubeward.record is missing" in said
    assert "the record of appvms/work/private in pool varlibqubes can't be understood" in said
    assert "appvms/strange/private in pool varlibqubes is nobody's" in said
    assert "appvms/work/private in pool varlibqubes is nobody's" in said
    assert {"tpl"} == set(done.stdout.split()) & {"tpl", "work", "alone", "far", "brief"}
    daemon.start()
    names = [line.split()[0] for line in daemon.call("admin.vm.List").splitlines()]
    assert names == ["dom0", "tpl"]
    daemon.call("admin.vm.Start", "tpl")


@pytest.mark.slow
def test_pools_that_are_forgotten_can_be_named(daemon) -> None:
    assert daemon.stop() == 0
    lose_the_store(daemon)
    (daemon.root / "var/lib/qubes/qubeward.record").unlink()
    for wrong in ("ssd", "ssd=", "=file,dir_path=/x", "ssd=file,dir_path"):
        assert "is not NAME=DRIVER" in recover(daemon, "--pool", wrong, status=1).stderr
    done = recover(daemon, "--pool", "ssd=file,dir_path=/srv/ssd")
    assert "alone" in done.stdout
    daemon.start()
    assert daemon.state("alone") == "Halted"
    daemon.call("admin.vm.Start", "alone")


@pytest.mark.slow
def test_a_store_that_is_there_is_kept_and_a_dry_run_writes_nothing(daemon) -> None:
    assert "is there" in recover(daemon, status=1).stderr
    assert "stop it first" in recover(daemon, "--dry-run", status=1).stderr
    assert daemon.stop() == 0
    before = sorted(p.name for p in (daemon.root / "var/lib/qubeward").iterdir())
    done = recover(daemon, "--dry-run")
    assert "work" in done.stdout
    assert "nothing was written" in done.stderr
    assert sorted(p.name for p in (daemon.root / "var/lib/qubeward").iterdir()) == before


@pytest.mark.slow
def test_of_two_records_the_newer_is_believed(daemon, tmp_path: Path) -> None:
    assert daemon.stop() == 0
    lose_the_store(daemon)
    root = daemon.root / "srv/ssd/appvms/alone"
    old = json.loads((root / "root.record").read_text())
    old["written"] -= 1000
    old["rows"]["feature"].append([old["rows"]["qube"][0][0], "stale", "1"])
    (root / "root.record").write_text(json.dumps(old))
    other = json.loads((root / "private.record").read_text())
    uuid = "11111111-2222-4333-8444-555555555555"
    text = json.dumps(other).replace(other["rows"]["qube"][0][0], uuid)
    impostor = json.loads(text)
    impostor["written"] -= 5000
    directory = daemon.root / "srv/ssd/appvms/impostor"
    directory.mkdir()
    (directory / "private.img").write_bytes(b"")
    (directory / "private.record").write_text(json.dumps(impostor))
    done = recover(daemon)
    assert "tells of another qube alone: left out" in done.stderr
    daemon.start()
    assert "stale" not in daemon.call("admin.vm.feature.List", "alone")
