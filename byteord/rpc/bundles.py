"""Incident bundles of this daemon's runs: gathers facts, lets `byteord.capture` make files of them.

Owns where each fact comes from. Gathering reads shared memory, history, capture and `/proc`;
it stops nothing. It must not know messages of the API.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byteord.capture.archive import Row
from byteord.capture.files import (
    BundleFacts,
    ProcessFacts,
    RunDocuments,
    bundle_entries,
    flat_of,
    manifest_of,
    to_json,
)
from byteord.capture.guarding import Guarding, guarding_of
from byteord.capture.redact import Redactor
from byteord.capture.slice import Leaving, Slice, SliceWanted, slice_of
from byteord.capture.spec_view import NO_SPEC, SpecFilter
from byteord.capture.store import BundleStore, Label
from byteord.deployment.bundling import TRIGGERS, Bundling, bundling_from_flat
from byteord.deployment.describe import describe
from byteord.errors import ByteorError, DeniedError, InvalidArgumentError, ResourceError
from byteord.rpc.control import Control
from byteord.rpc.facts import byteor_version
from byteord.rpc.wanted import StartWanted
from byteord.runs.code_files import NOT_ALLOWED, PREFIX, code_of
from byteord.runs.manager import RunManager
from byteord.runs.view import RunView
from byteord.spec.document import Source
from byteord.spec.findings import Severity
from byteord.spec.model import SLOT_BYTES_MAX, Scalar

CHUNK_BYTES_MAX = 1 << 20
ASKED = "asked"
NOT_GRANTED = "payloads: who asked may not see any: [access] payload of the daemon grants it"
NOT_RECORDED = "payloads: the audit log could not be written"
NO_CAPTURE = "the deployment captures nothing: it has no [capture]"


@dataclass(frozen=True, slots=True)
class Subject:
    """What further files are made for: a run, its plan, its deployment as keys and values."""

    view: RunView
    plan: Mapping[str, Any]
    deployment: Mapping[str, Scalar]

    @property
    def bundling(self) -> Bundling:
        """What may leave."""
        return bundling_from_flat(self.deployment)


Extra = Callable[[Subject], Mapping[str, bytes]]
"""Makes further files by name; an empty one: there is none."""


@dataclass(frozen=True, slots=True)
class BundleWanted:
    """What a bundle is to hold, and why it is made."""

    slice: SliceWanted = field(default_factory=SliceWanted)
    why: str = ASKED
    withheld: str = ""
    """Why payloads must not be in it; empty: they may, if the deployment allows them at all."""


@dataclass(frozen=True, slots=True)
class MadeBundle:
    """A bundle, or with an empty `id` the plan of one, whose rows have no digests."""

    id: str
    run_id: str
    size: int
    sha256: str
    files: Sequence[Row]
    left_out: Mapping[str, str]
    took_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was found at once; the rest takes time."""

    view: RunView
    facts: BundleFacts


class Bundles:
    """Makes and reads bundles."""

    def __init__(
        self,
        control: Control,
        store: BundleStore,
        *,
        events: Callable[[str], Sequence[Mapping[str, Any]]],
        process: Callable[[RunView], ProcessFacts | None],
        config: Mapping[str, Any],
        extras: Mapping[str, Extra],
    ) -> None:
        """Keep the sources; `extras` make further files and are named for people.

        `config`: of the daemon whose runs these are, by key.
        """
        self._control = control
        self._manager: RunManager = control.manager
        self.store = store
        self._events = events
        self._process = process
        self._config = config
        self._extras = dict(extras)
        self.written: dict[str, int] = {}
        """Bundles written, by cause; conditions of deployments under one name."""
        self.failed = 0

    async def create(
        self, run_id: str, bundle_id: str, wanted: BundleWanted, principal: str = ""
    ) -> MadeBundle:
        """Make a bundle of a run; an empty id: only its plan. Raises as `RunManager.get`.

        Payloads leave only after the audit log says who took them.
        """
        found = await self.facts(run_id)
        if bundle_id and not await asyncio.to_thread(self._recorded, found, wanted, principal):
            wanted = replace(wanted, withheld=NOT_RECORDED)
        return await asyncio.to_thread(self.make, found, bundle_id, wanted)

    async def permit(self, bundle_id: str, principal: str, *, sees: bool) -> None:
        """Write down who reads a bundle; raises NotFoundError.

        One with payloads is for those who may see them (DeniedError, PAYLOAD_NOT_GRANTED), and only
        if it can be written down (ResourceError, AUDIT_NOT_WRITABLE).
        """
        kept = await asyncio.to_thread(self.store.stored, bundle_id)
        if kept.payload and not sees:
            raise DeniedError(
                f"bundle {bundle_id}: it holds payloads, and {principal} may see none; wanted a "
                "place in [access] payload of the daemon's configuration, or a bundle without them",
                reason="PAYLOAD_NOT_GRANTED",
                details={"principal": principal, "bundle": bundle_id},
            )
        data = {"bundle": bundle_id, "run": kept.run, "principal": principal}
        record = self._manager.governor.record
        if not await asyncio.to_thread(record, "bundle.read", data) and kept.payload:
            raise ResourceError(
                f"bundle {bundle_id}: it holds payloads, and the audit log cannot be written: make "
                "room for it",
                reason="AUDIT_NOT_WRITABLE",
            )

    def _recorded(self, found: Found, wanted: BundleWanted, principal: str) -> bool:
        data = {"run": found.view.id, "why": wanted.why, "principal": principal or "byteord"}
        return self._manager.governor.record("bundle.made", data)

    async def facts(self, run_id: str) -> Found:
        """Return what is known of a run now; raises as `RunManager.get`."""
        view = self._manager.get(run_id)
        documents = self._manager.documents(view.id)
        snapshot = await self._manager.snapshot(view.id)
        plan = json.loads(snapshot).get("plan") or {}
        environment = str(plan.get("environment") or self._control.authority.environment)
        facts = BundleFacts(
            run_id=view.id,
            documents=documents,
            validation={"ok": False, "error": "not looked at"},
            version=byteor_version(),
            environment=environment,
            model=str(plan.get("model", "single_ring")),
            wait=str(plan.get("wait", "")),
            stage_failure_policy=str(plan.get("failure_policy", "")),
            enforced=environment != "dev",
            process=None,
            snapshot=snapshot,
            events=self._events(view.id),
            config=self._config,
        )
        return Found(view, facts)

    def make(self, found: Found, bundle_id: str, wanted: BundleWanted) -> MadeBundle:
        """Make a bundle of what was found; an empty id: only its plan. Blocks."""
        begun = time.perf_counter_ns()
        redactor = Redactor(self.store.new_key(), self._control.catalogues.adapters)
        facts = self._complete(found, wanted, redactor)
        entries, left_out = bundle_entries(facts, redactor)
        view = found.view
        if not bundle_id:
            rows = [Row(each.name, each.size, "", each.sensitivity) for each in entries]
            size, took_ns = sum(row.size for row in rows), time.perf_counter_ns() - begun
            return MadeBundle("", view.id, size, "", rows, left_out, took_ns)
        payload = any(entry.sensitivity == "payload" for entry in entries)
        label = Label(bundle_id, view.id, view.name, facts.why, time.time_ns(), payload)
        manifest = manifest_of(facts, left_out)
        try:
            made = self.store.add(label, entries, manifest, lambda: redactor.tokens)
        except ByteorError:
            self.failed += 1
            raise
        cause = facts.why if facts.why in (ASKED, *TRIGGERS) else "condition"
        self.written[cause] = self.written.get(cause, 0) + 1
        return MadeBundle(
            bundle_id,
            view.id,
            made.size,
            made.sha256,
            made.rows,
            {**left_out, **made.lost},
            time.perf_counter_ns() - begun,
        )

    def chunks(self, bundle_id: str, offset: int) -> Iterator[tuple[int, bytes, bool]]:
        """Yield (offset, bytes, whether it is the last) of an archive; raises NotFoundError."""
        path = self.store.path(bundle_id)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset > size:
                raise InvalidArgumentError(
                    f"offset: seen {offset}; wanted 0 to {size}, the archive's size"
                )
            file.seek(offset)
            while True:
                data = file.read(CHUNK_BYTES_MAX)
                last = offset + len(data) >= size
                yield offset, data, last
                offset += len(data)
                if last:
                    return

    def _complete(self, found: Found, wanted: BundleWanted, redactor: Redactor) -> BundleFacts:
        """Add what takes time: validation, code, capture, further files."""
        facts, left_out = found.facts, dict(found.facts.left_out)
        plan = json.loads(facts.snapshot).get("plan") or {}
        kv = facts.documents.deployment_kv
        subject = Subject(found.view, plan, flat_of(kv) if kv else {})
        bundling = subject.bundling
        filter_ = SpecFilter(redactor, self._control.catalogues.stages, bundling.config)
        leaving = Leaving(
            lambda kv: filter_.spec(kv, flat_of(kv)) if kv else NO_SPEC,
            payload=bundling.payload and not wanted.withheld and bool(plan),
            guarding=_guarding(plan, bundling, redactor.key),
        )
        extra: dict[str, bytes] = {}
        for name, make in self._extras.items():
            try:
                extra.update(make(subject))
            except Exception as error:  # noqa: BLE001 - a bundle of a sick daemon is wanted most
                left_out[name] = f"could not be made: {type(error).__name__}"
        captured = self._captured(subject, wanted, left_out, leaving)
        stored = [*_code(subject, extra, left_out), *captured.entries]
        return replace(
            facts,
            validation=self._validation(facts.documents, filter_),
            process=self._process(found.view),
            extra=extra,
            stored=stored,
            left_out=left_out,
            why=wanted.why,
            redacted=captured.redacted,
            guarded=leaving.guarding is not None,
            spec=leaving.spec(facts.documents.spec_kv),
        )

    def _captured(
        self, subject: Subject, wanted: BundleWanted, left_out: dict[str, str], leaving: Leaving
    ) -> Slice:
        directory = capture_directory(subject)
        if not directory:
            left_out["capture"] = NO_CAPTURE
            return Slice()
        most = self.store.limits.bundle_bytes * 3 // 4
        try:
            part = replace(wanted.slice, bytes_max=wanted.slice.bytes_max or most)
            slice_ = slice_of(directory, part, leaving)
        except (OSError, ValueError) as error:
            left_out["capture"] = f"cannot be read: {getattr(error, 'strerror', '') or error}"
            return Slice()
        left_out.update(slice_.left_out)
        if subject.bundling.payload and wanted.withheld:
            left_out.update(dict.fromkeys(slice_.left_out, wanted.withheld))
        return slice_

    def _validation(self, documents: RunDocuments, filter_: SpecFilter) -> dict[str, Any]:
        if not documents.spec_kv:
            return {"ok": False, "error": "the documents of this run were not kept"}
        wanted = StartWanted(
            Source("spec.kv", documents.spec_kv, "kv"),
            Source("deployment.kv", documents.deployment_kv, "kv"),
        )
        report = self._control.validate(wanted.spec, wanted.deployment, "topology")
        if report.ok and report.spec is not None and report.deployment is not None:
            said = describe(report.spec, report.deployment)
            return {"ok": True, "description": filter_.description(_of_spec(said))}
        errors = [each for each in report.findings if each.severity is Severity.ERROR]
        codes = ", ".join(sorted({each.code for each in errors})) or "unreadable"
        return {"ok": False, "error": f"{len(errors)} errors: {codes}"}


def _guarding(plan: Mapping[str, Any], bundling: Bundling, key: bytes) -> Guarding | None:
    """Return the rules that messages of a run go through on their way out; None: none."""
    roles, rings = plan.get("roles") or (), plan.get("rings") or ()
    return guarding_of(
        [(str(role.get("stage", "")), role.get("config") or {}) for role in roles],
        plan.get("schemas") or (),
        rules=dict(bundling.redact),
        slot_bytes=max((ring["slot_bytes"] for ring in rings), default=SLOT_BYTES_MAX),
        key=key,
    )


def capture_directory(subject: Subject) -> str:
    """Return where a run's capture lies; empty: it has none."""
    planned = subject.plan.get("capture") or {}
    top = str(planned.get("directory") or subject.deployment.get("capture.directory") or "")
    if not top:
        return ""
    return top if os.path.basename(top) == subject.view.id else os.path.join(top, subject.view.id)


def _code(subject: Subject, extra: dict[str, bytes], left_out: dict[str, str]) -> list[Any]:
    """Return the files of stage code, if the deployment lets it leave, and say what they are."""
    stages = {
        str(role["name"]).partition("#")[0]: str(role.get("stage", ""))
        for role in subject.plan.get("roles") or ()
        if role.get("stage")
    }
    digests = subject.view.code_digests
    if not digests:
        left_out[PREFIX] = "no stage of this run loads code"
        return []
    if not subject.bundling.code:
        left_out[PREFIX] = NOT_ALLOWED
        return []
    plan = subject.plan
    found = code_of(stages, digests, plan.get("code_dirs") or (), plan.get("code_store") or "")
    left_out.update(found.left_out)
    extra["code.json"] = to_json({"stages": found.said})
    return found.entries


def _of_spec(said: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a description what the spec says: the deployment's options are redacted elsewhere."""
    kept = ("name", "model", "spec_sha256", "deployment_sha256", "environment", "ring", "stages")
    return {key: said[key] for key in (*kept, "memory", "limits", "capabilities") if key in said}


def read_process(pid: int | None = None) -> ProcessFacts:
    """Return what `/proc` says of a process of ours, this one unless told otherwise."""
    place = Path("/proc", "self" if pid is None else str(pid))
    pairs = (entry.partition("=") for entry in _strings(place / "environ"))
    return ProcessFacts(
        pid=pid or os.getpid(),
        cwd=os.readlink(place / "cwd"),
        args=_strings(place / "cmdline"),
        env={name: value for name, separator, value in pairs if separator},
        status=(place / "status").read_text(),
    )


def _strings(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return text.removesuffix("\0").split("\0") if text else []
