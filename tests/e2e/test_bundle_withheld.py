"""Bundles of runs whose spec has free values: what leaves, what a replay makes of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_cli_bundle import ctl, state
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.replayed import replay

PLANTED = "Zq7plantedX9w4"
NAMES = ["stages.mark.config.keys.0.token", "stages.mark.config.prefix"]
SPEC = f"""
version = 1
name = "marked"
model = "single_ring"
[[stages]]
name = "mark"
stage = "python:mark:Mark"
mutates = "all"
resizes = true
deterministic = true
effects = []
[stages.config]
prefix = "<{PLANTED}>"
keys = [{{ token = "{PLANTED}" }}]
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
CODE = """
class Mark:
    def __init__(self, ctx, prefix="", keys=None, **options):
        self.prefix = str(len(prefix)).encode()

    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, self.prefix + bytes(payload))
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "file"
path = "TOP/input"
framing = "lines"
[adapters.out]
kind = "discard"
[capture]
directory = "TOP/captures"
[bundle]
payload = true
"""


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the directory of documents, code and captures."""
    top = tmp_path_factory.mktemp("withheld")
    (top / "mark.py").write_text(CODE)
    (top / "input").write_text("".join(f"line {number}\n" for number in range(200)))
    (top / "spec.toml").write_text(SPEC)
    return top


@pytest.fixture(scope="module")
def daemon(top: Path) -> Iterator[DaemonProcess]:
    """Provide a daemon over it."""
    with running_daemon(
        arguments=[f"--{what}-dir={top}" for what in ("code", "read", "write")]
    ) as d:
        yield d


def bundle_of(daemon: DaemonProcess, top: Path, out: Path, more: str = "") -> Path:
    """Return the unpacked bundle of a run of the pipeline."""
    (top / "deployment.toml").write_text(DEPLOYMENT.replace("TOP", str(top)) + more)
    done = ctl(daemon, "run", str(top / "spec.toml"), "--detach")
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    until(lambda: state(daemon, run) == "completed", 30.0, "the run completed")
    made = ctl(daemon, "incident-bundle", run, "--out", str(out))
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="module")
def bundle(daemon: DaemonProcess, top: Path) -> Path:
    """Provide a bundle of a deployment that lets no free value leave."""
    return bundle_of(daemon, top, top / "bundle")


def test_the_manifest_says_what_was_withheld_and_why(bundle: Path) -> None:
    """The values are in no file; the spec's real digest is; a check says what it cannot tell."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    assert manifest["spec_withheld"] == NAMES
    reasons = {row["name"]: row["reason"] for row in manifest["left_out"]}
    assert all(f'config = ["{name}"]' in reasons[f"spec.kv: {name}"] for name in NAMES)
    for path in bundle.rglob("*"):
        assert path.is_dir() or PLANTED.encode() not in path.read_bytes(), path
    spec = (bundle / "spec.kv").read_bytes()
    assert spec == (bundle / "capture" / "spec.kv").read_bytes()
    assert spec.count(b"redacted:") == len(NAMES)
    assert manifest["spec_sha256"] != hashlib.sha256(spec).hexdigest()
    said = byteorctl("bundle", "verify", bundle)
    assert said.returncode == 0, said.stdout
    assert f"{manifest['spec_sha256']}, it cannot be".encode() in said.stdout
    assert "verified" in said.stdout.decode()
    assert NAMES[0].encode() in byteorctl("bundle", "inspect", bundle).stdout


def test_a_replay_wants_the_spec_itself(daemon: DaemonProcess, top: Path, bundle: Path) -> None:
    """Refused with the names and an audit; with the spec beside it, it is equal as ever."""
    code, _, said = replay(daemon.address, bundle)
    assert code == 77, said
    assert all(name in said for name in NAMES)
    assert "[bundle] config" in said
    audits = list((daemon.directory / "state" / "replays").glob("*.json"))
    (audit,) = [a for a in map(json.loads, (p.read_bytes() for p in audits)) if a["refused"]]
    assert audit["refused"]["reason"] == "SPEC_WITHHELD"
    code, _, said = replay(daemon.address, bundle, "--spec", bundle / "spec.kv")
    assert (code, "tokens" in said) == (77, True), said
    code, result, said = replay(daemon.address, bundle, "--spec", top / "spec.toml")
    assert code == 0, (said, result)
    assert result["verdict"] == "equal"
    changed = top / "changed.toml"
    changed.write_text(SPEC.replace('prefix = "<', 'prefix = "<<'))
    code, result, said = replay(daemon.address, bundle, "--spec", changed)
    assert (code, result["verdict"]) == (1, "different"), (said, result)


def test_what_the_deployment_lets_leave_replays_by_itself(
    daemon: DaemonProcess, top: Path, tmp_path: Path
) -> None:
    """With `[bundle] config` nothing is withheld, and a spec that was changed is found."""
    out = bundle_of(daemon, top, tmp_path / "b", 'config = ["stages.mark.config.*"]\n')
    manifest = json.loads((out / "manifest.json").read_bytes())
    spec = (out / "spec.kv").read_bytes()
    assert manifest["spec_withheld"] == []
    assert manifest["spec_sha256"] == hashlib.sha256(spec).hexdigest()
    code, result, said = replay(daemon.address, out)
    assert code == 0, (said, result)
    assert result["verdict"] == "equal"
    forged = tmp_path / "forged"
    shutil.copytree(out, forged)
    (forged / "spec.kv").write_bytes(spec.replace(b"name=marked", b"name=market"))
    manifest.pop("manifest_sha256")
    row = next(each for each in manifest["files"] if each["name"] == "spec.kv")
    row["sha256"] = hashlib.sha256((forged / "spec.kv").read_bytes()).hexdigest()
    manifest["manifest_sha256"] = hashlib.sha256(text(manifest)).hexdigest()
    (forged / "manifest.json").write_bytes(text(manifest))
    said_of = byteorctl("bundle", "verify", forged)
    assert said_of.returncode == 1
    assert b"the spec's that was run" in said_of.stdout


def text(manifest: dict[str, object]) -> bytes:
    """Return a manifest as it is written."""
    return json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"


def test_a_name_that_is_none_is_refused(top: Path, daemon: DaemonProcess, tmp_path: Path) -> None:
    """`[bundle] config` names values of stages, nothing else."""
    deployment = tmp_path / "deployment.toml"  # not beside the spec, where others find theirs
    deployment.write_text(DEPLOYMENT.replace("TOP", str(top)) + 'config = ["actions.token"]\n')
    named = ("--deployment", str(deployment))
    done = ctl(daemon, "validate", str(top / "spec.toml"), *named, "-o", "json")
    assert done.returncode == 78
    (found,) = [f for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
    assert (found["code"], found["path"]) == ("VALUE_MALFORMED", "bundle.config.0")
