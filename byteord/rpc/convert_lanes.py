"""Lanes of a run, and what a tap saw of one: to messages of the API and back. Pure."""

from __future__ import annotations

from byteor.v1 import runs_pb2 as pb
from byteord.runs.tap import TapBatch, TapFilter
from byteord.runs.view import ConsumerView, HoldView, LaneStatusView


def lane_to_proto(lane: LaneStatusView) -> pb.LaneStatus:
    """Return the message of a lane."""
    return pb.LaneStatus(
        name=lane.name,
        kind=lane.kind,
        on_full=lane.on_full,
        capacity=lane.capacity,
        slot_bytes=lane.slot_bytes,
        stripes=lane.stripes,
        depth=lane.depth,
        published=lane.published,
        consumed=lane.consumed,
        dropped=lane.dropped,
        overruns=lane.overruns,
        full=lane.full,
        held_by=lane.held_by,
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
        slot_bytes=lane.slot_bytes,
        stripes=lane.stripes,
        depth=lane.depth,
        published=lane.published,
        consumed=lane.consumed,
        dropped=dict(lane.dropped),
        overruns=lane.overruns,
        full=lane.full,
        held_by=lane.held_by,
        producers=tuple(lane.producers),
        consumers=tuple(
            ConsumerView(
                each.role, each.lossy, each.consumed, each.lag_slots, each.missed, each.nonsense
            )
            for each in lane.consumers
        ),
    )


def hold_to_proto(hold: HoldView) -> pb.Hold:
    """Return the message of a hold."""
    return pb.Hold(
        role=hold.role,
        lane=hold.lane,
        by=hold.by,
        lag_slots=hold.lag_slots,
        root=hold.root,
        message=hold.message,
    )


def hold_from_proto(hold: pb.Hold) -> HoldView:
    """Return the value of a message that `hold_to_proto` made."""
    return HoldView(hold.role, hold.lane, hold.by, hold.lag_slots, hold.root, hold.message)


def tap_from_proto(request: pb.TapLaneRequest) -> TapFilter:
    """Return what a tap is to show, and for how long."""
    seconds = request.timeout.seconds + request.timeout.nanos / 1e9
    return TapFilter(request.contains, request.limit, max(seconds, 0.0))


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
        timed_out=batch.timed_out,
        withheld=batch.withheld,
    )
