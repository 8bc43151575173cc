"""Random graphs for replays: every kind of lane and role, and stages that tell any difference.

What leaves depends on the order in which messages came, on how calls were cut into batches and on
what was dropped, so that a replay that does anything else than the run did is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from tests.property.documents import toml_text
from tests.support.graphs import ALL_KINDS, Shape, random_graph

MODULE = "replay_graph_stages"
CODE = '''
class Number:
    """Write behind each message which one it was."""
    def __init__(self, ctx):
        self.count = 0
    def process(self, batch):
        for index, payload in enumerate(batch):
            self.count += 1
            batch.replace(index, b"%s,%d" % (bytes(payload), self.count % 1000))

class Sized:
    """Write the size of the batch over the last byte of each message."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, bytes(payload)[:-1] + b"%x" % (len(batch) % 16))

class Split:
    """Make some messages two."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            data = bytes(payload)
            if data[3:4] in b"05":
                batch.emit(index, data + b"+")

class Odd:
    """Drop some messages."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            if sum(payload) % 5 == 1:
                batch.drop(index)
'''
_OWN = {"effects": [], "deterministic": True}
STAGES: tuple[dict[str, Any], ...] = (
    {"stage": "identity"},
    {"stage": "filter", "config": {"contains": "1"}},
    {"stage": f"python:{MODULE}:Number", "mutates": "all", "resizes": True, **_OWN},
    {"stage": f"python:{MODULE}:Sized", "mutates": "all", **_OWN},
    {"stage": f"python:{MODULE}:Split", "resizes": True, "outputs_max": 2, **_OWN},
    {"stage": f"python:{MODULE}:Odd", "drops": True, **_OWN},
)
FUSE = ("auto", "never", "always")


def replay_graph(seed: int) -> dict[str, Any]:
    """Return a graph with several ingresses, a merge, and something that leaves."""
    random = Random(seed)
    shape = Shape(kinds=ALL_KINDS, stages=STAGES)
    while True:
        tree = random_graph(random, shape)
        ends = [end["kind"] for end in tree["endpoints"]]
        merges = any(role["kind"] == "merge" for role in tree.get("roles", ()))
        if ends.count("ingress") > 1 and "egress" in ends and merges:
            return tree


def replay_deployment(tree: Mapping[str, Any], data: Path, seed: int, messages: int) -> str:
    """Return a deployment that reads and writes files and records; how it runs is the seed's."""
    adapters: dict[str, Any] = {}
    for number, end in enumerate(tree["endpoints"]):
        path = data / end["name"]
        adapters[end["name"]] = {"kind": "file", "path": str(path), "framing": "lines"}
        if end["kind"] == "egress":
            adapters[end["name"]]["mode"] = "truncate"
        else:
            path.write_bytes(b"".join(b"%04d:%d\n" % (at, number) for at in range(messages)))
    document: dict[str, Any] = {
        "adapters": adapters,
        "capture": {
            "directory": str(data / "captures"),
            "outputs": ("messages", "digest")[seed % 2],
            "on_full": ("degrade", "wait")[seed // 2 % 2],
        },
        "tuning": {"fuse": FUSE[seed % 3]},
    }
    durable = [lane["name"] for lane in tree["lanes"] if lane.get("durable")]
    if durable:
        document["journals"] = {name: {"directory": str(data / f"j-{name}")} for name in durable}
    return toml_text(document)


def features(tree: Mapping[str, Any], seed: int) -> set[str]:
    """Return what a graph has, and how it runs, of what a replay may get wrong."""
    found = {f"fuse {FUSE[seed % 3]}", f"outputs {seed % 2}", f"on_full {seed // 2 % 2}"}
    for lane in tree["lanes"]:
        found.add(f"lane {lane['kind']}")
        found |= {key for key in ("durable", "lossy") if lane.get(key)}
        found |= {"stripes"} if lane.get("publishers_max", 1) > 1 else set()
    for role in tree["roles"]:
        what = role.get("mode") or role.get("stage", "").rpartition(":")[2]
        found.add(f"{role['kind']} {what}".strip())
        found |= {"in place"} if role["rx"] == role.get("tx") else set()
        found |= {"dead letters"} if role.get("dead_letter") else set()
    return found


def wanted_features() -> set[str]:
    """Return everything that the graphs of a test have to have between them."""
    return {
        *(f"lane {kind}" for kind in ALL_KINDS),
        *(f"merge {mode}" for mode in ("round_robin", "priority", "ordered")),
        *(f"router {mode}" for mode in ("broadcast", "work_queue", "key_hash")),
        *(f"stage {row['stage'].rpartition(':')[2]}" for row in STAGES),
        *(f"fuse {how}" for how in FUSE),
        *("bridge", "in place", "stripes", "durable", "lossy", "dead letters"),
        *("outputs 0", "outputs 1", "on_full 0", "on_full 1"),
    }
