"""The order in which modules are loaded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.workshop.errors import WorkshopError
from qubeward.workshop.modules import load_order, module_name, parse_dependencies

MODULES_DEP = """\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_pci_modern_dev.ko \
kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_pci_modern_dev.ko:
kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko \
kernel/drivers/virtio/virtio_ring.ko
kernel/net/core/failover.ko:
"""


def test_each_module_comes_after_what_it_needs_and_others_stay_out() -> None:
    order = load_order(
        ["virtio_rng", "ext4", "virtio_pci"],
        parse_dependencies(MODULES_DEP),
        ["kernel/fs/ext4/ext4.ko"],
    )
    assert [module_name(path) for path in order] == [
        *("virtio_ring", "virtio", "virtio_rng", "virtio_pci_modern_dev", "virtio_pci"),
    ]


def test_module_that_the_kernel_lacks_is_named() -> None:
    with pytest.raises(WorkshopError, match="no module zfs"):
        load_order(["zfs"], parse_dependencies(MODULES_DEP), [])


def test_circle_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(WorkshopError, match="needs itself"):
        load_order(["a"], {"a.ko": ("b.ko",), "b.ko": ("a.ko",)}, [])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernel/drivers/char/hw_random/virtio-rng.ko", "virtio_rng"),
        ("kernel/fs/ext4/ext4.ko.zst", "ext4"),
    ],
)
def test_file_is_known_by_the_kernels_name(path: str, name: str) -> None:
    assert module_name(path) == name


@given(st.data())
def test_any_order_of_the_input_without_circles_is_respected(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    needs = {
        f"m{i}.ko": tuple(f"m{j}.ko" for j in data.draw(st.sets(st.integers(0, i - 1))) if i)
        if i
        else ()
        for i in range(count)
    }
    wanted = data.draw(st.lists(st.sampled_from([f"m{i}" for i in range(count)])))
    order = load_order(wanted, needs, [])
    assert len(order) == len(set(order))
    assert {f"{name}.ko" for name in wanted} <= set(order)
    for at, path in enumerate(order):
        assert set(needs[path]) <= set(order[:at])
    shuffled = dict(data.draw(st.permutations(list(needs.items()))))
    assert load_order(wanted, shuffled, []) == order
