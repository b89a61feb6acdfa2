"""Who is at the other end of a local socket, as the kernel tells."""

import grp
import os
import socket
import struct
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59  # asm-generic/socket.h; Python has no name for it
#: What Python lets getsockopt return (1024 bytes). Who is in more groups needs it as primary group.
_MOST_GROUPS = 256


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may use the administrator's sockets: root, this daemon's user, and one group."""

    uid: int
    group: int | None

    def admits(self, sock: socket.socket) -> bool:
        """Tell whether the peer may make calls at all."""
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, gid = _CREDENTIALS.unpack(raw)
        if uid in (0, self.uid):
            return True
        return self.group is not None and (gid == self.group or self._is_member(sock))

    def _is_member(self, sock: socket.socket) -> bool:
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
        except OSError:
            return False
        count = len(raw) // 4
        return self.group in struct.unpack(f"{count}I", raw[: 4 * count])


def administrators(group: str) -> Admitted:
    """Return who may use the administrator's sockets, with the group if the host has it."""
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        gid = None
    return Admitted(os.geteuid(), gid)
