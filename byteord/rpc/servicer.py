"""The API's methods: convert, call the domain, convert. No logic lives here."""

from __future__ import annotations

from typing import Any

from byteor.v1 import control_service_pb2 as control_pb
from byteor.v1 import control_service_pb2_grpc
from byteord.deployment.model import Environment
from byteord.rpc import convert_facts, facts


class ControlServicer(control_service_pb2_grpc.ControlServiceServicer):
    """Serves `byteor.v1.ControlService`."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    async def GetVersion(  # noqa: N802  name of the API
        self, request: control_pb.GetVersionRequest, context: Any
    ) -> control_pb.GetVersionResponse:
        """Tell what is running here."""
        return convert_facts.version_to_proto(facts.version_facts(self._environment))
