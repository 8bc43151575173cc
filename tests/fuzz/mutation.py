"""Mutation of corpus files: small damages that keep most of the structure.

Seeded, so that a failure can be repeated; no dependency, so that the gate always runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from time import monotonic

CORPUS = Path(__file__).with_name("corpus")


def corpus(name: str) -> list[bytes]:
    """Return the kept inputs of one target, in the order of their names."""
    files = sorted((CORPUS / name).iterdir())
    assert files, f"no corpus in {CORPUS / name}"
    return [file.read_bytes() for file in files]


def mutations(
    seeds: Sequence[bytes], tokens: Sequence[bytes], random: Random, *, seconds: float
) -> Iterator[bytes]:
    """Yield the seeds as they are, then damaged ones until the time is up."""
    yield from seeds
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        data = random.choice(seeds)
        for _ in range(random.randint(1, 6)):
            damage: Callable[[bytes, bytes, Random], bytes] = random.choice(_DAMAGES)
            data = damage(data, random.choice(tokens), random)
        yield data


def _flip(data: bytes, _token: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _cut(data: bytes, _token: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.randrange(64) :]


def _insert(data: bytes, token: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + token * random.choice((1, 1, 1, 2, 40)) + data[at:]


def _repeat(data: bytes, _token: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    size = random.randrange(200)
    return data[: at + size] + data[at : at + size] + data[at + size :]


def _swap_lines(data: bytes, _token: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    random.shuffle(lines)
    return b"\n".join(lines)


_DAMAGES = (_flip, _cut, _insert, _repeat, _swap_lines)
