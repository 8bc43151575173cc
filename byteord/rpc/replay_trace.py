"""Finding the message that differs first, and the pass over the input that follows it.

Blocks on files: not for the event loop. It runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from byteord.capture.verdict import Diverged, Egress
from byteord.regions.segments import Recording
from byteord.rpc.replay_prepare import Prepared
from byteord.rpc.replay_result import Difference
from byteord.runs.replay_job import Harvest, ReplayJob


class Tracer:
    """Looks for the first difference of a replay."""

    def __init__(self, prepared: Prepared) -> None:
        """Nothing is known yet."""
        self._prepared = prepared
        self.job: ReplayJob | None = None
        """The pass that follows the message; None: it cannot be told which one it is."""

    def locate(self, egresses: Sequence[Egress]) -> Difference | None:
        """Return the first difference with what is known of it; None: there is none."""
        found = [each for each in egresses if each.diverged is not None]
        if not found:
            return None
        differences = [self._difference(each) for each in found]
        known = [each for each in differences if each.sequence is not None]
        chosen = min(known, key=lambda each: each.sequence or 0) if known else differences[0]
        self.job = self._follow(chosen)
        return chosen

    def _difference(self, egress: Egress) -> Difference:
        diverged = egress.diverged
        assert diverged is not None  # noqa: S101  asked of those alone
        live, live_ns = self._live(egress, diverged)
        if diverged.window_first is not None:
            return Difference(egress.name, diverged, None)
        time_ns = live_ns if diverged.how == "missing" else diverged.time_ns
        for name in self._prepared.job.inputs:
            recorded = self._prepared.recorded
            recording = recorded.inputs.get(name) or recorded.inputs[""]
            found = recording.segments.find(time_ns=time_ns) if time_ns else None
            if found is not None:
                own, rx, at_ns, _, payload = found
                sequence = rx if recorded.by_rx else own
                kept = replace(diverged, time_ns=at_ns)
                return Difference(egress.name, kept, live, name, sequence, payload)
        return Difference(egress.name, diverged, live)

    def _live(self, egress: Egress, diverged: Diverged) -> tuple[bytes | None, int]:
        """Return what left live at the same place, and its ingress time."""
        if egress.live is None or not egress.live.messages or diverged.how == "extra":
            return None, 0
        found = Recording(egress.live.messages).segments.find(own=diverged.index)
        return (found[4], found[2]) if found is not None else (None, 0)

    def _follow(self, found: Difference) -> ReplayJob | None:
        """Return the pass up to that message, in which it is followed."""
        if found.sequence is None or not found.diverged.time_ns:
            return None
        job = self._prepared.job
        recorded = self._prepared.recorded
        recording = recorded.inputs.get(found.ingress) or recorded.inputs[""]
        at = recording.segments.find(time_ns=found.diverged.time_ns)
        if at is None:
            return None
        given = job.inputs[found.ingress]
        return replace(
            job,
            inputs={**job.inputs, found.ingress: replace(given, high=at[0] + 1)},
            outputs={},
            trace_ns=found.diverged.time_ns,
            stops=False,
            streams="",
            speed=0.0,
            made=None,
            found=Harvest(),
        )

    def again(self) -> ReplayJob:
        """Return the same pass once more, for another spec."""
        assert self.job is not None  # noqa: S101  asked after a pass alone
        return replace(self.job, made=None, found=Harvest())
