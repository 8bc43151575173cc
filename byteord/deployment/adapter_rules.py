"""Rules of adapters: their kind, direction and options, and what stands in where a client brings the stream itself.

Owns the step from tables of the document to `Adapter` values. Pure: adapters are asked through their catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byteord.deployment.model import Adapter, AdapterCatalogue, AdapterInfo
from byteord.spec.findings import Collector, Path, Severity, shown
from byteord.spec.model import EndpointKind, Scalar
from byteord.spec.nearest import did_you_mean
from byteord.spec.stage_rules import UNKNOWN_KEY_CODES, add_problems, severity_of

STREAM = "stream"
"""Kind of the adapter that a client's `--input` or `--output` is read or written by."""
_ABSENT = {EndpointKind.INGRESS: "stdin", EndpointKind.EGRESS: "stdout"}


class AdapterCheck:
    """Reads the adapters of one deployment against the endpoints of its spec."""

    def __init__(
        self,
        catalogue: AdapterCatalogue,
        endpoints: Mapping[str, EndpointKind],
        client: Mapping[EndpointKind, bool],
        found: Collector,
        payload_max: int,
    ) -> None:
        """Remember what to read against; `client` says which directions a client streams itself."""
        self._catalogue, self._endpoints, self._client = catalogue, endpoints, client
        self._found, self._payload_max = found, payload_max

    def read(self, rows: Mapping[str, Mapping[str, Any]], *, is_absent: bool) -> dict[str, Adapter]:
        """Return the effective adapters by endpoint name; what is wrong with one is reported and leaves it out."""
        adapters: dict[str, Adapter] = {}
        for name, row in rows.items():
            adapter = self._one(name, row)
            if adapter is not None:
                adapters[name] = adapter
        for name, kind in self._endpoints.items():
            written = adapters.get(name)
            if self._client[kind]:
                adapters[name] = self._stream(written, kind)
            elif is_absent and name not in rows:
                adapters[name] = self._stdio(kind)
        return adapters

    def _one(self, name: str, row: Mapping[str, Any]) -> Adapter | None:
        path: Path = ("adapters", name)
        kind, options = row["kind"], row["**"]
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
        problems = self._catalogue.check(
            kind, options, ingress=ingress, payload_max=self._payload_max
        )
        add_problems(problems, path, self._found)
        if any(severity_of(problem, self._found) is Severity.ERROR for problem in problems):
            return None
        unknown = {problem.key for problem in problems if problem.code in UNKNOWN_KEY_CODES}
        known_options = {key: value for key, value in options.items() if key not in unknown}
        return Adapter(kind, self._with_defaults(info, known_options, ingress=ingress))

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

    def _with_defaults(
        self, info: AdapterInfo, options: Mapping[str, Scalar], *, ingress: bool
    ) -> dict[str, Scalar]:
        """Return the options with every default that applies to them spelled out."""
        full = dict(options)
        for key in info.keys:
            if key.default is None or key.name in full or key.name.endswith(".*"):
                continue
            candidate = {**full, key.name: key.default}
            if not self._catalogue.check(
                info.kind, candidate, ingress=ingress, payload_max=self._payload_max
            ):
                full = candidate
        return full

    def _stream(self, written: Adapter | None, kind: EndpointKind) -> Adapter:
        """Return the client's stream in the framing of the adapter that it stands in for."""
        info = self._catalogue.info(STREAM)
        if info is None:
            return Adapter(STREAM, dict(written.options) if written else {})
        names = {key.name for key in info.keys}
        options = written.options if written else {}
        kept = {key: value for key, value in options.items() if key in names}
        return Adapter(
            STREAM, self._with_defaults(info, kept, ingress=kind is EndpointKind.INGRESS)
        )

    def _stdio(self, kind: EndpointKind) -> Adapter:
        name = _ABSENT[kind]
        info = self._catalogue.info(name)
        if info is None:
            return Adapter(name, {})
        return Adapter(name, self._with_defaults(info, {}, ingress=kind is EndpointKind.INGRESS))
