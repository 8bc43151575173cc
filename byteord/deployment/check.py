"""Validation of a deployment by itself and against the endpoints of a spec, up to the `Deployment`.

Pure: opens nothing. What the daemon allows and what the host has are `authority_rules` and
`host_rules`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from byteord.deployment import graph_rules
from byteord.deployment.adapter_rules import AdapterCheck, client_ends, takes_stdio
from byteord.deployment.bundling import bundling_of, check_bundling, put_bundling
from byteord.deployment.capture import (
    Capture,
    capture_of,
    check_capture,
    check_capture_ends,
    flat_capture,
)
from byteord.deployment.keys import (
    DEPLOYMENT_SCHEMA,
    VERSION,
)
from byteord.deployment.model import (
    CLIENT,
    ActionLimits,
    Adapter,
    AdapterCatalogue,
    Authority,
    Dataguard,
    Deployment,
    DocumentFiles,
    Effects,
    Environment,
    Failure,
    FailurePolicy,
    Group,
    Limits,
    OnLeaseLost,
    SchemaFile,
    SideEffects,
    Tuning,
)
from byteord.deployment.profiles import check_priority, resolve
from byteord.errors import ByteorError
from byteord.spec import kv
from byteord.spec.canonical import FlatDocument, put_array
from byteord.spec.config import settle
from byteord.spec.document import KEY_PATTERN, NESTING_MAX, Bare, Document, Source, read
from byteord.spec.findings import Collector, Finding, Path, Severity, shown
from byteord.spec.lanegraph.draft import Draft
from byteord.spec.model import EndpointKind, Stage, StageCatalogue
from byteord.spec.nearest import did_you_mean
from byteord.spec.rules import check_version
from byteord.spec.schema import Reader
from byteord.spec.secrets import check_secrets

REDACTS = "dataguard_redact"
_STRICTNESS = {Environment.DEV: 0, Environment.STAGING: 1, Environment.PROD: 2}
_EFFECTS_STRICTNESS = {each: level for level, each in enumerate(SideEffects)}


class DeploymentCheck:
    """One deployment, or none, on its way through the levels."""

    def __init__(
        self,
        source: Source | None,
        overrides: Mapping[str, str],
        *,
        client_input: bool,
        client_output: bool,
    ) -> None:
        """Read the text and apply the overrides.

        The findings of the syntax level stand afterwards.
        """
        syntax = Collector("deployment", {})
        self.document = read(source, syntax) if source is not None else Document()
        self.found = Collector("deployment", self.document.places)
        self.found.findings.extend(syntax.findings)
        self.is_absent = source is None
        self.client = {EndpointKind.INGRESS: client_input, EndpointKind.EGRESS: client_output}
        self.tree: dict[str, Any] = copy.deepcopy(self.document.tree)
        self.found.flags = frozenset(_path(key) for key in overrides)
        for key, value in overrides.items():
            self._override(key, value)
        self.adapters: dict[str, Adapter] = {}
        self.environment = Environment.DEV
        self.authority = Authority()
        self.typed: dict[str, Any] | None = None
        self.files: tuple[SchemaFile, ...] = ()
        self.certificates = SchemaFile("")

    def _override(self, key: str, value: str) -> None:
        path = _path(key)
        if not all(KEY_PATTERN.match(part) for part in path) or len(path) > NESTING_MAX:
            self.found.add(
                "OVERRIDE_INVALID",
                seen=f"--set {key}={value}",
                wanted="a dotted key path of a deployment, an equals sign and a value",
                fix="for example --set tuning.wait=spin",
            )
            return
        node: Any = self.tree
        for part in path[:-1]:
            child = node.get(part)
            if isinstance(child, list):
                child = {str(index): item for index, item in enumerate(child)}
            node[part] = child if isinstance(child, dict) else {}
            node = node[part]
        node[path[-1]] = [] if value == kv.EMPTY_ARRAY else Bare(value)

    @property
    def findings(self) -> list[Finding]:
        """Return what was found so far."""
        return self.found.findings

    @property
    def has_errors(self) -> bool:
        """Tell whether any finding is an error."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def decide_environment(self, authority: Authority) -> Environment:
        """Return the environment of the run.

        The deployment's if it is no looser than the daemon's, else that.
        """
        self.authority = authority
        floor = authority.environment
        asked = self._asked_environment(floor)
        self.environment = floor if _STRICTNESS[asked] < _STRICTNESS[floor] else asked
        return self.environment

    def _asked_environment(self, otherwise: Environment) -> Environment:
        asked = self.tree.get("environment")
        known = {str(item): item for item in Environment}
        return known.get(asked, otherwise) if isinstance(asked, str) else otherwise

    def check_environment(self, authority: Environment) -> None:
        """Report an environment that is looser than the daemon's."""
        asked = self._asked_environment(authority)
        if _STRICTNESS[asked] < _STRICTNESS[authority]:
            self.found.add(
                "DEPLOYMENT_ENVIRONMENT_LOOSER",
                ("environment",),
                seen=shown(str(asked)),
                wanted=f'"{authority}", the environment of this daemon, or stricter',
                fix="delete the key, or send the run to a daemon of that environment",
            )

    def check_effects(self) -> None:
        """Report a side-effect policy that is looser than the daemon's."""
        asked = self.typed["effects"]["side_effects"] if self.typed else None
        floor = self.authority.side_effects
        known = {str(item): item for item in SideEffects}
        if asked in known and _EFFECTS_STRICTNESS[known[asked]] < _EFFECTS_STRICTNESS[floor]:
            self.found.add(
                "DEPLOYMENT_SIDE_EFFECTS_LOOSER",
                ("effects", "side_effects"),
                seen=shown(asked),
                wanted=f'"{floor}", the policy of this daemon, or stricter',
                fix="delete the key, or send the run to a daemon that allows it",
            )

    def read_redact(self, stages: StageCatalogue, payload_max: int) -> None:
        """Check the rules for what is shown of messages as those of a stage."""
        raw = self.typed["bundle"]["redact"] if self.typed else None
        if self.typed is None or not raw:
            return
        info = stages.info(REDACTS)
        self.typed["bundle"]["redact"] = settle(
            raw,
            info.keys if info else (),
            lambda config: stages.check(REDACTS, config, payload_max),
            ("bundle", "redact"),
            self.found,
        )

    def check_redact(self, files: DocumentFiles, payload_max: int) -> None:
        """Check that those rules fit the schemas; `hash` goes by a key of each bundle."""
        redact = self.typed["bundle"]["redact"] if self.typed else None
        if not redact or self.has_errors:
            return
        dataguard = replace(self.dataguard(), hash_key="secret:bundle")
        for problem in files.misfits(
            Stage("bundle", REDACTS, config=redact), dataguard, payload_max
        ):
            self.found.add(
                problem.code,
                ("bundle", "redact", *problem.key.split(".")),
                seen=problem.seen,
                wanted=problem.wanted,
                fix=problem.fix,
            )

    def read_files(self, files: DocumentFiles) -> None:
        """Read the files that the document names, so that its hash covers them."""
        paths = list(self.typed["dataguard"]["schemas"] or ()) if self.typed else []
        ca_file = self.typed["actions"]["ca_file"] if self.typed else ""
        try:
            self.certificates = files.certificates(ca_file) if ca_file else SchemaFile("")
            self.files = files.schemas(paths)
        except ByteorError as error:
            self.found.add(
                "POLICY_SCHEMA_FILE",
                ("dataguard", "schemas"),
                seen=shown(error.message),
                wanted="schema files that can be read and are right",
                fix="correct the path, its permissions or the file",
            )

    def dataguard(self) -> Dataguard:
        """Return what data protection goes by, as far as files were read."""
        if self.typed is None:
            return Dataguard()
        typed = self.typed["dataguard"]
        files = self.files or tuple(SchemaFile(path) for path in typed["schemas"] or ())
        return Dataguard(files, typed["hash_key"] or "")

    def _actions(self) -> ActionLimits:
        values = dict(self.typed["actions"]) if self.typed else {}
        values.pop("url_prefixes", None)
        return ActionLimits(**values)

    def _capture(self) -> Capture:
        return capture_of(self.typed["capture"]) if self.typed else Capture()

    def url_prefixes(self) -> tuple[str, ...]:
        """Return the URLs that the document narrows the daemon's to; empty: it does not."""
        return tuple(self.typed["actions"]["url_prefixes"] or ()) if self.typed else ()

    def _check_hash_key(self) -> None:
        for path in (("dataguard", "hash_key"), ("actions", "token")):
            key = self.typed[path[0]][path[1]] if self.typed else ""
            if key and not key.startswith("secret:"):
                self.found.add(
                    "SECRET_IN_CLEAR",
                    path,
                    seen="a value in the clear",
                    wanted="a reference, secret:NAME",
                    fix="store it where the daemon finds its secrets and write secret:NAME here",
                )

    def schema(
        self,
        endpoints: Mapping[str, EndpointKind],
        catalogue: AdapterCatalogue,
        *,
        unknown: Severity,
        payload_max: Callable[[str], int],
    ) -> bool:
        """Check every key and value by itself; tell whether the document could be read."""
        if not self.document.readable:
            return False
        found = self.found
        found.unknown = unknown
        check_secrets(self.tree, found)
        typed = Reader(found).table(DEPLOYMENT_SCHEMA, self.tree)
        check_version(typed, found)
        check_priority(typed["tuning"], found)
        check_bundling(typed["bundle"], found)
        check_capture(typed, found)
        self.typed = typed
        self._check_hash_key()
        adapters = AdapterCheck(catalogue, endpoints, self.client, found, payload_max)
        self.adapters = adapters.read(typed["adapters"], is_absent=self.is_absent)
        return True

    def topology(
        self, endpoints: Mapping[str, EndpointKind], graph: Draft | None, *, shards: int = 1
    ) -> bool:
        """Check that adapters are bound to exactly the endpoints of the spec.

        And, with a LaneGraph, that journals, groups and dead letters have their place. Tell whether
        it ran.
        """
        if self.typed is None:
            return False
        self._check_bound(endpoints)
        graph_rules.check_clients(endpoints, self.client, self.typed["adapters"], self.found)
        clients = {
            name: kind
            for name, kind in endpoints.items()
            if name in self.adapters and self.adapters[name].kind == CLIENT
        }
        check_capture_ends(
            self.typed["capture"],
            clients,
            ring_shards=shards,
            found=self.found,
        )
        if graph is None:
            graph_rules.check_ring(self.typed, self.found)
        else:
            graph_rules.check_graph(graph, self.typed, self.adapters, self.found)
        return True

    def _check_bound(self, endpoints: Mapping[str, EndpointKind]) -> None:
        assert self.typed is not None  # noqa: S101  the level ran
        bound = self.typed["adapters"]
        streams = client_ends(endpoints, self.client, bound)
        for name, kind in endpoints.items():
            stands_in = self.is_absent and takes_stdio(name, endpoints)
            several = self.client[kind] and list(endpoints.values()).count(kind) > 1
            if name not in bound and name not in streams and not stands_in and not several:
                self.found.add(
                    "DEPLOYMENT_ENDPOINT_UNBOUND",
                    ("adapters", name),
                    seen="nothing",
                    wanted=f"an adapter for the {kind} {shown(name)} of the spec",
                    fix=f"add [adapters.{name}] with its kind",
                )
        for name in bound if endpoints else ():
            if name not in endpoints:
                self.found.add(
                    "DEPLOYMENT_ENDPOINT_UNKNOWN",
                    ("adapters", name),
                    seen=shown(name),
                    wanted=f"an endpoint of the spec: {', '.join(sorted(endpoints))}",
                    fix=did_you_mean(name, endpoints, otherwise="delete the table"),
                )

    def build(self) -> Deployment | None:
        """Return the deployment, or None while any finding is an error or a level did not run."""
        if self.typed is None or self.has_errors:
            return None
        tuning, failure, limits = settings_of(self.typed)
        effects = _effects_of(self.typed["effects"], self.authority)
        flat = flatten(
            self.environment,
            self.adapters,
            tuning=tuning,
            failure=failure,
            limits=limits,
            effects=effects,
            dataguard=self.dataguard(),
        )
        groups = tuple(Group(row["name"], row["roles"]) for row in self.typed["groups"])
        for index, group in enumerate(groups):
            flat[f"groups.{index}.name"] = group.name
            put_array(flat, f"groups.{index}.roles", group.roles)
        journals = {name: row["directory"] for name, row in self.typed["journals"].items()}
        flat.update({f"journals.{name}.directory": path for name, path in journals.items()})
        flat |= flat_capture(self._capture())
        flat |= _flat_actions(self._actions(), self.url_prefixes(), self.certificates)
        if (seed := self.typed["seed"]) is not None:
            flat["seed"] = seed
        put_bundling(flat, bundling_of(self.typed["bundle"]))
        text = kv.write(flat)
        return Deployment(
            environment=self.environment,
            adapters=self.adapters,
            tuning=tuning,
            failure=failure,
            limits=limits,
            effects=effects,
            groups=groups,
            journals=journals,
            dataguard=self.dataguard(),
            actions=self._actions(),
            ca_certificates=self.certificates,
            url_prefixes=self.url_prefixes(),
            capture=self._capture(),
            seed=seed,
            kv=text,
            sha256=hashlib.sha256(text).hexdigest(),
        )


def _path(text: str) -> Path:
    return tuple(text.split("."))


def _check_later(
    value: str, about: tuple[Path, tuple[str, ...], tuple[str, ...], str], found: Collector
) -> None:
    """Report a choice that is unknown, or known and not in this build."""
    path, have, later, code = about
    if value in have:
        return
    if value in later:
        found.add(
            code,
            path,
            seen=shown(value),
            wanted=f"one of {', '.join(have)}: this build does not have {value}",
            fix=f'write {path[-1]} = "{have[0]}", or use a byteor that has it',
        )
        return
    found.add(
        "VALUE_CHOICE",
        path,
        seen=shown(value),
        wanted=f"one of {', '.join(have)}",
        fix=did_you_mean(value, have, otherwise=f"choose one of {', '.join(have)}"),
    )


def settings_of(typed: Mapping[str, Any]) -> tuple[Tuning, Failure, Limits]:
    """Return the parts of a deployment that a valid typed document describes."""
    tuning, failure, limits = typed["tuning"], typed["failure"], typed["limits"]
    return (
        resolve(tuning),
        Failure(**{**failure, "policy": FailurePolicy(failure["policy"])}),
        Limits(**limits),
    )


def _effects_of(typed: Mapping[str, Any], authority: Authority) -> Effects:
    """Return what is effective: the deployment's, or the daemon's where that is stricter."""
    asked = SideEffects(typed["side_effects"] or authority.side_effects)
    return Effects(
        side_effects=max(asked, authority.side_effects, key=_EFFECTS_STRICTNESS.__getitem__),
        dry_run=bool(typed["dry_run"]) or authority.dry_run,
        on_lease_lost=OnLeaseLost(typed["on_lease_lost"]),
        rehearsal=bool(typed["dry_run"]),
    )


def _flatten_tuning(flat: FlatDocument, tuning: Tuning) -> None:
    for key in Tuning.__slots__:
        value = getattr(tuning, key)
        if isinstance(value, tuple):
            put_array(flat, f"tuning.{key}", value)
        elif key != "priority" or value:  # 0 stands for none, which is no value of the key
            flat[f"tuning.{key}"] = value if isinstance(value, bool | int) else str(value)


def _flat_actions(
    limits: ActionLimits, prefixes: tuple[str, ...], certificates: SchemaFile
) -> FlatDocument:
    flat: FlatDocument = {f"actions.{key}": getattr(limits, key) for key in limits.__slots__}
    if prefixes:
        put_array(flat, "actions.url_prefixes", prefixes)
    if certificates.sha256:
        flat["actions.ca_digest"] = f"sha256:{certificates.sha256}"
    return {key: value for key, value in flat.items() if value != ""}


def flatten(
    environment: Environment,
    adapters: Mapping[str, Adapter],
    *,
    tuning: Tuning,
    failure: Failure,
    limits: Limits,
    effects: Effects,
    dataguard: Dataguard,
) -> FlatDocument:
    """Return the canonical keys and values of a deployment, every default spelled out."""
    flat: FlatDocument = {"version": VERSION, "environment": str(environment)}
    for name, adapter in adapters.items():
        flat[f"adapters.{name}.kind"] = adapter.kind
        for key, value in adapter.options.items():
            flat[f"adapters.{name}.{key}"] = value
    _flatten_tuning(flat, tuning)
    for key in Failure.__slots__:
        value = getattr(failure, key)
        flat[f"failure.{key}"] = str(value) if isinstance(value, FailurePolicy) else value
    flat["effects.side_effects"] = str(effects.side_effects)
    flat["effects.dry_run"] = effects.dry_run
    flat["effects.on_lease_lost"] = str(effects.on_lease_lost)
    if dataguard.schemas:
        put_array(flat, "dataguard.schemas", [file.path for file in dataguard.schemas])
    for index, file in enumerate(dataguard.schemas):
        if file.sha256:
            flat[f"dataguard.digests.{index}"] = f"sha256:{file.sha256}"
    if dataguard.hash_key:
        flat["dataguard.hash_key"] = dataguard.hash_key
    flat["limits.max_batch"] = limits.max_batch
    flat["limits.undo_bytes"] = limits.undo_bytes
    return flat
