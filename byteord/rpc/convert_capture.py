"""From how a run is recorded to its messages and back."""

from __future__ import annotations

from byteor.v1 import runs_pb2 as pb
from byteord.runs.view import CaptureView, StreamView


def capture_to_proto(capture: CaptureView | None) -> pb.Capture | None:
    """Return the message; None for a run that is not recorded."""
    if capture is None:
        return None
    return pb.Capture(
        directory=capture.directory,
        keep=capture.keep,
        outputs=capture.outputs,
        on_full=capture.on_full,
        streams=[
            pb.CaptureStream(
                stream=each.stream,
                name=each.name,
                state=each.state,
                seen=each.seen,
                kept=each.kept,
                bytes=each.bytes,
                lost=each.lost,
                lost_disk=each.lost_disk,
                gaps=each.gaps,
                lag_bytes=each.lag_bytes,
            )
            for each in capture.streams
        ],
    )


def capture_from_proto(capture: pb.Capture) -> CaptureView:
    """Return the value of a message that `capture_to_proto` made."""
    return CaptureView(
        directory=capture.directory,
        keep=capture.keep,
        outputs=capture.outputs,
        on_full=capture.on_full,
        streams=tuple(
            StreamView(**{name: getattr(each, name) for name in StreamView.__slots__})
            for each in capture.streams
        ),
    )
