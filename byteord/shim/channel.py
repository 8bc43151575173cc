"""The shim's side of the status channel: one JSON object a packet, to whichever daemons listen.

Sends are best effort and never block: a daemon that does not read misses states, never holds the
run up; the last state is also in `result.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import Any

PACKET_BYTES_MAX = 60 << 10
CLIENTS_MAX = 8


class Channel:
    """The first daemon's inherited connection, and a listening socket for those that adopt."""

    def __init__(self, directory: str, control_fd: int) -> None:
        """Listen on `shim.sock` in the run's directory; `control_fd` -1: no first daemon."""
        self.clients: list[socket.socket] = []
        self.first: socket.socket | None = None
        if control_fd >= 0:
            self.first = socket.socket(fileno=control_fd)
            self._admit(self.first)
        path = os.path.join(directory, "shim.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener.bind(path)
        os.chmod(path, 0o600)
        self.listener.listen(CLIENTS_MAX)
        self.listener.setblocking(False)

    def _admit(self, client: socket.socket) -> None:
        client.setblocking(False)
        self.clients.append(client)

    def accept(self, status: dict[str, Any]) -> socket.socket | None:
        """Take a new daemon in and tell it the state.

        None when there was none or there are too many.
        """
        try:
            client, _ = self.listener.accept()
        except OSError:
            return None
        if len(self.clients) >= CLIENTS_MAX:
            client.close()
            return None
        self._admit(client)
        self._send(client, json.dumps(status).encode())
        return client

    def receive(self, client: socket.socket) -> dict[str, Any] | None:
        """Return one command, {} for nonsense or nothing yet, None when the daemon is gone."""
        try:
            packet = client.recv(PACKET_BYTES_MAX)
        except BlockingIOError:
            return {}
        except OSError:
            packet = b""
        if not packet:
            return None
        try:
            command = json.loads(packet)
        except ValueError:
            return {}
        return command if isinstance(command, dict) else {}

    def drop(self, client: socket.socket) -> bool:
        """Forget a daemon that is gone; True if it was the first one."""
        self.clients.remove(client)
        client.close()
        return client is self.first

    def broadcast(self, status: dict[str, Any]) -> None:
        """Tell all daemons the state."""
        packet = json.dumps(status).encode()
        for client in self.clients:
            self._send(client, packet)

    def _send(self, client: socket.socket, packet: bytes) -> None:
        with contextlib.suppress(OSError):
            client.send(packet[:PACKET_BYTES_MAX], socket.MSG_NOSIGNAL)
