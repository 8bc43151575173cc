"""Where two outputs differ, for a person to read. Pure."""

from __future__ import annotations

import difflib

CONTEXT_LINES = 3
LINES_SHOWN_MAX = 40
LINE_SHOWN_MAX = 200
ROW_BYTES = 16
ROWS_BEFORE = 1
ROWS_AFTER = 2


def difference(expected: bytes, seen: bytes) -> list[str]:
    """Return lines that say where `seen` first departs from `expected`; none when it is equal.

    Text as a unified diff around the first difference, anything else as rows of hexadecimal.
    """
    if expected == seen:
        return []
    if _is_text(expected) and _is_text(seen):
        return _text_difference(expected.decode(), seen.decode())
    return _bytes_difference(expected, seen)


def first_difference(expected: bytes, seen: bytes) -> int:
    """Return the offset of the first byte that differs, or the length of the shorter one."""
    low, high = 0, min(len(expected), len(seen))
    while low < high:
        middle = (low + high + 1) // 2
        if expected[low:middle] == seen[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return not any(ord(letter) < ord(" ") and letter not in "\t\n\r" for letter in text)


def _text_difference(expected: str, seen: str) -> list[str]:
    old, new = expected.splitlines(keepends=True), seen.splitlines(keepends=True)
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    begin, end = max(0, same - CONTEXT_LINES), same + LINES_SHOWN_MAX
    counts = f"{len(old):,} lines expected, {len(new):,} seen"
    lines = [f"line {same + 1} is the first that differs ({counts})"]
    changes = difflib.unified_diff(old[begin:end], new[begin:end], n=CONTEXT_LINES, lineterm="\n")
    shown = [_line(text) for text in list(changes)[3 : LINES_SHOWN_MAX + 3]]
    return lines + shown


def _line(text: str) -> str:
    whole = text.removesuffix("\n")
    mark = "" if text.endswith("\n") else "  (no newline at the end)"
    if len(whole) > LINE_SHOWN_MAX:
        whole = f"{whole[:LINE_SHOWN_MAX]}... ({len(whole) - 1:,} characters)"
    return whole + mark


def _bytes_difference(expected: bytes, seen: bytes) -> list[str]:
    at = first_difference(expected, seen)
    lines = [f"byte {at:,} differs ({len(expected):,} bytes expected, {len(seen):,} seen)"]
    first = max(0, at // ROW_BYTES - ROWS_BEFORE)
    for row in range(first, at // ROW_BYTES + ROWS_AFTER):
        part = slice(row * ROW_BYTES, (row + 1) * ROW_BYTES)
        old, new = expected[part], seen[part]
        if old == new:
            lines.append(_row(" ", part.start, old))
            continue
        lines += [_row(sign, part.start, data) for sign, data in (("-", old), ("+", new)) if data]
    return lines


def _row(sign: str, offset: int, data: bytes) -> str:
    letters = "".join(chr(byte) if ord(" ") <= byte <= ord("~") else "." for byte in data)
    return f"{sign}{offset:08x}  {data.hex(' '):<{ROW_BYTES * 3}} {letters}"
