"""Journals beside plain sequential I/O of the same bytes, with the same durability.

    python -m tests.bench.journal_bench [--rounds 15] [--directory DIR]

Appends through the journal's own writer, checksums on, beside 64 KiB `write()`; replays through its
own reader beside an mmap of the same files that touches every word. Both sides alternate within a
round, ratios are formed inside it. The directory decides which filesystem is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bench.method import Summary, summarise
from tests.bench.native import FLAGS, HEADERS, NATIVE, BenchError, run_tool

ROUNDS = 15
PAYLOADS = (48, 240, 1000)
JUDGED = 240
"""The longest message of a slot of the default size."""
MIB = {"cached": 64, "synced": 8, "replay": 64}
REACH = {"cached": 0.9, "synced": 0.9, "replay": 0.7}
TITLES = {
    "cached": "append, page cache",
    "synced": "append, fdatasync each 64 KiB",
    "replay": "replay",
}


@dataclass(frozen=True, slots=True)
class Moved:
    """What one side did: bytes per second, and how much."""

    rate: float
    bytes: int
    frames: int
    sum: int


def build_journal(directory: Path) -> Path:
    """Compile the server with the journal's own source; return its path."""
    program = directory / "journal"
    sources = [str(NATIVE / "journal" / "journal.c"), str(HEADERS / "journal_segment.c")]
    run_tool(["gcc", "-std=gnu11", *FLAGS, f"-I{HEADERS}", *sources, "-o", str(program)])
    return program


class JournalServer:
    """The process that writes and reads. Use in a `with` block."""

    def __init__(self, program: Path, directory: Path, cpu: int = 0) -> None:
        """Start it over a directory of its own."""
        self._process = subprocess.Popen(
            [str(program), str(directory), str(cpu)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it; it removes its files."""
        self._process.communicate()

    def ask(self, what: str, payload: int, mib: int, *, sync: bool = False) -> Moved:
        """Run one side; BenchError when it fails."""
        if self._process.stdin is None or self._process.stdout is None:
            message = "the journal server has no pipes"
            raise BenchError(message)
        command = f"{what} {payload} {mib} {int(sync)}"
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer.startswith("ok=1"):
            message = f"journal: {command}: {answer.strip() or 'it ended'}"
            raise BenchError(message)
        raw = dict(word.split("=", 1) for word in answer.split()[1:])
        return Moved(float(raw["rate"]), *(int(raw[key]) for key in ("bytes", "frames", "sum")))


def one_round(
    server: JournalServer, kind: str, payload: int, mib: int, *, ours_first: bool
) -> tuple[Moved, Moved]:
    """Run both sides of a kind; BenchError when they moved different amounts."""
    ours, plain = ("replay", "map") if kind == "replay" else ("append", "plain")
    names = (ours, plain) if ours_first else (plain, ours)
    found = {name: server.ask(name, payload, mib, sync=kind == "synced") for name in names}
    if found[ours].bytes > found[plain].bytes:
        message = f"{kind}: {found[ours].bytes} bytes beside {found[plain].bytes}"
        raise BenchError(message)
    return found[ours], found[plain]


def measure(server: JournalServer, kind: str, payload: int, rounds: int) -> dict[str, Any]:
    """Measure one row."""
    mib = MIB[kind]
    if kind == "replay":
        server.ask("make", payload, mib)
    pairs = [
        one_round(server, kind, payload, mib, ours_first=bool(number % 2))
        for number in range(rounds)
    ]
    row = {
        "ours": summarise(ours.rate / 1e9 for ours, _ in pairs),
        "plain": summarise(plain.rate / 1e9 for _, plain in pairs),
        "ratio": summarise(ours.rate / plain.rate for ours, plain in pairs),
    }
    verdict = ""
    if payload == JUDGED and row["ratio"] is not None:
        verdict = "reached" if row["ratio"].p50 >= REACH[kind] else "missed"
    return {"kind": kind, "payload": payload, "reach": REACH[kind], "verdict": verdict, **row}


def _spread(summary: Summary) -> str:
    return f"{summary.p50:5.2f} [{summary.p10:.2f} {summary.p90:.2f}]"


def line(row: dict[str, Any]) -> str:
    """Return a row for people."""
    verdict = f"want >= {row['reach']}: {row['verdict'].upper()}" if row["verdict"] else ""
    return (
        f"{TITLES[row['kind']]:30} {row['payload']:5} B  ours {_spread(row['ours'])} GB/s  "
        f"plain {_spread(row['plain'])} GB/s  ratio {_spread(row['ratio'])}  {verdict}"
    )


def main(argv: list[str]) -> int:
    """Measure everything and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journal_bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--directory", type=Path, default=None, help="where the files lie")
    parser.add_argument("--json", type=Path, default=None, help="write the rows to a file")
    options = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="byteor-bench-") as top:
        program = build_journal(Path(top))
        files = Path(top, "files")
        files.mkdir()
        with JournalServer(program, files) as server:
            for kind in TITLES:
                for payload in PAYLOADS:
                    rows.append(measure(server, kind, payload, options.rounds))
                    print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(
            json.dumps(rows, default=lambda each: [each.p10, each.p50, each.p90])
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
