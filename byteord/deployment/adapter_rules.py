"""Rules of adapters: kind, direction, options, and what stands in for a client's own stream.

Owns the step from tables of the document to `Adapter` values. Pure: adapters are asked through
their catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from byteord.deployment.model import Adapter, AdapterCatalogue, AdapterInfo
from byteord.spec.config import settle, with_defaults
from byteord.spec.findings import Collector, Path, shown
from byteord.spec.model import ConfigProblem, EndpointKind, Scalar
from byteord.spec.nearest import did_you_mean

STREAM = "stream"
"""Kind of the adapter that a client's `--input` or `--output` is read or written by."""
_ABSENT = {EndpointKind.INGRESS: "stdin", EndpointKind.EGRESS: "stdout"}

STDIO = ("stdin", "stdout", STREAM)
"""Kinds of which a run has one, since it has one such stream."""


def client_ends(
    endpoints: Mapping[str, EndpointKind],
    client: Mapping[EndpointKind, bool],
    rows: Mapping[str, Mapping[str, Any]],
) -> frozenset[str]:
    """Return the endpoints that a client streams itself.

    Of several in one direction it is the one that has no adapter, or standard input or output; none
    when that does not settle it.
    """
    chosen = []
    for kind in EndpointKind:
        names = [name for name, each in endpoints.items() if each is kind]
        if len(names) > 1:
            names = [name for name in names if name not in rows or rows[name]["kind"] in STDIO]
        if client[kind] and len(names) == 1:
            chosen += names
    return frozenset(chosen)


def takes_stdio(name: str, endpoints: Mapping[str, EndpointKind]) -> bool:
    """Tell whether an endpoint without deployment is standard input or output: the only one."""
    return list(endpoints.values()).count(endpoints[name]) == 1


class AdapterCheck:
    """Reads the adapters of one deployment against the endpoints of its spec."""

    def __init__(
        self,
        catalogue: AdapterCatalogue,
        endpoints: Mapping[str, EndpointKind],
        client: Mapping[EndpointKind, bool],
        found: Collector,
        payload_max: Callable[[str], int],
    ) -> None:
        """Remember what to read against; `client` says which directions a client streams itself."""
        self._catalogue, self._endpoints, self._client = catalogue, endpoints, client
        self._found, self._payload_max = found, payload_max

    def read(self, rows: Mapping[str, Mapping[str, Any]], *, is_absent: bool) -> dict[str, Adapter]:
        """Return the effective adapters by endpoint name.

        What is wrong with one is reported and leaves it out.
        """
        adapters: dict[str, Adapter] = {}
        for name, row in rows.items():
            adapter = self._one(name, row)
            if adapter is not None:
                adapters[name] = adapter
        streams = client_ends(self._endpoints, self._client, rows)
        for name, kind in self._endpoints.items():
            if name in streams:
                adapters[name] = self._stream(name, adapters.get(name), kind)
            elif is_absent and takes_stdio(name, self._endpoints):
                adapters[name] = self._stdio(name, kind)
        return adapters

    def _one(self, name: str, row: Mapping[str, Any]) -> Adapter | None:
        path: Path = ("adapters", name)
        kind, raw = row["kind"], row["**"]
        if not isinstance(kind, str):
            return None
        info = self._catalogue.info(kind)
        if info is None:
            known = sorted(self._catalogue.kinds())
            self._found.add(
                "DEPLOYMENT_ADAPTER_UNKNOWN",
                (*path, "kind"),
                seen=shown(kind),
                wanted=f"one of {', '.join(known)}",
                fix=did_you_mean(
                    kind, known, otherwise="see `byteorctl capabilities` for the adapters"
                ),
            )
            return None
        if not self._direction_ok(path, info):
            return None
        ingress = self._is_ingress(name, info)

        def check(options: Mapping[str, Scalar]) -> list[ConfigProblem]:
            return self._catalogue.check(
                kind, options, ingress=ingress, payload_max=self._payload_max(name)
            )

        options = settle(raw, info.keys, check, path, self._found)
        return None if options is None else Adapter(kind, options)

    def _is_ingress(self, name: str, info: AdapterInfo) -> bool:
        kind = self._endpoints.get(name)
        return info.ingress if kind is None else kind is EndpointKind.INGRESS

    def _direction_ok(self, path: Path, info: AdapterInfo) -> bool:
        kind = self._endpoints.get(path[1])
        if kind is None or (info.ingress if kind is EndpointKind.INGRESS else info.egress):
            return True
        fitting = sorted(
            other
            for other in self._catalogue.kinds()
            if (known := self._catalogue.info(other)) is not None
            and (known.ingress if kind is EndpointKind.INGRESS else known.egress)
        )
        self._found.add(
            "DEPLOYMENT_ADAPTER_DIRECTION",
            (*path, "kind"),
            seen=f"{info.kind} on the {kind} {shown(path[1])}",
            wanted=f"a kind that can be an {kind}: {', '.join(fitting)}",
            fix="choose another kind, or bind it to an endpoint of the other direction",
        )
        return False

    def _stream(self, name: str, written: Adapter | None, kind: EndpointKind) -> Adapter:
        """Return the client's stream in the framing of the adapter that it stands in for."""
        ingress = kind is EndpointKind.INGRESS
        options: Mapping[str, Scalar] = {}
        if written is not None:
            options = self._catalogue.as_stream(written.kind, written.options, ingress=ingress)
        return self._plain(name, STREAM, options, ingress=ingress)

    def _stdio(self, name: str, kind: EndpointKind) -> Adapter:
        return self._plain(name, _ABSENT[kind], {}, ingress=kind is EndpointKind.INGRESS)

    def _plain(
        self, name: str, kind: str, options: Mapping[str, Scalar], *, ingress: bool
    ) -> Adapter:
        info = self._catalogue.info(kind)
        keys = info.keys if info is not None else ()

        def check(full: Mapping[str, Scalar]) -> list[ConfigProblem]:
            return self._catalogue.check(
                kind, full, ingress=ingress, payload_max=self._payload_max(name)
            )

        return Adapter(kind, with_defaults(options, keys, check))
