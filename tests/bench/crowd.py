"""Queues of other projects in shapes with more than two sides: builds and drives `native/crowd`.

Boost.Lockfree must be there; moodycamel's two queues (Debian: libconcurrentqueue-dev,
libreaderwriterqueue-dev) take part where they are installed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from tests.bench.graph_runs import WIDTHS
from tests.bench.native import FLAGS, NATIVE, BenchError, run_tool

BATCH = 16
ONE_TO_ONE = ("fanout", "chain", "diamond")
QUEUES = {
    "boost.spsc": (ONE_TO_ONE, (1, BATCH)),
    "boost.queue": (("producers",), (1,)),
    "moodycamel.many": (("producers",), (1, BATCH)),
    "moodycamel.spsc": (ONE_TO_ONE, (1,)),
}
"""By queue: the shapes that it is made for, and how many messages it takes at once."""
CROWD_NAMES = {
    f"{queue}.{kind}{'' if kind == 'diamond' else width}.{'single' if batch == 1 else 'batch16'}": (
        queue,
        kind,
        width,
        batch,
    )
    for queue, (kinds, batches) in QUEUES.items()
    for kind in kinds
    for width in WIDTHS[kind]
    for batch in batches
}
"""Every candidate, `QUEUE.SHAPE[WIDTH].single|batch16`, with what to ask the server for."""


def build_crowd(directory: Path) -> Path:
    """Compile the server; return its path."""
    program = directory / "crowd"
    source = NATIVE / "crowd" / "crowd.cpp"
    common = ["-std=c++17", *FLAGS, "-Wall", "-Wextra"]
    run_tool(["g++", *common, str(source), "-o", str(program), "-lpthread"])
    return program


class Crowd:
    """The server of all queues and shapes; idle between samples. Use in a `with` block."""

    def __init__(self, program: Path, cpus: tuple[int, int]) -> None:
        """Start it; it says which queues were there when it was compiled."""
        self._process = subprocess.Popen(
            [str(program), *map(str, cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.queues = set(self._answer("start"))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def sample(self, what: tuple[str, str, int, int], ms: float) -> dict[str, float]:
        """Run one shape; its rate is what the producers sent, a second."""
        if self._process.stdin is None:
            message = "the crowd has no input"
            raise BenchError(message)
        command = f"{' '.join(map(str, what))} {ms}"
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        raw = {key: float(value) for key, value in self._answer(command).items()}
        copies = what[2] if what[1] == "fanout" else 1
        if raw["errors"] or raw["arrived"] != raw["sent"] * copies:
            message = f"{command}: {raw}: torn, lost or out of order"
            raise BenchError(message)
        return {"rate": raw["rate"]}

    def _answer(self, command: str) -> dict[str, str]:
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if not answer.startswith("ok=1"):
            message = f"crowd: {command}: {answer.strip() or f'exit {self._process.wait()}'}"
            raise BenchError(message)
        return dict(word.split("=", 1) for word in answer.split()[1:])
