"""The tree of errors is a contract with every client."""

import inspect
from collections.abc import Iterator

import pytest

from qubeward import errors
from qubeward.errors import AdminError
from qubeward.spec import METHODS
from qubeward.wire.reply import Failure, ReplyReader, encode_failure

#: The classes that upstream's clients know (qubesadmin.exc), of those that ours name.
KNOWN_TO_CLIENTS = {
    "PermissionDenied",
    "ProtocolError",
    "QubesException",
    "QubesFeatureNotFoundError",
    "QubesInvalidLabelError",
    "QubesInvalidLabelValueError",
    "QubesInvalidTagError",
    "QubesLabelInUseError",
    "QubesLabelNotFoundError",
    "QubesMemoryError",
    "QubesNoSuchPropertyError",
    "QubesNoTemplateError",
    "QubesPoolInUseError",
    "QubesPropertyValueError",
    "QubesTagNotFoundError",
    "QubesVolumeCopyTokenNotFoundError",
    "QubesVMAlreadyExistsError",
    "QubesVMError",
    "QubesVMInUseError",
    "QubesVMInvalidUUIDError",
    "QubesVMNotFoundError",
    "QubesVMNotHaltedError",
    "QubesVMNotPausedError",
    "QubesVMNotRunningError",
    "QubesVMNotStartedError",
    "QubesVMShutdownTimeoutError",
    "QubesValueError",
    "StoragePoolException",
}


def _tree(cls: type[AdminError]) -> Iterator[type[AdminError]]:
    for sub in cls.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield sub
            yield from _tree(sub)


RAISABLE = [cls for cls in dict.fromkeys(_tree(AdminError)) if hasattr(cls, "template")]
every_error = pytest.mark.parametrize("cls", RAISABLE, ids=lambda cls: cls.__name__)


def made(cls: type[AdminError], *, text: str) -> AdminError:
    return cls(*(text for _ in inspect.signature(cls).parameters))


def sent(error: AdminError) -> Failure:
    reader = ReplyReader()
    reader.feed(encode_failure(error))
    answer = reader.end()
    assert isinstance(answer, Failure)
    return answer


@every_error
@pytest.mark.parametrize("text", ["plain", "100%", "%s %d %(x)s %%", "50% full", "", "é\n\t"])
def test_every_error_can_be_sent_and_read_whatever_its_fields(
    cls: type[AdminError], text: str
) -> None:
    error = made(cls, text=text)
    answer = sent(error)
    assert answer.wire_name == cls.wire_name
    # What upstream's clients do; a stray % would raise here.
    assert answer.template % answer.fields == str(error)
    assert answer.traceback == ""


@every_error
def test_every_error_has_as_many_fields_as_its_template_has_places(cls: type[AdminError]) -> None:
    error = made(cls, text="x")
    assert cls.template.count("%s") == len(error.fields)
    assert cls.template.count("%") == cls.template.count("%s")
    assert all(isinstance(field, str) for field in error.fields)


@every_error
def test_every_error_has_a_name_that_clients_know(cls: type[AdminError]) -> None:
    assert cls.wire_name in KNOWN_TO_CLIENTS
    assert cls.__name__.endswith("Error")
    assert cls.__doc__


def test_every_error_that_a_row_names_can_be_raised() -> None:
    named = {error for method in METHODS.values() for error in method.errors}
    assert named <= set(RAISABLE)


def test_a_zero_byte_in_a_field_does_not_break_the_frame() -> None:
    answer = sent(errors.BadValueError("qube\0name", "a\0\0b"))
    assert answer.fields == ("qubename", "ab")


def test_digits_in_a_field_fill_a_text_place_in_clients_that_make_them_numbers() -> None:
    error = errors.TagNotFoundError("work", "42")
    answer = sent(error)
    fields = tuple(int(field) if field.isdigit() else field for field in answer.fields)
    assert answer.template % fields == str(error)


def test_a_denial_has_no_fields_at_all() -> None:
    assert encode_failure(errors.PermissionDeniedError()) == b"2\0PermissionDenied\0\0Denied\0"
