"""Programs below etc/qubes-rpc, which clients of Qubes OS run on the host in place of a call.

Its client for dom0 executes `etc/qubes-rpc/admin.vm.volume.Import` and `ImportWithSize` with the
data as standard input (ADMIN-API §0.1).
"""

import contextlib
import logging
import sys
from importlib import resources
from pathlib import Path
from typing import Final

from ..host import files
from ..spec import volume

log = logging.getLogger(__name__)

DIRECTORY: Final = "etc/qubes-rpc"
METHODS: Final = (volume.IMPORT.name, volume.IMPORT_WITH_SIZE.name)
_MODE: Final = 0o755
_OURS: Final = "Made by the daemon of qubeward"


def text(socket: Path) -> str:
    """Return the program, for this interpreter and a socket."""
    source = resources.files(__package__).joinpath("files/import_service.py").read_text("utf-8")
    return f"#!{sys.executable} -I\n" + source.replace("@SOCKET@", str(socket))


def install(root: Path, socket: Path) -> None:
    """Put the programs in their place; what an administrator put there is left alone. Blocks."""
    wanted = text(socket.resolve())
    directory = root / DIRECTORY
    try:
        files.make_directory(directory, mode=_MODE)
        for name in METHODS:
            path = directory / name
            found = ""
            with contextlib.suppress(FileNotFoundError):
                found = path.read_text("utf-8", "replace")
            if found != wanted and (not found or _OURS in found):
                files.replace_file(path, wanted.encode(), mode=_MODE)
    except OSError as error:
        log.warning("%s: %s: imports by clients of Qubes OS won't work", directory, error.strerror)
