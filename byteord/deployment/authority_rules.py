"""What the daemon's own configuration allows: paths, addresses, code, environment, ceilings.

Pure: a path is compared by its text here, and opened beneath its directory without following links
by the adapter.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from byteord.deployment.actions import ACTING_ADAPTERS, exec_allowed, url_allowed
from byteord.deployment.memory import estimate_memory, workers_of
from byteord.deployment.model import (
    Adapter,
    AdapterCatalogue,
    Authority,
    Deployment,
    Environment,
    OnLeaseLost,
)
from byteord.spec.findings import Collector, Path, Severity, shown
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import EndpointKind, Spec, Stage
from byteord.spec.stage_key import StageKey, parse_key


def check_code(
    stages: Iterable[tuple[Path, Stage]],
    authority: Authority,
    found: Collector,
    environment: Environment,
    *,
    narrower: Sequence[str] = (),
) -> None:
    """Report stages whose code may come from nowhere, is not pinned, or declares no effects."""
    strict = environment is not Environment.DEV
    for path, stage in stages:
        key = parse_key(stage.stage)
        if key.is_builtin:
            continue
        if key.is_action:
            _check_action(key, path, authority, found, narrower)
            if key.kind == "exec" and strict and not stage.digest:
                _add_pin_missing(path, found, environment)
            continue
        if not (authority.code_dirs or authority.code_packages):
            found.add(
                "POLICY_NO_CODE_DIRS",
                (*path, "stage"),
                seen=shown(stage.stage),
                wanted="a directory that the daemon takes code from; it has none",
                fix="set allow.code_dirs or allow.code_packages in the daemon's configuration",
            )
        if strict and not stage.digest:
            _add_pin_missing(path, found, environment)
        _check_effects(stage, path, found, environment)


def _add_pin_missing(path: Path, found: Collector, environment: Environment) -> None:
    found.add(
        "POLICY_DIGEST_MISSING",
        (*path, "digest"),
        seen="nothing",
        wanted=f"a pinned digest of its code in {environment}",
        fix='add digest = "sha256:..." as `byteorctl describe` prints it',
    )


def _check_action(
    key: StageKey, path: Path, authority: Authority, found: Collector, narrower: Sequence[str]
) -> None:
    """Report a URL or a program that the daemon's configuration does not allow."""
    if key.kind == "exec":
        if not exec_allowed(key.module, authority.exec_allowed):
            found.add(
                "POLICY_EXEC_DENIED",
                (*path, "stage"),
                seen=shown(key.module),
                wanted="a program with exactly these arguments that the daemon allows",
                fix="add the whole text to allow.exec in the daemon's configuration",
            )
    elif not url_allowed(key.module, authority.url_prefixes):
        found.add(
            "POLICY_URL_DENIED",
            (*path, "stage"),
            seen=shown(key.module),
            wanted=f"a URL under one of {', '.join(authority.url_prefixes)}"
            if authority.url_prefixes
            else "no URL: the daemon's configuration has no url_prefixes",
            fix="add its prefix to allow.url_prefixes in the daemon's configuration",
        )
    elif narrower and not url_allowed(key.module, narrower):
        found.add(
            "POLICY_URL_DENIED",
            (*path, "stage"),
            seen=shown(key.module),
            wanted=f"a URL under one of {', '.join(narrower)}, as the deployment narrows it",
            fix="correct the URL, or actions.url_prefixes of the deployment",
        )


def check_lease_lost(
    on_lease_lost: object,
    adapters: Mapping[str, Adapter],
    endpoints: Mapping[str, EndpointKind],
    found: Collector,
) -> None:
    """Report dead letters wanted of an egress that acts: nothing would keep its messages."""
    if on_lease_lost != OnLeaseLost.DEAD_LETTER:
        return
    acting = [
        f"{name} ({adapter.kind})"
        for name, adapter in adapters.items()
        if endpoints.get(name) is EndpointKind.EGRESS and adapter.kind in ACTING_ADAPTERS
    ]
    if acting:
        found.add(
            "DEPLOYMENT_LEASE_LOST_EGRESS",
            ("effects", "on_lease_lost"),
            seen=f'"{OnLeaseLost.DEAD_LETTER}" and an egress that acts: {", ".join(acting)}',
            wanted=f'"{OnLeaseLost.HOLD}" or "{OnLeaseLost.STOP}": only http_post and exec stages '
            "keep what they set aside",
            fix='write on_lease_lost = "hold" to let messages wait for the lease, "stop" to end '
            "the run",
        )


def _check_effects(stage: Stage, path: Path, found: Collector, environment: Environment) -> None:
    strict = environment is not Environment.DEV
    if stage.effects is None:
        found.add(
            "POLICY_EFFECTS_UNDECLARED",
            (*path, "effects"),
            seen="nothing",
            wanted="the capabilities it uses; what is not declared counts as side-effecting and "
            "is gated",
            fix="add effects = [] if it only computes",
            severity=Severity.WARNING if strict else Severity.NOTE,
        )
    elif stage.effects and strict:
        found.add(
            "POLICY_EFFECTS_GATED",
            (*path, "effects"),
            seen=", ".join(stage.effects),
            wanted=f"an approval that covers them, in {environment}",
            fix="ask for one with `byteorctl approve request`, give it with `run --approval`",
            severity=Severity.NOTE,
        )


def check_adapters(
    adapters: Mapping[str, Adapter],
    endpoints: Mapping[str, EndpointKind],
    catalogue: AdapterCatalogue,
    authority: Authority,
    found: Collector,
) -> None:
    """Report paths outside the allowed directories and addresses outside the allowed patterns."""
    for name, adapter in adapters.items():
        ingress = endpoints.get(name) is EndpointKind.INGRESS
        needs = catalogue.needs(adapter.kind, adapter.options, ingress=ingress)
        place = _Place(adapter, ("adapters", name), found)
        for text in needs.reads:
            place.check_path(text, "read_dirs", authority.read_dirs)
        for text in needs.writes:
            place.check_path(text, "write_dirs", authority.write_dirs)
        for text in needs.listens:
            place.check_address(text, "listen", authority.listen)
        for text in needs.connects:
            place.check_address(text, "connect", authority.connect)


def check_journals(
    journals: Mapping[str, Mapping[str, object]], authority: Authority, found: Collector
) -> None:
    """Report journal directories outside those that the daemon allows writing to."""
    for name, row in journals.items():
        _check_directory(row["directory"], ("journals", name, "directory"), authority, found)


def check_capture(capture: Mapping[str, object], authority: Authority, found: Collector) -> None:
    """Report a directory for captures outside those that the daemon allows writing to."""
    if capture["directory"]:
        _check_directory(capture["directory"], ("capture", "directory"), authority, found)


def _check_directory(directory: object, path: Path, authority: Authority, found: Collector) -> None:
    if not isinstance(directory, str) or path_allowed(directory, authority.write_dirs):
        return
    allowed = ", ".join(authority.write_dirs)
    found.add(
        "POLICY_PATH_DENIED",
        path,
        seen=shown(directory),
        wanted=f"a directory beneath one of {allowed}"
        if allowed
        else "no directory: the daemon's configuration has no write_dirs",
        fix="move it, or add its parent to write_dirs in the daemon's configuration",
    )


class _Place:
    """One adapter of the document, and which of its options a path or an address comes from."""

    def __init__(self, adapter: Adapter, path: Path, found: Collector) -> None:
        self._adapter, self._path, self._found = adapter, path, found

    def _option(self, text: str) -> Path:
        holders = [key for key, value in self._adapter.options.items() if value and value == text]
        inside = [
            key
            for key, value in self._adapter.options.items()
            if isinstance(value, str) and value and value in text
        ]
        keys = holders or inside
        return (*self._path, *keys[0].split(".")) if keys else self._path

    def check_path(self, text: str, key: str, allowed: tuple[str, ...]) -> None:
        if path_allowed(text, allowed):
            return
        self._found.add(
            "POLICY_PATH_DENIED",
            self._option(text),
            seen=shown(text),
            wanted=f"a path beneath one of {', '.join(allowed)}"
            if allowed
            else f"no path: the daemon's configuration has no {key}",
            fix=f"move the file, or add its directory to {key} in the daemon's configuration; "
            "--input and --output stream a file of yours",
        )

    def check_address(self, text: str, key: str, allowed: tuple[str, ...]) -> None:
        if any(address_allowed(text, pattern) for pattern in allowed):
            return
        self._found.add(
            "POLICY_ADDRESS_DENIED",
            self._option(text),
            seen=shown(text),
            wanted=f"an address that matches one of {', '.join(allowed)}"
            if allowed
            else f"no address: the daemon's configuration has no {key} patterns",
            fix=f"choose another address, or add a pattern to {key} in the daemon's configuration",
        )


def path_allowed(text: str, allowed: Iterable[str]) -> bool:
    """Tell whether a path lies, by its text, beneath one of the directories.

    A relative one is taken beneath each.
    """
    if ".." in text.split("/") or "\0" in text:
        return False
    for directory in allowed:
        root = posixpath.normpath(directory)
        full = posixpath.normpath(posixpath.join(root, text))
        if full != root and (full.startswith(f"{root}/") or root == "/"):
            return True
    return False


def address_allowed(address: str, pattern: str) -> bool:
    """Tell whether an address matches a pattern.

    Patterns are `host:port`, with `*` for either part, and `unix:/dir` prefixes.
    """
    if address.startswith("unix:") or pattern.startswith("unix:"):
        if not (address.startswith("unix:/") and pattern.startswith("unix:/")):
            return False
        return path_allowed(address[5:], (pattern[5:],)) or address == pattern
    host, _, port = address.rpartition(":")
    want_host, _, want_port = pattern.rpartition(":")
    same_host = want_host == "*" or _plain_host(host) == _plain_host(want_host)
    return bool(host) and same_host and want_port in ("*", port)


def _plain_host(host: str) -> str:
    return host.strip("[]").lower()


def check_ceilings(
    spec: Spec | LaneGraph, deployment: Deployment, authority: Authority, found: Collector
) -> None:
    """Report a run that would take more than the daemon gives one run."""
    workers = workers_of(spec, deployment)
    if workers > authority.workers_max:
        found.add(
            "POLICY_WORKERS_MAX",
            seen=f"{workers} workers",
            wanted=f"at most {authority.workers_max}, the daemon's workers_max",
            fix='use fewer shards, groups, or tuning.fuse = "always"',
        )
    memory = estimate_memory(spec, deployment)
    if memory.total_bytes > authority.region_bytes_max:
        found.add(
            "POLICY_REGION_BYTES_MAX",
            seen=f"{memory.total_bytes} bytes of shared memory",
            wanted=f"at most {authority.region_bytes_max}, the daemon's region_bytes_max",
            fix="lower capacity, slot_bytes or shards",
        )
