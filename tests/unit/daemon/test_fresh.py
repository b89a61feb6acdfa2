"""What a fresh system has."""

import pytest

from qubeward.daemon import fresh
from qubeward.daemon.config import Config
from qubeward.model.change import Commit
from qubeward.model.label import BUILT_IN
from qubeward.model.system import Host, System
from qubeward.names import ADMIN_UUID, PropertyName
from qubeward.spec.vm_body import PowerState


def made(root, *kernels: str) -> tuple[System, list[Commit]]:
    for version in kernels:
        directory = root / "var/lib/qubes/vm-kernels" / version
        directory.mkdir(parents=True)
        (directory / "vmlinuz").touch()
    commits: list[Commit] = []
    system = System(Host(16384, 4), commit=commits.append)
    fresh.set_up(system, root, "file")
    return system, commits


def test_a_fresh_system_is_dom0_eight_labels_and_two_pools(tmp_path) -> None:
    system, commits = made(tmp_path)
    assert list(system.qubes) == ["dom0"]
    assert (system.admin.uuid, system.admin.qid, system.admin.klass.name) == (
        ADMIN_UUID, 0, "AdminVM",
    )  # fmt: skip
    assert system.admin.state is PowerState.RUNNING
    assert system.admin.properties == {"label": "black"}
    assert [label.index for label in system.labels.values()] == list(range(1, 9))
    assert {name: pool.driver for name, pool in system.pools.items()} == {
        "varlibqubes": "file",
        "linux-kernel": "linux-kernel",
    }
    assert system.value(None, PropertyName("default_pool")) == "varlibqubes"
    assert system.value(None, PropertyName("default_pool_kernel")) == "linux-kernel"
    assert len(commits) == 1  # all of it, or none
    tables = [write.table for write in commits[0].writes]
    assert tables.count("label") == len(BUILT_IN)


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        ((), None),
        (("6.1.0",), "6.1.0"),
        (("6.1.9", "6.1.10", "5.15.200"), "6.1.10"),
        (("6.9", "6.10", "6.2"), "6.10"),
    ],
)
def test_the_newest_kernel_is_the_default(tmp_path, kernels, expected) -> None:
    system, _ = made(tmp_path, *kernels)
    assert system.value(None, PropertyName("default_kernel")) == expected


def test_modules_without_a_kernel_are_no_default(tmp_path) -> None:
    only_modules = tmp_path / "var/lib/qubes/vm-kernels/7.0"
    only_modules.mkdir(parents=True)
    (only_modules / "modules.img").touch()
    system, _ = made(tmp_path, "6.1")
    assert system.value(None, PropertyName("default_kernel")) == "6.1"


def test_the_first_pool_s_driver_is_what_the_settings_ask_for(tmp_path) -> None:
    assert fresh.choose_driver(tmp_path, Config({"storage.default_driver": "file"})) == "file"
    assert fresh.choose_driver(tmp_path, Config({})) in ("qcow2", "file-reflink")
