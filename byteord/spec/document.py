"""A document as its author wrote it, read into a tree with the place of every key.

Owns the limits that hold for every document and the choice of its format. It must not know what
keys mean, and never opens a file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from byteord.spec.findings import Collector, Path, Place

CONTENT_BYTES_MAX = 1 << 20
NESTING_MAX = 16
KEYS_MAX = 10_000
FINDINGS_MAX = 50
"""Findings of one kind in one text; more are counted in the last."""
INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 63) - 1

FORMATS = ("toml", "kv")
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""A part of a key path, in both formats."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_KV_LINE = re.compile(r"[A-Za-z0-9_.-]{1,1024}=")
_SNIFFED_LINES = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A spec or deployment in bytes.

    `name` is for messages only; `format` is `toml`, `kv` or empty (told by itself).
    """

    name: str
    content: bytes
    format: str = ""


class Bare(str):
    """An unquoted value of KV, whose type is the schema's to say."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says: `tree` of tables, arrays and scalars.

    `readable` is false where syntax errors stand.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    places: Mapping[Path, Place] = field(default_factory=dict)
    readable: bool = True


def place_at(text: str, offset: int) -> Place:
    """Return the line and column of a character offset."""
    start = text.rfind("\n", 0, offset) + 1
    return Place(text.count("\n", 0, offset) + 1, offset - start + 1)


def decode(source: Source, found: Collector) -> str | None:
    """Return the text of a document, or None, with findings, when it is not acceptable text."""
    size = len(source.content)
    if size > CONTENT_BYTES_MAX:
        # A client reads one byte beyond the limit and no more.
        at_least = f"more than {size - 1}" if size == CONTENT_BYTES_MAX + 1 else str(size)
        found.add(
            "DOCUMENT_TOO_LARGE",
            seen=f"{at_least} bytes in {source.name or 'the document'}",
            wanted=f"at most {CONTENT_BYTES_MAX} bytes",
            fix="check that this is the right file; a document is text written by people",
        )
        return None
    try:
        text = source.content.decode("utf-8")
    except UnicodeDecodeError as error:
        head = source.content[: error.start].decode("utf-8")
        found.add(
            "DOCUMENT_NOT_UTF8",
            place=place_at(head, len(head)),
            seen=f"byte 0x{source.content[error.start]:02x} at offset {error.start}",
            wanted="UTF-8 text",
            fix="save the file as UTF-8",
        )
        return None
    if text.startswith("\ufeff"):
        found.add(
            "DOCUMENT_BYTE_ORDER_MARK",
            place=Place(1, 1),
            seen="a byte order mark",
            wanted="plain UTF-8",
            fix="save the file without a byte order mark",
        )
        return None
    return None if _control_characters(text, found) else text


def _control_characters(text: str, found: Collector) -> bool:
    hits = list(_CONTROL.finditer(text))
    for index, hit in enumerate(hits[:FINDINGS_MAX], 1):
        rest = f" (and {len(hits) - index} more)" if index == FINDINGS_MAX < len(hits) else ""
        found.add(
            "DOCUMENT_CONTROL_CHARACTER",
            place=place_at(text, hit.start()),
            seen=f"the control character U+{ord(hit[0][0]):04X}{rest}",
            wanted="printable text",
            fix="delete it, or write it as an escape in a quoted string",
        )
    return bool(hits)


def sniff(source: Source, text: str) -> str:
    """Return the format of a document.

    The one it claims, else by its file name, else by its first lines: KV is what has `key=value`
    in each line and is not TOML too.
    """
    if source.format:
        return source.format
    suffix = source.name.rpartition(".")[2].lower()
    if suffix in FORMATS:
        return suffix
    lines = [line for line in text.split("\n", _SNIFFED_LINES)[:_SNIFFED_LINES] if line]
    if not lines or not all(_KV_LINE.match(line) for line in lines):
        return "toml"
    try:
        tomllib.loads("\n".join(lines))
    except ValueError:
        return "kv"
    return "toml"


def read(source: Source, found: Collector) -> Document:
    """Return the tree of a document.

    Every syntax error becomes a finding and leaves it unreadable.
    """
    from byteord.spec import kv, toml  # they import this module's types

    text = decode(source, found)
    if text is None:
        return Document(readable=False)
    form = sniff(source, text)
    if form not in FORMATS:
        found.add(
            "DOCUMENT_FORMAT_UNKNOWN",
            seen=f'the format "{form}"',
            wanted="toml or kv",
            fix="name the format, or leave it out to have it told from the text",
        )
        return Document(readable=False)
    return kv.parse(text, found) if form == "kv" else toml.parse(text, found)
