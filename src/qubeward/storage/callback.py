"""The `callback` driver: another driver, with commands of the host run before and after its work.

R4's driver of this name; its configuration is described in `callback_configuration.py`. Such hooks
mount a pool's place when it is needed, say, or copy a volume elsewhere once it has changed.

A hook gets no words of ours; what it is about is in its environment, which has nothing else but a
fixed `PATH` and `LC_ALL=C`:

| variable             | what                                                                    |
|----------------------|-------------------------------------------------------------------------|
| `QUBEWARD_HOOK`      | its own name, such as `pre_volume_start`                                |
| `QUBEWARD_POOL_CONF` | the `conf_id`                                                           |
| `QUBEWARD_DRIVER`    | the driver behind it                                                    |
| `QUBEWARD_VID`       | the volume, if it is about one                                          |
| `QUBEWARD_SIZE`      | its size in bytes, or that which it is to get; not when it is removed   |
| `QUBEWARD_SOURCE`    | the volume that it is a snapshot of, or becomes a clone of, if any      |
| `QUBEWARD_SUCCESS`   | at the end of an import: `true`, or `false` if it is thrown away        |

- A failing `pre_` hook keeps its operation from happening, and is the operation's error.
- A failing `post_` hook is the operation's error too, but the operation was done: whoever called
  undoes it, or finds it done. Of what undoes (remove, stop, an import that is thrown away, the end
  of an export, teardown) it is only logged. An export whose `post_volume_export` fails is ended.
- `pre_sinit` runs before the first use of a pool after the daemon's start, which is when the daemon
  opens it, and before each further try if that failed. A new pool has `pre_setup` instead.
- A clone has `pre_volume_import` before it begins, and `post_volume_import` when it is committed or
  thrown away. Any other import has `volume_import_data` around its begin, and
  `volume_import_data_end` around its end.
- With `signal_back`, a line `SIGNAL_setup` on a hook's standard output says that the place is there
  now, or was made anew: the driver behind is set up again, before anything else is done.

A hook that takes longer than its deadline is killed, and has failed; what it began is left alone.
It has not ended while something that it began holds its standard output or error.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host.process import Completed, ProgramError, run
from ..host.threads import Threads
from .callback_configuration import Command, Configuration
from .driver import BlockImage, Capabilities, Driver, Revision, Usage, VolumeSpec

log = logging.getLogger(__name__)

#: What the best driver behind it can do; a pool's own are those of the driver behind it.
CAPABILITIES: Final = Capabilities(cheap_snapshots=True, keeps_records=True)

_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_SIGNAL_SETUP: Final = b"SIGNAL_setup"
_THREADS: Final = 8
_MOST_SAID: Final = 200

About = Mapping[str, str]


class CallbackDriver:
    """A pool whose work the driver does that `backend_factory` makes, once."""

    def __init__(self, backend_factory: Callable[[], Driver], configuration: Configuration) -> None:
        self._backend = backend_factory()
        self.capabilities = self._backend.capabilities
        self._configuration = configuration
        self._threads = Threads("hooks", _THREADS)
        self._initialised = False
        self._setting_up = asyncio.Lock()
        self._cloned_from: dict[str, str] = {}

    # The pool.

    @property
    def place(self) -> Path | None:
        """Return what the driver behind does."""
        return self._backend.place

    async def setup(self) -> None:
        """Set up what is behind; `pre_setup` may make its place."""
        async with self._around("setup", {}):
            await self._set_up()
        self._initialised = True

    async def open(self) -> None:
        """Open what is behind, after `pre_sinit`."""
        await self._initialise()
        await self._backend.open()
        self.capabilities = self._backend.capabilities

    async def teardown(self) -> None:
        """Tear down what is behind; `post_destroy` may take its place away."""
        await self._initialise()
        async with self._around("destroy", {}, undoes=True):
            await self._backend.teardown()

    async def close(self) -> None:
        """Let go of the threads, and close what is behind."""
        self._threads.close()
        await self._backend.close()

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return the id that the driver behind gives."""
        return self._backend.vid(name, volume, template=template)

    async def _initialise(self) -> None:
        if not self._initialised:
            await self._hook("pre_sinit", {})
            self._initialised = True

    async def _set_up(self) -> None:
        async with self._setting_up:
            await self._backend.setup()
            self.capabilities = self._backend.capabilities

    # A volume's life.

    async def create(self, volume: VolumeSpec) -> None:
        """Create the volume, with hooks around."""
        async with self._around("volume_create", _about(volume)):
            await self._backend.create(volume)

    async def remove(self, vid: str) -> None:
        """Remove the volume, with hooks around."""
        async with self._around("volume_remove", {"QUBEWARD_VID": vid}, undoes=True):
            await self._backend.remove(vid)
        self._cloned_from.pop(vid, None)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Start the volume, with hooks around."""
        async with self._around("volume_start", _about(volume)):
            return await self._backend.start(volume)

    async def stop(self, volume: VolumeSpec) -> None:
        """Stop the volume, with hooks around."""
        async with self._around("volume_stop", _about(volume), undoes=True):
            await self._backend.stop(volume)

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow the volume, with hooks around."""
        async with self._around("volume_resize", _about(volume, size_bytes=size_bytes)):
            await self._backend.resize(volume, size_bytes, running=running)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Tidy the volume."""
        await self._backend.tidy(volume)

    # Older contents.

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the volume's revisions."""
        return await self._backend.revisions(vid)

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Add a revision."""
        return await self._backend.snapshot(volume)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Go back to a revision."""
        await self._backend.revert(volume, revision)

    # New contents.

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Begin an import, with hooks around."""
        async with self._around("volume_import_data", _about(volume, size_bytes=size_bytes)):
            path = await self._backend.import_begin(volume, size_bytes)
            self._cloned_from.pop(volume.vid, None)
            return path

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Begin an import that another volume fills, after its hook."""
        await self._hook("pre_volume_import", _about(volume, source=source.vid))
        self._cloned_from[volume.vid] = source.vid
        await self._backend.clone(volume, source)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """End an import, with hooks around; of a clone, with the one after it.

        The new content is the volume before the last hook runs, so that its failure is logged:
        an error would say that the old one is still there.
        """
        source = self._cloned_from.get(volume.vid)
        about = _about(volume, source=source, success=success)
        word = "volume_import_data_end" if source is None else "volume_import"
        if source is None:
            await self._hook(f"pre_{word}", about)
        await self._backend.import_end(volume, success=success)
        self._cloned_from.pop(volume.vid, None)
        await self._after(word, about, undoes=True)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Begin an export, with hooks around; end it if the one after it fails."""
        await self._hook("pre_volume_export", _about(volume))
        path = await self._backend.export_begin(volume)
        try:
            await self._hook("post_volume_export", _about(volume))
        except StorageError:
            await self._backend.export_end(volume)
            raise
        return path

    async def export_end(self, volume: VolumeSpec) -> None:
        """End an export, with hooks around."""
        async with self._around("volume_export_end", _about(volume), undoes=True):
            await self._backend.export_end(volume)

    # What is known.

    def path(self, volume: VolumeSpec) -> Path:
        """Return where a guest's image is or would be."""
        return self._backend.path(volume)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the volume's size."""
        return await self._backend.size_bytes(volume)

    async def usage_bytes(self, vid: str) -> int:
        """Return what the volume takes."""
        return await self._backend.usage_bytes(vid)

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether a started snapshot's source is another one now."""
        return await self._backend.is_outdated(volume)

    async def vids(self) -> Sequence[str]:
        """List the volumes."""
        return await self._backend.vids()

    async def usage(self) -> Usage | None:
        """Return the size and usage of what is behind."""
        return await self._backend.usage()

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Keep the bytes behind."""
        await self._backend.keep_record(vid, record)

    async def records(self) -> Mapping[str, bytes]:
        """Return what was kept."""
        return await self._backend.records()

    # Hooks.

    @contextlib.asynccontextmanager
    async def _around(
        self, word: str, about: About, *, undoes: bool = False
    ) -> AsyncIterator[None]:
        """Run a block between two hooks; the second only if the block fails not."""
        await self._hook(f"pre_{word}", about)
        yield
        await self._after(word, about, undoes=undoes)

    async def _after(self, word: str, about: About, *, undoes: bool) -> None:
        try:
            await self._hook(f"post_{word}", about)
        except StorageError as error:
            if not undoes:
                raise
            log.warning("%s", error)

    async def _hook(self, name: str, about: About) -> None:
        """Run a hook, if there is one, and do what it signals. Raises `StorageError`."""
        command = self._configuration.commands.get(name)
        if command is None:
            return
        done = await self._threads.run(self._run, name, command, about)
        if self._configuration.signal_back and _SIGNAL_SETUP in done.stdout.splitlines():
            log.info("hook %s of %s asks for a new setup", name, self._configuration.conf_id)
            await self._set_up()

    def _run(self, name: str, command: Command, about: About) -> Completed:
        configuration = self._configuration
        what = f"hook {name} of {configuration.conf_id}"
        environment = {
            **_ENVIRONMENT,
            "QUBEWARD_HOOK": name,
            "QUBEWARD_POOL_CONF": configuration.conf_id,
            "QUBEWARD_DRIVER": configuration.driver,
            **about,
        }
        try:
            done = run(
                command, timeout_s=configuration.timeout_s, cwd="/", env=environment, check=False
            )
        except ProgramError as error:
            raise StorageError(what, error.why) from error
        if done.returncode != 0:
            raise StorageError(what, f"{_status(done.returncode)}: {_last_line(done.stderr)}")
        return done


def _about(
    volume: VolumeSpec,
    *,
    size_bytes: int | None = None,
    source: str | None = None,
    success: bool | None = None,
) -> About:
    size_bytes = volume.size_bytes if size_bytes is None else size_bytes
    source = volume.source if source is None else source
    about = {"QUBEWARD_VID": volume.vid, "QUBEWARD_SIZE": str(size_bytes)}
    if source is not None:
        about["QUBEWARD_SOURCE"] = source
    if success is not None:
        about["QUBEWARD_SUCCESS"] = "true" if success else "false"
    return about


def _status(returncode: int) -> str:
    return f"exit status {returncode}" if returncode > 0 else f"ended by signal {-returncode}"


def _last_line(stderr: bytes) -> str:
    """Return what a hook said last, fit to be shown."""
    lines = stderr.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return "".join(c if c.isprintable() else "?" for c in last[:_MOST_SAID])
