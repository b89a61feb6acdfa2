"""Errors come back as the classes they were raised as, whoever sent them."""

from collections.abc import Iterator

import pytest

from qubeward import errors
from qubeward.client.errors import BY_WIRE_NAME, RemoteError, error_of
from qubeward.errors import AdminError
from qubeward.wire.reply import Failure, ReplyReader, encode_failure


def classes(root: type[AdminError] = AdminError) -> Iterator[type[AdminError]]:
    for row in root.__subclasses__():
        if row.__module__ == "qubeward.errors":
            yield row
            yield from classes(row)


def travelled(error: AdminError) -> AdminError:
    reader = ReplyReader()
    reader.feed(encode_failure(error))
    failure = reader.end()
    assert isinstance(failure, Failure)
    return error_of(failure)


@pytest.mark.parametrize(
    "row", [row for row in classes() if hasattr(row, "wire_name")], ids=lambda row: row.__name__
)
def test_every_error_survives_the_wire(row: type[AdminError]) -> None:
    fields = tuple(f"100 %s {i}" for i in range(row.template.count("%s")))
    error = travelled(row(*fields))
    assert type(error) is row
    assert error.fields == fields
    assert str(error) == str(row(*fields))


def test_the_table_has_all_of_them() -> None:
    assert {row for rows in BY_WIRE_NAME.values() for row in rows} == {
        row for row in classes() if hasattr(row, "wire_name")
    }


def test_other_servers_texts_are_kept_and_caught_as_the_class() -> None:
    failure = Failure("QubesVMNotFoundError", "No such domain: %r (%d %%)", ("work",))
    error = error_of(failure)
    assert isinstance(error, errors.QubeNotFoundError)
    assert isinstance(error, RemoteError)
    assert error.wire_name == "QubesVMNotFoundError"
    assert "work" in str(error)
    assert error.fields == ("work",)


def test_one_finished_sentence_with_a_percent_sign_does_no_harm() -> None:
    error = error_of(Failure("QubesValueError", "100% of %s wrong", ()))
    assert isinstance(error, errors.BadValueError)
    assert str(error) == "100% of %s wrong"


def test_of_several_classes_the_plainest_is_taken() -> None:
    assert isinstance(error_of(Failure("ProtocolError", "Huh?", ())), errors.ProtocolError)
    assert isinstance(
        error_of(Failure("PermissionDenied", "Go away", ())), errors.PermissionDeniedError
    )
    assert not isinstance(
        error_of(Failure("PermissionDenied", "Go away", ())), errors.ForbiddenError
    )


def test_where_none_is_plain_or_known_it_is_a_remote_error() -> None:
    for name in ("QubesException", "QubesNewError", "", "AdminError"):
        error = error_of(Failure(name, "It is %s", ("bad",)))
        assert type(error) is RemoteError
        assert error.remote_name == name
        assert str(error) == "It is bad"


def test_the_right_name_with_the_wrong_fields_is_still_told() -> None:
    error = error_of(Failure("QubesVMInUseError", errors.QubeInUseError.template, ("work",)))
    assert isinstance(error, errors.QubeInUseError)
    assert "work" in str(error)
