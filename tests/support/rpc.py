"""What tests ask of the API as clients: a stub, and what a refused call says."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from byteor.v1 import control_service_pb2_grpc
from tests.support.daemon import DaemonProcess

M = TypeVar("M", bound=Message)


@contextlib.contextmanager
def stub_of(daemon: DaemonProcess) -> Iterator[Any]:
    """Provide a stub over a channel of its own."""
    with grpc.insecure_channel(daemon.address) as channel:
        yield control_service_pb2_grpc.ControlServiceStub(channel)


def request_id() -> str:
    """Return a fresh request id."""
    return str(uuid.uuid4())


def detail_of(error: Any, kind: type[M]) -> M | None:
    """Return the detail of a kind in a refused call, or None."""
    status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def reason_of(error: Any) -> str:
    """Return the reason in a refused call's ErrorInfo, which must be byteor's."""
    info = detail_of(error, error_details_pb2.ErrorInfo)
    assert info is not None
    assert info.domain == "byteor"
    reason: str = info.reason
    return reason
