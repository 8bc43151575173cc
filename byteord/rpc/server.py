"""The gRPC server of the daemon: one socket, with health and, where wanted, reflection.

Owns the life of the listening socket. It must be used only while the daemon's lock is held.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from structlog.typing import FilteringBoundLogger

from byteor.v1 import control_service_pb2, control_service_pb2_grpc
from byteord.deployment.config import Listen
from byteord.errors import UnavailableError
from byteord.rpc.door import LocalDoor
from byteord.rpc.gate import Gate
from byteord.rpc.interceptor import CallInterceptor, Calls
from byteord.rpc.remote import RemoteDoor
from byteord.rpc.socket_path import (
    group_id,
    make_directory,
    narrow_umask,
    remove_stale,
    set_owner,
)

RECEIVE_BYTES_MAX = 4 << 20
"""Two documents of 1 MiB, or one chunk, with room."""
SEND_BYTES_MAX = 16 << 20
CALLS_MAX = 1024
GRACE_S = 5.0
SERVICE = "byteor.v1.ControlService"
_OPTIONS = (
    ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
    ("grpc.max_send_message_length", SEND_BYTES_MAX),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.max_connection_age_ms", 3_600_000),
)
INNER = "inner"
"""Directory beside the public socket that only the daemon can enter; gRPC listens there."""


class ApiServer:
    """Serves the API between `start` and `stop`."""

    def __init__(
        self,
        listen: Listen,
        servicer: control_service_pb2_grpc.ControlServiceServicer,
        *,
        door: LocalDoor,
        log: FilteringBoundLogger,
        calls: Calls,
    ) -> None:
        self._listen = listen
        self._inner = os.path.join(os.path.dirname(listen.socket), INNER)
        self._gate = Gate(self._inner_socket, door.identities)
        self._door = door
        self._remote = RemoteDoor(listen.tcp, listen.tls, self._gate, log) if listen.tcp else None
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(log, calls, door)],
            options=_OPTIONS,
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        control_service_pb2_grpc.add_ControlServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if listen.reflection:
            _enable_reflection(self._server)

    async def start(self) -> None:
        """Bind the socket, serve, and say so in the health service.

        Raises:
            DeniedError, NotFoundError, WrongStateError, UnavailableError: the socket cannot be had;
            the message says why.
        """
        group = group_id(self._listen.group)
        make_directory(os.path.dirname(self._listen.socket), group)
        remove_stale(self._listen.socket)
        self._bind_inner()
        await self._server.start()
        listener = self._bind(group)
        await self._gate.start(listener)
        if self._remote is not None:
            await self._remote.start()
        self._door.open()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def not_serving(self) -> None:
        """Say in the health service that the daemon goes down; calls are still answered."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Refuse new calls, give those under way a few seconds, remove the socket."""
        await self._server.stop(GRACE_S)
        if self._remote is not None:
            await self._remote.stop()
        await self._gate.stop()
        await self._door.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._listen.socket)
        shutil.rmtree(self._inner, ignore_errors=True)

    @property
    def _inner_socket(self) -> str:
        return os.path.join(self._inner, "s")

    def _bind_inner(self) -> None:
        """Have gRPC listen where only this process goes."""
        shutil.rmtree(self._inner, ignore_errors=True)
        try:
            os.mkdir(self._inner, 0o700)
            self._server.add_insecure_port(f"unix:{self._inner_socket}")
        except (OSError, RuntimeError) as error:
            raise self._not_bound(error) from error

    def _bind(self, group: int) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with narrow_umask(self._listen.mode):
                listener.bind(self._listen.socket)
        except OSError as error:
            listener.close()
            raise self._not_bound(error) from error
        set_owner(self._listen.socket, self._listen.mode, group)
        return listener

    def _not_bound(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"socket {self._listen.socket}: cannot be bound ({error}); is its directory "
            "writable and on a file system "
            "that has sockets?",
            reason="SOCKET_NOT_BOUND",
        )


def _enable_reflection(server: grpc.aio.Server) -> None:
    from grpc_reflection.v1alpha import reflection

    names = [
        control_service_pb2.DESCRIPTOR.services_by_name["ControlService"].full_name,
        health.SERVICE_NAME,
        reflection.SERVICE_NAME,
    ]
    reflection.enable_server_reflection(names, server)
