"""What systemd is told (sd_notify(3)). Without systemd, nothing happens."""

import os
import socket


def notify(*lines: str) -> None:
    """Send state lines such as `READY=1`. Never fails: nobody may be listening."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.send("\n".join(lines).encode())
        except OSError:
            return


def watchdog_interval_s() -> float | None:
    """Return how often systemd wants to hear of us (half its limit), or None."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not text.isdecimal() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 2e6
