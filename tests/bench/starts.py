"""How long a start takes: from the call that asks for a run to the first message at its egress.

`python -m tests.bench.starts [--runs N] [--json FILE]`: real runs under a real daemon, one after
another, by the figures that `status` prints: with a shim that waits, as a daemon has one unless
told otherwise, and with none, as most runs find it that are started in one burst. The whole machine
takes part: a figure is the wall-clock time of this host with whatever else it does. Beside each
stands its target. It reports; it decides nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from byteor.v1 import documents_pb2 as documents_pb
from byteor.v1 import runs_pb2 as runs_pb
from byteord.shim.order import WAITING
from tests.support.daemon import DaemonProcess, processes_naming, running_daemon
from tests.support.poll import until
from tests.support.rpc import stub_of

RUNS = 20
TIMEOUT_S = 60.0
IDLE_S = 0.05
NATIVE_MS, NUMPY_MS = 150.0, 400.0
STAGE_MODULE = '''
import numpy as np

class Sum:
    """Look at every payload with NumPy."""
    def __init__(self, ctx):
        self.total = 0
    def process(self, batch):
        self.total += int(batch.as_array(np.dtype("<u8")).sum())
'''
NATIVE = 'name = "native"\nstage = "identity"\n'
NUMPY = (
    'name = "numpy"\nstage = "python:bench_sum:Sum"\nmutates = []\ndrops = false\n'
    "deterministic = true\neffects = []\n"
)
DEPLOYMENT = (
    b'version = 1\nenvironment = "dev"\n'
    b'[adapters.source]\nkind = "generator"\nsize = 8\nrate = 1000\n'
    b'[adapters.sink]\nkind = "discard"\n'
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to start that is measured."""

    name: str
    stage: str
    single_process: bool
    target_ms: float


KINDS = (
    Kind("native, a process per role", NATIVE, single_process=False, target_ms=NATIVE_MS),
    Kind("native, --sp", NATIVE, single_process=True, target_ms=NATIVE_MS),
    Kind("NumPy, a process per role", NUMPY, single_process=False, target_ms=NUMPY_MS),
    Kind("NumPy, --sp", NUMPY, single_process=True, target_ms=NUMPY_MS),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the runs of one kind took, milliseconds."""

    kind: str
    target_ms: float
    ready_ms: tuple[float, ...]
    first_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Median of the time to the first message."""
        return statistics.median(self.first_ms)

    @property
    def p90_ms(self) -> float:
        """The time that 9 of 10 starts do not exceed."""
        ordered = sorted(self.first_ms)
        return ordered[min(len(ordered) - 1, (len(ordered) * 9 + 9) // 10 - 1)]


def spec(stage: str) -> bytes:
    """Return the spec of a ring with one stage."""
    ends = "".join(
        f'[[endpoints]]\nname = "{name}"\nkind = "{kind}"\n'
        for name, kind in (("source", "ingress"), ("sink", "egress"))
    )
    return f'version = 1\nname = "start"\nmodel = "single_ring"\n[[stages]]\n{stage}{ends}'.encode()


def start_once(stub: Any, kind: Kind) -> tuple[float, float]:
    """Start a run, wait for its first message, end it; return (ready, first message) in ms."""
    request = runs_pb.StartRunRequest(
        request_id=str(uuid.uuid4()),
        spec=documents_pb.Document(name="spec.toml", content=spec(kind.stage)),
        deployment=documents_pb.Document(name="deployment.toml", content=DEPLOYMENT),
        single_process=kind.single_process,
    )
    run_id = stub.StartRun(request, timeout=60).run.id
    asked = runs_pb.GetRunRequest(run_id=run_id)
    until(
        lambda: stub.GetRun(asked, timeout=10).run.first_message_ns > 0,
        TIMEOUT_S,
        "a first message",
    )
    run = stub.GetRun(asked, timeout=10).run
    stub.StopRun(
        runs_pb.StopRunRequest(
            request_id=str(uuid.uuid4()), run_id=run_id, mode=runs_pb.STOP_MODE_ABORT
        ),
        timeout=30,
    )
    return run.ready_ns / 1e6, run.first_message_ns / 1e6


def waiting_shims(daemon: DaemonProcess) -> list[int]:
    """Return the shims of a daemon that wait for a run."""
    found = processes_naming(f"{daemon.regions}/")
    return [int(line.split()[0]) for line in found if WAITING in line]


def idle(pid: int) -> bool:
    """Tell whether a process sleeps for a moment: a shim that waits has imported everything."""
    before = Path(f"/proc/{pid}/schedstat").read_text()
    threading.Event().wait(IDLE_S)
    return Path(f"/proc/{pid}/schedstat").read_text() == before


def shims_ready(daemon: DaemonProcess, count: int) -> bool:
    """Tell whether so many shims wait and have nothing left to do."""
    shims = waiting_shims(daemon)
    return len(shims) >= count and all(map(idle, shims))


def measure(runs: int, *, ready: bool, kinds: Sequence[Kind] = KINDS) -> Iterator[Figures]:
    """Start each kind `runs` times, the kinds in turn, and yield what they took.

    `ready`: each finds a shim that waits. Before what counts each kind is started once: NumPy then
    lies in the page cache, and a shim with it waits from then on.
    """
    found: dict[str, list[tuple[float, float]]] = {kind.name: [] for kind in kinds}
    wanted = len({kind.stage for kind in kinds})  # one with NumPy, one without
    with started_daemon(ready=ready) as daemon, stub_of(daemon) as stub:
        for number in range(runs + 1):
            for kind in kinds:
                if ready and number:
                    until(lambda: shims_ready(daemon, wanted), TIMEOUT_S, "shims wait")
                found[kind.name].append(start_once(stub, kind))
    for kind in kinds:
        up, first = zip(*found[kind.name][1:], strict=True)
        how = "a shim waits" if ready else "none waits"
        yield Figures(f"{kind.name}, {how}", kind.target_ms, up, first)


@contextlib.contextmanager
def started_daemon(*, ready: bool) -> Iterator[DaemonProcess]:
    """Provide a daemon that may load the measured stage."""
    with tempfile.TemporaryDirectory(prefix="byteor-starts-") as code:
        Path(code, "bench_sum.py").write_text(STAGE_MODULE)
        config = {"shims.keep_ready": ready}
        with running_daemon(config=config, arguments=["--code-dir", code]) as daemon:
            yield daemon


def as_text(figures: Sequence[Figures]) -> str:
    """Return the table."""
    rows = [f"{'start to first message, ms':<42}{'median':>8}{'p90':>8}{'least':>8}{'wanted':>8}"]
    rows += [
        f"{each.kind:<42}{each.median_ms:>8.0f}{each.p90_ms:>8.0f}{min(each.first_ms):>8.0f}"
        f"{each.target_ms:>8.0f}  {'' if each.median_ms <= each.target_ms else 'missed'}".rstrip()
        for each in figures
    ]
    return "\n".join(rows)


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.starts", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each kind (default {RUNS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    options = parser.parse_args(argv)
    figures = [each for ready in (True, False) for each in measure(options.runs, ready=ready)]
    print(as_text(figures))
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in figures], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
