"""What recording costs a run at full rate: generator, a native stage, discard, with and without.

`python -m tests.bench.capture_bench [DIRECTORY]` prints a table; the directory decides which disk
is written to. With and without alternate in every round, the ratio is formed inside the round; the
disk's own sequential speed stands beside it. Needs nothing but the package.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from byteord.regions.captures import tape_stats
from tests.support.captured import recorded
from tests.support.poll import until
from tests.support.run import make_test_plan, running, spec_text

DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = {size}
rate = {rate}
[adapters.out]
kind = "discard"
[tuning]
fuse = "{fuse}"
"""
DISK_BYTES = 512 << 20
_CHUNK = 1 << 20
_PAUSE = threading.Event()
"""Never set: a measurement lasts as long as it is told."""


@dataclass(frozen=True)
class Shape:
    """One shape of run; `rate` 0: as fast as it goes; `on_full` empty: not recorded."""

    slot_bytes: int
    fuse: str
    rate: int
    on_full: str


@dataclass(frozen=True)
class Figure:
    """What one run did: messages a second, and which part of them the capture has."""

    rate: float
    kept_share: float
    kept_mib_s: float


def disk_mib_s(directory: Path, total: int = DISK_BYTES) -> float:
    """Return the sequential speed of the disk: plain writes of 1 MiB, then one fdatasync."""
    path = directory / "sequential"
    chunk = os.urandom(_CHUNK)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        begun = time.perf_counter()
        for _ in range(total // _CHUNK):
            os.write(descriptor, chunk)
        os.fdatasync(descriptor)
        return total / _CHUNK / (time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        path.unlink()


def measure(shape: Shape, directory: Path, window_s: float) -> Figure:
    """Run one shape and look at it twice, `window_s` apart."""
    here = Path(tempfile.mkdtemp(dir=directory))
    spec = spec_text(
        '[[stages]]\nname = "s"\nstage = "identity"',
        ring=f"capacity = 4096\nslot_bytes = {shape.slot_bytes}",
    )
    size = shape.slot_bytes - 16
    deployment = DEPLOYMENT.format(size=size, rate=shape.rate, fuse=shape.fuse)
    plan = make_test_plan(spec, deployment, directories=[str(here)])
    if shape.on_full:
        keys = {"outputs": "digest", "retention_bytes": 256 << 20}
        plan, _ = recorded(plan, here / "captures", on_full=shape.on_full, **keys)
    try:
        with running(plan) as run:
            run.until_state("running")
            until(lambda: run.role("out")["received"] > 0, 30)
            _PAUSE.wait(window_s / 4)  # caches and branch predictors are warm then
            began, first = time.perf_counter(), run.role("out")["received"]
            kept = tape_stats(run.directory, plan)[0] if shape.on_full else {}
            _PAUSE.wait(window_s)
            took, last = time.perf_counter() - began, run.role("out")["received"]
            after = tape_stats(run.directory, plan)[0] if shape.on_full else {}
    finally:
        shutil.rmtree(here)
    kept_messages = after["kept"] - kept["kept"] if shape.on_full else 0
    kept_bytes = after["bytes"] - kept["bytes"] if shape.on_full else 0
    return Figure((last - first) / took, kept_messages / (last - first), kept_bytes / took / _CHUNK)


def compare(shape: Shape, directory: Path, rounds: int, window_s: float) -> str:
    """Return one line: with and without in turn, the ratio inside each round."""
    plain = Shape(shape.slot_bytes, shape.fuse, shape.rate, "")
    pairs = []
    for number in range(rounds):
        order = (plain, shape) if number % 2 else (shape, plain)
        figures = {each.on_full: measure(each, directory, window_s) for each in order}
        pairs.append((figures[""], figures[shape.on_full]))
    ratios = sorted(on.rate / off.rate for off, on in pairs)
    off = statistics.median(off.rate for off, _ in pairs)
    on = statistics.median(on.rate for _, on in pairs)
    share = statistics.median(on.kept_share for _, on in pairs)
    speed = statistics.median(on.kept_mib_s for _, on in pairs)
    return (
        f"{shape.slot_bytes:5} B  fuse {shape.fuse:6}  rate {shape.rate or 'full':>8}  "
        f"{shape.on_full:7}  off {off / 1e6:7.3f} M/s  on {on / 1e6:7.3f} M/s  ratio "
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})  kept {share:6.1%}"
        f"  {speed:6.0f} MiB/s of payload"
    )


def shapes(disk: float) -> list[Shape]:
    """Return what is measured on a disk of that speed: full rate, and what it keeps up with."""
    rates = {64: int(disk * _CHUNK / (96 * 4)), 1024: int(disk * _CHUNK / (1056 * 2))}
    found = []
    for slot_bytes in (64, 1024):
        found += [
            Shape(slot_bytes, "always", 0, "degrade"),
            Shape(slot_bytes, "never", 0, "degrade"),
        ]
        found.append(Shape(slot_bytes, "always", rates[slot_bytes], "degrade"))
        found.append(Shape(slot_bytes, "always", 0, "wait"))
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure in the directory that is the first argument, else in a temporary one."""
    rounds, window_s = 5, 1.0
    directory = Path(tempfile.mkdtemp(dir=arguments[0] if arguments else None))
    try:
        disk = statistics.median(disk_mib_s(directory) for _ in range(3))
        print(f"disk, sequential with fdatasync: {disk:.0f} MiB/s; {os.cpu_count()} CPUs")
        for shape in shapes(disk):
            print(compare(shape, directory, rounds, window_s), flush=True)
        print(f"disk again: {disk_mib_s(directory):.0f} MiB/s")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1:])
