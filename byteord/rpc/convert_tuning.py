"""Knobs and jitter of workers: messages of the API to values of the domain and back. Pure."""

from __future__ import annotations

from byteor.v1 import runs_pb2 as pb
from byteord.rpc.times import timestamp, unix_ns
from byteord.runs.view import JitterView
from byteord.tuning.knobs import Knob

_TEXTS = ("knob", "requested", "applied", "state", "reason", "evidence", "fix")


def knob_to_proto(knob: Knob) -> pb.TuningKnob:
    """Return the message of a knob."""
    texts = {name: getattr(knob, name) for name in _TEXTS}
    return pb.TuningKnob(**texts, since=timestamp(knob.since_unix_ns))


def knob_from_proto(knob: pb.TuningKnob) -> Knob:
    """Return the value of a knob's message."""
    texts = {name: getattr(knob, name) for name in _TEXTS}
    return Knob(**texts, since_unix_ns=unix_ns(knob.since))


def jitter_to_proto(jitter: JitterView) -> pb.Jitter:
    """Return the message of a worker's gaps."""
    return pb.Jitter(**{name: getattr(jitter, name) for name in JitterView.__slots__})


def jitter_from_proto(jitter: pb.Jitter) -> JitterView:
    """Return the value of a worker's gaps."""
    return JitterView(**{name: getattr(jitter, name) for name in JitterView.__slots__})
