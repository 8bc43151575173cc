"""LaneGraph shapes as real runs: fan-out, several producers, diamond, chains, each fused and not.

Owns the documents of the shapes and which counters say how far a run has come; `runs` drives them.
Every role is native; generators make the messages, `discard` takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.runs import PAYLOAD_BYTES, SLOT_BYTES, WORKERS_TEXT

CAPACITY = 4096
BATCH = 256
WIDTHS = {"fanout": (1, 2, 4), "producers": (1, 2, 4), "diamond": (2,), "chain": tuple(range(1, 9))}
"""By kind: consumers, producers, branches, stages."""


@dataclass(frozen=True, slots=True)
class GraphShape:
    """One graph to measure."""

    kind: str
    width: int
    at_once: int = 0
    """Messages that a generator makes, then publishes together; 0 as many as there is room."""
    fuse: str = "never"
    key: str = "rate"

    @property
    def sources(self) -> list[str]:
        """Return the names of its ingress endpoints."""
        return [f"in{i}" for i in range(self.width if self.kind == "producers" else 1)]

    @property
    def sinks(self) -> list[str]:
        """Return the names of its egress endpoints."""
        return [f"out{i}" for i in range(self.width if self.kind == "fanout" else 1)]

    @property
    def roles(self) -> int:
        """Return how many roles want a CPU."""
        return len(self.sources) + len(self.sinks) + len(self._between())

    @property
    def copies(self) -> int:
        """Return how often each message arrives at one sink."""
        return self.width if self.kind == "diamond" else 1

    def spec(self, name: str) -> str:
        """Return the spec: explicit lanes, roles and endpoints."""
        head = f'version = 1\nname = "{name}"\nmodel = "lane_graph"\n'
        return head + self._lanes() + "".join(self._between()) + self._endpoints()

    def deployment(self, cpus: tuple[int, int], count: int) -> str:
        """Return the deployment; `count` messages from each source, 0: endless."""
        made = f'kind = "generator"\nsize = {PAYLOAD_BYTES}\ncount = {count}\n'
        made += f"at_once = {self.at_once}\n"
        adapters = "".join(f"[adapters.{name}]\n{made}" for name in self.sources)
        adapters += "".join(f'[adapters.{name}]\nkind = "discard"\n' for name in self.sinks)
        knobs = {"wait": "backoff", "fuse": self.fuse, "batch": BATCH}
        knobs["cpus"] = [*dict.fromkeys(cpus)]
        return f'version = 1\nenvironment = "dev"\n{adapters}' + WORKERS_TEXT.format(**knobs)

    def _lanes(self) -> str:
        if self.kind == "fanout":
            return _lane("a", 'kind = "fanout_broadcast"\n')
        if self.kind == "producers":
            return _lane("a", f"publishers_max = {self.width}\n")
        if self.kind == "chain":
            return "".join(_lane(f"l{i}") for i in range(self.width + 1))
        first = _lane("a", 'kind = "fanout_broadcast"\n')
        return first + "".join(_lane(f"b{i}") for i in range(self.width)) + _lane("c")

    def _between(self) -> list[str]:
        if self.kind == "chain":
            return [_stage(f"s{i}", f"l{i}", f"l{i + 1}") for i in range(self.width)]
        if self.kind != "diamond":
            return []
        stages = [_stage(f"s{i}", "a", f"b{i}") for i in range(self.width)]
        inputs = ", ".join(f'"b{i}"' for i in range(self.width))
        merge = f'kind = "merge"\nmode = "round_robin"\nrx = [{inputs}]\ntx = "c"\n'
        return [*stages, f'[[roles]]\nname = "join"\n{merge}']

    def _endpoints(self) -> str:
        last = {"chain": f"l{self.width}", "diamond": "c"}.get(self.kind, "a")
        first = "l0" if self.kind == "chain" else "a"
        ends = [(name, "ingress", first) for name in self.sources]
        ends += [(name, "egress", last) for name in self.sinks]
        return "".join(
            f'[[endpoints]]\nname = "{name}"\nkind = "{kind}"\nlane = "{lane}"\n'
            for name, kind, lane in ends
        )


def _lane(name: str, more: str = "") -> str:
    return (
        f'[[lanes]]\nname = "{name}"\ncapacity = {CAPACITY}\nslot_bytes = {SLOT_BYTES}\n'
        f'on_full = "block"\n{more}'
    )


def _stage(name: str, rx: str, tx: str) -> str:
    return (
        f'[[roles]]\nname = "{name}"\nkind = "stage"\nstage = "identity"\n'
        f'rx = "{rx}"\ntx = "{tx}"\n'
    )


def graph_shapes() -> dict[str, GraphShape]:
    """Return every shape by name: `graph.KIND[WIDTH].apart|fused.single|batch`."""
    return {
        f"graph.{kind}{'' if kind == 'diamond' else width}.{how}.{size}": GraphShape(
            kind, width, at_once, fuse
        )
        for kind, widths in WIDTHS.items()
        for width in widths
        for how, fuse in (("apart", "never"), ("fused", "always"))
        for size, at_once in (("single", 1), ("batch", 0))
    }
