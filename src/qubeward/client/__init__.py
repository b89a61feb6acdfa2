"""Calls of the Admin API, made from Python and typed by the same table as the server.

client = Client(UnixSocket(Path("/run/qubesd.sock")))
await client.call(spec.tag.SET, "work", TagName("personal"))   # None, as the row says
await Qube(client, "work").start()
"""

from ..wire.dialect import Dialect
from .blocking import BlockingClient
from .call import Client
from .channel import InProcess, Transport, UnixSocket, socket_of
from .errors import BadReplyError, ConnectionFailedError, NoReplyInTimeError, RemoteError
from .events import follow
from .qubes import Qube, Qubes
from .volumes import Pools, Volume

__all__ = [
    "BadReplyError",
    "BlockingClient",
    "Client",
    "ConnectionFailedError",
    "Dialect",
    "InProcess",
    "NoReplyInTimeError",
    "Pools",
    "Qube",
    "Qubes",
    "RemoteError",
    "Transport",
    "UnixSocket",
    "Volume",
    "follow",
    "socket_of",
]
