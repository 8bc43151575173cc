"""Replays: messages of the API to values of the domain and back. Pure."""

from __future__ import annotations

import math

from byteor.v1 import replays_pb2 as pb
from byteord.errors import InvalidArgumentError
from byteord.regions.segments import Range
from byteord.rpc.convert_documents import optional_source
from byteord.rpc.replay_sources import Piece, Uploaded
from byteord.rpc.replay_wanted import ReplayDone, ReplayProgress, ReplayWanted

SPEED_MAX = 1e6


def piece_from_proto(request: pb.UploadSourceRequest) -> Piece:
    """Return a piece of an upload."""
    return Piece(request.name, request.data, request.crc32c)


def uploaded_to_proto(made: Uploaded) -> pb.UploadSourceResponse:
    """Return the answer to an upload."""
    return pb.UploadSourceResponse(source_id=made.id, files=made.files, bytes=made.bytes)


def wanted_from_proto(request: pb.ReplayRequest) -> ReplayWanted:
    """Return the replay that a request wants; raises InvalidArgumentError."""
    if bool(request.source_id) == bool(request.run_id):
        raise InvalidArgumentError(
            "source_id, run_id: seen both or neither; wanted an uploaded source or a run"
        )
    if not 0 <= request.speed <= SPEED_MAX or math.isnan(request.speed):
        raise InvalidArgumentError(
            f"speed: seen {request.speed}; wanted 0 (as fast as possible) to {SPEED_MAX:g}"
        )
    return ReplayWanted(
        request_id=request.request_id,
        source_id=request.source_id,
        run_id=request.run_id,
        lane=request.lane,
        ingress=request.ingress,
        spec=optional_source(request, "spec"),
        deployment=optional_source(request, "deployment"),
        range=_range(request.range),
        speed=request.speed,
        execute=request.execute,
        approval=request.approval,
        actions_max=request.actions_max,
        input_bytes_max=request.input_bytes_max,
        until_divergence=request.until_divergence,
        step=request.step if request.HasField("step") else None,
        client_output=request.client_output,
        trust_code=request.trust_code,
        payloads=request.payloads,
        validate_only=request.validate_only,
    )


def _range(message: pb.ReplayRange) -> Range:
    bounds = {
        name: getattr(message, name) if message.HasField(name) else None
        for name in ("from_sequence", "to_sequence", "from_unix_ns", "to_unix_ns")
    }
    return Range(**bounds, last=message.last)


def event_to_proto(event: ReplayProgress | ReplayDone) -> pb.ReplayResponse:
    """Return what a replay tells."""
    if isinstance(event, ReplayDone):
        return pb.ReplayResponse(result=pb.ReplayResult(**event.fields))
    return pb.ReplayResponse(
        progress=pb.ReplayProgress(
            run_id=event.run_id,
            replayed=event.replayed,
            selected=event.selected,
            phase=event.phase,
        )
    )
