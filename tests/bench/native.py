"""The native side of the bench: builds `native/` and talks to its server.

All C and C++ of the bench, peers and byteor alike, is compiled with the same FLAGS, those of
byteor's own extensions.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.bench.method import Probe, Sample

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"
HEADERS = HERE.parents[1] / "cext"
FLAGS = ("-O3",)
BUILD_TIMEOUT_S = 180
BURST_TIMEOUT_S = 20


class BenchError(Exception):
    """A candidate or tool of the bench that does not work, with what it said."""


def run_tool(command: Sequence[str], timeout_s: float = BUILD_TIMEOUT_S) -> str:
    """Run a tool and return its output; raise BenchError with its errors when it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{command[0]}: {error}"
        raise BenchError(message) from error
    if done.returncode != 0:
        message = f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-2000:]}"
        raise BenchError(message)
    return done.stdout


def build_pair(directory: Path) -> Path:
    """Compile anchors, Boost and byteor candidates into one program; return its path."""
    objects = []
    common = [*FLAGS, "-Wall", "-Wextra", f"-I{HEADERS}", "-c"]
    for source in sorted(NATIVE.glob("*.c")) + sorted(NATIVE.glob("*.cpp")):
        target = directory / f"{source.stem}.o"
        compiler = ["gcc", "-std=gnu11"] if source.suffix == ".c" else ["g++", "-std=c++17"]
        run_tool([*compiler, *common, str(source), "-o", str(target)])
        objects.append(str(target))
    program = directory / "pair"
    run_tool(["g++", "-o", str(program), *objects, "-lpthread"])
    return program


class NativePair:
    """Two pinned native sides: the probe and the native candidates. Use in a `with` block."""

    def __init__(self, program: Path, cpus: tuple[int, int], sides: str = "process") -> None:
        """Start the server; `sides` is `process` (two processes) or `thread`."""
        command = [str(program), str(cpus[0]), str(cpus[1]), sides]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the server; its other side ends with it."""
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str) -> list[tuple[str, str]]:
        """Send one command and return the answer's key and value pairs."""
        if self._process.stdin is None or self._process.stdout is None:
            message = "the pair server has no pipes"
            raise BenchError(message)
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer.startswith("ok=1"):
            gone = f"the pair server is gone (exit {self._process.poll()}): bursts end at 0.78 s"
            message = f"{command}: {answer.strip() or gone}"
            raise BenchError(message)
        return [(key, value) for key, _, value in (word.partition("=") for word in answer.split())]

    def names(self) -> list[str]:
        """Return the names of all native candidates."""
        return [value for key, value in self.ask("list") if key == "name"]

    def uses_fifo(self) -> bool:
        """Tell whether bursts run under SCHED_FIFO."""
        return ("fifo", "1") in self.ask("probe 1")

    def probe(self, ms: float = 4.0) -> Probe:
        """Run both anchors."""
        return _probe({key: float(value) for key, value in self.ask(f"probe {ms}")}, "")

    def sample(self, name: str, ms: float) -> Sample:
        """Take one sample of a native candidate, probes and all in one burst."""
        raw = {key: float(value) for key, value in self.ask(f"sample {name} {ms}")}
        if raw["errors"]:
            message = f"{name}: {raw['errors']:.0f} messages arrived torn or out of order"
            raise BenchError(message)
        values = {"rate": raw["rate"]} if "rate" in raw else _one_way(raw)
        return Sample(name, _probe(raw, "before_"), _probe(raw, "after_"), values)


def _probe(raw: dict[str, float], prefix: str) -> Probe:
    ping = f"{prefix}ping_"
    return Probe(raw[f"{ping}rtt_p50_ns"], raw[f"{ping}rtt_p99_ns"], raw[f"{prefix}stream_rate"])


def _one_way(raw: dict[str, float]) -> dict[str, float]:
    return {"p50_ns": raw["rtt_p50_ns"] / 2, "p99_ns": raw["rtt_p99_ns"] / 2}
