"""The contract of storage drivers, held to drivers behind hooks that do nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.conftest import Pool, open_pool
from drivers.test_storage import *  # noqa: F403  # its tests are those here
from qubeward.storage.callback import CallbackDriver
from qubeward.storage.callback_configuration import HOOKS, Configuration

pytestmark = pytest.mark.slow  # together

#: What any machine's file system has.
KINDS = ("file", "reflink-fallback", "qcow2")


@pytest.fixture(params=KINDS)
async def pool(request: Any, tmp_path: Path) -> AsyncIterator[Pool]:
    kind = request.param
    if kind not in KINDS:
        pytest.skip("hooks around this driver need nothing that others don't")
    configuration = Configuration(
        conf_id="one", driver=kind, commands=dict.fromkeys(HOOKS, ("/bin/true",)), signal_back=True
    )
    driver = CallbackDriver(lambda: open_pool(kind, tmp_path / "pool"), configuration)
    await driver.setup()
    yield Pool(kind, driver, tmp_path / "pool")
    for vid in await driver.vids():
        await driver.remove(vid)
    await driver.close()
