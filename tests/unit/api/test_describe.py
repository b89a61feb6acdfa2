"""admin.api.Describe"""

import json

from qubeward.errors import AdminError
from qubeward.spec import METHODS
from world import made_world


async def test_describe_tells_what_the_table_says() -> None:
    async with made_world() as made:
        table = json.loads(await made.ok("admin.api.Describe"))
        rows = {row["name"]: row for row in table["methods"]}
        assert rows.keys() == METHODS.keys()
        row = rows["admin.vm.List"]
        assert row["dest"] == "dom0|qube"
        assert row["argument"] == {"r4": "-", "draft": "[qube]"}
        assert row["effect"] == "ro"
        assert rows["admin.Events"]["reply"] == "events"
        assert rows["admin.vm.property.Set"]["payload"]["by_argument"]
        assert "QubesTagNotFoundError" in rows["admin.vm.tag.Remove"]["errors"]
        for name, method in METHODS.items():
            assert all(issubclass(error, AdminError) for error in method.errors)
            assert rows[name]["summary"] == method.summary
