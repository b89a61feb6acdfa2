"""Hooks around a driver, which are real programs here: when they run, what of, and what comes of it."""

import asyncio
import inspect
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qubeward.errors import StorageError
from qubeward.host.process import run_in_thread
from qubeward.storage.callback import CallbackDriver
from qubeward.storage.callback_configuration import HOOKS, Command, Configuration
from qubeward.storage.driver import Capabilities, Driver, VolumeSpec
from qubeward.storage.file import FileDriver

MIB = 1 << 20
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=MIB, save_on_stop=True)
OTHER = VolumeSpec(vid="appvms/other/private", size_bytes=MIB, save_on_stop=True)
SNAPSHOT = VolumeSpec(
    vid="appvms/work/root", size_bytes=MIB, source=PRIVATE.vid, snap_on_start=True
)

#: Logs its whole environment, a line a variable, and does what the file of its name says.
HOOK = """#!/bin/sh
{ echo "- $*"; /usr/bin/env; } >>"$1"
if [ -e "$1.$QUBEWARD_HOOK" ]; then . "$1.$QUBEWARD_HOOK"; fi
"""


class Hooks:
    """A pool of files with one program as every hook, or those that a test names."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.pool = folder / "pool"
        self.program = folder / "hook"
        self.program.write_text(HOOK)
        self.program.chmod(0o755)
        self.backends: list[FileDriver] = []
        self.driver = self.make()

    def make(self, **more: Any) -> CallbackDriver:
        command: Command = (str(self.program), str(self.log))
        settings: dict[str, Any] = {
            "conf_id": "one",
            "driver": "file",
            "commands": dict.fromkeys(HOOKS, command),
        }
        self.driver = CallbackDriver(self.backend, Configuration(**(settings | more)))
        return self.driver

    def backend(self) -> Driver:
        self.backends.append(FileDriver(self.pool))
        return self.backends[-1]

    def does(self, hook: str, script: str) -> None:
        """Let a hook do this from now on."""
        self.log.with_name(f"log.{hook}").write_text(script)

    def told(self) -> list[dict[str, str]]:
        """Return the environment of each hook since the last look."""
        runs = self.log.read_text().split("- ")[1:] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [dict(line.split("=", 1) for line in run.splitlines()[1:]) for run in runs]

    def ran(self) -> str:
        """Return the names of the hooks that ran since the last look."""
        return " ".join(told["QUBEWARD_HOOK"] for told in self.told())


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    return Hooks(tmp_path)


@pytest.fixture
async def ready(hooks: Hooks) -> Hooks:
    await hooks.driver.setup()
    await hooks.driver.create(PRIVATE)
    hooks.told()
    return hooks


async def test_each_operation_has_its_hooks(hooks: Hooks) -> None:
    driver = hooks.driver
    await driver.setup()
    assert hooks.ran() == "pre_setup post_setup"
    await driver.create(PRIVATE)
    assert hooks.ran() == "pre_volume_create post_volume_create"
    await driver.start(PRIVATE)
    assert hooks.ran() == "pre_volume_start post_volume_start"
    await driver.stop(PRIVATE)
    assert hooks.ran() == "pre_volume_stop post_volume_stop"
    await driver.resize(PRIVATE, 2 * MIB, running=False)
    assert hooks.ran() == "pre_volume_resize post_volume_resize"
    for success in (True, False):
        await driver.import_begin(PRIVATE, MIB)
        assert hooks.ran() == "pre_volume_import_data post_volume_import_data"
        await driver.import_end(PRIVATE, success=success)
        assert hooks.ran() == "pre_volume_import_data_end post_volume_import_data_end"
    await driver.create(OTHER)
    hooks.told()
    for success in (True, False):
        await driver.clone(OTHER, PRIVATE)
        assert hooks.ran() == "pre_volume_import"
        await driver.import_end(OTHER, success=success)
        assert hooks.ran() == "post_volume_import"
    await driver.export_begin(PRIVATE)
    assert hooks.ran() == "pre_volume_export post_volume_export"
    await driver.export_end(PRIVATE)
    assert hooks.ran() == "pre_volume_export_end post_volume_export_end"
    for volume in (PRIVATE, OTHER):
        await driver.remove(volume.vid)
        assert hooks.ran() == "pre_volume_remove post_volume_remove"
    await driver.teardown()
    assert hooks.ran() == "pre_destroy post_destroy"
    assert not hooks.pool.exists()


async def test_a_hook_is_told_what_it_is_about_and_nothing_of_the_daemon(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUBEWARD_SECRET", "x")
    monkeypatch.setenv("LC_ALL", "de_DE")
    fixed = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "QUBEWARD_POOL_CONF": "one",
        "QUBEWARD_DRIVER": "file",
    }  # fmt: skip

    async def check(call: Any, *words: str, **about: object) -> None:
        await call
        shell = {"PWD", "SHLVL", "_", "OLDPWD"}
        told = [{k: v for k, v in one.items() if k not in shell} for one in hooks.told()]
        named = {f"QUBEWARD_{key}": str(value) for key, value in about.items()}
        assert told == [fixed | named | {"QUBEWARD_HOOK": word} for word in words]

    driver, vid = hooks.driver, PRIVATE.vid
    await check(driver.setup(), "pre_setup", "post_setup")
    await check(
        driver.create(PRIVATE), "pre_volume_create", "post_volume_create", VID=vid, SIZE=MIB
    )
    await check(
        driver.start(SNAPSHOT), "pre_volume_start", "post_volume_start",
        VID=SNAPSHOT.vid, SIZE=MIB, SOURCE=vid,
    )  # fmt: skip
    await check(
        driver.resize(PRIVATE, 3 * MIB, running=False), "pre_volume_resize", "post_volume_resize",
        VID=vid, SIZE=3 * MIB,
    )  # fmt: skip
    await check(
        driver.import_begin(PRIVATE, 5), "pre_volume_import_data", "post_volume_import_data",
        VID=vid, SIZE=5,
    )  # fmt: skip
    await check(
        driver.import_end(PRIVATE, success=True),
        "pre_volume_import_data_end", "post_volume_import_data_end",
        VID=vid, SIZE=MIB, SUCCESS="true",
    )  # fmt: skip
    await check(
        driver.clone(OTHER, PRIVATE), "pre_volume_import", VID=OTHER.vid, SIZE=MIB, SOURCE=vid
    )
    await check(
        driver.import_end(OTHER, success=False), "post_volume_import",
        VID=OTHER.vid, SIZE=MIB, SOURCE=vid, SUCCESS="false",
    )  # fmt: skip
    await check(driver.remove(vid), "pre_volume_remove", "post_volume_remove", VID=vid)


async def test_a_command_is_run_as_its_words_say_by_no_shell(tmp_path: Path) -> None:
    hooks = Hooks(tmp_path)
    command = (str(hooks.program), str(hooks.log), "two words", "$HOME", ";")
    await hooks.make(commands={"pre_setup": command}).setup()
    assert hooks.log.read_text().splitlines()[0] == f"- {hooks.log} two words $HOME ;"
    assert "PWD=/" in hooks.log.read_text().splitlines()


async def test_without_a_command_nothing_runs(hooks: Hooks) -> None:
    driver = hooks.make(commands={})
    await driver.setup()
    await driver.create(PRIVATE)
    assert hooks.ran() == ""


async def fails(call: Any) -> str:
    with pytest.raises(StorageError) as raised:
        await call
    return str(raised.value)


FAILING = [
    ("exit 3", "exit status 3: it said nothing"),
    ("echo one >&2; printf 'no\\tkey \\033[1m\\n\\n' >&2; exit 1", "exit status 1: no?key ?[1m"),
    ("echo hello; false", "exit status 1: it said nothing"),
    ("printf 'x%.0s' $(seq 999) >&2; exit 1", f"exit status 1: {'x' * 200}"),
    ("kill -9 $$", "ended by signal 9: it said nothing"),
]


@pytest.mark.parametrize(("script", "why"), FAILING)
async def test_a_failing_hook_is_an_error_with_its_last_words(
    hooks: Hooks, script: str, why: str
) -> None:
    hooks.does("pre_setup", script)
    assert await fails(hooks.driver.setup()) == f"Storage: hook pre_setup of one: {why}"


async def test_a_hook_that_takes_too_long_is_killed_and_has_failed(hooks: Hooks) -> None:
    hooks.does("pre_setup", "exec sleep 60")
    driver = hooks.make(timeout_s=0.2)
    began = time.monotonic()
    assert await fails(driver.setup()) == "Storage: hook pre_setup of one: no end after 0.2 s"
    assert time.monotonic() - began < 10


async def test_a_program_that_is_not_there_or_none_has_failed(tmp_path: Path) -> None:
    hooks = Hooks(tmp_path)
    driver = hooks.make(commands={"pre_setup": (str(tmp_path / "none"),)})
    assert "hook pre_setup of one: No such file" in await fails(driver.setup())
    driver = hooks.make(commands={"pre_setup": (str(tmp_path),)})
    assert "hook pre_setup of one: Permission denied" in await fails(driver.setup())


async def test_before_hooks_that_fail_keep_their_operation_from_happening(ready: Hooks) -> None:
    driver = ready.driver
    (await driver.start(PRIVATE)).path.write_bytes(b"kept".ljust(MIB, b"\0"))
    for hook in HOOKS:
        if hook.startswith("pre_"):
            ready.does(hook, "exit 1")
    before = await everything(ready)
    ready.told()
    for call in (
        driver.setup(), driver.create(OTHER), driver.remove(PRIVATE.vid), driver.start(SNAPSHOT),
        driver.stop(PRIVATE), driver.resize(PRIVATE, 2 * MIB, running=False),
        driver.import_begin(PRIVATE, MIB), driver.clone(PRIVATE, PRIVATE),
        driver.import_end(PRIVATE, success=False), driver.export_begin(PRIVATE),
        driver.export_end(PRIVATE), driver.teardown(),
    ):  # fmt: skip
        assert "hook pre_" in await fails(call)
    assert await everything(ready) == before
    assert "post_" not in ready.ran()


async def everything(hooks: Hooks) -> dict[Path, bytes | None]:
    paths = sorted(hooks.pool.rglob("*"))
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


async def test_after_hooks_that_fail_are_an_error_of_what_was_done(hooks: Hooks) -> None:
    driver = hooks.driver
    for hook in HOOKS:
        if hook.startswith("post_"):
            hooks.does(hook, "exit 1")
    assert "post_setup" in await fails(driver.setup())
    assert (hooks.pool / "appvms").is_dir()
    assert "post_volume_create" in await fails(driver.create(PRIVATE))
    assert list(await driver.vids()) == [PRIVATE.vid]
    assert "post_volume_resize" in await fails(driver.resize(PRIVATE, 2 * MIB, running=False))
    assert await driver.size_bytes(PRIVATE) == 2 * MIB
    assert "post_volume_import_data of" in await fails(driver.import_begin(PRIVATE, 3 * MIB))
    await driver.import_end(PRIVATE, success=True)
    assert await driver.size_bytes(PRIVATE) == 3 * MIB
    await driver.clone(OTHER, PRIVATE)
    await driver.import_end(OTHER, success=True)
    assert await driver.size_bytes(OTHER) == 3 * MIB
    assert "post_volume_start" in await fails(driver.start(PRIVATE))
    assert driver.path(PRIVATE).exists()


async def test_after_hooks_of_what_undoes_are_only_logged(
    ready: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    driver = ready.driver
    for hook in HOOKS:
        if hook.startswith("post_"):
            ready.does(hook, "exit 1")
    ready.does("post_volume_import_data", "")
    with caplog.at_level(logging.WARNING):
        await driver.stop(PRIVATE)
        await driver.import_begin(PRIVATE, MIB)
        await driver.import_end(PRIVATE, success=False)
        await driver.clone(OTHER, PRIVATE)
        await driver.import_end(OTHER, success=False)
        await driver.export_end(PRIVATE)
        for volume in (PRIVATE, OTHER):
            await driver.remove(volume.vid)
        await driver.teardown()
    assert not ready.pool.exists()
    words = ("stop", "import_data_end", "import", "export_end", "remove", "remove", "destroy")
    assert [record.getMessage() for record in caplog.records] == [
        f"Storage: hook post_{'' if word == 'destroy' else 'volume_'}{word} of one: "
        "exit status 1: it said nothing"
        for word in words
    ]


async def test_an_export_that_its_last_hook_refuses_is_ended(
    ready: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[VolumeSpec] = []

    async def export_end(volume: VolumeSpec) -> None:
        ended.append(volume)

    monkeypatch.setattr(ready.backends[-1], "export_end", export_end)
    ready.does("post_volume_export", "exit 1")
    assert "post_volume_export" in await fails(ready.driver.export_begin(PRIVATE))
    assert ended == [PRIVATE]


async def test_an_operation_that_fails_has_its_own_error_and_no_hook_after(hooks: Hooks) -> None:
    await hooks.driver.setup()
    hooks.told()
    assert "never created" in await fails(hooks.driver.start(PRIVATE))
    assert hooks.ran() == "pre_volume_start"
    assert "no import was begun" in await fails(hooks.driver.import_end(PRIVATE, success=True))
    assert hooks.ran() == "pre_volume_import_data_end"


async def test_a_clone_that_failed_is_one_that_is_thrown_away(hooks: Hooks) -> None:
    await hooks.driver.setup()
    hooks.told()
    assert "never created" in await fails(hooks.driver.clone(OTHER, PRIVATE))
    await hooks.driver.import_end(OTHER, success=False)
    assert hooks.ran() == "pre_volume_import post_volume_import"
    await hooks.driver.import_end(OTHER, success=False)
    assert hooks.ran() == "pre_volume_import_data_end post_volume_import_data_end"


@pytest.mark.parametrize("forget", ["import_begin", "remove"])
async def test_a_clone_that_was_replaced_or_removed_is_no_clone_any_more(
    ready: Hooks, forget: str
) -> None:
    await ready.driver.clone(OTHER, PRIVATE)
    if forget == "import_begin":
        await ready.driver.import_begin(OTHER, MIB)
    else:
        await ready.driver.remove(OTHER.vid)
    ready.told()
    await ready.driver.import_end(OTHER, success=False)
    assert ready.ran() == "pre_volume_import_data_end post_volume_import_data_end"


async def test_the_first_use_after_a_start_has_its_hook_once(ready: Hooks) -> None:
    driver = ready.make()
    await driver.open()
    assert ready.ran() == "pre_sinit"
    await driver.open()
    await driver.export_begin(PRIVATE)
    assert ready.ran() == "pre_volume_export post_volume_export"
    driver = ready.make()
    await driver.teardown()
    assert ready.ran() == "pre_sinit pre_destroy post_destroy"


async def test_a_first_use_that_failed_is_tried_again(ready: Hooks) -> None:
    ready.does("pre_sinit", "exit 1")
    driver = ready.make()
    assert "hook pre_sinit of one" in await fails(driver.open())
    ready.does("pre_sinit", "")
    await driver.open()
    assert ready.ran() == "pre_sinit pre_sinit"


async def test_a_hook_that_brings_the_place_lets_the_pool_be_opened(ready: Hooks) -> None:
    await ready.driver.close()
    away = ready.pool.rename(ready.pool.with_name("away"))
    assert "missing" in await fails(ready.make().open())
    ready.does("pre_sinit", f"mv {away} {ready.pool}")
    driver = ready.make()
    await driver.open()
    assert list(await driver.vids()) == [PRIVATE.vid]


@pytest.mark.parametrize("signal_back", [True, False])
async def test_a_hook_that_made_the_place_anew_has_it_set_up(
    ready: Hooks, signal_back: bool
) -> None:
    for hook, say in (("pre_sinit", "echo SIGNAL_setup"), ("pre_volume_create", "echo then")):
        ready.does(hook, f"rm -r {ready.pool}; mkdir {ready.pool}; echo first; {say}; echo last")
    driver = ready.make(signal_back=signal_back)
    if not signal_back:
        assert "missing" in await fails(driver.open())
        return
    await driver.open()
    assert list(await driver.vids()) == []
    ready.does("pre_volume_create", f"rm -r {ready.pool}; mkdir {ready.pool}; echo xSIGNAL_setup")
    assert "missing" in await fails(driver.create(PRIVATE))
    assert not (ready.pool / "vm-templates").exists()
    ready.does("pre_volume_create", f"rm -r {ready.pool}; mkdir {ready.pool}; echo SIGNAL_setup")
    await driver.create(PRIVATE)
    assert (ready.pool / "vm-templates").exists()


async def test_a_setup_that_fails_after_a_signal_is_the_operations_error(ready: Hooks) -> None:
    ready.does("pre_volume_create", f"rm -r {ready.pool}; : >{ready.pool}; echo SIGNAL_setup")
    driver = ready.make(signal_back=True)
    await driver.open()
    assert "pool directory" in await fails(driver.create(OTHER))
    assert "post_" not in ready.ran()


async def test_its_capabilities_are_those_behind_after_setup_and_open(tmp_path: Path) -> None:
    def backend() -> Driver:
        return FileDriver(tmp_path / "pool", probe=lambda _: True)

    one = Configuration(conf_id="one", driver="file")
    for use in ("setup", "open"):
        driver = CallbackDriver(backend, one)
        assert driver.capabilities == backend().capabilities
        await getattr(driver, use)()
        assert driver.capabilities == Capabilities(
            cheap_snapshots=True, most_revisions=1, keeps_records=True
        )


class Recorder:
    """A driver whose every method only says that it was called, and with what."""

    capabilities = Capabilities(cheap_snapshots=True)

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(getattr(Driver, name))

        def call(*args: object, **named: object) -> Any:
            self.calls.append((name, args, named))
            return asyncio.sleep(0, ("answer of", name)) if is_async else ("answer of", name)

        return call


ARGUMENTS: dict[str, object] = {
    "volume": PRIVATE, "source": OTHER, "size_bytes": 5, "running": True, "success": True,
    "vid": "a/b/c", "revision": "7", "record": b"kept", "name": "work", "template": True,
}  # fmt: skip
METHODS = [name for name, _ in inspect.getmembers(Driver, inspect.isfunction) if name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
async def test_every_method_of_the_contract_is_passed_on_as_it_is(name: str) -> None:
    behind = Recorder()
    driver = CallbackDriver(lambda: behind, Configuration(conf_id="one", driver="file"))
    parameters = list(inspect.signature(getattr(Driver, name)).parameters.values())[1:]
    # `volume` is a spec, but for `vid`, where it is a name
    values = ARGUMENTS | ({"volume": "private"} if name == "vid" else {})
    args = [values[p.name] for p in parameters if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: values[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}
    answer = getattr(driver, name)(*args, **named)
    if inspect.isawaitable(answer):
        answer = await answer
    assert behind.calls == [(name, tuple(args), named)]
    returns = inspect.signature(getattr(Driver, name)).return_annotation
    assert answer == (None if returns is None else ("answer of", name))


async def test_hooks_of_different_volumes_run_together(ready: Hooks) -> None:
    ready.does("pre_volume_create", "sleep 0.5")
    volumes = [
        VolumeSpec(vid=f"appvms/qube{i}/private", size_bytes=MIB, save_on_stop=True)
        for i in range(6)
    ]
    began = time.monotonic()
    await asyncio.gather(*(ready.driver.create(volume) for volume in volumes))
    assert time.monotonic() - began < 2.5


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_pool_can_be_mounted_when_it_is_opened_and_unmounted_when_it_goes(
    hooks: Hooks,
) -> None:
    place = hooks.pool.with_name("place")
    hooks.pool = place / "pool"
    mount = f"mkdir -p {place}; mountpoint -q {place} || mount -t tmpfs none {place}"
    hooks.does("pre_setup", mount)
    hooks.does("post_destroy", f"umount {place} && rmdir {place}")
    try:
        await hooks.make().setup()
        assert place.is_mount()
        await run_in_thread(["umount", str(place)], timeout_s=9)  # as the host's restart does
        hooks.does("pre_sinit", mount)
        assert "missing" in await fails(hooks.make(signal_back=True).open())
        hooks.does("pre_sinit", f"{mount}; echo SIGNAL_setup")
        driver = hooks.make(signal_back=True)
        await driver.open()
        await driver.create(PRIVATE)
        await driver.remove(PRIVATE.vid)
        await driver.teardown()
        assert not place.exists()
    finally:
        await run_in_thread(["umount", "-q", str(place)], timeout_s=9, check=False)
