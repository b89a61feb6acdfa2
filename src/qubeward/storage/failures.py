"""What the operating system refuses, said as a storage error."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ..errors import StorageError


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Raise `StorageError` about `what` for any `OSError` from inside.

    The caller of an Admin API call may see it: it says what the system said, without host paths
    (those are in the cause, for the log).
    """
    try:
        yield
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "")
        said = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(what, f"{said} ({code})" if code else said) from error
