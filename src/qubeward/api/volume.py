"""admin.vm.volume.*, and the internal calls of importers."""

from ..names import VolumeName
from ..ops import imports
from ..spec import volume
from ..spec.volume import ImportResult, ImportTarget
from .call import AnyRoute, Call, Route


async def import_begin(call: Call[VolumeName, int | None]) -> ImportTarget:
    return await imports.begin(call.world, call.dest, call.arg, call.payload)


async def import_end(call: Call[VolumeName, ImportResult]) -> None:
    await imports.end(call.world, call.dest, call.arg, call.payload)


ROUTES: tuple[AnyRoute, ...] = (
    Route(volume.IMPORT_BEGIN, import_begin),
    Route(volume.IMPORT_END, import_end),
)
