"""What a bundle of a large capture costs: time and peak memory of daemon and client.

`python -m tests.bench.bundle_bench [MIB] [--guarded]` prints a line for each step; with `--guarded`
messages are JSON and leave through data protection rules. The capture is in the format
of a recorder, its messages synthetic; everything else is the real daemon and the real client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from byteord.capture.entries import FRAME, HEADER
from tests.support.captures import segment
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SEGMENT_BYTES = 16 << 20
PAYLOAD_BYTES = 32 << 10
SPEC = """
version = 1
name = "bulk"
model = "single_ring"
[ring]
capacity = 8
slot_bytes = 65536
[[stages]]
name = "work"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "generator"
size = 16
count = 10
[adapters.out]
kind = "discard"
[capture]
directory = "TOP/captures"
[bundle]
payload = true
"""
SCHEMAS = """
[[schemas]]
id = "bulk"
version = 1
fields = [{ name = "user", type = "string" }, { name = "data", type = "string" }]
"""
RULES = """
[bundle.redact]
rules = ["user:hash"]
[dataguard]
schemas = ["TOP/schemas.toml"]
"""

CLIENT = """
import os, pathlib
from byteorctl.cli import run
code = run()
said = pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
pathlib.Path(os.environ["PEAK_FILE"]).write_text(said)
os._exit(code)
"""
"""The client, which says at its end how much memory it had: rusage would say its parent's."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One step: its time, and the most memory that daemon and client held while they did it."""

    step: str
    seconds: float
    daemon_bytes: int
    client_bytes: int
    out_bytes: int


def measure(mib: int, top: Path, *, guarded: bool = False) -> list[Cost]:
    """Return what making, fetching, verifying and unpacking a bundle of `mib` MiB costs.

    `guarded`: its messages go through data protection rules.
    """
    arguments = [f"--write-dir={top}", f"--read-dir={top}"]
    with running_daemon(arguments=arguments) as daemon:
        run = _run(daemon, top, RULES if guarded else "")
        _grow(top / "captures" / run / "in" / "in", mib << 20, _json if guarded else _noise)
        tar, directory = top / "b.tar", top / "b"
        at = ("--address", daemon.address)
        return [
            _step(daemon, "create", (*at, "incident-bundle", run, "--out", tar), tar),
            _step(daemon, "verify", ("bundle", "verify", tar), tar),
            _step(daemon, "unpack", (*at, "bundle", "get", run, "--out", directory), directory),
        ]


def _run(daemon: DaemonProcess, top: Path, rules: str) -> str:
    (top / "spec.toml").write_text(SPEC)
    (top / "schemas.toml").write_text(SCHEMAS)
    (top / "deployment.toml").write_text((DEPLOYMENT + rules).replace("TOP", str(top)))
    at = ("--address", daemon.address)
    done = byteorctl(*at, "run", top / "spec.toml", "--detach")
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()

    def ended() -> bool:
        said = byteorctl(*at, "status", run, "-o", "json").stdout
        return bool(json.loads(said)["state"] == "completed")

    until(ended, 60.0, "the run completed")
    return run


def _noise() -> bytes:
    return os.urandom(PAYLOAD_BYTES)


def _json() -> bytes:
    head = b'{"type":"bulk","version":1,"user":"ann","data":"'
    room = PAYLOAD_BYTES - len(head) - 2
    return head + os.urandom(room // 2).hex().encode() + b"0" * (room % 2) + b'"}'


def _grow(directory: Path, size: int, message: Callable[[], bytes]) -> None:
    """Put segments of that size in all in place of what was recorded."""
    for path in directory.glob("*.seg"):
        path.unlink()
    each = (SEGMENT_BYTES - HEADER.size) // (FRAME.size + PAYLOAD_BYTES)
    for number in range(max(1, size // SEGMENT_BYTES)):
        payloads = [message() for _ in range(each)]
        data = segment(number * each, payloads, segment_bytes=SEGMENT_BYTES)
        (directory / f"{number * each:020d}.seg").write_bytes(data)


def _step(daemon: DaemonProcess, step: str, arguments: tuple[str | Path, ...], out: Path) -> Cost:
    Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")
    begun = time.perf_counter()
    with tempfile.NamedTemporaryFile() as peak:
        command = [sys.executable, "-c", CLIENT, *map(str, arguments)]
        env = {**os.environ, "PEAK_FILE": peak.name}
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=env)
        client = int(Path(peak.name).read_text()) << 10
    seconds = time.perf_counter() - begun
    paths = [out] if out.is_file() else list(out.rglob("*.seg"))
    size = sum(path.stat().st_size for path in paths)
    return Cost(step, seconds, _peak(daemon.pid), client, size)


def _peak(pid: int) -> int:
    """Return the most memory that a process had resident since its mark was reset."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def main() -> None:
    """Measure and print."""
    numbers = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    mib, guarded = (numbers or [1024])[0], "--guarded" in sys.argv
    with tempfile.TemporaryDirectory() as top:
        for cost in measure(mib, Path(top), guarded=guarded):
            sys.stdout.write(
                f"{cost.step}: {cost.seconds:.1f} s, {cost.out_bytes >> 20} MiB, daemon "
                f"{cost.daemon_bytes >> 20} MiB, client {cost.client_bytes >> 20} MiB\n"
            )


if __name__ == "__main__":
    main()
