"""admin.vm.notes.*"""

import pytest

from world import made_world, populate


async def test_notes_are_kept_with_what_is_unsafe_made_safe() -> None:
    async with made_world() as made:
        await populate(made)
        assert await made.ok("admin.vm.notes.Get", "work") == ""
        text = "é\t one\n two \0\x1b[31m\r\u202e\u2028 %s"
        await made.ok("admin.vm.notes.Set", "work", "", text)
        assert await made.ok("admin.vm.notes.Get", "work") == "é\t one\n two __[31m___ %s"


@pytest.mark.parametrize("name", ["far"])
async def test_what_has_no_notes_says_so(name: str) -> None:
    async with made_world() as made:
        await populate(made)
        for call, payload in (("Get", ""), ("Set", "x")):
            answer = await made.refused(f"admin.vm.notes.{call}", name, "", payload)
            assert answer.wire_name == "QubesVMError"


async def test_notes_make_no_event() -> None:
    async with made_world() as made:
        await populate(made)
        stream = made.subscribe()
        await made.ok("admin.vm.notes.Set", "work", "", "x")
        assert stream.names() == ["connection-established"]
