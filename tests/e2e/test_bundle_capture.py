"""A fault on one record of a recorded feed: the bundle that appears holds what a replay needs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byteord._cext import journal
from byteord.runs.code import code_digests
from byteord.spec.model import Stage
from tests.e2e.test_auto_bundles import bundles
from tests.e2e.test_cli_bundle import ctl
from tests.support.cli import byteorctl, command_of
from tests.support.cutting import cutting
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.shared import shared_data

RECORD_BYTES = 56
FAULT = 14_320
"""Position of the 14,321st record."""
NOBODY = 65_534
AS_NOBODY = """
import json, os, sys, uuid
import grpc
from byteor.v1 import bundles_pb2, control_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
os.setgroups([]); os.setgid(65534); os.setuid(65534)
address, run, bundle = sys.argv[1:]
with grpc.insecure_channel(address) as channel:
    stub = control_service_pb2_grpc.ControlServiceStub(channel)
    wanted = bundles_pb2.CreateBundleRequest(request_id=str(uuid.uuid4()), run_id=run)
    made = stub.CreateBundle(wanted, timeout=60)
    read = sum(1 for _ in stub.ReadBundle(bundles_pb2.ReadBundleRequest(bundle_id=made.bundle_id)))
    try:
        list(stub.ReadBundle(bundles_pb2.ReadBundleRequest(bundle_id=bundle), timeout=60))
    except grpc.RpcError as error:
        refused = [error.code().name, error.details()]
reasons = {row.name: row.reason for row in made.left_out}
print(json.dumps([[file.sensitivity for file in made.files], reasons, read, refused]))
"""
SPEC = """
version = 1
name = "market"
model = "single_ring"
[ring]
capacity = 1024
slot_bytes = 128
[[stages]]
name = "check"
stage = "python:market_check:Check"
effects = []
deterministic = true
[[endpoints]]
name = "records"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.records]
kind = "file"
path = "PATH"
framing = "fixed"
record_bytes = 56
[adapters.out]
kind = "discard"
[capture]
directory = "TOP/captures"
segment_bytes = 131072
[bundle]
code = true
payload = true
"""
CHECK = """
class Check:
    def __init__(self, ctx):
        self.seen = 0

    def process(self, batch):
        for payload in batch:
            self.seen += 1
            if self.seen == 14_321:
                raise ValueError("a price that cannot be: hunter2-Zq81x")
"""


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the directory that the daemon may read, write and load code from."""
    top = tmp_path_factory.mktemp("market")
    (top / "market_check.py").write_text(CHECK)
    made = [sys.executable, "-m", "byteord.samples", "es-trades"]
    (top / "sample.bin").write_bytes(subprocess.run(made, capture_output=True, check=True).stdout)
    return top


@pytest.fixture(scope="module")
def daemon(top: Path) -> Iterator[DaemonProcess]:
    """Provide a daemon over that directory and the shared data."""
    try:
        market = str(shared_data("market"))
    except pytest.skip.Exception:
        market = str(top)
    arguments = [f"--{what}-dir={top}" for what in ("code", "read", "write")]
    config: dict[str, Any] = {}
    if os.geteuid() == 0:
        config = {"access.operators": [f"uid:{NOBODY}"], "listen.group": "nogroup"}
    arguments.append(f"--read-dir={market}")
    with running_daemon(config=config, arguments=arguments) as daemon:
        daemon.directory.chmod(0o755)
        yield daemon


@pytest.fixture(scope="module")
def bundle(daemon: DaemonProcess, top: Path) -> str:
    """Provide a bundle that a run made when it met the fault."""
    return failed_bundle(daemon, top, top / "sample.bin")


def failed_bundle(daemon: DaemonProcess, top: Path, records: Path) -> str:
    """Run the feed into the fault; return the id of the bundle that appears by itself."""
    (top / "spec.toml").write_text(SPEC)
    text = DEPLOYMENT.replace("PATH", str(records)).replace("TOP", str(top))
    (top / "deployment.toml").write_text(text)
    done = ctl(daemon, "run", str(top / "spec.toml"), "--detach")
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    (found,) = until(lambda: bundles(daemon, run), 60.0, "a bundle was made")
    assert found["why"] == "failure"
    return str(found["bundle_id"])


def frames(directory: Path) -> list[tuple[int, bytes]]:
    """Return (sequence, payload) of the captured input in an unpacked bundle."""
    found: list[tuple[int, bytes]] = []
    for path in sorted((directory / "capture" / "in" / "records").iterdir()):
        rows = journal.frames(path.read_bytes())
        found += [(sequence, payload) for sequence, _, _, payload in rows]
    return found


def check_bundle(directory: Path, records: bytes) -> None:
    """Check that the bundle names the record, and has it, the code and the conditions."""
    snapshot = json.loads((directory / "single_ring_snapshot.json").read_bytes())
    failure: dict[str, Any] = snapshot["run"]["failure"]
    assert (failure["role"], failure["sequence"]) == ("check", FAULT)
    record = records[FAULT * RECORD_BYTES : (FAULT + 1) * RECORD_BYTES]
    assert failure["message_sha256"] == hashlib.sha256(record).hexdigest()
    captured = dict(frames(directory))
    assert captured[FAULT] == record
    assert all(captured[at] == records[at * RECORD_BYTES :][:RECORD_BYTES] for at in range(200))
    code = json.loads((directory / "code.json").read_bytes())["stages"]["check"]
    stage = Stage("check", "python:market_check:Check")
    assert code_digests([stage], [str(directory / "code")]) == {"check": code["digest"]}
    about = json.loads((directory / "capture" / "capture.json").read_bytes())
    assert about["conditions"]["code"] == {"check": code["digest"]}
    assert about["spec_sha256"] == hashlib.sha256((directory / "spec.kv").read_bytes()).hexdigest()
    for path in directory.rglob("*"):
        assert "code" in path.parts or path.is_dir() or b"hunter2" not in path.read_bytes(), path


def test_a_planted_fault_leaves_everything_that_a_replay_needs(
    daemon: DaemonProcess, top: Path, bundle: str, tmp_path: Path
) -> None:
    """The bundle that appears has the failing record, all before it, the code by its digest."""
    records = top / "sample.bin"
    out = tmp_path / "incident"
    assert ctl(daemon, "bundle", "get", bundle, "--out", str(out)).returncode == 0
    check_bundle(out, records.read_bytes())
    told = byteorctl("bundle", "inspect", str(out)).stdout.decode()
    assert "STAGE_FAILED in check (python:market_check:Check) at sequence 14320" in told
    assert "messages from sequence 0 on" in told


def test_the_shared_market_file(daemon: DaemonProcess, top: Path, tmp_path: Path) -> None:
    """The same on real market data."""
    found = sorted(shared_data("market").glob("*.bin"))
    if not found or found[0].stat().st_size < (FAULT + 1) * RECORD_BYTES:
        pytest.skip("no file of fixed records; the same test on generated data always runs")
    bundle = failed_bundle(daemon, top, found[0])
    out = tmp_path / "incident"
    assert ctl(daemon, "bundle", "get", bundle, "--out", str(out)).returncode == 0
    with found[0].open("rb") as file:
        check_bundle(out, file.read((FAULT + 2) * RECORD_BYTES))


def test_a_slice_of_a_real_capture(daemon: DaemonProcess, bundle: str, tmp_path: Path) -> None:
    """--last and --from-sequence have exactly those messages; --plan tells their size and kind."""
    listed = json.loads(ctl(daemon, "bundle", "list", "-o", "json").stdout)["bundles"]
    run = next(each["run_id"] for each in listed if each["bundle_id"] == bundle)
    whole = tmp_path / "whole"
    assert ctl(daemon, "incident-bundle", run, "--out", str(whole)).returncode == 0
    everything = frames(whole)
    for option, kept in (("--last", everything[-100:]), ("--from-sequence", everything[9000:])):
        out = tmp_path / option.strip("-")
        value = "100" if option == "--last" else "9000"
        done = ctl(daemon, "incident-bundle", run, option, value, "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert frames(out) == kept
        assert byteorctl("bundle", "verify", str(out)).returncode == 0
    plan = json.loads(ctl(daemon, "incident-bundle", run, "--plan", "-o", "json").stdout)
    kinds = {file["name"]: file["sensitivity"] for file in plan["files"]}
    payloads = [name for name, kind in kinds.items() if kind == "payload"]
    assert payloads
    assert all(name.startswith("capture/in/records/") for name in payloads)
    assert kinds["code/market_check.py"] == "code"
    assert ctl(daemon, "incident-bundle", run, "--last", "soon").returncode == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_payloads_are_for_those_who_may_see_them(daemon: DaemonProcess, bundle: str) -> None:
    """An operator without the grant makes and reads a bundle without messages, and no other one."""
    listed = json.loads(ctl(daemon, "bundle", "list", "-o", "json").stdout)["bundles"]
    run = next(each["run_id"] for each in listed if each["bundle_id"] == bundle)
    command = [sys.executable, "-c", AS_NOBODY, daemon.address, run, bundle]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    kinds, reasons, read, refused = json.loads(done.stdout)
    assert "payload" not in kinds
    assert "[access] payload" in reasons["capture/in/records"]
    assert read >= 1
    assert refused[0] == "PERMISSION_DENIED"
    assert "it holds payloads" in refused[1]
    shown = ctl(daemon, "audit", "show", "--kind", "bundle.read", "-o", "jsonl").stdout
    assert f'"principal": "uid:{NOBODY}"' in shown.decode().replace('":"', '": "')


def untokened(daemon: DaemonProcess, run: str, out: Path) -> dict[str, bytes]:
    """Return the files of a new bundle of a run by name, one word in place of every token."""
    assert ctl(daemon, "incident-bundle", run, "--out", str(out)).returncode == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(out)): re.sub(rb"redacted:[0-9a-f]{24}", b"token", path.read_bytes())
        for path in files
    }


def test_what_is_of_the_run_is_the_same_in_every_bundle_of_it(
    daemon: DaemonProcess, bundle: str, tmp_path: Path
) -> None:
    """Two bundles of a run that has ended differ in the host, the moment and their tokens alone."""
    listed = json.loads(ctl(daemon, "bundle", "list", "-o", "json").stdout)["bundles"]
    run = next(each["run_id"] for each in listed if each["bundle_id"] == bundle)
    first, second = (untokened(daemon, run, tmp_path / name) for name in ("a", "b"))
    assert set(first) == set(second)
    moment = {
        "audit_checkpoint.json",
        "doctor.json",
        "environment.json",
        "host_facts.json",
        "manifest.json",
    }
    assert {name for name in first if first[name] != second[name]} <= moment
    assert len(first) > len(moment) + 10


def test_doctor_looks_at_the_host_of_a_bundle(
    daemon: DaemonProcess, bundle: str, tmp_path: Path
) -> None:
    """The same checks on the captured facts, for any profile, without the host's daemon."""
    out = tmp_path / "incident.tar"
    assert ctl(daemon, "bundle", "get", bundle, "--out", str(out)).returncode == 0
    arguments = ("doctor", "--bundle", out, "--profile", "isolated-core", "-o", "json")
    done = byteorctl(*arguments, "--address", daemon.address)
    report = json.loads(done.stdout)
    assert report["profile"] == "isolated-core"
    assert "these are the facts of a bundle" in report["notes"][0]
    states = [check["state"] for check in report["checks"]]
    assert states.count("ok") >= 5
    assert any("does not leave its host" in check["reason"] for check in report["checks"])
    assert byteorctl("doctor", "--bundle", out, "--measure").returncode == 2


def test_a_transfer_goes_on_where_it_was_cut(
    daemon: DaemonProcess, bundle: str, tmp_path: Path
) -> None:
    """Two cuts in the middle of the archive: the file is whole, its digest the daemon's."""
    listed = json.loads(ctl(daemon, "bundle", "list", "-o", "json").stdout)["bundles"]
    digest = next(each["sha256"] for each in listed if each["bundle_id"] == bundle)
    out = tmp_path / "whole.tar"
    with cutting(daemon.directory / "cut", str(daemon.socket), [300_000, 1_300_000]) as way:
        done = byteorctl(
            "--address", daemon.directory / "cut", "bundle", "get", bundle, "--out", out
        )
        assert done.returncode == 0, done.stderr
        assert way.cut == 2
    assert hashlib.sha256(out.read_bytes()).hexdigest() == digest


def interrupted(daemon: DaemonProcess, run: str, out: Path) -> Path:
    """Kill a client in the middle of its transfer; return what it left."""
    way = daemon.directory / f"held-{out.parent.name[-12:]}"
    with cutting(way, str(daemon.socket), [1_300_000], holds=True) as held:
        command = command_of("--address", f"unix:{way}", "incident-bundle", run, "--out", out)
        client = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(lambda: held.cut, 30.0, "a good part was sent")
        (left,) = until(lambda: list(out.parent.glob(".*.bundle")), 30.0, "it is being written")
        until(lambda: left.stat().st_size, 30.0, "a piece has arrived")
        client.kill()
        client.wait()
    return left


@pytest.mark.parametrize("damaged", [False, True], ids=["as-it-was", "damaged"])
def test_another_client_goes_on_with_what_a_killed_one_left(
    daemon: DaemonProcess, bundle: str, tmp_path: Path, *, damaged: bool
) -> None:
    """`--resume` reads only the rest, unless what is there proves wrong; nothing is left over."""
    listed = json.loads(ctl(daemon, "bundle", "list", "-o", "json").stdout)["bundles"]
    run = next(each["run_id"] for each in listed if each["bundle_id"] == bundle)
    out = tmp_path / "incident.tar"
    resume = ["incident-bundle", run, "--out", str(out), "--resume"]
    done = ctl(daemon, *resume)
    assert (done.returncode, b"leave out --resume" in done.stderr) == (66, True), done.stderr
    left = interrupted(daemon, run, out)
    arrived = left.stat().st_size
    if damaged:
        data = bytearray(left.read_bytes())
        data[arrived // 2] ^= 1
        left.write_bytes(data)
    with cutting(daemon.directory / f"rest-{damaged}", str(daemon.socket), []) as way:
        done = byteorctl("--address", f"unix:{daemon.directory}/rest-{damaged}", *resume)
    assert done.returncode == 0, done.stderr
    listed = json.loads(ctl(daemon, "bundle", "list", "-o", "json").stdout)["bundles"]
    made = next(each for each in listed if each["bundle_id"] in left.name)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == made["sha256"]
    size = int(made["size_bytes"])
    assert way.passed >= size if damaged else way.passed < size - arrived + 100_000
    assert byteorctl("bundle", "verify", out).returncode == 0
    assert list(tmp_path.iterdir()) == [out]


def test_a_transfer_that_never_gets_on_leaves_nothing(
    daemon: DaemonProcess, bundle: str, tmp_path: Path
) -> None:
    """A way that breaks again and again before anything came ends with 69, and no file."""
    out = tmp_path / "none.tar"
    with cutting(daemon.directory / "bad", str(daemon.socket), [20_000] * 20):
        done = byteorctl(
            "--address", daemon.directory / "bad", "bundle", "get", bundle, "--out", out
        )
    assert done.returncode == 69, done.stderr
    assert list(tmp_path.iterdir()) == []
