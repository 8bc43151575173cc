"""Which ends of a run the client has to serve: told from the documents, leniently.

A run whose ingress is bound to `stdin` or `stream` is fed by the attached client, one whose egress
is bound to `stdout` or `stream` is taken by it. Documents that cannot be read here are left to the
daemon, whose findings say why.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byteorctl.files import DocumentFile

INPUT_KINDS = frozenset({"stdin", "stream"})
OUTPUT_KINDS = frozenset({"stdout", "stream"})


@dataclass(frozen=True, slots=True)
class ClientEnds:
    """Which ends the attached client serves by the documents alone."""

    input: bool
    output: bool


def client_ends(
    spec: DocumentFile, deployment: DocumentFile | None, overrides: Mapping[str, str]
) -> ClientEnds:
    """Return the ends that the deployment leaves to the client; both without a deployment."""
    kinds = _endpoint_kinds(spec)
    bound = _adapter_kinds(deployment, overrides)
    if deployment is None:
        bound = dict.fromkeys(kinds, "stream") | bound
    return ClientEnds(
        input=_any_bound(kinds, "ingress", bound, INPUT_KINDS),
        output=_any_bound(kinds, "egress", bound, OUTPUT_KINDS),
    )


def _any_bound(
    kinds: Mapping[str, str], direction: str, bound: Mapping[str, str], wanted: frozenset[str]
) -> bool:
    return any(bound.get(name) in wanted for name, kind in kinds.items() if kind == direction)


def _endpoint_kinds(spec: DocumentFile) -> dict[str, str]:
    """Return the direction of each endpoint by name."""
    endpoints = _parse(spec).get("endpoints")
    if isinstance(endpoints, Mapping):
        endpoints = list(endpoints.values())
    if not isinstance(endpoints, list):
        return {}
    return {
        str(endpoint.get("name")): str(endpoint.get("kind"))
        for endpoint in endpoints
        if isinstance(endpoint, Mapping)
    }


def _adapter_kinds(deployment: DocumentFile | None, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the kind of the adapter of each endpoint by name."""
    adapters = _parse(deployment).get("adapters") if deployment is not None else None
    found: dict[str, str] = {}
    for name, adapter in adapters.items() if isinstance(adapters, Mapping) else ():
        if isinstance(adapter, Mapping):
            found[str(name)] = str(adapter.get("kind"))
    for key, value in overrides.items():
        parts = key.split(".")
        if len(parts) == 3 and parts[0] == "adapters" and parts[2] == "kind":  # noqa: PLR2004  adapters.NAME.kind
            found[parts[1]] = value
    return found


def _parse(document: DocumentFile) -> dict[str, Any]:
    """Parse TOML or canonical KV; nothing when it is neither."""
    try:
        text = document.content.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    if document.name.endswith(".kv"):
        return _parse_kv(text)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return _parse_kv(text)


def _parse_kv(text: str) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        node = root
        *parents, last = key.split(".")
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                return {}
            node = child
        if separator:
            node[last] = value
    return root
