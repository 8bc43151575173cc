"""Facts about this build to messages of the API. Pure."""

from __future__ import annotations

from byteor.v1 import control_service_pb2 as control_pb
from byteord.rpc.facts import VersionFacts


def version_to_proto(facts: VersionFacts) -> control_pb.GetVersionResponse:
    """Return the answer to GetVersion."""
    return control_pb.GetVersionResponse(
        version=facts.version,
        python=facts.python,
        environment=facts.environment,
        libraries=facts.libraries,
        pid=facts.pid,
    )
