"""The headers under the C11 memory model, and the commit record under kills: searched small.

Each planted fault has to be found: a search that finds nothing where something is wrong proves
nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODELS = HERE / "model"
HEADERS = HERE.parents[1] / "cext"
ITERATIONS = 30_000
RACE, LOST = "DATA RACE", "USER ASSERT FAILED (assertion: !slept || woken)"
KILLS, KILLS_WITH_FAULT = 2, 1


@pytest.fixture(scope="session")
def ring_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile ring.h and wait.h against Relacy's atomics, once."""
    if not Path("/usr/include/relacy/relacy.hpp").exists() or shutil.which("g++") is None:
        pytest.skip("needs g++ and relacy (Debian relacy-dev)")
    program = tmp_path_factory.mktemp("relacy") / "ring"
    command = ["g++", "-std=c++17", "-w", f"-I{MODELS}", f"-I{HEADERS}"]
    command += [str(MODELS / "ring_relacy.cpp"), "-o", str(program)]
    subprocess.run(command, check=True, timeout=120)
    return program


@pytest.fixture(scope="session")
def commit_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the verifier of the commit record's model, once."""
    if shutil.which("spin") is None or shutil.which("gcc") is None:
        pytest.skip("needs spin and gcc (Debian spin)")
    directory = tmp_path_factory.mktemp("spin")
    generate = ["spin", "-a", str(MODELS / "commit.pml")]
    subprocess.run(generate, check=True, cwd=directory, timeout=60, capture_output=True)
    build = ["gcc", "-O1", "-w", "-DSAFETY", "-DNOFAIR", "-DCOLLAPSE", "-o", "pan", "pan.c"]
    subprocess.run(build, check=True, cwd=directory, timeout=120)
    return directory / "pan"


def _search(program: Path, scenario: str, fault: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), scenario, fault, str(ITERATIONS)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("scenario", ["hand_over", "chain", "side_by_side", "doorbell"])
def test_no_interleaving_of_the_ring_shows_an_error(ring_model: Path, scenario: str) -> None:
    """Wrapping sequences, stages in a row and side by side, parking: no race, nothing lost."""
    done = _search(ring_model, scenario, "none")
    assert done.returncode == 0, done.stdout[:4000]
    assert f"iterations: {ITERATIONS}" in done.stdout


@pytest.mark.parametrize(
    ("scenario", "fault", "found"),
    [
        ("hand_over", "weak_stamp", RACE),
        ("hand_over", "weak_cell", RACE),
        ("chain", "weak_cell", RACE),
        ("side_by_side", "weak_cell", RACE),
        ("doorbell", "no_fence", LOST),
    ],
)
def test_a_weakened_store_or_fence_is_found(
    ring_model: Path, scenario: str, fault: str, found: str
) -> None:
    """Each order that the headers ask for is needed: without it the search finds the error."""
    done = _search(ring_model, scenario, fault)
    assert done.returncode == 1
    assert found in done.stdout


def _verify(pan: Path, fault: int, kills: int) -> str:
    done = subprocess.run(
        [str(pan), "-m20000"],
        cwd=pan.parent,
        env={**os.environ, "FAULT": str(fault), "KILLS": str(kills)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_commit_record_survives_kills_between_any_two_stores(commit_model: Path) -> None:
    """The whole space is searched: nothing lost, doubled, torn or out of order."""
    said = _verify(commit_model, 0, KILLS)
    assert "errors: 0" in said
    assert "max search depth too small" not in said


@pytest.mark.parametrize("fault", range(1, 8))
def test_each_planted_reordering_of_the_commit_is_found(commit_model: Path, fault: int) -> None:
    """The order of the stores is not a matter of taste."""
    assert "errors: 1" in _verify(commit_model, fault, KILLS_WITH_FAULT)
