"""The LMAX Disruptor as a peer: fetched by Maven, compiled by javac, a guest on the same CPUs.

Where there is no JDK, or no jar and no registry to take it from, `open_disruptor` says so and the
bench goes on without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Self

from tests.bench.graph_runs import WIDTHS
from tests.bench.native import HERE, BenchError, run_tool

VERSION = "4.0.0"
PAIR_SHAPES = ("ping", "single.256k", "single.4m", "batch16.256k", "batch16.4m")
SHAPES = (
    *PAIR_SHAPES,
    *(
        f"{kind}{'' if kind == 'diamond' else width}.{size}"
        for kind, widths in WIDTHS.items()
        for width in widths
        for size in ("single", "batch16")
    ),
)
THREADS = 9
FETCH_TIMEOUT_S = 120
WARM_UP_ROUNDS = 6


def _jar() -> Path:
    jar = Path.home() / ".m2/repository/com/lmax/disruptor" / VERSION / f"disruptor-{VERSION}.jar"
    if not jar.exists():
        if shutil.which("mvn") is None:
            message = f"{jar.name} is not in the local Maven repository and mvn is not installed"
            raise BenchError(message)
        run_tool(
            ["mvn", "-q", "dependency:get", f"-Dartifact=com.lmax:disruptor:{VERSION}"],
            FETCH_TIMEOUT_S,
        )
    return jar


class Disruptor:
    """A JVM that runs one shape at a time and blocks in between. Use in a `with` block."""

    def __init__(self, directory: Path, cpus: tuple[int, int]) -> None:
        """Fetch, compile and start; BenchError says what is missing."""
        for tool in ("javac", "java"):
            if shutil.which(tool) is None:
                message = f"{tool} is not installed"
                raise BenchError(message)
        jar = _jar()
        run_tool(
            [
                "javac",
                "-cp",
                str(jar),
                "-d",
                str(directory),
                str(HERE / "java" / "DisruptorBench.java"),
            ]
        )
        heap = ["-Xms512m", "-Xmx512m", "-XX:+AlwaysPreTouch", "-XX:+UseSerialGC"]
        command = ["java", *heap, "-cp", f"{jar}{os.pathsep}{directory}", "DisruptorBench"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()
        self._pin(cpus)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the JVM."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if not answer:
            message = f"the Disruptor's JVM ended with exit {self._process.wait()}"
            raise BenchError(message)
        return answer.strip()

    def _pin(self, cpus: tuple[int, int]) -> None:
        """Pin bench-N to the CPUs in turn; raise the priority of all threads where allowed."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        pinned = 0
        for task in tasks.iterdir():
            name = (task / "comm").read_text().strip()
            if name.startswith("bench-"):
                os.sched_setaffinity(int(task.name), {cpus[int(name.removeprefix("bench-")) % 2]})
                pinned += 1
            _raise_priority(int(task.name))
        if pinned != THREADS:
            message = f"pinned {pinned} of the JVM's {THREADS} threads"
            raise BenchError(message)

    def sample(self, shape: str, ms: float) -> dict[str, float]:
        """Run one shape; `rate`, or `p50_ns` and `p99_ns` one way."""
        if self._process.stdin is None:
            message = "the Disruptor's JVM has no input"
            raise BenchError(message)
        self._process.stdin.write(f"{shape} {max(1, round(ms))}\n")
        self._process.stdin.flush()
        words = dict(word.partition("=")[::2] for word in self._answer().split())
        if "error" in words:
            message = f"disruptor.{shape}: {words['error']}"
            raise BenchError(message)
        raw = {key: float(value) for key, value in words.items()}
        if raw["errors"]:
            message = f"disruptor.{shape}: {raw['errors']:.0f} messages out of order"
            raise BenchError(message)
        if "rate" in raw:
            return {"rate": raw["rate"]}
        return {"p50_ns": raw["rtt_p50_ns"] / 2, "p99_ns": raw["rtt_p99_ns"] / 2}

    def warm_up(self, shapes: Collection[str], ms: float) -> None:
        """Let the JVM compile the shapes that will be asked for; bounded in time."""
        deadline = time.monotonic() + max(2.0, len(shapes) * WARM_UP_ROUNDS * ms / 200)
        for _ in range(WARM_UP_ROUNDS):
            for shape in shapes:
                if time.monotonic() < deadline:
                    self.sample(shape, ms)


def _raise_priority(thread: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, thread, -20)
    except PermissionError:
        return
