"""Data protection of log lines as JSON: the native stages beside the same rules in plain Python.

    python -m tests.bench.guard_bench

`process` alone over batches of 256 messages in the cache, and Python's `json` and `hmac` over the
same messages; both sides in every round, the median of the rounds. The outputs are compared first.
"""

from __future__ import annotations

import json
import statistics
import time

from byteord import samples
from byteord._cext.stages import Bench, open_builtin
from byteord.stages.guard.bind import bind, native_config, texts_of
from byteord.stages.guard.config import STATE_BYTES, rules_of
from byteord.stages.guard.registry import parse_registry
from tests.support.guard import KEY, config_of, redact_by, redact_plainly
from tests.support.tree import TOP

SLOT_BYTES, BATCH, ROUNDS = 2048, 256, 15
REGISTRY = b"""
[[schemas]]
id = "line"
version = 1
fields = [
  { name = "time", type = "string", required = true },
  { name = "host", type = "string", required = true },
  { name = "process", type = "string" },
  { name = "pid", type = "integer" },
  { name = "text", type = "string", required = true },
]
"""
RULES = {
    "four rules": ("host:hash", "time:truncate=6", "text:mask=12:6:*", "pid:drop"),
    "without hash": ("time:truncate=6", "text:mask=12:6:*", "pid:drop"),
}


def messages() -> list[bytes]:
    """Return the shared sshd log, or a generated one, as JSON objects."""
    log = TOP.parent / "shared" / "data" / "logs" / "OpenSSH_2k.log"
    content = log.read_bytes() if log.exists() else samples.sshd_lines()
    return [_message(line) for line in content.decode().splitlines() if "]: " in line]


def _message(line: str) -> bytes:
    head, _, text = line.partition("]: ")
    *stamp, host, process = head.split(" ")
    name, _, pid = process.partition("[")
    return json.dumps(
        {
            "type": "line", "version": 1, "time": " ".join(stamp), "host": host, "process": name,
            "pid": int(pid) if pid.isdigit() else 0, "text": text,
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip


def _native(name: str, rules: tuple[str, ...], batches: list[list[bytes]]) -> list[Bench]:
    config = config_of(rules if name != "dataguard_check" else ())
    schemas, problems = bind(
        config, parse_registry([("bench", REGISTRY)]), has_key=True, payload_max=SLOT_BYTES - 16
    )
    if problems:
        raise SystemExit(str(problems))
    handle = open_builtin(name, native_config(config, schemas, KEY), SLOT_BYTES - 16)
    _HANDLES[name] = handle.address
    _KEPT.append(handle)
    return [Bench(list(batch), SLOT_BYTES, bytearray(STATE_BYTES)) for batch in batches]


_HANDLES: dict[str, int] = {}
_KEPT: list[object] = []


def _python_ns(lines: list[bytes], rules: tuple[str, ...]) -> float:
    parsed = rules_of(texts_of(config_of(rules)))
    started = time.perf_counter_ns()
    for line in lines:
        redact_by(json.loads(line), parsed)
    return (time.perf_counter_ns() - started) / len(lines)


def measure(label: str, rules: tuple[str, ...], lines: list[bytes]) -> None:
    """Print one table."""
    batches = [lines[at : at + BATCH] for at in range(0, len(lines), BATCH)]
    names = ("dataguard_check", "dataguard_redact", "dataguard_fused")
    sides = {name: _native(name, rules, batches) for name in names}
    first = sides["dataguard_fused"][0].process(_HANDLES["dataguard_fused"])
    if first != [redact_plainly(json.loads(line), rules) for line in batches[0]]:
        raise SystemExit("the two sides do not give the same bytes")
    figures: dict[str, list[float]] = {name: [] for name in (*names, "plain Python")}
    for _ in range(ROUNDS):
        for name, benches in sides.items():
            spent = [
                bench.measure(_HANDLES[name], 4) * len(batch)
                for bench, batch in zip(benches, batches, strict=True)
            ]
            figures[name].append(sum(spent) / len(lines))
        figures["plain Python"].append(_python_ns(lines, rules))
    size = sum(map(len, lines)) / len(lines)
    print(f"{label}: {len(lines)} messages of {size:.0f} bytes")
    python = statistics.median(figures["plain Python"])
    for name, values in figures.items():
        median = statistics.median(values)
        rate = f"{1e9 / median:12,.0f} messages/s {size * 1e3 / median:8.0f} MB/s"
        print(f"  {name:18} {median:8.0f} ns {rate} {python / median:6.1f} x")
    both = statistics.median(
        fused / (check + redact)
        for check, redact, fused in zip(*(figures[name] for name in names), strict=True)
    )
    print(f"  fused takes {both:.2f} of check and redact in a row")


def main() -> None:
    """Measure all sets of rules."""
    lines = messages()
    for label, rules in RULES.items():
        measure(label, rules, lines)


if __name__ == "__main__":
    main()
