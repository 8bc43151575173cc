"""`python -m byteord.doctor.reference > byteord/doctor/CHECKS.md`: the page that lists every check.

Generated from the registry, so that page and checks cannot part.
"""

from __future__ import annotations

import sys
from pathlib import Path

from byteord.deployment.topology import Cpu, Topology
from byteord.doctor.attribute import CAUSES
from byteord.doctor.attribute import CHECKS as PRICED
from byteord.doctor.model import EVERY, GROUPS, ISOLATED, TUNED, Asked, Check, State
from byteord.doctor.registry import CHECKS

HEAD = Path(__file__).with_name("CHECKS.head.md")
_STATES = {
    State.OK: "as wanted, or only reported",
    State.DEGRADED: "costs latency or safety",
    State.FAILED: "what was asked for cannot be had",
    State.SKIPPED: "does not apply here; the reason says why",
    State.UNKNOWN: "cannot be told; the reason names the privilege or the evidence that is needed",
}
_ASKED = Asked(cpus=(2, 3), topology=Topology(cpus=tuple(Cpu(cpu, cpu, 0, 0) for cpu in range(4))))
"""A host with CPUs left over, so that every kind of remedy shows."""
_PROFILES = {EVERY: "every", TUNED: "tuned", ISOLATED: "isolated-core", (): "none"}
_COSTS = {
    "read": "reads files",
    "probe": "reads files twice, a moment apart",
    "tool": "asks another program, for two seconds at most",
    "measure": "measures, with `--measure` only",
}


def render() -> str:
    """Return the page."""
    parts = [HEAD.read_text().rstrip(), _states()]
    for letter, title in GROUPS.items():
        checks = [check for check in CHECKS if check.group == letter]
        parts.append(f"## {letter}: {title}\n\n{_table(checks)}")
    return "\n\n".join(parts) + "\n"


def _states() -> str:
    rows = [f"| `{state}` | {meaning} |" for state, meaning in _STATES.items()]
    costs = [f"| `{cost}` | {meaning} |" for cost, meaning in _COSTS.items()]
    causes = [f"| {CAUSES[cause]} | {', '.join(codes)} |" for cause, codes in PRICED.items()]
    return "\n".join(
        [
            "## Words",
            "",
            "| state | means |",
            "| --- | --- |",
            *rows,
            "",
            "`asks`: which profiles ask for it: `every`, `tuned` (low-latency and isolated-core),",
            "`isolated-core`, or `none` (it is only reported). The others report what is there.",
            "",
            "| cost | means |",
            "| --- | --- |",
            *costs,
            "",
            "| part of p99.9 | prices |",
            "| --- | --- |",
            *causes,
        ]
    )


def _table(checks: list[Check]) -> str:
    lines = ["| code | check | evidence | wanted | asks | cost | fix | reference |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    lines += [_row(check) for check in checks]
    return "\n".join(lines)


def _row(check: Check) -> str:
    kinds = dict.fromkeys(remedy.kind for remedy in check.remedies(_ASKED))
    fix = check.fix + (f" ({', '.join(kinds)})" if kinds else "")
    cells = (
        f"`{check.code}`",
        check.title,
        f"`{check.evidence}`" if check.evidence.startswith("/") else check.evidence,
        check.wanted,
        _PROFILES[check.profiles],
        check.cost,
        fix,
        check.reference,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(render())
