"""What validation and the reference ask about adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any

from byteord.adapters.framing import FRAMING_NAMES, check_framing
from byteord.adapters.kinds import KINDS, STREAM_KINDS, Kind
from byteord.adapters.options import Option, Side, problem, read_options, split_address
from byteord.deployment.model import AdapterInfo
from byteord.spec.model import ConfigKey, ConfigProblem, Scalar

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
        return AdapterInfo(
            known.name,
            known.summary,
            known.ingress,
            known.egress,
            _keys(known),
            known.finite,
            known.resumable,
        )

    def check(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool, payload_max: int
    ) -> list[ConfigProblem]:
        """Return every problem of an adapter's kind and options."""
        return read_checked(kind, options, ingress=ingress, payload_max=payload_max)[1]

    def needs(self, kind: str, options: Mapping[str, Scalar], *, ingress: bool) -> Needs:
        """Return what the adapter wants of the host; of options with problems, what can be seen."""
        values, _problems = read_checked(kind, options, ingress=ingress, payload_max=65_520)
        prefix = "unix:" if kind.startswith("unix_") else ""
        path = values.get("path")
        bound, reached = values.get("listen") or values.get("bind"), values.get("connect")
        if kind == "unix_dgram":
            path, bound, reached = None, path if ingress else None, None if ingress else path
        return Needs(
            reads=(path,) if path and ingress else (),
            writes=(path,) if path and not ingress else (),
            listens=(f"{prefix}{bound}",) if bound else (),
            connects=(f"{prefix}{reached}",) if reached else (),
        )

    def as_stream(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool
    ) -> dict[str, Scalar]:
        """Return options for kind `stream` that frame bytes as this adapter does.

        For a run whose client feeds or takes them. An adapter without a framing of its own
        (datagrams, generator, discard) gives the default framing, lines.
        """
        known = KINDS.get(kind)
        if known is None:
            return {}
        names = {option.name for option in known.options if option.at(ingress=ingress)}
        kept = {name: value for name, value in options.items() if name in names & FRAMING_NAMES}
        if kind == "pcap":
            kept["framing"] = "pcap"
        return kept


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


def _keys(known: Kind) -> tuple[ConfigKey, ...]:
    """Return the reference's keys; an option that both ends have in forms of their own is one."""
    merged: dict[str, Option] = {}
    for option in known.options:
        other = merged.get(option.name)
        if other is not None:
            choices = tuple(dict.fromkeys((*other.choices, *option.choices)))
            doc = f"{other.key().doc}; {option.key().doc}"
            option = replace(option, choices=choices, doc=doc, side=Side.BOTH)  # noqa: PLW2901
        merged[option.name] = option
    return tuple(option.key() for option in merged.values())


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
    if known.name == "generator":
        return _check_generator(values, payload_max)
    if known.name in {"tcp", "unix_stream", "udp"}:
        return _check_addresses(known.name, values)
    found = []
    if values.get("follow") and values.get("gzip") == "always":
        found.append(_conflict("gzip", "always with follow", 'gzip = "auto"', "follow, or gzip"))
    if known.name in STREAM_KINDS and values.get("framing") != "pcap" and values.get("port"):
        found.append(_conflict("port", "port without pcap", 'framing = "pcap"', "port"))
    return found


def _conflict(key: str, seen: str, wanted: str, remove: str) -> ConfigProblem:
    return problem(key, "CONFLICT", seen, wanted, f"remove {remove}, or write {wanted}")


def _check_generator(values: Mapping[str, Any], payload_max: int) -> list[ConfigProblem]:
    content = values["content"]
    least = _CONTENT_BYTES.get(content, 0)
    size = least if content == "trades" else max(values["size"], values["size_max"])
    found = []
    if content == "checksummed" and values["size"] < least:
        wanted = f"at least {least} for content checksummed"
        found.append(problem("size", "RANGE", str(values["size"]), wanted, f"write size = {least}"))
    if content != "text" and size > payload_max:
        wanted = f"at most {payload_max}, what a slot holds"
        fix = "write a smaller size, or a larger slot_bytes in the spec's ring"
        found.append(problem("size", "RANGE", str(size), wanted, fix))
    return found


def _check_addresses(kind: str, values: Mapping[str, Any]) -> list[ConfigProblem]:
    names = ("bind", "connect") if kind == "udp" else ("listen", "connect")
    given = [name for name in names if values.get(name)]
    if kind != "udp" and len(given) != 1:
        seen = "both" if given else "neither"
        return [problem("listen", "CONFLICT", seen, "listen or connect", "write one of the two")]
    found = []
    for name in given:
        text = values[name]
        if kind == "unix_stream":
            continue
        try:
            split_address(text)
        except ValueError as error:
            found.append(problem(name, "VALUE", text, str(error), f"write {name} as {error}"))
    group = values.get("group")
    if group is not None and not _is_multicast(group):
        wanted = "an address of a multicast group, as 239.1.2.3"
        found.append(problem("group", "VALUE", group, wanted, f"write group as {wanted}"))
    if values.get("peers") and not values.get("listen"):
        found.append(_conflict("peers", "peers with connect", "listen", "peers"))
    return found


def _is_multicast(text: str) -> bool:
    try:
        return ip_address(text).is_multicast
    except ValueError:
        return False
