"""Native stages inside real runs: chains against their models, kills, the C example, Numba."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from byteord.stages import include_dir
from tests.property import stage_models as models
from tests.property.stage_models import Config, Kept
from tests.support.cli import byteorctl
from tests.support.poll import until
from tests.support.run import make_test_plan, run_to_end, running, spec_text

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "cabi-stage"
DEDUPE: Config = {"window": 300, "length": 6}
COUNT: Config = {"length": 2, "forward": True}
CHAIN = """
[[stages]]
name = "dedupe"
stage = "dedupe"
config = { window = 300, length = 6 }
[[stages]]
name = "stamp"
stage = "crc32c"
depends_on = [0]
config = { mode = "stamp" }
[[stages]]
name = "count"
stage = "count"
depends_on = [1]
config = { length = 2, forward = true }
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "file"
path = "{directory}/in"
framing = "lines"
[adapters.out]
kind = "file"
path = "{directory}/out"
mode = "truncate"
framing = "length_prefixed"
length_bytes = 2
[tuning]
fuse = "{fuse}"
wait = "backoff"
[failure]
restarts_max = 100
restart_backoff_ms = 1
"""
RING = "capacity = 256\nslot_bytes = 128"


def _write_input(directory: Path, lines: int) -> Kept:
    """Write lines of which many repeat the six bytes that are the key, and return them."""
    draw = random.Random(11)
    payloads = [
        b"%02d%04d rest %d" % (draw.randrange(5), draw.randrange(120), index)
        for index in range(lines)
    ]
    (directory / "in").write_bytes(b"\n".join(payloads))
    return list(payloads)


def _wanted(payloads: Kept) -> list[bytes]:
    stamped = [
        each if each is None else models.stamp_model({}, each)
        for each in models.dedupe_model(DEDUPE, payloads)
    ]
    summary = models.count_model(COUNT, stamped)
    return [*(each for each in stamped if each is not None), summary]


def _records(path: Path) -> list[bytes]:
    content, records = path.read_bytes(), []
    while content:
        end = 2 + int.from_bytes(content[:2], "little")
        records.append(content[2:end])
        content = content[end:]
    return records


@pytest.mark.parametrize(
    ("fuse", "single_process"), [("never", False), ("always", False), ("always", True)]
)
def test_chain_of_builtin_stages(tmp_path: Path, fuse: str, single_process: bool) -> None:
    """Dedupe, stamp and count give what their models give, however roles are placed."""
    payloads = _write_input(tmp_path, 3000)
    deployment = DEPLOYMENT.format(directory=tmp_path, fuse=fuse)
    directories = [str(tmp_path)]
    spec = spec_text(CHAIN, ring=RING)
    plan = make_test_plan(spec, deployment, single_process=single_process, directories=directories)
    status, _ = run_to_end(plan)
    assert status["state"] == "completed", status
    assert _records(tmp_path / "out") == _wanted(payloads)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fuse", ["never", "always"])
def test_undo_logged_state_survives_kills(tmp_path: Path, fuse: str) -> None:
    """`kill -9` of the worker of a stage with large state changes nothing of the output."""
    payloads = _write_input(tmp_path, 120_000)
    deployment = DEPLOYMENT.format(directory=tmp_path, fuse=fuse)
    plan = make_test_plan(spec_text(CHAIN, ring=RING), deployment, directories=[str(tmp_path)])
    with running(plan) as run:
        run.until_state("running", "draining", "completed")
        for name in ("dedupe", "count", "dedupe", "count"):
            pid = run.worker_pid(name)
            if not pid or run.status()["state"] != "running":
                break
            seen = run.role(name)["received"]
            os.kill(pid, signal.SIGKILL)
            until(
                lambda name=name, seen=seen: (
                    run.role(name)["received"] > seen  # type: ignore[misc]
                    or run.status()["state"] != "running"
                ),
                30,
            )
        status = run.until_state("completed", "failed", timeout_s=60)
        assert status["state"] == "completed", run.log()
        assert sum(worker["restarts"] for worker in status["workers"]) > 0
        run.shim.wait(10)
    assert _records(tmp_path / "out") == _wanted(payloads)


def test_example_in_c_runs_as_its_readme_says(tmp_path: Path) -> None:
    """Built by its one line, run by its command: the last line has count and sum."""
    directory = tmp_path / "cabi-stage"
    shutil.copytree(EXAMPLE, directory)
    library = directory / "libtally.so"
    flags = ["-std=c11", "-O2", "-shared", "-fPIC", f"-I{include_dir()}"]
    source = directory / "tally.c"
    subprocess.run(["cc", *flags, "-o", str(library), str(source)], check=True, timeout=60)
    (directory / "numbers.txt").write_text("".join(f"{n}\n" for n in range(1, 101)) + "none")
    spec, output = directory / "spec.toml", tmp_path / "out"
    arguments: list[str | Path] = [
        "run",
        "--sp",
        spec,
        "--input",
        directory / "numbers.txt",
        "--output",
        output,
    ]
    done = byteorctl(*arguments)
    assert done.returncode == 0, done.stderr
    assert output.read_text().splitlines()[-1] == '{"count":100,"sum":5050}'
    spec.write_text(spec.read_text().replace("strict = false", "strict = true"))
    done = byteorctl(*arguments)
    assert done.returncode == 1
    assert b"at sequence 100" in done.stderr
    assert b"the message is not a decimal number" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="the extra byteor[numba] is not installed"
)
def test_numba_stage_in_a_run(tmp_path: Path) -> None:
    """A compiled function drops, counts in shared memory, and leaves the last message."""
    (tmp_path / "odd_stage_for_run.py").write_text(
        "def odd(payloads, lengths, keep, state):\n"
        "    for i in range(len(lengths)):\n"
        "        if keep[i]:\n"
        "            keep[i] = payloads[i, lengths[i] - 1] % 2\n"
        "            state[0] += keep[i]\n"
        "def odd_end(payload, length, state):\n"
        "    payload[0] = state[0]\n"
        "    return 1\n"
    )
    (tmp_path / "in").write_bytes(b"\n".join(b"%d" % n for n in range(200)))
    stages = (
        '[[stages]]\nname = "odd"\nstage = "numba:odd_stage_for_run:odd"\ndrops = true\n'
        'state = "state"\nstate_bytes = 1\neffects = []\n'
    )
    deployment = DEPLOYMENT.format(directory=tmp_path, fuse="never")
    plan = make_test_plan(spec_text(stages, ring=RING), deployment, directories=[str(tmp_path)])
    status, _ = run_to_end(plan)
    assert status["state"] == "completed", status
    assert _records(tmp_path / "out") == [*(b"%d" % n for n in range(1, 200, 2)), bytes([100])]
