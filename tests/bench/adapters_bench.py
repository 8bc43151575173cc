"""How fast adapters alone are: sources into private slots, sinks out of them, no ring in between.

    python -m tests.bench.adapters_bench

Prints one line for each: nanoseconds a message, messages and bytes a second (median of rounds, then
the spread), all of this process's CPU time, so that other processes do not count. Beside the file
sources stands what reading the same file with plain 128 KiB `read()` calls costs, which no source
can beat.
"""

from __future__ import annotations

import gzip
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from byteord._cext import adapter_drive as drive
from byteord.adapters.open import OpenContext, open_sink, open_source

ROUNDS = 7
FILE_BYTES = 32 << 20
MESSAGES = 1 << 20
SLOT_BYTES = 256
LINE = b"Dec 10 06:55:46 gateway sshd[24200]: Failed password for root from 203.0.113.5 ssh2"


def measure(run: Callable[[], tuple[int, int]]) -> tuple[list[float], int, int]:
    """Return seconds of each round, and messages and bytes of one."""
    seconds = []
    messages = size = 0
    for _round in range(ROUNDS):
        begin = time.process_time()
        messages, size = run()
        seconds.append(time.process_time() - begin)
    return seconds, messages, size


def show(name: str, run: Callable[[], tuple[int, int]]) -> None:
    """Measure and print one line."""
    seconds, messages, size = measure(run)
    middle = statistics.median(seconds)
    spread = f"{min(seconds) / middle:.2f}..{max(seconds) / middle:.2f}"
    each = f"{middle / messages * 1e9:8.1f} ns" if messages else " " * 11
    rate = f"{messages / middle / 1e6:7.2f} M/s" if messages else " " * 11
    print(f"{name:34} {each} {rate} {size / middle / 1e6:9.0f} MB/s  {spread}")


def drain(kind: str, options: Mapping[str, Any], context: OpenContext) -> tuple[int, int]:
    """Read a source to its end."""
    with closing(open_source(kind, options, context)) as handle:
        moved = drive.spin(handle, slot_bytes=SLOT_BYTES, messages=1 << 40)
        return moved, int(handle.report()["bytes_total"])


def plain_read(path: str) -> tuple[int, int]:
    """Read a file with nothing else."""
    descriptor = os.open(path, os.O_RDONLY)
    buffer = bytearray(128 << 10)
    total = 0
    try:
        while got := os.readv(descriptor, [buffer]):
            total += got
    finally:
        os.close(descriptor)
    return 0, total


def through(sink: str, options: Mapping[str, Any], context: OpenContext) -> tuple[int, int]:
    """Write generated messages of 48 bytes."""
    made: dict[str, Any] = {"count": MESSAGES, "content": "checksummed", "size": 48}
    with (
        closing(open_source("generator", made, context)) as source,
        closing(open_sink(sink, options, context)) as handle,
    ):
        moved = drive.spin(source, handle, slot_bytes=64, messages=1 << 40)
        drive.finish(handle)
        return moved, int(handle.report()["bytes_total"])


@contextmanager
def inputs() -> Iterator[Path]:
    """Give a directory with input files in the page cache."""
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        lines = (LINE + b"\n") * (FILE_BYTES // (len(LINE) + 1))
        (top / "lines").write_bytes(lines)
        (top / "lines.gz").write_bytes(gzip.compress(lines[: FILE_BYTES // 4], 1))
        (top / "fixed").write_bytes(bytes(56) * (FILE_BYTES // 56))
        record = struct.pack("<I", 60) + bytes(60)
        (top / "prefixed").write_bytes(record * (FILE_BYTES // len(record)))
        udp = struct.pack(">HHHH", 1, 2, 8 + 100, 0) + bytes(100)
        packet = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0, 1, 2) + udp
        frame = bytes(12) + b"\x08\x00" + packet
        record = struct.pack("<IIII", 1, 1, len(frame), len(frame)) + frame
        header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        (top / "pcap").write_bytes(header + record * (FILE_BYTES // len(record)))
        yield top


def main() -> None:
    """Measure everything."""
    with inputs() as top:
        given = (str(top),)
        context = OpenContext(SLOT_BYTES - 16, read_dirs=given, write_dirs=given)
        small = OpenContext(48, read_dirs=given, write_dirs=given)
        fixed = {"framing": "fixed", "record_bytes": 56}
        cases: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("lines of 82 bytes", "file", {"path": "lines"}),
            ("lines, gzip", "file", {"path": "lines.gz"}),
            ("fixed records of 56 bytes", "file", {"path": "fixed", **fixed}),
            (
                "length-prefixed, 60 bytes",
                "file",
                {"path": "prefixed", "framing": "length_prefixed"},
            ),
            ("pcap, UDP payloads of 100 bytes", "pcap", {"path": "pcap"}),
        )
        print("sources")
        show("plain read() of the lines", lambda: plain_read(str(top / "lines")))
        for name, kind, options in cases:
            show(name, lambda kind=kind, options=options: drain(kind, options, context))  # type: ignore[misc]
        for content in ("counter", "random", "checksummed", "text", "trades"):
            made: dict[str, Any] = {"content": content, "count": MESSAGES, "size": 48}
            show(f"generator, {content}", lambda made=made: drain("generator", made, context))  # type: ignore[misc]
        print("generator of 48 checksummed bytes through sinks")
        file = {"path": "out", "mode": "truncate", "framing": "raw"}
        show("discard", lambda: through("discard", {}, small))
        show("discard, verifying", lambda: through("discard", {"verify": True}, small))
        show("file, raw", lambda: through("file", file, small))
        show("file, lines", lambda: through("file", {**file, "framing": "lines"}, small))


if __name__ == "__main__":
    main()
