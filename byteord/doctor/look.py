"""How one check looks at the host: every file it reads becomes evidence.

Owns reading, with the reason where there is nothing to read. It judges nothing.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable

from byteord.doctor.kernel import Kernel
from byteord.doctor.model import Evidence, SkippedError, UnknownError
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import parse_cpu_list

VALUE_CHARS_MAX = 200
EVIDENCE_MAX = 8
_CPU_LIST = re.compile(r"(\d{1,5}(-\d{1,5})?)(,\d{1,5}(-\d{1,5})?)*")


class Look:
    """One check's view of the host. Use once."""

    def __init__(self, root: HostRoot, kernel: Kernel, then: Look | None = None) -> None:
        """Read below `root`; `then` is the view of the same check a moment earlier."""
        self.root = root
        self.kernel = kernel
        self.then = then
        self.elapsed_s = 0.0
        self.evidence: list[Evidence] = []
        self._texts: dict[str, str | None] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._kept = False

    def keep(self) -> Look:
        """From now on say what was read so far, and nothing new."""
        self._kept = True
        return self

    def saw(self, path: str, value: str = "", key: str = "") -> None:
        """Keep a file as evidence, once; the first few suffice."""
        seen = Evidence(path, value if len(value) <= VALUE_CHARS_MAX else "", key)
        if seen not in self.evidence and len(self.evidence) < EVIDENCE_MAX:
            self.evidence.append(seen)

    def text(self, path: str) -> str:
        """Return the text of a file; raises SkippedError or UnknownError where there is none."""
        text = self.maybe(path)
        if text is None:
            raise self._absent(path)
        return text

    def maybe(self, path: str) -> str | None:
        """Return the text of a file, None where there is none."""
        text = self.quiet(path)
        if text is not None:
            self.saw(path, text)
        return text

    def quiet(self, path: str) -> str | None:
        """Return the text of a file that is no evidence by itself."""
        if not self._kept:
            text = self.root.text(path)
            self._texts[path] = None if text is None else text.strip()
        return self._texts.get(path)

    def unpacked(self, path: str) -> str | None:
        """Return the text of a gzip file."""
        try:
            with gzip.open(self.root.path(path), "rt", errors="replace") as file:
                text = file.read(1 << 20)
        except (OSError, EOFError):
            return None
        self.saw(path)
        return text

    def number(self, path: str) -> int:
        """Return the number in a file."""
        text = self.text(path)
        try:
            return int(text, 0)
        except ValueError:
            raise UnknownError(f"{path} holds {text[:40]!r}, no number") from None

    def chosen(self, path: str) -> str:
        """Return the word in brackets, `a [b] c`, or all of a file without any."""
        text = self.text(path)
        return text.partition("[")[2].partition("]")[0] or text

    def cpus(self, path: str) -> tuple[int, ...]:
        """Return the CPUs that a file lists."""
        text = self.text(path)
        return parse_cpus(text, path)

    def field(self, path: str, key: str) -> str:
        """Return what follows `key` in a line of a file, `Name: value` or `name value`."""
        text = self.quiet(path)
        if text is None:
            raise self._absent(path)
        for line in text.splitlines():
            if line.startswith(key) and line[len(key) : len(key) + 1] in (":", " ", "\t", "="):
                value = line[len(key) :].lstrip(": \t=").strip()
                self.saw(path, value, key)
                return value
        raise SkippedError(f"{path} has no line {key}")

    def amount(self, path: str, key: str) -> int:
        """Return the first number after `key`."""
        value = self.field(path, key)
        word = value.split()[0] if value.split() else ""
        if not word.isdigit():
            raise UnknownError(f"{path} says {key} {value[:40]!r}, no number")
        return int(word)

    def names(self, pattern: str) -> tuple[str, ...]:
        """Return the names that match; raises SkippedError where there is none."""
        if not self._kept:
            self._names[pattern] = self.root.names(pattern)
        found = self._names.get(pattern)
        if not found:
            raise SkippedError(f"{pattern} is not here")
        return found

    def values(self, pattern: str) -> dict[str, str]:
        """Return the text of every file that matches and can be read."""
        found = {}
        for name in self.names(pattern):
            text = self.quiet(name)
            if text is not None:
                found[name] = text
        if not found:
            raise UnknownError(f"none of {pattern} can be read")
        return found

    def _absent(self, path: str) -> Exception:
        why = self.root.missing(path)
        if why == "withheld":
            return UnknownError(f"{path} does not leave its host with a bundle")
        if why == "denied":
            return UnknownError(f"needs the right to read {path} (run as root)")
        return SkippedError(f"{path} is {'not here' if why == 'absent' else 'not readable'}")


def grown(look: Look, read: Callable[[Look], dict[str, int]]) -> tuple[dict[str, int], bool]:
    """Return by how much counters grew since the first look, and whether there was one.

    Without a first look the counters themselves are returned, and False.
    """
    now = read(look)
    if look.then is None:
        return now, False
    before = read(look.then)
    return {key: now[key] - before.get(key, now[key]) for key in now}, True


def parse_cpus(text: str, path: str) -> tuple[int, ...]:
    """Return the CPUs in the kernel's list form; raises UnknownError for anything else."""
    if text in ("", "(null)"):
        return ()
    if not _CPU_LIST.fullmatch(text):
        raise UnknownError(f"{path} holds {text[:40]!r}, no list of CPUs")
    return parse_cpu_list(text)


def mask_cpus(text: str) -> tuple[int, ...]:
    """Return the CPUs of a hexadecimal mask, `ff,00000003`."""
    bits = int(text.strip().replace(",", "") or "0", 16)
    return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def shared(one: Iterable[int], other: Iterable[int]) -> tuple[int, ...]:
    """Return the CPUs in both, in order."""
    return tuple(sorted(set(one) & set(other)))
