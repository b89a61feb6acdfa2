"""Every error a caller may see.

A reply carries the wire name, a constant %-template, and the fields for it: everything variable
is a field, because clients run `template % fields` (a `%` in a finished sentence crashes them).
The wire names are upstream's, so that its clients raise the class they know.
"""

from typing import ClassVar


class AdminError(Exception):
    """Root of what may be shown to a caller."""

    wire_name: ClassVar[str]
    template: ClassVar[str]

    def __init_subclass__(cls, *, wire: str | None = None, says: str | None = None) -> None:
        super().__init_subclass__()
        if wire is not None:
            cls.wire_name = wire
        if says is not None:
            cls.template = says

    def __init__(self, *fields: str) -> None:
        super().__init__(*fields)
        self.fields = fields

    def __str__(self) -> str:
        return self.template % self.fields


class ProtocolError(AdminError, wire="ProtocolError", says="Invalid %s: %s"):
    """The request breaks the protocol (a bug in the client)."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)


class NoSuchMethodError(AdminError, wire="ProtocolError", says="No such method: %s"):
    """The name is in no table."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class InvalidTagError(AdminError, wire="QubesInvalidTagError", says="Invalid tag: %s"):
    """A tag out of the rules."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class PermissionDeniedError(AdminError, wire="PermissionDenied", says="Denied"):
    """Policy refused the call, and says nothing more."""

    def __init__(self) -> None:
        super().__init__()


class ForbiddenError(AdminError, wire="PermissionDenied", says="Not through this call: %s"):
    """A caller who may make the call asked for what the call never does."""

    def __init__(self, what: str) -> None:
        super().__init__(what)


class BadValueError(AdminError, wire="QubesValueError", says="Invalid %s: %s"):
    """A value out of its range or grammar."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)


class PropertyValueError(
    BadValueError, wire="QubesPropertyValueError", says="Invalid value for property %s: %s"
):
    """A value that the property does not take."""


class NoSuchPropertyError(
    AdminError, wire="QubesNoSuchPropertyError", says="No such property on %s: %s"
):
    """The holder has no property of this name."""

    def __init__(self, holder: str, name: str) -> None:
        super().__init__(holder, name)


class QubeNotFoundError(AdminError, wire="QubesVMNotFoundError", says="No such domain: %s"):
    """No qube has this name or uuid."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class InvalidUuidError(AdminError, wire="QubesVMInvalidUUIDError", says="Invalid UUID: %s"):
    """A `uuid:` reference that is not one."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class QubeExistsError(
    AdminError, wire="QubesVMAlreadyExistsError", says="Domain already exists: %s"
):
    """The name is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class QubeInUseError(AdminError, wire="QubesVMInUseError", says="Domain %s is in use: %s"):
    """Something else needs the qube."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)


class QubeError(AdminError, wire="QubesVMError", says="Domain %s: %s"):
    """The qube can't do this."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)


class _WrongStateError(AdminError):
    def __init__(self, name: str) -> None:
        super().__init__(name)


class NotHaltedError(
    _WrongStateError, wire="QubesVMNotHaltedError", says="Domain is not halted: %s"
):
    """The call needs a halted qube."""


class NotStartedError(
    _WrongStateError, wire="QubesVMNotStartedError", says="Domain is powered off: %s"
):
    """The call needs a started qube."""


class NotRunningError(
    _WrongStateError, wire="QubesVMNotRunningError", says="Domain is not running: %s"
):
    """The call needs a running qube."""


class NotPausedError(
    _WrongStateError, wire="QubesVMNotPausedError", says="Domain is not paused: %s"
):
    """The call needs a paused qube."""


class NoTemplateError(
    _WrongStateError, wire="QubesNoTemplateError", says="Template of the domain is missing: %s"
):
    """The qube's template is gone."""


class ShutdownTimeoutError(
    _WrongStateError,
    wire="QubesVMShutdownTimeoutError",
    says="Domain did not shut down in time: %s",
):
    """`Shutdown+wait` outlasted shutdown_timeout."""


class StartFailedError(AdminError, wire="QubesException", says="Domain %s failed to start: %s"):
    """A start that was undone; the whole cause is in the log."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)


class OutOfMemoryError(
    AdminError, wire="QubesMemoryError", says="Not enough memory to start domain %s"
):
    """The host can't give the memory."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class TagNotFoundError(
    AdminError, wire="QubesTagNotFoundError", says="Tag not set for domain %s: %s"
):
    """Remove of a tag that the qube has not."""

    def __init__(self, qube: str, tag: str) -> None:
        super().__init__(qube, tag)


class FeatureNotFoundError(
    AdminError, wire="QubesFeatureNotFoundError", says="Feature not set for domain %s: %s"
):
    """The qube (and what the call falls back to) has no such feature."""

    def __init__(self, qube: str, feature: str) -> None:
        super().__init__(qube, feature)


class LabelNotFoundError(AdminError, wire="QubesLabelNotFoundError", says="No such label: %s"):
    """No label has this name or index."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class InvalidLabelError(AdminError, wire="QubesInvalidLabelError", says="Invalid label name: %s"):
    """A label name out of the rules."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class InvalidLabelValueError(
    AdminError, wire="QubesInvalidLabelValueError", says="Invalid label color: %s"
):
    """A color out of the grammar."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class LabelInUseError(AdminError, wire="QubesLabelInUseError", says="Label is in use: %s"):
    """The label exists already, or a qube wears it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class PoolNotFoundError(AdminError, wire="QubesException", says="No such storage pool: %s"):
    """No pool has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class PoolInUseError(AdminError, wire="QubesPoolInUseError", says="Storage pool is in use: %s: %s"):
    """The pool exists already, or something is kept in it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)


class MissingOptionError(
    AdminError, wire="QubesException", says="The storage driver %s needs the option %s"
):
    """A pool was to be added without what its driver can't do without."""

    def __init__(self, driver: str, option: str) -> None:
        super().__init__(driver, option)


class VolumeTokenError(
    AdminError, wire="QubesVolumeCopyTokenNotFoundError", says="No such token to clone a volume"
):
    """The token was never given, was used, or is too old."""

    def __init__(self) -> None:
        super().__init__()


class OperationNotFoundError(
    AdminError, wire="QubesException", says="No such operation is under way: %s"
):
    """The operation is over, or never was."""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier)


class StorageError(AdminError, wire="StoragePoolException", says="Storage: %s: %s"):
    """A storage driver could not do its work."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)


class HypervisorError(AdminError, wire="QubesException", says="Hypervisor: %s: %s"):
    """The hypervisor refused or failed."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)


class StoreError(
    AdminError, wire="QubesException", says="The change could not be stored and was undone: %s"
):
    """The state's store failed (a full disk, say); reads go on."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class BusyError(AdminError, wire="QubesException", says="The daemon is busy: %s"):
    """A cap was reached; try again later."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class LaggedError(
    AdminError, wire="QubesException", says="Events were dropped: the reader is %s events behind"
):
    """A subscriber read too slowly; its stream ends with this."""

    def __init__(self, behind: str) -> None:
        super().__init__(behind)


class InternalError(AdminError, wire="QubesException", says="Internal error, see log entry %s"):
    """A bug in the daemon: the caller gets a number, the log gets the traceback."""

    def __init__(self, incident: str) -> None:
        super().__init__(incident)
