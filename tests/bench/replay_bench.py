"""How fast captured input is replayed: messages per second from the first to the last that leaves.

`python -m tests.bench.replay_bench [ROUNDS [MESSAGES]]` prints a table. A run over generated market
records is recorded once, then replayed through the real daemon and client, with what leaves
compared message by message; each kind of run in every round, in turn. The rate is of the messages
that were given, in the time in which they left; how long the command took stands beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from byteord import samples
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon

RECORD_BYTES = 56
MESSAGES = 2_000_000
SPEC = """
version = 1
name = "replayed"
model = "single_ring"
[ring]
capacity = 4096
slot_bytes = 128
[[stages]]
name = "pass"
stage = "identity"
{stage}
[[endpoints]]
name = "feed"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
NUMPY = """
[[stages]]
name = "price"
stage = "python:priced:Priced"
depends_on = [0]
mutates = "all"
deterministic = true
effects = []
"""
CODE = '''
import numpy as np

RECORD = np.dtype([("head", "V24"), ("price", "<i8"), ("rest", "V24")])

class Priced:
    """Add one to the price of each record."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        batch.as_array(RECORD)["price"] += 1
'''
DEPLOYMENT = """
version = 1
[adapters.feed]
kind = "file"
path = "{top}/records"
framing = "fixed"
record_bytes = 56
[adapters.out]
kind = "discard"
[tuning]
fuse = "{fuse}"
[capture]
directory = "{top}/captures"
outputs = "messages"
on_full = "wait"
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A run that is replayed."""

    name: str
    stage: str
    fuse: str


KINDS = (
    Kind("native stage, one worker", "", "always"),
    Kind("native stage, a worker for each role", "", "never"),
    Kind("NumPy stage, one worker", NUMPY, "always"),
    Kind("NumPy stage, a worker for each role", NUMPY, "never"),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one kind, a value for each round."""

    kind: str
    rates: tuple[float, ...]
    """Messages a second."""
    took_s: tuple[float, ...]


def measure(rounds: int, messages: int) -> list[Figures]:
    """Return the figures of each kind; raises AssertionError where a replay is not equal."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        top = Path(place)
        (top / "priced.py").write_text(CODE)
        made = samples.market_records()
        copies = -(-messages * RECORD_BYTES // len(made))
        (top / "records").write_bytes((made * copies)[: messages * RECORD_BYTES])
        config = {f"allow.{what}_dirs": [place] for what in ("code", "read", "write")}
        found: dict[str, list[tuple[float, float]]] = {kind.name: [] for kind in KINDS}
        with running_daemon(config=config) as daemon:
            captures = {kind.name: _record(daemon, top, kind) for kind in KINDS}
            for _ in range(rounds):
                for kind in KINDS:
                    found[kind.name].append(_replay(daemon, captures[kind.name], messages))
    return [
        Figures(name, tuple(rate for rate, _ in rows), tuple(took for _, took in rows))
        for name, rows in found.items()
    ]


def _record(daemon: DaemonProcess, top: Path, kind: Kind) -> str:
    """Run it; return the id of the run."""
    (top / "spec.toml").write_text(SPEC.format(stage=kind.stage))
    (top / "deployment.toml").write_text(DEPLOYMENT.format(top=top, fuse=kind.fuse))
    done = byteorctl("--address", daemon.address, "run", top / "spec.toml")
    assert done.returncode == 0, done.stderr
    return max(path.name for path in (top / "captures").iterdir())


def _replay(daemon: DaemonProcess, run: str, messages: int) -> tuple[float, float]:
    began = time.monotonic()
    done = byteorctl("--address", daemon.address, "-o", "json", "replay", run)
    took = time.monotonic() - began
    result = json.loads(done.stdout or b"{}")
    assert (done.returncode, result["verdict"]) == (0, "equal"), (done.stderr, result)
    assert int(result["replayed"]) == messages
    return messages * 1e9 / int(result["elapsed_ns"]), took


def as_text(figures: Sequence[Figures]) -> str:
    """Return a table: medians, and least and most in brackets."""
    lines = ["| recorded run | M messages/s | the command, s |", "| --- | --- | --- |"]
    for each in figures:
        rates = [rate / 1e6 for rate in each.rates]
        lines.append(f"| {each.kind} | {_spread(rates)} | {_spread(each.took_s)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f} {max(values):.2f}]"


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    rounds = int(arguments[0]) if arguments else 5
    messages = int(arguments[1]) if len(arguments) > 1 else MESSAGES
    print(as_text(measure(rounds, messages)))


if __name__ == "__main__":
    main(sys.argv[1:])
