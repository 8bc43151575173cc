"""Reads the configuration of a built-in stage and keeps every problem found on the way.

Values are taken as canonical text, since canonical KV does not tell `5` from `"5"`. It must not
know any stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from byteord.spec.model import ConfigKey, ConfigProblem, Scalar

BYTES_MAX = 1024
"""Most bytes of a configured text or `hex:` value."""


def canonical_text(value: Scalar) -> str:
    """Return a configuration value as canonical KV writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parse_bytes(text: str) -> bytes | None:
    """Return the bytes of a text or `hex:...` value, or None when the hex digits are wrong."""
    if not text.startswith("hex:"):
        return text.encode()
    digits = text[4:]
    if len(digits) % 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        return None
    return bytes.fromhex(digits)


def parse_integer(text: str) -> int | None:
    """Return a canonical decimal integer, or None."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 25 else None  # noqa: PLR2004 - beyond any 64-bit one


class Reader:
    """One pass over one `config` table: typed reads with defaults; `problems` is what was wrong."""

    def __init__(self, config: Mapping[str, Scalar], payload_max: int) -> None:
        """Read from `config` for a ring whose payloads hold `payload_max` bytes."""
        self.texts = {key: canonical_text(value) for key, value in config.items()}
        self.payload_max = payload_max
        self.problems: list[ConfigProblem] = []

    def has(self, key: str) -> bool:
        """Tell whether the key is given."""
        return key in self.texts

    def problem(self, code: str, key: str, wanted: str, fix: str) -> None:
        """Keep a problem of `key`; `code` without its common prefix."""
        seen = self.texts.get(key, "nothing") or "an empty text"
        self.problems.append(ConfigProblem(key, f"STAGE_CONFIG_{code}", seen, wanted, fix))

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Read an integer between two bounds, both allowed."""
        if key not in self.texts:
            return default
        value = parse_integer(self.texts[key])
        wanted = f"an integer from {low} to {high}"
        if value is None:
            self.problem("TYPE", key, wanted, f"write `{key}` as a decimal integer")
            return default
        if not low <= value <= high:
            self.problem(
                "RANGE",
                key,
                wanted,
                f"set `{key}` to {min(max(value, low), high)}, or change what bounds it",
            )
            return default
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        """Read `true` or `false`."""
        text = self.texts.get(key, canonical_text(default))
        if text not in ("true", "false"):
            self.problem("TYPE", key, "true or false", f"set `{key}` to true or to false")
            return default
        return text == "true"

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """Read one of a few words."""
        text = self.texts.get(key, default)
        if text not in choices:
            self.problem(
                "CHOICE", key, f"one of {', '.join(choices)}", f"set `{key}` to one of them"
            )
            return default
        return text

    def raw(self, key: str) -> bytes:
        """Read bytes given as text or as `hex:...`: not empty, no longer than a payload."""
        value = parse_bytes(self.texts.get(key, ""))
        if value is None:
            self.problem(
                "BYTES",
                key,
                "pairs of hex digits after `hex:`",
                "write two hex digits for each byte",
            )
            return b""
        limit = min(BYTES_MAX, self.payload_max)
        if not 1 <= len(value) <= limit:
            fix = (
                "give at least one byte"
                if not value
                else "shorten it, or raise the ring's slot_bytes"
            )
            self.problem("BYTES", key, f"1 to {limit} bytes", fix)
        return value

    def span(self, *, offset: str = "offset", length: str = "length") -> tuple[int, int]:
        """Read a byte range that lies inside a payload; its length is 0 for `to the end`."""
        first = self.integer(offset, 0, 0, self.payload_max - 1)
        return first, self.integer(length, 0, 0, self.payload_max - first)

    def missing(self, key: str, wanted: str) -> None:
        """Report a key that has to be there."""
        self.problem("MISSING", key, wanted, f"add `{key}`")

    def idle(self, keys: Iterable[str], because: str) -> None:
        """Report keys that are given but would have no effect."""
        for key in keys:
            if key in self.texts:
                self.problem("CONFLICT", key, f"no `{key}`: {because}", f"remove `{key}`")

    def indices(self, prefix: str, most: int) -> list[int]:
        """Return the indices of an array from 0 on; a gap and more than `most` are problems."""
        heads = (
            key.removeprefix(prefix + ".").split(".")[0]
            for key in self.texts
            if key.startswith(prefix + ".")
        )
        found = sorted({int(head) for head in heads if _is_index(head)})
        if found != list(range(len(found))):
            gap = next(index for index in range(len(found) + 1) if index not in found)
            self.missing(f"{prefix}.{gap}", "indices from 0 on without a gap")
        if len(found) > most:
            self.problem(
                "RANGE", f"{prefix}.{most}", f"at most {most} entries", "use fewer entries"
            )
        return found[:most]

    def unknown(self, keys: Sequence[ConfigKey]) -> None:
        """Report every key that none of `keys` describes, with the nearest one."""
        names = [key.name for key in keys]
        for key in self.texts:
            if not any(_describes(name, key) for name in names):
                near = _nearest(key, names)
                wanted = f"one of {', '.join(names)}" if names else "no configuration"
                fix = f"did you mean `{near}`?" if near else f"remove `{key}`"
                self.problem("UNKNOWN_KEY", key, wanted, fix)


def _describes(pattern: str, key: str) -> bool:
    wanted, parts = pattern.split("."), key.split(".")
    return len(wanted) == len(parts) and all(
        _is_index(part) if want == "*" else want == part
        for want, part in zip(wanted, parts, strict=True)
    )


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")


def _nearest(key: str, names: Sequence[str]) -> str:
    import difflib

    found = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return found[0] if found else ""
