"""Random LaneGraph specs that are valid by construction, for property and execution tests.

`random_graph` writes lanes and roles, `random_plan` stages and connections. Both return a tree of
tables; `tests.property.documents` writes it as TOML or KV. The same random source gives the same
tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

CLOSED = ("events", "fanout_broadcast")
ALL_KINDS = (*CLOSED, "journal", "sequenced_slots")
STAGES: tuple[dict[str, Any], ...] = (
    {"stage": "identity"},
    {"stage": "python:stages:Pass", "effects": []},
    {"stage": "python:stages:Split", "effects": [], "resizes": True, "outputs_max": 3},
    {"stage": "cabi:stages.so:look", "effects": [], "deterministic": True},
    {"stage": "filter", "config": {"equals": "x"}},
)
"""Stages of any sort, for tests that do not run them."""
LEAVING_MAX = 12
"""Most connections that leave one place: more than one fan-out has room for."""
PASSING: tuple[dict[str, Any], ...] = ({"stage": "identity"},)
"""Stages that hand on what they get, for tests that do."""


@dataclass(slots=True)
class Shape:
    """What a random graph may have."""

    roles_max: int = 12
    kinds: tuple[str, ...] = ALL_KINDS
    stages: tuple[dict[str, Any], ...] = STAGES
    capacity: tuple[int, int] = (3, 8)
    """Smallest and largest capacity, as powers of two."""
    slot_bytes: int = 128
    """Of every lane, so that any message passes anywhere."""
    lossy: bool = True
    dead_letters: bool = True
    durable: bool = True
    ingress_max: int = 3
    merge_modes: tuple[str, ...] = ("round_robin", "priority", "ordered")
    router_modes: tuple[str, ...] = ("broadcast", "work_queue", "key_hash")


def random_graph(random: Random, shape: Shape | None = None) -> dict[str, Any]:
    """Return a valid spec of lanes and roles."""
    return _Grower(random, shape or Shape()).grow()


@dataclass(slots=True)
class _Grower:
    """A graph that grows from its ingress endpoints until every lane has a consumer."""

    random: Random
    shape: Shape
    lanes: list[dict[str, Any]] = field(default_factory=list)
    roles: list[dict[str, Any]] = field(default_factory=list)
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    open: list[dict[str, Any]] = field(default_factory=list)
    """Lanes that nobody reads yet."""

    def grow(self) -> dict[str, Any]:
        for _ in range(self.random.randint(1, self.shape.ingress_max)):
            self._ingress()
        while len(self.roles) < self.shape.roles_max and self.random.random() < 0.9:
            self._step()
        self._finish()
        if self.shape.dead_letters and self.random.random() < 0.3:
            self._dead_letters()
        self._lossy()
        tree = {
            "name": "random",
            "model": "lane_graph",
            "on_full": "block",
            "allow_lanes": ["journal", "sequenced_slots"],
            "endpoints": self.endpoints,
            "lanes": self.lanes,
        }
        return {**tree, "roles": self.roles} if self.roles else tree

    def _lane(self, kind: str = "", **more: Any) -> dict[str, Any]:
        lane: dict[str, Any] = {
            "name": f"l{len(self.lanes)}",
            "kind": kind or self._kind(),
            "slot_bytes": self.shape.slot_bytes,
            **more,
        }
        if lane["kind"] != "journal":
            lane["capacity"] = 1 << self.random.randint(*self.shape.capacity)
        elif self.shape.durable and self.random.random() < 0.3:
            lane["durable"] = True
        self.lanes.append(lane)
        self.open.append(lane)
        return lane

    def _kind(self) -> str:
        weights = [
            6 if kind == "events" else 2 if kind in CLOSED else 1 for kind in self.shape.kinds
        ]
        return self.random.choices(self.shape.kinds, weights)[0]

    def _endpoint(self, kind: str, lane: dict[str, Any]) -> None:
        count = sum(1 for each in self.endpoints if each["kind"] == kind)
        prefix = {"ingress": "in", "egress": "out"}[kind]
        self.endpoints.append({"name": f"{prefix}{count}", "kind": kind, "lane": lane["name"]})

    def _ingress(self) -> None:
        several = [lane for lane in self.open if lane["kind"] == "events"]
        if several and self.random.random() < 0.3:
            lane = self.random.choice(several)
            lane["publishers_max"] = lane.get("publishers_max", 1) + 1
        else:
            lane = self._lane()
        self._endpoint("ingress", lane)

    def _role(self, kind: str, rx: list[str], tx: list[str], **more: Any) -> dict[str, Any]:
        role: dict[str, Any] = {"name": f"r{len(self.roles)}", "kind": kind, "rx": rx}
        if tx:
            role["tx"] = tx
        self.roles.append({**role, **more})
        return self.roles[-1]

    def _take(self) -> dict[str, Any]:
        """Return an open lane to read from; a fan-out may stay open for more readers."""
        lane = self.random.choice(self.open)
        self._read(lane)
        return lane

    def _read(self, lane: dict[str, Any]) -> None:
        lane["_readers"] = lane.get("_readers", 0) + 1
        stays = {"fanout_broadcast": 8, "journal": 3}.get(lane["kind"], 1)
        if lane["_readers"] >= stays or self.random.random() < 0.4 or stays == 1:
            self.open.remove(lane)
        if lane["kind"] == "sequenced_slots":
            self._in_place(lane)

    def _in_place(self, lane: dict[str, Any]) -> None:
        before: list[str] = []
        for _ in range(self.random.randint(0, 2)):
            more: dict[str, Any] = {"depends_on": [before[-1]]} if before else {}
            role = self._role("stage", [lane["name"]], [lane["name"]], stage="identity", **more)
            before.append(role["name"])

    def _step(self) -> None:
        step = self.random.choice(
            (self._stage, self._stage, self._bridge, self._router, self._merge)
        )
        step()

    def _stage(self) -> None:
        source = self._take()
        sort = dict(self.random.choice(self.shape.stages))
        sink = len(self.open) > 0 and self.random.random() < 0.1
        self._role("stage", [source["name"]], [] if sink else [self._lane()["name"]], **sort)

    def _bridge(self) -> None:
        source = self._take()
        self._role("bridge", [source["name"]], [self._lane()["name"]])

    def _router(self) -> None:
        source = self._take()
        mode = self.random.choice(self.shape.router_modes)
        more = {"key": {"offset": 0, "length": 4}} if mode == "key_hash" else {}
        lanes = [self._lane()["name"] for _ in range(self.random.randint(2, 3))]
        self._role("router", [source["name"]], lanes, mode=mode, **more)

    def _merge(self) -> None:
        if len(self.open) < 2:
            self._stage()
            return
        sources = self.random.sample(self.open, self.random.randint(2, min(3, len(self.open))))
        for lane in sources:
            self._read(lane)
        mode = self.random.choice(self.shape.merge_modes)
        self._role("merge", [lane["name"] for lane in sources], [self._lane()["name"]], mode=mode)

    def _finish(self) -> None:
        """Give every lane that is still open an egress, unless it has readers or is kept."""
        for lane in list(self.open):
            kept = lane.get("durable", False) and self.random.random() < 0.5
            if not lane.get("_readers") and not kept:
                if lane["kind"] == "sequenced_slots":
                    self._in_place(lane)
                self._endpoint("egress", lane)
        for lane in self.lanes:
            lane.pop("_readers", None)

    def _dead_letters(self) -> None:
        stages = [
            role for role in self.roles if role["kind"] == "stage" and role.get("tx") != role["rx"]
        ]
        if not stages:
            return
        lane = self._lane("events", publishers_max=len(stages))
        for role in stages:
            role["dead_letter"] = lane["name"]
        self._endpoint("egress", lane)

    def _lossy(self) -> None:
        """Mark some readers of fan-outs as lossy, never an ordered merge."""
        if not self.shape.lossy:
            return
        ordered = {role["name"] for role in self.roles if role.get("mode") == "ordered"}
        ends = [(end["name"], [end["lane"]]) for end in self.endpoints if end["kind"] == "egress"]
        readers = [*((role["name"], role["rx"]) for role in self.roles), *ends]
        for lane in self.lanes:
            if lane["kind"] != "fanout_broadcast":
                continue
            names = [name for name, rx in readers if lane["name"] in rx and name not in ordered]
            lossy = [name for name in names if self.random.random() < 0.3]
            if lossy:
                lane["lossy"] = lossy
                lane["capacity"] = max(lane["capacity"], 16)  # a batch takes a quarter of it


def random_plan(random: Random, stages_max: int = 8) -> dict[str, Any]:
    """Return a valid spec in shorthand: stages in a row, connected forwards at random."""
    stages = [
        {"name": f"s{i}", **random.choice(STAGES)} for i in range(random.randint(1, stages_max))
    ]
    places = ["in0", *(str(stage["name"]) for stage in stages), "out0", "out1"]
    edges: list[tuple[str, str]] = []
    for index, place in enumerate(places[1:], 1):
        reach = places[: min(index, len(stages) + 1)]
        reach = [s for s in reach if sum(s == source for source, _ in edges) < LEAVING_MAX]
        count = random.randint(1, min(3, len(reach)))
        edges += [(source, place) for source in random.sample(reach, count)]
    leaving = {source for source, _ in edges}
    edges += [(place, "out0") for place in places[:-2] if place not in leaving]
    modes = {place: random.choice(("", "priority", "ordered")) for place in places}
    entering = [target for _, target in edges]
    connections = [
        _connection(random, source, target, modes[target] if entering.count(target) > 1 else "")
        for source, target in dict.fromkeys(edges)
    ]
    if random.random() < 0.3:
        connections.append({"from": "in0", "intent": "journal", "durable": True, "name": "kept"})
    return {
        "name": "random",
        "model": "lane_graph",
        "allow_lanes": ["journal", "sequenced_slots"],
        "endpoints": [
            {"name": "in0", "kind": "ingress"},
            {"name": "out0", "kind": "egress"},
            {"name": "out1", "kind": "egress"},
        ],
        "plan": {"slot_bytes": 128, "stages": stages, "connections": connections},
    }


def _connection(random: Random, source: str, target: str, merge: str) -> dict[str, Any]:
    intents = ("events", "events", "broadcast", "journal", "sequenced")
    intent = random.choice(intents)
    row: dict[str, Any] = {"from": source, "to": target, "intent": intent}
    if intent == "broadcast" and merge != "ordered" and random.random() < 0.3:
        row["lossy"] = True
    return {**row, "merge": merge} if merge else row


def bound_everywhere(tree: dict[str, Any], directory: str = "/data") -> dict[str, Any]:
    """Return a deployment tree that binds every endpoint and durable journal of a spec."""
    lanes = [*tree.get("lanes", ()), *tree.get("plan", {}).get("connections", ())]
    adapters = {
        end["name"]: {"kind": "generator", "count": 10, "size": 16}
        if end["kind"] == "ingress"
        else {"kind": "discard"}
        for end in tree["endpoints"]
    }
    journals = {
        lane["name"]: {"directory": f"{directory}/{lane['name']}"}
        for lane in lanes
        if lane.get("durable")
    }
    return {"adapters": adapters, "journals": journals} if journals else {"adapters": adapters}
