"""Real runs recorded, and replayed from what they left: equal, or failing at the same message."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.replayed import replay, shown
from tests.support.shared import shared_data
from tests.support.tree import TOP

EXAMPLE = TOP / "deploy" / "examples" / "market-fanout"
FAULT = 14_321
CODE = f"""
class Faulty:
    \"\"\"It cannot do one record, the {FAULT}st.\"\"\"
    def __init__(self, ctx):
        self.ctx = ctx
    def process(self, batch):
        for index, sequence in enumerate(batch.sequences):
            if sequence == {FAULT - 1}:
                batch.payload(index)
                raise ValueError("the planted fault")

class Mended:
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, sequence in enumerate(batch.sequences):
            if sequence == {FAULT - 1}:
                batch.drop(index)
"""
SPEC = """
version = 1
name = "planted"
model = "single_ring"
[ring]
slot_bytes = 128
[[stages]]
name = "sum"
stage = "identity"
[[stages]]
name = "mine"
stage = "python:planted:{stage}"
depends_on = [0]
drops = true
deterministic = true
effects = []
[[endpoints]]
name = "feed"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""


class Host:
    """A daemon, its directories, and records of the market."""

    def __init__(self, top: Path) -> None:
        """Copy the example and write the stage with the fault."""
        self.top = top
        for name in ("code", "data"):
            (top / name).mkdir()
        for file in EXAMPLE.iterdir():
            if file.is_file():
                shutil.copy(file, top / "code" / file.name)
        (top / "code" / "planted.py").write_text(CODE)
        self.records = top / "records.bin"
        command = [sys.executable, "-m", "byteord.samples", "market-fanout"]
        made = subprocess.run(command, check=True, capture_output=True).stdout
        self.records.write_bytes((made * (1 + 20_000 * 56 // len(made)))[: 20_000 * 56])

    def deployment(self, *, more: str = "", framing: str = "fixed") -> Path:
        """Return a deployment that records everything."""
        path = self.top / "code" / "deployment.toml"
        adapters = (EXAMPLE / "deployment.toml").read_text().partition("[journals")[0]
        if framing == "planted":
            adapters = (
                'version = 1\n[adapters.feed]\nkind = "stdin"\nframing = "fixed"\n'
                'record_bytes = 56\n[adapters.out]\nkind = "stdout"\nframing = "fixed"\n'
                "record_bytes = 56\n"
            )
        capture = f'[capture]\ndirectory = "{self.top}/data/captures"\noutputs = "messages"\n'
        capture += "[bundle]\ncode = true\npayload = true\n"
        path.write_text(adapters + more + capture)
        return path

    def run(self, daemon: DaemonProcess, spec: Path) -> tuple[int, str]:
        """Run it over the records; return exit code and id."""
        done = byteorctl(
            "--address", daemon.address, "-o", "json", "run", spec, "--input", self.records,
            "--output", self.top / "output",
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        captured = sorted((self.top / "data" / "captures").iterdir())
        return done.returncode, captured[-1].name

    def capture(self, run_id: str) -> Path:
        """Return where a run's capture lies."""
        return self.top / "data" / "captures" / run_id


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Provide the directories."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield Host(Path(place))


@pytest.fixture(scope="module")
def daemon(host: Host) -> Iterator[DaemonProcess]:
    """Provide a daemon that may use them."""
    config = {
        "allow.code_dirs": [str(host.top / "code")],
        "allow.write_dirs": [str(host.top / "data")],
    }
    with running_daemon(config=config) as started:
        yield started


@pytest.mark.timeout(120)
def test_a_graph_replays_from_its_capture_and_from_its_journal(
    host: Host, daemon: DaemonProcess
) -> None:
    """Fan-out, state, an ordered merge: equal digests; the journal of a lane feeds it as well."""
    journal = f'[journals.everything]\ndirectory = "{host.top}/data/journal"\n'
    host.deployment(more=journal)
    spec = host.top / "code" / "spec.toml"
    code, run_id = host.run(daemon, spec)
    assert code == 0
    kept = sorted((host.top / "data" / "journal").iterdir())
    code, result, said = replay(daemon.address, run_id)
    assert (code, result["verdict"]) == (0, "equal"), (said, result)
    assert result["egresses"][0]["count"] > 1000
    assert sorted((host.top / "data" / "journal").iterdir()) == kept, "a replay writes no journal"
    whole = result["egresses"][0]["sha256"]
    code, result, said = replay(daemon.address, run_id, "--lane", "everything", "--spec", spec)
    assert code == 0, said
    assert [each["code"] for each in result["reasons"]] == ["no_live_digests"]
    assert (result["replayed"], result["egresses"][0]["sha256"]) == (20_000, whole)


@pytest.mark.timeout(120)
def test_a_planted_fault_comes_back_at_its_record_and_the_mended_stage_passes(
    host: Host, daemon: DaemonProcess
) -> None:
    """The run fails at record 14,321; so does the replay, where `--step` shows it; then mended."""
    host.deployment(framing="planted")
    spec = host.top / "code" / "planted.toml"
    spec.write_text(SPEC.format(stage="Faulty"))
    code, run_id = host.run(daemon, spec)
    assert code == 1
    capture = host.capture(run_id)
    assert json.loads((capture / "capture.json").read_text())["state"] == "failed"
    code, result, said = replay(daemon.address, capture)
    assert code == 1, said
    failure = result["failure"]
    assert (failure["role"], failure["sequence"]) == ("mine", FAULT - 1)
    assert result["verdict"] == "equal", result
    record = host.records.read_bytes()[(FAULT - 1) * 56 : FAULT * 56]
    _, result, said = replay(daemon.address, run_id, "--step", str(FAULT - 1))
    last = result["steps"][-1]
    assert (last["role"], last["outcome"]) == ("mine", "failed"), said
    assert shown(result["steps"][0]["before"]) == record
    mended = host.top / "code" / "mended.toml"
    mended.write_text(SPEC.format(stage="Mended"))
    code, result, said = replay(daemon.address, run_id, "--spec", mended)
    assert result["failure"] is None, (said, result)
    assert result["egresses"][0]["count"] == result["replayed"] - 1 >= FAULT - 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("shared", [False, True], ids=["generated", "shared"])
def test_a_bundle_is_all_that_a_clean_machine_needs(
    host: Host, daemon: DaemonProcess, *, shared: bool
) -> None:
    """The bundle that the failing run made: a private daemon runs its code and fails as it did."""
    if shared:
        host.records = shared_data("market/esh4-mbo-20k.bin")
    host.deployment(framing="planted")
    spec = host.top / "code" / "planted.toml"
    spec.write_text(SPEC.format(stage="Faulty"))
    _, run_id = host.run(daemon, spec)
    address = ["--address", daemon.address]

    def made() -> str:
        done = byteorctl(*address, "bundle", "list", "--run", run_id, "-o", "json")
        rows = json.loads(done.stdout)["bundles"]
        return rows[0]["bundle_id"] if rows else ""

    bundle = until(made, 30.0, "the bundle of the failing run")
    out = host.top / "bundle.tar.gz"
    done = byteorctl(*address, "bundle", "get", bundle, "--out", out)
    assert done.returncode == 0, done.stderr
    elsewhere = {"BYTEOR_SOCKET": "", "XDG_RUNTIME_DIR": str(host.top / "data")}
    done = byteorctl("replay", out, "--trust-code", "-o", "json", env=elsewhere)
    result = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert (result["failure"]["role"], result["failure"]["sequence"]) == ("mine", FAULT - 1)
    assert result["verdict"] == "equal", result
    done = byteorctl(
        "replay", out, "--trust-code", "--step", str(FAULT - 1), "-o", "json", env=elsewhere
    )
    last = json.loads(done.stdout)["steps"][-1]
    assert (last["role"], last["outcome"]) == ("mine", "failed")
    record = host.records.read_bytes()[(FAULT - 1) * 56 : FAULT * 56]
    assert shown(last["before"]) == record
    done = byteorctl("replay", out, "-o", "json", env=elsewhere)
    assert done.returncode == 78, "its code is not taken without being trusted"
    done = byteorctl("replay", out, "--trust-code", "--execute", env=elsewhere)
    assert done.returncode == 77, done.stderr
