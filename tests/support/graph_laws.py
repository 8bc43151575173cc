"""What a LaneGraph run must deliver, worked out from its plan alone, apart from how it is executed.

A lane carries a bag of messages: exact where nothing chooses or loses, else an upper bound. It is
in order where each ingress's messages stay in theirs, and fixed where every run gives one sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from byteord.deployment.plan import RolePlan, RunPlan

Bag = Counter[bytes]
_PRIME, _MASK = 1099511628211, (1 << 64) - 1


@dataclass(frozen=True)
class Flow:
    """What a lane carries, or an egress gets."""

    bag: Bag = field(default_factory=Counter)
    exact: bool = True
    ordered: bool = True
    fixed: bool = True
    timed: bool = True
    """In the order of ingress times."""


def key_hash(message: bytes, offset: int, length: int) -> int:
    """Return what a key_hash router goes by: FNV-1a of the key, its halves mixed."""
    value = 1469598103934665603
    for byte in message[offset : offset + length if length else None]:
        value = (value ^ byte) * _PRIME & _MASK
    value ^= value >> 32
    return (value * 0x9E3779B97F4A7C15 & _MASK) >> 32


def expected(plan: RunPlan, inputs: Mapping[str, Sequence[bytes]]) -> dict[str, Flow]:
    """Return the flow into each egress, by name; messages begin with their ingress's number."""
    lanes: dict[int, list[Flow]] = {lane.index: [] for lane in plan.lanes}
    found = {}
    for role in plan.roles:
        taken = [_read(lanes, rx.lane, lossy=rx.lossy) for rx in role.rx]
        if role.kind == "ingress":
            lanes[role.tx[0].lane].append(Flow(Counter(inputs[role.name])))
        elif role.kind == "egress":
            found[role.name] = taken[0]
        elif not role.in_place:
            for lane, flow in _passed(role, taken):
                lanes[lane].append(flow)
    return found


def _read(lanes: Mapping[int, list[Flow]], lane: int, *, lossy: bool) -> Flow:
    """Return what a consumer of a lane gets: all of its stripes, mingled."""
    flow = _mingled(lanes[lane])
    if lossy:
        return replace(flow, exact=False, fixed=False)
    return flow


def _mingled(flows: Sequence[Flow], *, by_time: bool = False) -> Flow:
    flows = [flow for flow in flows if flow.bag or not flow.exact]
    if not flows:
        return Flow()
    if len(flows) == 1:
        return flows[0]
    sources = [{message[:1] for message in flow.bag} for flow in flows]
    apart = sum(map(len, sources)) == len(set().union(*sources))
    alone = len(set().union(*sources)) <= 1
    by_time = by_time and all(flow.timed for flow in flows)
    return Flow(
        sum((flow.bag for flow in flows), Counter()),
        exact=all(flow.exact for flow in flows),
        ordered=all(flow.ordered for flow in flows) and (apart or by_time),
        fixed=by_time and alone and all(flow.fixed for flow in flows),
        timed=by_time,
    )


def refused(message: bytes) -> bool:
    """Tell what the stage `Picky` of `STAGES_THAT_RUN` fails on."""
    return message[7:8] == b"7"


def split(bag: Bag) -> Bag:
    """Return what the stage `Split` makes of messages: each, and one more that sorts behind it."""
    return bag + Counter({message + b"'": count for message, count in bag.items()})


STAGES_THAT_RUN = """
class Split:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        for index in range(len(batch)):
            batch.emit(index, bytes(batch[index]) + b"'")


class Picky:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        for message in batch:
            if bytes(message)[7:8] == b"7":
                raise ValueError("a seven")
"""
"""The module `passes`: Python stages of which these laws know what they do."""


def _passed(role: RolePlan, taken: Sequence[Flow]) -> list[tuple[int, Flow]]:
    flow = _mingled(taken, by_time=role.mode == "ordered")
    if role.stage == "python:passes:Split":
        flow = replace(flow, bag=split(flow.bag))
    if role.stage == "python:passes:Picky":
        assert role.dead_letter is not None
        bad = Counter({m: count for m, count in flow.bag.items() if refused(m)})
        letters = (role.dead_letter.lane, replace(flow, bag=bad))
        rest = replace(flow, bag=flow.bag - bad)
        return [letters, *((tx.lane, rest) for tx in role.tx)]
    outputs = [tx.lane for tx in role.tx]
    if role.mode == "work_queue":
        share = replace(flow, exact=False, fixed=False)
        return [(lane, share) for lane in outputs]
    if role.mode == "key_hash":
        assert role.key is not None
        parts: list[Bag] = [Counter() for _ in outputs]
        for message, count in flow.bag.items():
            parts[key_hash(message, *role.key) % len(outputs)][message] += count
        return [(lane, replace(flow, bag=part)) for lane, part in zip(outputs, parts, strict=True)]
    return [(lane, flow) for lane in outputs]


def check_output(name: str, flow: Flow, output: Sequence[bytes]) -> None:
    """An egress got what the graph promises: nothing made up, nothing lost, order kept."""
    got = Counter(output)
    made_up = got - flow.bag
    assert not made_up, f"{name}: {sorted(made_up)[:3]} and more were made up or repeated"
    if flow.exact:
        lost = flow.bag - got
        assert not lost, f"{name}: {sum(lost.values())} lost, as {sorted(lost)[:3]}"
    if flow.ordered:
        last: dict[bytes, bytes] = {}
        for message in output:
            before = last.get(message[:1], b"")
            assert before <= message, f"{name}: {message!r} came after {before!r}"
            last[message[:1]] = message


def check_conservation(plan: RunPlan, read: Mapping[str, Any]) -> None:
    """At the end every lane has sent what its consumers got and lost, by the exact counts."""
    roles = {role["name"]: role for role in read["roles"]}
    for lane in read["lanes"]:
        for consumer in lane["consumers"]:
            told = consumer["consumed"] + consumer["missed"] + consumer["nonsense"]
            assert told == lane["published"], (lane, consumer)
    for role in plan.roles:
        if role.kind in {"router", "bridge", "merge"}:
            dropped = sum(sum(read["lanes"][tx.lane]["dropped"].values()) for tx in role.tx)
            sent = roles[role.name]["published"] + dropped
            copies = len(role.tx) if role.mode == "broadcast" else 1
            assert sent == copies * roles[role.name]["received"], roles[role.name]
