"""Incident bundles of this daemon's runs: gathers facts, lets `byteord.capture` make files of them.

Owns where each fact comes from. Gathering reads shared memory, the history and `/proc`; it stops
nothing. It must not know messages of the API.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from byteord.capture.files import (
    BundleFacts,
    BundleFile,
    ProcessFacts,
    RunDocuments,
    bundle_files,
)
from byteord.capture.redact import Redactor
from byteord.capture.store import BundleStore
from byteord.deployment.describe import describe
from byteord.errors import InvalidArgumentError
from byteord.rpc.control import Control
from byteord.rpc.facts import byteor_version
from byteord.rpc.wanted import StartWanted
from byteord.runs.manager import RunManager
from byteord.spec.document import Source
from byteord.spec.findings import Severity

CHUNK_BYTES_MAX = 1 << 20
Extra = Callable[[str], bytes]
"""Makes a further file for a run id; empty: there is none."""


@dataclass(frozen=True, slots=True)
class MadeBundle:
    """A bundle, or with an empty `id` the plan of one."""

    id: str
    run_id: str
    size: int
    sha256: str
    files: Sequence[BundleFile]
    left_out: Mapping[str, str]
    took_ns: int


class Bundles:
    """Makes and reads bundles."""

    def __init__(
        self,
        control: Control,
        store: BundleStore,
        *,
        events: Callable[[str], Sequence[Mapping[str, Any]]],
        extras: Mapping[str, Extra],
    ) -> None:
        """Keep the sources; `extras` are further files by name, made when asked."""
        self._control = control
        self._manager: RunManager = control.manager
        self._store = store
        self._events = events
        self._extras = dict(extras)

    async def facts(self, run_id: str) -> BundleFacts:
        """Return what is known of a run now; raises as `RunManager.get`."""
        view = self._manager.get(run_id)
        documents = self._manager.documents(view.id)
        snapshot = await self._manager.snapshot(view.id)
        return BundleFacts(
            run_id=view.id,
            documents=documents,
            validation={"ok": False, "error": "not looked at"},
            version=byteor_version(),
            environment=str(self._control.authority.environment),
            model="single_ring",
            wait="",
            stage_failure_policy="",
            enforced=str(self._control.authority.environment) != "dev",
            process=read_process(),
            snapshot=snapshot,
            events=self._events(view.id),
        )

    def make(self, facts: BundleFacts, bundle_id: str) -> MadeBundle:
        """Make a bundle of `facts`; an empty id: only its plan. Blocks."""
        begun = time.perf_counter_ns()
        redactor = Redactor(self._store.new_key(), self._control.catalogues.adapters)
        whole = self._complete(facts)
        files = bundle_files(whole, redactor)
        left_out = _left_out(files[0])
        if not bundle_id:
            size = sum(len(file.content) for file in files)
            took_ns = time.perf_counter_ns() - begun
            return MadeBundle("", facts.run_id, size, "", files, left_out, took_ns)
        made = self._store.add(bundle_id, files, lambda: redactor.tokens)
        archive = made.archive
        took_ns = time.perf_counter_ns() - begun
        return MadeBundle(
            bundle_id, facts.run_id, archive.size, archive.sha256, files, left_out, took_ns
        )

    def chunks(self, bundle_id: str, offset: int) -> Iterator[tuple[int, bytes, bool]]:
        """Yield (offset, bytes, whether it is the last) of an archive; raises NotFoundError."""
        path = self._store.path(bundle_id)
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

    def _complete(self, facts: BundleFacts) -> BundleFacts:
        """Add what takes time: validation, further files."""
        plan = json.loads(facts.snapshot).get("plan") or {}
        extra: dict[str, bytes] = {}
        left_out = dict(facts.left_out)
        for name, make in self._extras.items():
            try:
                extra[name] = make(facts.run_id)
            except Exception as error:  # noqa: BLE001 - a bundle of a sick daemon is wanted most
                left_out[name] = f"could not be made: {type(error).__name__}"
        return replace(
            facts,
            validation=self._validation(facts.documents),
            model=str(plan.get("model", "single_ring")),
            wait=str(plan.get("wait", "")),
            stage_failure_policy=str(plan.get("failure_policy", "")),
            extra=extra,
            left_out=left_out,
        )

    def _validation(self, documents: RunDocuments) -> dict[str, Any]:
        if not documents.spec_kv:
            return {"ok": False, "error": "the documents of this run were not kept"}
        wanted = StartWanted(
            Source("spec.kv", documents.spec_kv, "kv"),
            Source("deployment.kv", documents.deployment_kv, "kv"),
        )
        report = self._control.validate(wanted.spec, wanted.deployment, "topology")
        if report.ok and report.spec is not None and report.deployment is not None:
            said = describe(report.spec, report.deployment)
            return {"ok": True, "description": _of_spec(said)}
        errors = [each for each in report.findings if each.severity is Severity.ERROR]
        codes = ", ".join(sorted({each.code for each in errors})) or "unreadable"
        return {"ok": False, "error": f"{len(errors)} errors: {codes}"}


def _of_spec(said: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a description what the spec says: the deployment's options are redacted elsewhere."""
    kept = ("name", "model", "spec_sha256", "deployment_sha256", "environment", "ring", "stages")
    return {key: said[key] for key in (*kept, "memory", "limits", "capabilities") if key in said}


def _left_out(manifest: BundleFile) -> dict[str, str]:
    rows = json.loads(manifest.content)["left_out"]
    return {row["name"]: row["reason"] for row in rows}


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
