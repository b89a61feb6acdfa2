"""Names in ZFS: of a container, and of the datasets and snapshots that make up a volume.

A vid is `CONTAINER/NAME/VOLUME`. `CONTAINER/NAME` is a file system that is never mounted; in it are
the qube's ZFS volumes:

| ZFS volume          | what                                                                    |
|---------------------|-------------------------------------------------------------------------|
| `VOLUME`            | the volume                                                              |
| `VOLUME-work`       | what a guest runs on, unless that is the volume itself                  |
| `VOLUME-import`     | what an import fills                                                    |
| `VOLUME-new`        | a whole new content, about to become the volume                         |
| `VOLUME-export`     | a clone for who reads the volume                                        |
| `VOLUME-EPOCH-past` | was the volume until another content took its place; has revisions      |

The volume and what is past have snapshots. EPOCH is when one was made, and the revision's id:

| snapshot     | what                                                                           |
|--------------|--------------------------------------------------------------------------------|
| `EPOCH-run`  | what is committed, while a guest writes to the volume                          |
| `EPOCH-kept` | the same, and a revision already                                               |
| `EPOCH-base` | what is committed, while no guest runs; others were cloned from it             |
| `EPOCH-back` | a revision                                                                     |
| `GUID-moved` | belonged to what was removed; goes with the last clone of it                   |

VOLUME has no `-`: so names parse from the right. All other snapshots are someone else's.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import BadValueError, StorageError

_NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
_VOLUME: Final = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_EPOCH: Final = r"[1-9][0-9]{0,17}"
_VID: Final = re.compile(rf"/(?P<name>{_NAME})/{_VOLUME}")
_DATASET: Final = re.compile(
    rf"/{_NAME}/(?P<volume>{_VOLUME})(?:-(?:work|import|new|export|{_EPOCH}-past))?"
)
_PAST: Final = re.compile(rf"-(?P<epoch>{_EPOCH})-past")
_MARK: Final = re.compile(rf"(?P<epoch>{_EPOCH})-(?P<state>run|kept|base|back)")
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9_.:-]*"
_CONTAINER: Final = re.compile(rf"[A-Za-z][A-Za-z0-9_.:-]*(?:/{_PART})*")
_MOST_CHARACTERS: Final = 128


class State(StrEnum):
    """What a snapshot stands for; the table above."""

    RUN = "run"
    KEPT = "kept"
    BASE = "base"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class VolumeDatasets:
    """The datasets of one volume, by name. Made by `parse_vid` alone."""

    committed: str

    @property
    def qube(self) -> str:
        """The file system with all of the qube's volumes."""
        return self.committed.rpartition("/")[0]

    @property
    def work(self) -> str:
        """What a guest runs on, unless that is the volume itself."""
        return f"{self.committed}-work"

    @property
    def imported(self) -> str:
        """What an import fills."""
        return f"{self.committed}-import"

    @property
    def new(self) -> str:
        """A whole new content, about to become the volume."""
        return f"{self.committed}-new"

    @property
    def exported(self) -> str:
        """A clone for who reads the volume."""
        return f"{self.committed}-export"

    def past(self, epoch_s: int) -> str:
        """Return the name of what is the volume until then."""
        return f"{self.committed}-{epoch_s}-past"

    def parse_past(self, dataset: str) -> int | None:
        """Return until when the dataset was this volume; None for any other name."""
        if not dataset.startswith(self.committed):
            return None
        match = _PAST.fullmatch(dataset, len(self.committed))
        return match and int(match["epoch"])


def parse_mark(snapshot: str) -> tuple[int, State] | None:
    """Return the time and the state that a snapshot's name (without its dataset's) tells."""
    match = _MARK.fullmatch(snapshot)
    return match and (int(match["epoch"]), State(match["state"]))


def parse_vid(container: str, vid: str) -> VolumeDatasets:
    """Return the volume's names, or raise `StorageError`."""
    if not vid.startswith(container) or _VID.fullmatch(vid, len(container)) is None:
        raise StorageError(f"volume id {vid!r}", f"it is not {container}/NAME/VOLUME")
    return VolumeDatasets(vid)


def make_vid(container: str, name: str, volume: str) -> str:
    """Return the vid of a qube's volume."""
    return f"{container}/{name}/{volume}"


def find_vid(container: str, dataset: str) -> str | None:
    """Return the vid of the volume that the dataset is a part of; None if it is of none."""
    match = _DATASET.fullmatch(dataset, len(container)) if dataset.startswith(container) else None
    return match and dataset[: match.end("volume")]


def parse_container(text: str) -> str:
    """Parse the name of a dataset that is to have all others in it."""
    if len(text) > _MOST_CHARACTERS or _CONTAINER.fullmatch(text) is None:
        why = (
            "it must be a dataset's name: POOL or POOL/PATH, of letters, digits, '_', '.', ':', '-'"
        )
        raise BadValueError("container", why)
    return text
