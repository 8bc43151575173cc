"""Telling systemd how the daemon is: readiness, status, watchdog, stopping.

The protocol is one datagram of `KEY=VALUE` lines to `$NOTIFY_SOCKET` (sd_notify(3)). A daemon that
systemd did not start has no such variable and says nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Sends state to the service manager, if there is one. Never raises and never blocks."""

    def __init__(self, address: str, watchdog_s: float) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        """Longest time between two pings that systemd accepts, seconds; 0: it expects none."""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Take the variables out of `environ`, so that no child speaks in the daemon's name."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        mine = pid in ("", str(os.getpid()))
        watchdog_s = int(period) / 1e6 if period.isdigit() and mine and address else 0.0
        return cls(address, watchdog_s)

    @property
    def active(self) -> bool:
        """Tell whether somebody listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Say that calls are served now."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """Say that the daemon is alive and well."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """Say that the daemon is on its way down."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, flags) as sender:
            sender.sendto(text.encode(), self._address)
