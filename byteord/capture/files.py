"""The small files of an incident bundle, from facts that were gathered before. Pure.

Owns the names and shapes that other tools read; they are versioned by the manifest. It must not
read the host, and takes everything that may be secret through a `Redactor`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tomli_w

from byteord.capture.archive import Manifest, Row
from byteord.capture.entries import BundleFile, Entry
from byteord.capture.redact import Redactor
from byteord.capture.snapshot_view import snapshot_view, tuning_view
from byteord.capture.spec_view import NO_SPEC, SpecView
from byteord.spec.document import Bare
from byteord.spec.findings import Collector
from byteord.spec.kv import infer, parse
from byteord.spec.model import Scalar

FORMAT_VERSION = 1
POLICY_VERSION = 1
MANIFEST = "manifest.json"
SINGLE_RING, LANES = "single_ring_snapshot.json", "lane_graph_state.json"
_ABSENT = {
    "spec.kv": "the documents of this run were not kept",
    "deployment.toml": "the documents of this run were not kept",
    "environment.json": "no process of its daemon, nor of the run, is left to be looked at",
    "runtime_config.txt": "the configuration of its daemon is not known",
    "tuning.json": "no worker of it was read back",
    "events.jsonl": "no event of it is kept: those of the last 200 runs are",
    "metrics.prom": "it has ended, and its last metrics are not kept: its daemon did not see its "
    "end, or it was not one of the last 200 runs",
    "audit_checkpoint.json": "the audit log has no signed checkpoint yet",
    SINGLE_RING: "no state of its memory was kept",
    LANES: "no state of its memory was kept",
}
"""Why a file may be missing, where nobody knows better."""
_EVENT_KEYS = frozenset(["event", "run", "pipeline", "mode", "reason", "state", "bundle"])


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A process as `/proc` shows it."""

    pid: int
    cwd: str
    args: Sequence[str]
    env: Mapping[str, str]
    status: str
    """The text of `/proc/PID/status`."""


@dataclass(frozen=True, slots=True)
class RunDocuments:
    """The frozen documents of a run in canonical KV; empty where they are not known."""

    spec_kv: bytes = b""
    deployment_kv: bytes = b""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """Everything that a bundle says, as it was found."""

    run_id: str
    documents: RunDocuments
    validation: Mapping[str, Any]
    """As in `spec_validation.json`: ok, and description or error."""
    version: str
    environment: str
    model: str
    wait: str
    stage_failure_policy: str
    enforced: bool
    process: ProcessFacts | None
    """None: no process is left that could be looked at."""
    snapshot: bytes
    config: Mapping[str, Any] = field(default_factory=dict)
    """The daemon's configuration as it applies, by key; empty: it is not known."""
    events: Sequence[Mapping[str, Any]] = ()
    why: str = "asked"
    """What made it: `asked`, or what it was made for by itself."""
    extra: Mapping[str, bytes] = field(default_factory=dict)
    """Further files by name: `metrics.prom`, `doctor.json`, ..."""
    stored: Sequence[Entry] = ()
    """Files that are too large to hold: the slice of the capture, code."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """What is not in it, and why."""
    redacted: Mapping[str, Any] = field(default_factory=dict)
    """What data protection did to the messages in it; empty: it had nothing to do with them."""
    guarded: bool = False
    """The run's messages are under rules: not even digests of them leave."""
    spec: SpecView = NO_SPEC
    """The spec as it may leave."""


def bundle_entries(
    facts: BundleFacts, redactor: Redactor
) -> tuple[tuple[Entry, ...], dict[str, str]]:
    """Return all files but the manifest, by name, and what is left out with the reason."""
    made = {
        "spec.kv": facts.spec.kv,
        "deployment.toml": _deployment(facts.documents.deployment_kv, redactor),
        "spec_validation.json": to_json(facts.validation),
        "runtime.json": to_json({"crate": {"name": "byteor", "version": facts.version}}),
        "policy_audit.json": _policy_audit(facts),
        "environment.json": _environment(facts.process, redactor),
        "runtime_config.txt": _config(facts.config, redactor),
        _snapshot_name(facts.model): _snapshot(facts, redactor),
        "tuning.json": _maybe_json(tuning_view(facts.snapshot, redactor)),
        "events.jsonl": b"".join(to_line(_event(each, redactor)) for each in facts.events),
        **facts.extra,
    }
    left_out = {
        **facts.left_out,
        **{f"spec.kv: {each}": _why(each) for each in facts.spec.withheld},
    }
    for name in [name for name, content in made.items() if not content]:
        del made[name]
        left_out.setdefault(name, _ABSENT.get(name, "there is none for this run"))
    small: list[Entry] = [BundleFile(name, made[name]) for name in made]
    entries = sorted([*small, *facts.stored], key=lambda each: each.name)
    return tuple(entries), left_out


def manifest_of(facts: BundleFacts, left_out: Mapping[str, str]) -> Manifest:
    """Return what makes the manifest once the archive knows the digests.

    Its own one, `manifest_sha256`, is of its text without that line.
    """

    def make(rows: list[Row], lost: dict[str, str]) -> BundleFile:
        absent = {**left_out, **lost}
        content: dict[str, Any] = {
            "format": "byteor-incident-bundle",
            "format_version": FORMAT_VERSION,
            "run": facts.run_id,
            "why": facts.why,
            "version": facts.version,
            "files": [
                {
                    "name": row.name,
                    "bytes": row.size,
                    "sha256": row.sha256,
                    "sensitivity": row.sensitivity,
                }
                for row in rows
            ],
            "left_out": [{"name": name, "reason": why} for name, why in sorted(absent.items())],
            "spec_sha256": _digest(facts.documents.spec_kv),
            "spec_withheld": list(facts.spec.withheld),
            **({"redacted": dict(facts.redacted)} if facts.redacted else {}),
        }
        content["manifest_sha256"] = hashlib.sha256(to_json(content)).hexdigest()
        return BundleFile(MANIFEST, to_json(content), "public")

    return make


def _why(withheld: str) -> str:
    return (
        "a token stands for this value, which may be a secret; "
        f'[bundle] config = ["{withheld}"] of the deployment lets it leave'
    )


def _digest(content: bytes) -> str | None:
    return hashlib.sha256(content).hexdigest() if content else None


def to_json(data: Mapping[str, Any]) -> bytes:
    """Return readable JSON, keys sorted."""
    return json.dumps(data, indent=2, sort_keys=True, default=str).encode() + b"\n"


def to_line(data: Mapping[str, Any]) -> bytes:
    """Return one line of JSON."""
    return json.dumps(data, sort_keys=True, default=str).encode() + b"\n"


def flat_of(kv: bytes) -> dict[str, Scalar]:
    """Return canonical KV as key paths and typed values."""
    found = Collector("deployment", {})
    flat: dict[str, Scalar] = {}
    _flatten(parse(kv.decode("ascii"), found).tree, "", flat)
    return flat


def _flatten(node: Mapping[str, Any], prefix: str, into: dict[str, Scalar]) -> None:
    for name, value in node.items():
        if isinstance(value, Mapping):
            _flatten(value, f"{prefix}{name}.", into)
        elif value != []:
            into[f"{prefix}{name}"] = infer(value) if isinstance(value, Bare) else value


def _maybe_json(data: Mapping[str, Any]) -> bytes:
    return to_json(data) if data else b""


def _deployment(kv: bytes, redactor: Redactor) -> bytes:
    if not kv:
        return b""
    tree: dict[str, Any] = {}
    for key, value in redactor.deployment(flat_of(kv)).items():
        node = tree
        *around, last = key.split(".")
        for part in around:
            node = node.setdefault(part, {})
        node[last] = value
    return tomli_w.dumps(_arrays(tree)).encode()


def _arrays(node: Any) -> Any:
    """Turn tables whose keys are 0, 1, ... into arrays."""
    if not isinstance(node, dict):
        return node
    inner = {name: _arrays(child) for name, child in node.items()}
    if inner and set(inner) == {str(index) for index in range(len(inner))}:
        return [inner[str(index)] for index in range(len(inner))]
    return inner


def _policy_audit(facts: BundleFacts) -> bytes:
    answer: dict[str, Any] = {
        "ok": bool(facts.validation.get("ok")),
        "policy_version": POLICY_VERSION,
        "mode": facts.environment,
        "enforced": facts.enforced,
        "stage_failure_policy": facts.stage_failure_policy,
        "spec_path": "spec.kv" if facts.spec.kv else None,
        "lane_path": LANES if facts.model == "lane_graph" else None,
        "wait": facts.wait,
        "runtime_crate": {"name": "byteor", "version": facts.version},
    }
    if facts.validation.get("ok"):
        answer["spec"] = {"sha256": _digest(facts.documents.spec_kv)}
    else:
        answer["error"] = facts.validation.get("error", "")
    return to_json(answer)


def _config(flat: Mapping[str, Any], redactor: Redactor) -> bytes:
    """Return lines of `key=value`, as in canonical KV; what is not set has no value."""
    lines = []
    for key, value in sorted(redactor.config(flat).items()):
        text = "" if value is None else value
        lines.append(f"{key}={str(text).lower() if isinstance(text, bool) else text}\n")
    return "".join(lines).encode()


def _environment(process: ProcessFacts | None, redactor: Redactor) -> bytes:
    if process is None:
        return b""
    return to_json(
        {
            "pid": process.pid,
            "cwd": redactor.path(process.cwd),
            "args": redactor.arguments(process.args),
            "env": redactor.environment(process.env),
            "proc_status": process.status,
        }
    )


def _event(event: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    return {
        key: redactor.token(value) if isinstance(value, str) and key not in _EVENT_KEYS else value
        for key, value in event.items()
    }


def _snapshot_name(model: str) -> str:
    return SINGLE_RING if model == "single_ring" else LANES


def _snapshot(facts: BundleFacts, redactor: Redactor) -> bytes:
    if not facts.snapshot:
        return b""
    return to_json(snapshot_view(facts.snapshot, redactor, guarded=facts.guarded))
