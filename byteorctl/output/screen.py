"""What people see: lines, fields, tables; drawn by rich on a terminal, plain text elsewhere.

Colour is off with `NO_COLOR` or without a terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from byteorctl.output.clean import clean

if TYPE_CHECKING:
    from rich.table import Table

FOLDED_WIDTH = 24
GAP = 2

STATE_STYLES = {
    "running": "green",
    "completed": "green",
    "idle": "green",
    "starting": "cyan",
    "draining": "yellow",
    "stopping": "yellow",
    "stopped": "yellow",
    "blocked": "yellow",
    "failed": "bold red",
    "ok": "green",
    "degraded": "yellow",
    "unknown": "magenta",
}


class Screen:
    """Draws on `stream`, standard output unless told otherwise."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Decide once how to draw."""
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def line(self, text: str = "") -> None:
        """Write lines; control characters but newline and tab as escapes."""
        print(clean(text, keep="\n\t"), file=self._stream)

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Write `name  value` lines, aligned; pairs with an empty value are left out."""
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; a column whose name begins with `#` is aligned to the right."""
        rows = [[clean(cell) for cell in row] for row in rows]
        if self._terminal:
            self._rich_table(columns, rows)
        else:
            self._plain_table(columns, rows)

    def _plain_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [[column.lstrip("#").upper() for column in columns], *rows]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            padded = (
                f"{cell:>{width}}" if column.startswith("#") else f"{cell:<{width}}"
                for cell, width, column in zip(row, widths, columns, strict=True)
            )
            self.line("  ".join(padded).rstrip())

    def _rich_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.console import Console

        console = Console(file=self._stream, highlight=False)
        for number, indices in enumerate(column_groups(columns, rows, console.width)):
            if number:
                console.print()
            part = [columns[index] for index in indices]
            console.print(_drawn(part, [[row[index] for index in indices] for row in rows]))


def column_groups(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[list[int]]:
    """Return which columns go side by side in `width`: the first one leads every group.

    Text may be folded to `FOLDED_WIDTH`, numbers never.
    """
    widths = [_least_width(column, [row[n] for row in rows]) for n, column in enumerate(columns)]
    groups: list[list[int]] = [[0]]
    for index in range(1, len(columns)):
        taken = sum(widths[each] + GAP for each in groups[-1])
        if taken + widths[index] > width and len(groups[-1]) > 1:
            groups.append([0])
        groups[-1].append(index)
    return groups


def _least_width(column: str, cells: Sequence[str]) -> int:
    natural = max(len(cell) for cell in [column.lstrip("#"), *cells])
    return natural if column.startswith("#") else min(natural, FOLDED_WIDTH)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        number = column.startswith("#")
        table.add_column(
            column.lstrip("#"),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number,
            min_width=_least_width(column, [row[index] for row in rows]),
        )
    for row in rows:
        table.add_row(
            *(Text(cell, style=_style(name, cell)) for name, cell in zip(columns, row, strict=True))
        )
    return table


def _style(column: str, cell: str) -> str:
    return STATE_STYLES.get(cell, "") if column == "state" else ""
