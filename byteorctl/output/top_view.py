"""Runs as a table that moves: rates from two looks at the same counters. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byteorctl.errors import Plain
from byteorctl.output.quantities import count, duration
from byteorctl.output.screen import Screen

BAR_CELLS = 10
COLUMNS = ("role", "state", "#in/s", "#out/s", "#lost/s", "#waiting", "#p50", "#p99", "held")
LANE_COLUMNS = ("lane", "kind", "depth", "#messages/s", "#lost/s", "full because of")


class Rates:
    """Counters of runs at one moment, against the moment before."""

    def __init__(self) -> None:
        """Know nothing yet: the first look has no rates."""
        self._before: dict[tuple[str, ...], int] = {}
        self._now: dict[tuple[str, ...], int] = {}
        self._seconds = 0.0

    def look(self, runs: Sequence[Plain], seconds: float) -> None:
        """Take the counters of `runs`, `seconds` after the last look."""
        self._before, self._now, self._seconds = self._now, {}, seconds
        for run in runs:
            for role in run["roles"]:
                for key, value in _of_role(role).items():
                    self._now[run["id"], "role", role["name"], key] = value
            for lane in run["lanes"]:
                for key, value in _of_lane(lane).items():
                    self._now[run["id"], "lane", lane["name"], key] = value

    def text(self, *key: str) -> str:
        """Return the rate of one counter, `-` while there is none."""
        if key not in self._before or self._seconds <= 0:
            return "-"
        rate = (self._now[key] - self._before[key]) / self._seconds
        return _short(rate)


def _of_role(role: Plain) -> Mapping[str, int]:
    lost = role["skipped"] + sum(role["rejected"].values())  # what a filter drops is not lost
    return {"in": role["received"], "out": role["published"], "lost": lost}


def _of_lane(lane: Plain) -> Mapping[str, int]:
    lost = sum(lane["dropped"].values()) + lane["overruns"]
    return {"published": lane["published"], "lost": lost}


def _short(rate: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= unit:
            return f"{rate / unit:.3g} {name}"
    return f"{rate:.3g}" if rate else "0"


def bar(depth: int, room: int) -> str:
    """Return how full something is, as a bar and in words."""
    share = min(1.0, depth / room) if room else 0.0
    filled = round(share * BAR_CELLS)
    return f"{'#' * filled}{'.' * (BAR_CELLS - filled)} {count(depth)}/{count(room)}"


def show(screen: Screen, runs: Sequence[Plain], rates: Rates) -> None:
    """Draw every run: heading, roles, lanes."""
    if not runs:
        screen.line("no live runs")
    for number, run in enumerate(runs):
        if number:
            screen.line()
        screen.line(f"{run['name']}  {run['id']}  {run['state']}")
        held = {hold["role"]: hold["message"] for hold in run["holds"]}
        rows = [_role_row(run, role, rates, held) for role in run["roles"]]
        screen.table(COLUMNS, rows)
        if run["lanes"]:
            screen.line()
            screen.table(LANE_COLUMNS, [_lane_row(run, lane, rates) for lane in run["lanes"]])


def fitted(text: str, rows: int) -> str:
    """Return lines of a text, from its first on, that fit so many rows; what is cut is counted."""
    lines = text.splitlines(keepends=True)
    if len(lines) <= rows:
        return text
    kept = max(1, rows - 1)
    said = f"... {len(lines) - kept} more lines: a higher terminal has room, or name one run\n"
    return "".join([*lines[:kept], said])


def _role_row(run: Plain, role: Plain, rates: Rates, held: Mapping[str, str]) -> list[str]:
    name = (run["id"], "role", role["name"])
    kind = "latency" if role["latency_ns_p50"] else "service"
    return [
        role["name"],
        role["state"],
        rates.text(*name, "in"),
        rates.text(*name, "out"),
        rates.text(*name, "lost"),
        count(role["lag_slots"]),
        duration(role[f"{kind}_ns_p50"]),
        duration(role[f"{kind}_ns_p99"]),
        held.get(role["name"], ""),
    ]


def _lane_row(run: Plain, lane: Plain, rates: Rates) -> list[str]:
    name = (run["id"], "lane", lane["name"])
    return [
        lane["name"],
        lane["kind"],
        bar(lane["depth"], room) if (room := lane["capacity"] * lane["stripes"]) else "-",
        rates.text(*name, "published"),
        rates.text(*name, "lost"),
        lane["held_by"] or "-",
    ]
