"""Options of adapters: type, bounds and meaning, and how a given value is read.

The tables are the reference; `read_options` is the only way in which options are turned into
values, so what validation accepts is what opening gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

from byteord.spec.model import ConfigKey, ConfigProblem, Scalar
from byteord.spec.quantity import bytes_of, duration_ns_of, size_of

UINT64_MAX = (1 << 64) - 1
PORT_MAX = 65_535


class Side(Enum):
    """At which end an option is understood."""

    INGRESS = "ingress"
    EGRESS = "egress"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what a person may write, and its bounds (both included)."""

    name: str
    type: str
    doc: str
    default: Scalar | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float = 0
    maximum: float = UINT64_MAX
    side: Side = Side.BOTH

    def at(self, *, ingress: bool) -> bool:
        """Tell whether the option is understood at this end."""
        return self.side is Side.BOTH or (self.side is Side.INGRESS) == ingress

    def key(self) -> ConfigKey:
        """Return the option as the reference shows it."""
        doc = self.doc if self.side is Side.BOTH else f"{self.doc} (at the {self.side.value} only)"
        return ConfigKey(self.name, self.type, doc, self.default, self.required, self.choices)


class _BadValueError(ValueError):
    """A value that cannot be what it should be: its text says what was wanted."""


def read_options(
    kind: str, table: tuple[Option, ...], options: Mapping[str, Scalar], *, ingress: bool
) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """Return values for every option of this end, defaults filled in, and all problems.

    Without problems the values are complete.
    """
    known = {option.name: option for option in table if option.at(ingress=ingress)}
    values: dict[str, Any] = {name: _default(option) for name, option in known.items()}
    problems = [
        _unknown(kind, name, known, table, ingress=ingress) for name in options if name not in known
    ]
    for name, option in known.items():
        if name not in options:
            if option.required:
                problems.append(
                    problem(
                        name,
                        "MISSING",
                        "nothing",
                        option.doc,
                        f"add {name} = ... to this {kind} adapter",
                    )
                )
            continue
        try:
            values[name] = _read(option, options[name])
        except _BadValueError as error:
            fix = f"write {name} as {error}"
            problems.append(problem(name, "VALUE", repr(options[name]), str(error), fix))
    return values, problems


def problem(key: str, code: str, seen: str, wanted: str, fix: str) -> ConfigProblem:
    """Return a finding about one option, with the common prefix of adapter codes."""
    return ConfigProblem(key, f"ADAPTER_OPTION_{code}", seen, wanted, fix)


def _unknown(
    kind: str, name: str, known: Mapping[str, Option], table: tuple[Option, ...], *, ingress: bool
) -> ConfigProblem:
    end, other = ("ingress", "egress") if ingress else ("egress", "ingress")
    if any(option.name == name for option in table):
        wanted = f"an option of {kind} at the {end}: {', '.join(known) or 'it has none'}"
        return problem(
            name, "UNKNOWN", f"{name} at the {end}", wanted, f"remove it; {name} is for the {other}"
        )
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    fix = f"write {near[0]} instead of {name}, or remove it" if near else "remove it"
    return problem(
        name, "UNKNOWN", name, f"one of {', '.join(known)}" if known else "no options", fix
    )


def _default(option: Option) -> Any:
    return None if option.default is None else _read(option, option.default)


def _read(option: Option, value: Scalar) -> Any:
    if option.type == "boolean":
        if not isinstance(value, bool):
            raise _BadValueError("true or false")
        return value
    if option.type == "bytes":
        return _read_byte(value)
    if option.type in {"integer", "size", "duration"}:
        return _bounded(option, _read_number(option, value))
    if not isinstance(value, str) or not value:
        raise _BadValueError("a text that is not empty")
    if option.choices and value not in option.choices:
        near = get_close_matches(value, option.choices, n=1)
        raise _BadValueError(
            "one of " + ", ".join(option.choices) + (f" ({near[0]}?)" if near else "")
        )
    if "\0" in value:
        raise _BadValueError("a text without a null character")
    return value


def _read_number(option: Option, value: Scalar) -> float:
    if isinstance(value, bool):
        raise _BadValueError("a number")
    if isinstance(value, int):
        return value
    if option.type == "size":
        size = size_of(value)
        if size is not None:
            return size
        raise _BadValueError("bytes as a number, or with a unit such as 64KiB or 4MiB")
    if option.type == "duration":
        nanoseconds = duration_ns_of(value)
        if nanoseconds is not None:
            return nanoseconds / 1e9
        raise _BadValueError("seconds as a number, or with a unit such as 500ms or 10s")
    raise _BadValueError("a number without quotes")


def _bounded(option: Option, number: float) -> float:
    if option.minimum <= number <= option.maximum:
        return number
    unit = {"size": " bytes", "duration": " seconds"}.get(option.type, "")
    if option.maximum >= UINT64_MAX:
        raise _BadValueError(f"at least {option.minimum:g}{unit}")
    raise _BadValueError(f"{option.minimum:.10g} to {option.maximum:.10g}{unit}")


def _read_byte(value: Scalar) -> int:
    text = value if isinstance(value, str) else ""
    data = bytes_of(text) or b""
    if len(data) != 1:
        raise _BadValueError('one byte: a character such as "\\n", or hex such as "hex:00"')
    return data[0]


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`; raise ValueError with what is wanted."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        message = "an IPv6 address in brackets, as in [::1]:9000"
        raise ValueError(message)
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        message = "host:port, as in 127.0.0.1:9000"
        raise ValueError(message)
    return host, int(port)
