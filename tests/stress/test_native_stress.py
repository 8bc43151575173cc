"""The native headers under threads: plain, and under the thread, address and UB sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parents[1] / "cext"
BUILDS = {
    "plain": ("-O3",),
    "thread": ("-O1", "-fsanitize=thread"),
    "address": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
MESSAGES = {"plain": 60_000, "thread": 6_000, "address": 12_000}
LINKED = {
    "graph_stress": ("journal_segment.c",),
    "graph_kill": ("journal_segment.c",),
    "tape_stress": ("capture_drain.c", "sha256_blocks.c", "journal_segment.c"),
}
"""Sources of ours that a program is linked with."""
NEAR_2_32 = 2**32 - 3000
NEAR_2_64 = 2**64 - 3000
NEAR_2_63 = 2**63 - 3000
RUN_TIMEOUT_S = 60

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="stress programs need gcc")
Builder = Callable[..., Path]


def compile_program(
    source: Path, build: str, target: Path, headers: Path = HEADERS, *flags: str
) -> None:
    """Compile one stress program; skip when this compiler has no such sanitizer."""
    flags = ("-std=gnu11", "-g", "-Wall", "-Wextra", "-Wshadow", *BUILDS[build], *flags)
    sources = [str(source), *(str(headers / name) for name in LINKED.get(source.stem, ()))]
    command = ["gcc", *flags, f"-I{headers}", f"-I{HEADERS}", *sources, "-o", str(target)]
    command += ["-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode and "cannot find -l" in done.stderr:
        pytest.skip(f"no runtime library for the {build} sanitizer")
    assert done.returncode == 0, done.stderr


def run_program(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a stress program with its sanitizer's findings fatal."""
    options = {"TSAN_OPTIONS": "halt_on_error=1 exitcode=66", "ASAN_OPTIONS": "exitcode=66"}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
        env={**os.environ, **options},
    )


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Return a function that gives a stress program in a build, compiled once."""
    directory = tmp_path_factory.mktemp("stress")

    @cache
    def build(name: str, kind: str) -> Path:
        target = directory / f"{name}-{kind}"
        compile_program(HERE / f"{name}.c", kind, target)
        return target

    return build


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("start", [0, NEAR_2_32, NEAR_2_64])
@pytest.mark.parametrize(
    "shape",
    [
        (1, "spin", "fence"),
        (1, "park", "membarrier"),
        (2, "park", "fence"),
        (3, "backoff", "fence"),
        (4, "park", "membarrier"),
        (4, "backoff", "membarrier"),
    ],
)
def test_every_stage_sees_every_message_once_whole_and_in_order(
    program: Builder, build: str, start: int, shape: tuple[int, str, str]
) -> None:
    """A producer and gated stages, over the wrap of stamps and sequences; no wake-up is lost."""
    count = MESSAGES[build] if "spin" not in shape else MESSAGES[build] // 2
    done = run_program(program("ring_stress", build), count, start, *shape, 64, 128)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"ok {count} messages\n"


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("on_full", ["wait", "degrade"])
def test_what_is_handed_over_arrives_once_though_both_sides_die(
    program: Builder, build: str, on_full: str
) -> None:
    """Units and recorders replaced at random over a small tape: the digest, or the exact loss."""
    count = MESSAGES[build]
    done = run_program(program("tape_stress", build), count, on_full, 3)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"ok {count} messages\n"


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("start", [0, NEAR_2_32, NEAR_2_63])
@pytest.mark.parametrize(
    "shape",
    [(1, "park", "fence"), (4, "park", "membarrier"), (4, "backoff", "fence")],
)
def test_units_commit_count_and_end_under_threads(
    program: Builder, build: str, start: int, shape: tuple[int, str, str]
) -> None:
    """Units with commit records, undo, drops and the end of input: exact counts, nothing torn."""
    count = MESSAGES[build] // 3
    done = run_program(program("unit_stress", build), count, start, *shape, 64)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"ok {count} messages\n"


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("start", [0, NEAR_2_32, NEAR_2_63])
@pytest.mark.parametrize(
    "shape",
    [
        ("ordered", "block", "backoff", "fence"),
        ("ordered", "drop", "park", "membarrier"),
        ("round_robin", "drop", "park", "fence"),
        ("priority", "block", "park", "membarrier"),
    ],
)
def test_a_graph_of_units_accounts_for_every_message_under_threads(
    program: Builder, build: str, start: int, shape: tuple[str, str, str, str]
) -> None:
    """Two producers, a fan-out with a lossy reader, a lane that drops, merges: nothing unaccounted.

    Every message that arrives is whole and in its producer's order, in the order of time behind an
    ordered merge; what arrived, was lost and was missed add up to what was sent.
    """
    count = MESSAGES[build] // 3
    done = run_program(program("graph_stress", build), count, start, *shape, 64)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.startswith(f"ok {count} messages, ")


@pytest.mark.parametrize(
    ("right", "wrong", "build", "finding"),
    [
        (
            "byteor_store_release32(&((byteor_slot *)(void *)slots)->stamp",
            "byteor_store_relaxed32(&((byteor_slot *)(void *)slots)->stamp",
            "thread",
            "data race",
        ),
        (
            "byteor_store_release64(&ring->cells[cell].sequence, sequence);",
            "byteor_store_release64(&ring->cells[cell].sequence, sequence + 1);",
            "plain",
            "stress",
        ),
    ],
    ids=["stamp-without-release", "released-too-early"],
)
def test_planted_faults_are_found(
    tmp_path: Path, right: str, wrong: str, build: str, finding: str
) -> None:
    """The stress is able to fail: a sequencing header with a planted fault is caught."""
    headers = tmp_path / "cext"
    shutil.copytree(HEADERS, headers, ignore=shutil.ignore_patterns("*.pyx", "*.c"))
    text = (headers / "ring.h").read_text()
    assert right in text
    (headers / "ring.h").write_text(text.replace(right, wrong))
    target = tmp_path / "planted"
    compile_program(HERE / "ring_stress.c", build, target, headers)
    done = run_program(target, MESSAGES[build], 0, 1, "backoff", "fence", 8, 128)
    assert done.returncode != 0
    assert finding in done.stderr


def test_a_wait_yields_at_once_as_long_as_others_share_its_cpu(program: Builder) -> None:
    """It asks for that in one of several waits only, and spins again soon after they have gone."""
    done = run_program(program("wait_turns", "plain"))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_two_threads_that_meet_a_lost_page_at_once_leave_what_the_first_says(
    tmp_path: Path,
) -> None:
    """The process ends with the code of a lost region, and not before the first has said why."""
    target = tmp_path / "fault_race"
    sources = [HERE / "fault_race.c", HEADERS / "region_fault.c"]
    command = ["gcc", "-std=gnu11", "-O2", f"-I{HEADERS}", *map(str, sources), "-o", str(target)]
    subprocess.run([*command, "-lpthread"], check=True, timeout=60)
    done = run_program(target)
    assert (done.returncode, done.stdout) == (4, "said\n"), done.stderr
