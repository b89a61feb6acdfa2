"""The hypervisor that the settings ask for, made ready to open."""

import logging
import os
from pathlib import Path
from uuid import UUID

from ..errors import HypervisorError
from ..hypervisor import acceleration, embed
from ..hypervisor.driver import Hypervisor
from ..hypervisor.fake import FakeHypervisor
from ..ops.world import Agents
from .config import Config

log = logging.getLogger(__name__)


class AnswersAtOnce:
    """The fake guests' agents."""

    async def answered(self, uuid: UUID) -> None:
        """Return at once."""


class NoChannel:
    """Real guests have no channel yet, so that an agent in them can't be heard."""

    async def answered(self, uuid: UUID) -> None:
        """Say so, instead of waiting for what can't come."""
        raise HypervisorError(
            "agent", "the feature qrexec is set, and guests have no channel to answer on"
        )


def make(root: Path, config: Config) -> tuple[Hypervisor, Agents]:
    """Return the hypervisor and its agents. Blocks; call it before any thread starts.

    Before, because hiding a `/dev/kvm` that doesn't work takes a mount namespace of our own.
    """
    if config["hypervisor.driver"] == "fake":
        fake = FakeHypervisor(
            memory_mib=config["hypervisor.fake.memory_mib"], cpus=config["hypervisor.fake.cpus"]
        )
        return fake, AnswersAtOnce()
    return _libvirt(root, config), NoChannel()


def _libvirt(root: Path, config: Config) -> Hypervisor:
    is_root = os.geteuid() == 0
    account = embed.find_account(config["hypervisor.user"]) if is_root else None
    uri = config["hypervisor.uri"]
    embedded = not uri or embed.directory_of(uri) is not None
    if is_root and embedded and account is None:
        raise HypervisorError(
            "set up",
            f"the account {config['hypervisor.user']} that guests run as does not exist: make it "
            "with `make setup`, or name another with hypervisor.user",
        )
    found = acceleration.probe(config["hypervisor.accel"], account=account)
    if found.warning:
        log.warning("%s", found.warning)
    if found.accel == "tcg" and embedded:
        warning = acceleration.hide_kvm()
        if warning:
            log.warning("%s", warning)
    # Imported late: libvirt reads its environment when it is first loaded.
    from ..hypervisor.libvirt import LibvirtHypervisor  # noqa: PLC0415

    volumes = (root / "var/lib/qubes").resolve()
    return LibvirtHypervisor(
        uri or embed.embed_uri(embed.embed_root(root, is_root=is_root)),
        accel=found.accel,
        account=account if embedded else None,
        templates=root / "etc/qubeward/templates",
        capabilities=root / "var/cache/qubeward/capabilities",
        is_volume=lambda path: path.is_relative_to(volumes),
    )
