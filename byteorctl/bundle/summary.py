"""A bundle in words, in the order of triage: documents, policy, process, state, what stands out.

Pure; reads a bundle that was checked before, and still takes no shape for granted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from byteorctl.bundle.check import notes_of
from byteorctl.output.quantities import count, size

Section = tuple[str, list[tuple[str, str]]]
SNAPSHOTS = ("single_ring_snapshot.json", "lane_graph_state.json")
LAG_NOTABLE = 0.5
RESTARTS_NOTABLE = 1


def summary(files: Mapping[str, bytes]) -> list[Section]:
    """Return sections of named lines."""
    manifest, validation, policy, process = (
        _load(files, name)
        for name in (
            "manifest.json",
            "spec_validation.json",
            "policy_audit.json",
            "environment.json",
        )
    )
    snapshot = next((_load(files, name) for name in SNAPSHOTS if name in files), {})
    sections = [
        ("bundle", _bundle(manifest)),
        ("validation", _validation(validation)),
        ("policy", _policy(policy)),
        ("environment", _process(process)),
        ("run", _run(snapshot)),
        ("capture", _capture(_load(files, "capture/slice.json"))),
        ("code", _code(_load(files, "code.json"))),
        ("doctor", _doctor(_load(files, "doctor.json"))),
        ("stands out", _notable(snapshot)),
        ("left out", [(str(row.get("name")), str(row.get("reason")))
                      for row in manifest.get("left_out") or ()]),
    ]  # fmt: skip
    return [(name, lines) for name, lines in sections if lines]


def _load(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        data = json.loads(files.get(name, b"{}"))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _bundle(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [row for row in manifest.get("files") or () if isinstance(row, dict)]
    total = sum(int(row.get("bytes", 0)) for row in rows)
    return [
        ("of run", str(manifest.get("run", "-"))),
        ("made for", str(manifest.get("why", "-"))),
        ("made by", f"byteor {manifest.get('version', '-')}"),
        ("files", f"{len(rows) + 1}, {size(total)}"),
        *(("note", said) for said in notes_of(manifest)),
    ]


def _validation(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not data.get("ok"):
        return [("invalid", str(data.get("error", "unknown")))]
    said = data.get("description") or {}
    stages = " -> ".join(str(stage.get("stage")) for stage in said.get("stages") or ())
    return [
        ("valid", f"{said.get('name')} ({said.get('model')})"),
        ("stages", stages),
        ("spec sha256", str(said.get("spec_sha256", "-"))),
        ("deployment sha256", str(said.get("deployment_sha256", "-"))),
    ]


def _policy(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    enforced = "enforced" if data.get("enforced") else "not enforced"
    return [
        ("environment", f"{data.get('mode', '-')}, approvals {enforced}"),
        ("on a stage error", str(data.get("stage_failure_policy", "-"))),
        ("wait", str(data.get("wait", "-"))),
    ]


def _process(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    status = dict(
        line.split(":", 1) for line in str(data.get("proc_status", "")).splitlines() if ":" in line
    )
    shown = [(name, status[name].strip()) for name in ("VmRSS", "Threads") if name in status]
    return [("daemon", f"pid {data.get('pid', '-')}"), *shown]


def _run(snapshot: Mapping[str, Any]) -> list[tuple[str, str]]:
    run = snapshot.get("run") or {}
    failure = run.get("failure") or {}
    lines = [("state", str(run.get("state", "-")))]
    if failure:
        where = f"{failure.get('reason')} in {failure.get('role')} ({failure.get('stage')})"
        if failure.get("sequence") is not None:
            where += f" at sequence {failure['sequence']}"
        lines += [
            ("failure", where),
            ("message sha256", str(failure.get("message_sha256") or "-")),
            ("said", str(failure.get("message", "-"))),
        ]
    for role in run.get("roles") or ():
        received, published = (count(role.get(key, 0)) for key in ("received", "published"))
        said = f"{role.get('state')}, received {received}, published {published}"
        lines.append((str(role.get("name")), said))
    return lines


def _capture(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for place, said in (data.get("journals") or {}).items():
        first, following = int(said.get("first_sequence", 0)), int(said.get("next_sequence", 0))
        text = f"{count(max(0, following - first))} messages from sequence {first} on"
        lines.append((str(place), text))
        lines += [
            (str(place), f"damaged: {each.get('segment')} at offset {each.get('offset')}")
            for each in said.get("damaged") or ()
        ]
    return lines


def _code(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (str(name), f"{said.get('stage')} in {said.get('path', '-')}, {said.get('digest', '-')}")
        for name, said in (data.get("stages") or {}).items()
    ]


def _doctor(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    checks = [check for check in data.get("checks") or () if isinstance(check, dict)]
    return [
        (str(check.get("code")), f"{check.get('state')}: {check.get('title', '')}")
        for check in checks
        if check.get("state") in ("failed", "degraded")
    ]


def _notable(snapshot: Mapping[str, Any]) -> list[tuple[str, str]]:
    run, regions = snapshot.get("run") or {}, snapshot.get("regions") or {}
    lines = []
    for role in run.get("roles") or ():
        lost = {"dropped": role.get("dropped", 0), "skipped": role.get("skipped", 0)}
        lost |= role.get("rejected") or {}
        said = [f"{count(number)} {what}" for what, number in lost.items() if number]
        if said:
            lines.append((str(role.get("name")), ", ".join(said)))
        lines += [
            (str(role.get("name")), f"{count(error.get('count', 0))} x {error.get('code')}")
            for error in role.get("errors") or ()
        ]
    for worker in run.get("workers") or ():
        if worker.get("restarts", 0) >= RESTARTS_NOTABLE:
            lines.append((f"worker {worker.get('index')}", f"{worker['restarts']} restarts"))
    for ring in regions.get("rings") or ():
        lag = max((cell.get("lag_slots", 0) for cell in ring.get("cells") or ()), default=0)
        if lag > LAG_NOTABLE * max(1, ring.get("capacity", 1)):
            held = f"{count(lag)} of {count(ring['capacity'])} slots wait for {ring.get('held_by')}"
            lines.append((str(ring.get("file")), held))
    return lines
