"""What a bundle holds, and what never leaves with it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteord.adapters.catalogue import CATALOGUE
from byteord.capture.archive import Row, write_archive
from byteord.capture.entries import BundleFile
from byteord.capture.files import (
    BundleFacts,
    ProcessFacts,
    RunDocuments,
    bundle_entries,
    manifest_of,
)
from byteord.capture.redact import Redactor
from byteord.capture.spec_view import NO_SPEC, SpecView
from byteord.capture.store import BundleStore, Label
from byteord.deployment.bundling import BundleLimits
from byteord.errors import InvalidArgumentError, NotFoundError, ResourceError
from byteord.spec.kv import write

PLANTED = "hunter2-Zq81x"
KEY = bytes(32)
DEPLOYMENT: dict[str, Any] = {
    "adapters.in.kind": "file",
    "adapters.in.path": "/data/in.log",
    "adapters.in.framing": "lines",
    "adapters.out.kind": "tcp",
    "adapters.out.connect": "10.1.2.3:99",
    "environment": "dev",
    "failure.policy": "stop_pipeline",
    "tuning.wait": "spin",
    "tuning.pin.0": 1,
    "tuning.pin.1": 3,
    "version": 1,
}
KINDS = ("json", "map.json", "tar")
PLACES = (
    "env value",
    "env name",
    "argument",
    "option value",
    "working directory",
    "adapter option",
    "adapter kind",
    "event",
    "failure message",
    "error text",
    "sample",
    "stage configuration",
    "principal",
    "code directory",
    "journal directory",
    "schema text",
    "certificate",
    "secrets directory",
    "allowed url",
    "program argument",
    "action target",
    "signer",
    "lease message",
    "condition message",
    "action setting",
    "bundle condition",
    "daemon's path",
    "daemon's list",
    "daemon's word",
)


def snapshot(planted: dict[str, str]) -> bytes:
    """Return a snapshot of the shape that the daemon makes."""
    role = {
        "name": "in",
        "errors": [{"code": "STAGE_FAILED", "text": planted.get("error text", "ValueError: x")}],
        "samples": {"oversize": planted.get("sample", "abc")},
    }
    document = {
        "run": {
            "id": "1-a",
            "principal": planted.get("principal", "uid:0"),
            "region_directory": "/dev/shm/byteor-0/1-a",
            "failure": {"message": planted.get("failure message", "ValueError: x")},
            "conditions": [
                {"type": "Failed", "message": planted.get("failure message", "x")},
                {"type": "RegionsReadable", "message": planted.get("condition message", "x")},
            ],
            "roles": [{**role, "stage": f"exec:/bin/true|{planted.get('program argument', 'a')}"}],
            "effects": {
                "effects": [{"role": "in", "target": planted.get("action target", "t")}],
                "signers": [planted.get("signer", "me")],
                "message": planted.get("lease message", "m"),
            },
        },
        "plan": {
            "schemas": [planted.get("schema text", "x")],
            "ca_text": planted.get("certificate", "x"),
            "secrets_dir": planted.get("secrets directory", "/etc/x"),
            "url_prefixes": [planted.get("allowed url", "https://x")],
            "exec_allowed": [f"/bin/true|{planted.get('program argument', 'a')}"],
            "actions": {"content_type": planted.get("action setting", "x"), "timeout_ms": 3},
            "effects": [{"role": 1, "target": planted.get("action target", "t")}],
            "lanes": [{"journal": {"directory": planted.get("journal directory", "/x")}}],
            "code_dirs": [planted.get("code directory", "/opt/code")],
            "roles": [
                {
                    "options": {"path": planted.get("adapter option", "/data")},
                    "config": {"contains": planted.get("stage configuration", "x")},
                    "stage": f"http_post:{planted.get('action target', 't')}",
                }
            ],
        },
        "regions": {"roles": [dict(role)], "failure": None},
    }
    return json.dumps(document).encode()


def facts(place: str = "", secret: str = PLANTED) -> BundleFacts:
    """Return facts with a secret planted at one place."""
    planted = {place: secret}
    deployment = dict(DEPLOYMENT)
    if place == "adapter option":
        deployment["adapters.in.path"] = secret
    if place == "adapter kind":
        deployment["adapters.in.kind"] = secret
    if place == "bundle condition":
        deployment["bundle.when.0"] = secret
    env = {"LANG": "C.UTF-8", "TOKEN": planted.get("env value", "x")}
    if place == "env name":
        env[secret] = "x"
    args = ["byteord", "--config", planted.get("argument", "/etc/x"), "--key=x"]
    if place == "option value":
        args.append(f"--token={secret}")
    cwd = planted.get("working directory", "/home/me")
    return BundleFacts(
        run_id="1-a",
        documents=RunDocuments(b"name=x\n", write(deployment)),
        validation={"ok": True, "description": {"name": "x"}},
        version="1",
        environment="dev",
        model="single_ring",
        wait="spin",
        stage_failure_policy="stop_pipeline",
        enforced=False,
        process=ProcessFacts(7, cwd, args, env, "VmRSS: 1"),
        snapshot=snapshot(planted),
        config={
            "paths.state": planted.get("daemon's path", "/var/lib/x"),
            "allow.exec": ("/bin/true", planted.get("daemon's list", "a")),
            "log.format": planted.get("daemon's word", "json"),
            "metrics.address": "",
            "listen.reflection": None,
            "on_stop": "leave",
            "effects.dry_run": True,
            "ceilings.runs_max": 64,
        },
        events=({"event": "run.started", "run": "1-a", "message": planted.get("event", "m")},),
        spec=SpecView(b"name=x\n"),
    )


def content(given_facts: BundleFacts, key: bytes = KEY) -> dict[str, bytes]:
    """Return the bundle's files by name."""
    entries, left_out = bundle_entries(given_facts, Redactor(key, CATALOGUE))
    made = {entry.name: b"".join(entry.pieces()) for entry in entries}
    rows = [
        Row(name, len(data), hashlib.sha256(data).hexdigest(), "") for name, data in made.items()
    ]
    manifest = manifest_of(given_facts, left_out)(rows, {})
    return {**made, manifest.name: manifest.content}


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    secret=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\\"'=\x7f"),
        min_size=9,
        max_size=40,
    )
)
def test_a_planted_secret_is_nowhere(place: str, secret: str) -> None:
    """Wherever a secret stands on the host, no file of the bundle has it."""
    secret = f"Zq{secret}"
    for name, data in content(facts(place, secret)).items():
        assert secret.encode() not in data, (place, name)


def test_tokens_correlate_within_a_bundle_and_not_across() -> None:
    """Equal values have equal tokens in one bundle; another key gives others; the map resolves."""
    redactor = Redactor(KEY, CATALOGUE)
    assert redactor.token("a") == redactor.token("a") != redactor.token("b")
    assert Redactor(b"1" * 32, CATALOGUE).token("a") != redactor.token("a")
    assert redactor.tokens[redactor.token("a")] == "a"


def test_what_is_harmless_stays_readable() -> None:
    """Numbers, closed words, our own options, the class of an exception are kept."""
    made = content(facts())
    config = dict(line.split("=", 1) for line in made["runtime_config.txt"].decode().splitlines())
    assert config["effects.dry_run"] == "true"
    assert config["ceilings.runs_max"] == "64"
    assert (config["log.format"], config["on_stop"]) == ("json", "leave")
    assert (config["metrics.address"], config["listen.reflection"]) == ("", "")
    assert config["paths.state"].startswith("redacted:")
    assert config["allow.exec.0"] != config["allow.exec.1"]
    deployment = tomllib.loads(made["deployment.toml"].decode())
    assert deployment["adapters"]["in"]["kind"] == "file"
    assert deployment["adapters"]["in"]["framing"] == "lines"
    assert deployment["adapters"]["in"]["path"].startswith("redacted:")
    assert deployment["failure"]["policy"] == "stop_pipeline"
    assert deployment["tuning"] == {"wait": "spin", "pin": [1, 3]}
    environment = json.loads(made["environment.json"])
    assert environment["args"][:2] == ["byteord", "--config"]
    assert ["LANG", "C.UTF-8"] in environment["env"]
    failure = json.loads(made["single_ring_snapshot.json"])["run"]["failure"]["message"]
    assert failure.startswith("ValueError: redacted:")


def test_the_same_facts_give_the_same_bytes(tmp_path: Path) -> None:
    """A bundle depends on its facts and key alone, to the byte of the archive."""
    digests = set()
    for name in ("a.tar", "b.tar"):
        entries, left_out = bundle_entries(facts(), Redactor(KEY, CATALOGUE))
        made = write_archive(str(tmp_path / name), entries, manifest_of(facts(), left_out))
        digests.add(made.sha256)
    assert len(digests) == 1


def test_the_manifest_lists_what_is_there_and_what_is_not() -> None:
    """Every file with its digest; what a run does not have is named with the reason."""
    made = content(facts())
    manifest = json.loads(made["manifest.json"])
    assert {row["name"] for row in manifest["files"]} == made.keys() - {"manifest.json"}
    lost = BundleFacts(
        **{**facts_fields(), "snapshot": b"", "documents": RunDocuments(), "spec": NO_SPEC}
    )
    left_out = {row["name"] for row in json.loads(content(lost)["manifest.json"])["left_out"]}
    assert left_out == {
        "single_ring_snapshot.json",
        "spec.kv",
        "deployment.toml",
        "tuning.json",
    }


def facts_fields() -> dict[str, Any]:
    """Return the fields of the usual facts."""
    usual = facts()
    return {name: getattr(usual, name) for name in BundleFacts.__slots__}


def kept(store: BundleStore, bundle_id: str, size: int = 10, at: int = 0) -> None:
    """Put a bundle into a store."""
    entries = [BundleFile("spec.kv", bytes(size))]
    label = Label(bundle_id, "run-1", "gen", "asked", at)
    store.add(label, entries, manifest_of(facts(), {}), lambda: {"redacted:1": "x"})


def test_the_store_keeps_the_newest_and_the_map_stays(tmp_path: Path) -> None:
    """Beyond the bound the oldest bundle goes with its map; a map is for the owner alone."""
    store = BundleStore(str(tmp_path / "bundles"), BundleLimits(count=2))
    for number in range(3):
        kept(store, f"b{number}", at=number)
    with pytest.raises(NotFoundError):
        store.path("b0")
    assert Path(store.path("b2")).exists()
    names = sorted(path.name for path in (tmp_path / "bundles").iterdir())
    assert names == [f"b{number}.{kind}" for number in (1, 2) for kind in KINDS]
    assert (tmp_path / "bundles" / "b2.map.json").stat().st_mode & 0o077 == 0
    assert [each.id for each in store.kept()] == ["b2", "b1"]
    with pytest.raises(InvalidArgumentError):
        store.path("../../etc/passwd")


def test_the_store_is_bounded_in_bytes(tmp_path: Path) -> None:
    """The oldest go until the newest fits; one that never fits is refused, and nothing is lost."""
    limits = BundleLimits(count=10, total_bytes=100_000, bundle_bytes=60_000)
    store = BundleStore(str(tmp_path), limits)
    for number in range(3):
        kept(store, f"b{number}", size=40_000, at=number)
    assert [each.id for each in store.kept()] == ["b2", "b1"]
    with pytest.raises(ResourceError, match="60,001 bytes; wanted 60,000 at most"):
        kept(store, "b3", size=60_001)
    assert len(store.kept()) == 2


def test_a_torn_store_is_told_from_a_whole_one(tmp_path: Path) -> None:
    """What a daemon that died left half written is not listed, and goes with the next bundle."""
    store = BundleStore(str(tmp_path))
    kept(store, "a")
    (tmp_path / ".half").write_bytes(b"x")
    (tmp_path / "c.json").write_text("{}")
    assert [each.id for each in store.kept()] == ["a"]
    kept(store, "b")
    assert not (tmp_path / ".half").exists()
