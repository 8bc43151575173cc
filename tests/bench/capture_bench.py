"""What recording costs a run: generator, a native stage, discard; and the examples on the market.

`python -m tests.bench.capture_bench [DIRECTORY [ROUNDS]]` prints a table; the directory decides
which disk is written to: one beneath /dev/shm is a disk that keeps up. With and without alternate
in every round, the ratio is formed inside the round; the disk's own sequential speed stands beside
it. The examples read records of the market, again and again, from memory. Needs nothing but the
package.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from byteord import samples
from byteord.deployment.plan import RunPlan
from byteord.regions.captures import Tapes
from tests.support.captured import recorded, recorder_pid
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text
from tests.support.shared import shared_file
from tests.support.tree import TOP

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
MARKET = """
[adapters.{ingress}]
kind = "file"
path = "{records}"
framing = "fixed"
record_bytes = 56
[adapters.report]
kind = "file"
path = "{here}/report"
mode = "truncate"
framing = "lines"
[tuning]
fuse = "{fuse}"
"""
JOURNAL = '[journals.everything]\ndirectory = "{here}/journal"\n'
MARKET_RECORDS = 24_000_000
EXAMPLES = {"es-trades": "records", "market-fanout": "feed"}
"""Examples that take records of the market, and their ingresses."""
RECORD_BYTES = 56
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
    example: str = ""
    """Instead of generator and discard; it is fed from `records`."""
    records: str = ""

    @property
    def name(self) -> str:
        """Name it in the table."""
        return self.example or f"{self.slot_bytes} B"

    @property
    def ingress(self) -> str:
        """Name the role whose messages are counted."""
        return EXAMPLES.get(self.example, "in")


@dataclass(frozen=True)
class Figure:
    """What one run did in a second, and at what price.

    `cpu_ns`: CPU time of its workers for one message, which does not depend on who else is there;
    `recorder_cpu`: CPUs that the recorder took.
    """

    rate: float
    cpu_ns: float
    kept_share: float
    kept_mib_s: float
    recorder_cpu: float


@dataclass(frozen=True)
class _Look:
    """One look at a run."""

    at_s: float
    messages: int
    workers_ns: int
    recorder_ns: int
    kept: int
    kept_bytes: int


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


def _cpu_ns(pid: int) -> int:
    """Return the CPU time of a process, all of its threads."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += int((task / "schedstat").read_text().split()[0])
    return found


def _look(run: LiveRun, plan: RunPlan, shape: Shape) -> _Look:
    stats = Tapes(run.directory, plan).stats()
    pids = {worker["pid"] for worker in run.status()["workers"]}
    recorder = recorder_pid(run)
    return _Look(
        time.perf_counter(),
        run.role(shape.ingress)["received"],
        sum(_cpu_ns(pid) for pid in pids),
        _cpu_ns(recorder) if recorder else 0,
        stats[0]["kept"] if stats else 0,
        stats[0]["bytes"] if stats else 0,
    )


def _plan(shape: Shape, here: Path) -> RunPlan:
    if not shape.example:
        spec = spec_text(
            '[[stages]]\nname = "s"\nstage = "identity"',
            ring=f"capacity = 4096\nslot_bytes = {shape.slot_bytes}",
        )
        size = shape.slot_bytes - 16
        deployment = DEPLOYMENT.format(size=size, rate=shape.rate, fuse=shape.fuse)
        return make_test_plan(spec, deployment, directories=[str(here)])
    place = TOP / "deploy" / "examples" / shape.example
    spec = (place / "spec.toml").read_text()
    deployment = MARKET.format(
        ingress=shape.ingress, records=shape.records, here=here, fuse=shape.fuse
    )
    if "durable" in spec:
        deployment += JOURNAL.format(here=here)
        (here / "journal").mkdir()
    reads = str(Path(shape.records).parent)
    return make_test_plan(spec, deployment, directories=[str(here), str(place), reads])


def market_records(path: Path, count: int) -> None:
    """Write so many records of the market, from the shared file or made alike, again and again."""
    found = shared_file("market/esh4-mbo-20k.bin")
    once = found.read_bytes() if found else samples.book_records(20_000, seed=7)
    with path.open("wb") as file:
        for _ in range(count * RECORD_BYTES // len(once) + 1):
            file.write(once)


def measure(shape: Shape, directory: Path, window_s: float) -> Figure:
    """Run one shape and look at it twice, `window_s` apart."""
    here = Path(tempfile.mkdtemp(dir=directory))
    plan = _plan(shape, here)
    if shape.on_full:
        keys = {"outputs": "digest", "retention_bytes": 256 << 20}
        plan, _ = recorded(plan, here / "captures", on_full=shape.on_full, **keys)
    try:
        with running(plan) as run:
            run.until_state("running")
            until(lambda: run.role(shape.ingress)["received"] > 0, 30)
            _PAUSE.wait(window_s / 4)  # caches and branch predictors are warm then
            first = _look(run, plan, shape)
            _PAUSE.wait(window_s)
            last = _look(run, plan, shape)
            assert run.status()["state"] == "running", "too few records for the time"
    finally:
        shutil.rmtree(here)
    took, messages = last.at_s - first.at_s, last.messages - first.messages
    return Figure(
        messages / took,
        (last.workers_ns - first.workers_ns) / messages,
        (last.kept - first.kept) / messages,
        (last.kept_bytes - first.kept_bytes) / took / _CHUNK,
        (last.recorder_ns - first.recorder_ns) / took / 1e9,
    )


def compare(shape: Shape, directory: Path, rounds: int, window_s: float) -> str:
    """Return one line: with and without in turn, the ratios inside each round."""
    plain = replace(shape, on_full="")
    pairs = []
    for number in range(rounds):
        order = (plain, shape) if number % 2 else (shape, plain)
        figures = {each.on_full: measure(each, directory, window_s) for each in order}
        pairs.append((figures[""], figures[shape.on_full]))

    def median(value: Callable[[Figure, Figure], float]) -> float:
        return statistics.median(value(off, on) for off, on in pairs)

    ratios = sorted(on.rate / off.rate for off, on in pairs)
    return (
        f"{shape.name:>13}  fuse {shape.fuse:6}  rate {shape.rate or 'full':>8}  "
        f"{shape.on_full:7}  off {median(lambda off, _: off.rate) / 1e6:7.3f}  "
        f"on {median(lambda _, on: on.rate) / 1e6:7.3f} M/s  "
        f"ratio {statistics.median(ratios):.3f} "
        f"(p10 {ratios[len(ratios) // 10]:.3f}, p90 {ratios[-1 - len(ratios) // 10]:.3f})  "
        f"worker CPU {median(lambda off, _: off.cpu_ns):6.1f} and "
        f"{median(lambda _, on: on.cpu_ns):6.1f} ns a message  "
        f"recorder {median(lambda _, on: on.recorder_cpu):4.2f} CPUs  "
        f"kept {median(lambda _, on: on.kept_share):6.1%}, "
        f"{median(lambda _, on: on.kept_mib_s):4.0f} MiB/s of payload"
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
    rounds, window_s = int(arguments[1]) if arguments[1:] else 5, 1.0
    directory = Path(tempfile.mkdtemp(dir=arguments[0] if arguments else None))
    try:
        disk = statistics.median(disk_mib_s(directory) for _ in range(3))
        print(f"disk, sequential with fdatasync: {disk:.0f} MiB/s; {os.cpu_count()} CPUs")
        for shape in shapes(disk):
            print(compare(shape, directory, rounds, window_s), flush=True)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            records = Path(memory, "records")
            market_records(records, MARKET_RECORDS)
            for name in EXAMPLES:
                shape = Shape(0, "always", 0, "degrade", name, str(records))
                print(compare(shape, directory, rounds, window_s / 2), flush=True)
        print(f"disk again: {disk_mib_s(directory):.0f} MiB/s")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1:])
