"""What validation and the reference ask about adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from byteord.adapters.framing import FRAMING_NAMES, check_framing
from byteord.adapters.kinds import KINDS, STREAM_KINDS, Kind
from byteord.adapters.options import problem, read_options
from byteord.deployment.model import AdapterInfo
from byteord.spec.model import ConfigProblem, Scalar

_CONTENT_BYTES = {"trades": 56, "checksummed": 12}


@dataclass(frozen=True, slots=True)
class Needs:
    """What an adapter wants of the host; the daemon's configuration must allow all of it."""

    reads: tuple[str, ...] = ()
    """Paths it opens for reading."""
    writes: tuple[str, ...] = ()
    """Paths it creates or writes."""
    listens: tuple[str, ...] = ()
    """Addresses it binds: `host:port` or `unix:/path`."""
    connects: tuple[str, ...] = ()
    """Addresses it connects or sends to."""


class Catalogue:
    """The adapters of this build; implements `byteord.deployment.model.AdapterCatalogue`."""

    def kinds(self) -> list[str]:
        """Return the kinds of adapters, in the order of the reference."""
        return list(KINDS)

    def info(self, kind: str) -> AdapterInfo | None:
        """Return what is known of a kind, or None."""
        known = KINDS.get(kind)
        if known is None:
            return None
        keys = tuple(option.key() for option in known.options)
        return AdapterInfo(
            known.name,
            known.summary,
            known.ingress,
            known.egress,
            keys,
            known.finite,
            known.resumable,
        )

    def check(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool, payload_max: int
    ) -> list[ConfigProblem]:
        """Return every problem of an adapter's kind and options."""
        return read_checked(kind, options, ingress=ingress, payload_max=payload_max)[1]


CATALOGUE = Catalogue()


def read_checked(
    kind: str, options: Mapping[str, Scalar], *, ingress: bool, payload_max: int
) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """Return an adapter's option values, complete if there are no problems, and all problems."""
    known = KINDS.get(kind)
    if known is None:
        near = get_close_matches(kind, KINDS, n=1, cutoff=0.4)
        fix = f'write kind = "{near[0]}"' if near else "choose one of them"
        return {}, [problem("kind", "KIND", kind, f"one of {', '.join(KINDS)}", fix)]
    if not (known.ingress if ingress else known.egress):
        return {}, [_wrong_end(kind, ingress=ingress)]
    values, problems = read_options(kind, known.options, options, ingress=ingress)
    if not problems:
        problems = check_framing(values, ingress=ingress, payload_max=payload_max)
        problems += _check_together(known, values, payload_max=payload_max)
    return values, problems


def needs(kind: str, options: Mapping[str, Scalar], *, ingress: bool) -> Needs:
    """Return what the adapter wants of the host; meant for options without problems, never raises on others."""
    values, _problems = read_checked(kind, options, ingress=ingress, payload_max=65_520)
    path = values.get("path")
    if kind == "file" and isinstance(path, str):
        return Needs(reads=(path,)) if ingress else Needs(writes=(path,))
    return Needs()


def as_stream(kind: str, options: Mapping[str, Scalar], *, ingress: bool) -> dict[str, Scalar]:
    """Return options for kind `stream` that frame bytes as this adapter does, for a run whose client feeds or takes them.

    An adapter without a framing of its own (datagrams, generator, discard) gives the default framing, lines.
    """
    known = KINDS.get(kind)
    if known is None:
        return {}
    names = {option.name for option in known.options if option.at(ingress=ingress)} & FRAMING_NAMES
    kept = {name: value for name, value in options.items() if name in names}
    if kind == "pcap":
        kept["framing"] = "pcap"
    return kept


def _wrong_end(kind: str, *, ingress: bool) -> ConfigProblem:
    end, other = ("ingress", "egress") if ingress else ("egress", "ingress")
    fitting = [
        known.name for known in KINDS.values() if (known.ingress if ingress else known.egress)
    ]
    return problem(
        "kind",
        "END",
        f"{kind} at an {end}",
        f"one of {', '.join(fitting)}",
        f"bind {kind} to an {other}, or choose another kind",
    )


def _check_together(
    known: Kind, values: Mapping[str, Any], *, payload_max: int
) -> list[ConfigProblem]:
    """Return problems of options that are right one by one but not together."""
    found = []
    if known.name == "generator":
        content = values["content"]
        least = _CONTENT_BYTES.get(content, 0)
        size = least if content == "trades" else max(int(values["size"]), int(values["size_max"]))
        if content == "checksummed" and values["size"] < least:
            found.append(
                problem(
                    "size",
                    "RANGE",
                    str(values["size"]),
                    f"at least {least} for content checksummed",
                    f"write size = {least} or more",
                )
            )
        if content != "text" and size > payload_max:
            found.append(
                problem(
                    "size",
                    "RANGE",
                    str(size),
                    f"at most {payload_max}, what a slot holds",
                    "write a smaller size, or a larger slot_bytes in the spec's ring",
                )
            )
    if values.get("follow") and values.get("gzip") == "always":
        found.append(
            problem(
                "gzip",
                "CONFLICT",
                "always with follow",
                "one of the two",
                "a gzip file cannot be followed: remove one",
            )
        )
    if known.name in STREAM_KINDS and values.get("framing") != "pcap":
        given = [name for name in ("port",) if values.get(name)]
        found.extend(
            problem(
                name,
                "CONFLICT",
                f"{name} without framing pcap",
                'framing = "pcap"',
                f'remove {name}, or write framing = "pcap"',
            )
            for name in given
        )
    return found
