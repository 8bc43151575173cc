"""Lanes of a run to messages of the API and back, and what a tap saw of one."""

from __future__ import annotations

from byteor.v1 import runs_pb2 as pb
from byteord.runs.tap import TapBatch
from byteord.runs.view import LaneConsumerView, LaneStatusView


def lane_to_proto(lane: LaneStatusView) -> pb.LaneStatus:
    """Return the message of a lane."""
    return pb.LaneStatus(
        name=lane.name,
        kind=lane.kind,
        on_full=lane.on_full,
        capacity=lane.capacity,
        depth=lane.depth,
        published=lane.published,
        consumed=lane.consumed,
        dropped=lane.dropped,
        overruns=lane.overruns,
        full=lane.full,
        held_by=lane.held_by,
        stripes=lane.stripes,
        producers=lane.producers,
        consumers=[
            pb.LaneConsumer(
                role=each.role,
                lossy=each.lossy,
                consumed=each.consumed,
                lag_slots=each.lag_slots,
                missed=each.missed,
                nonsense=each.nonsense,
            )
            for each in lane.consumers
        ],
    )


def lane_from_proto(lane: pb.LaneStatus) -> LaneStatusView:
    """Return the value of a message that `lane_to_proto` made."""
    return LaneStatusView(
        name=lane.name,
        kind=lane.kind,
        on_full=lane.on_full,
        capacity=lane.capacity,
        depth=lane.depth,
        published=lane.published,
        consumed=lane.consumed,
        dropped=dict(lane.dropped),
        overruns=lane.overruns,
        full=lane.full,
        held_by=lane.held_by,
        stripes=lane.stripes,
        producers=tuple(lane.producers),
        consumers=tuple(
            LaneConsumerView(
                each.role,
                each.lossy,
                each.consumed,
                each.lag_slots,
                each.missed,
                each.nonsense,
            )
            for each in lane.consumers
        ),
    )


def tap_to_proto(batch: TapBatch) -> pb.TapLaneResponse:
    """Return the message of a batch."""
    return pb.TapLaneResponse(
        messages=[
            pb.TappedMessage(
                sequence=each.sequence,
                stripe=each.stripe,
                time_ns=each.time_ns,
                type=each.type,
                payload=each.payload,
            )
            for each in batch.messages
        ],
        missed=batch.missed,
        filtered=batch.filtered,
        digests=batch.digests,
        ended=batch.ended,
    )
