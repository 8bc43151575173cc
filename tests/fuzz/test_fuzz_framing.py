"""Framing and captures on mutated bytes, in C under AddressSanitizer and UBSan."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.adapters import captures as make

TOP = Path(__file__).resolve().parents[2]
ROUNDS = 20_000
COMPILE = (
    "gcc",
    "-std=gnu11",
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-I",
    str(TOP / "cext"),
)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
def test_framing_survives_mutated_input(tmp_path: Path) -> None:
    """Whatever the bytes: in bounds, with progress to the end, nothing undefined."""
    binary = tmp_path / "fuzz"
    source = TOP / "tests" / "fuzz" / "framing_fuzz.c"
    built = subprocess.run(
        [*COMPILE, str(source), "-o", str(binary)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("no sanitizer runtime on this machine")
    assert built.returncode == 0, built.stderr
    udp4 = make.ethernet(make.ipv4(make.udp(b"payload")), vlans=[0x8100])
    udp6 = make.ethernet(
        make.ipv6(make.udp(b"payload"), extensions=[(0, bytes(7)), (44, bytes(7))])
    )
    corpus = {
        "little": make.pcap([udp4, udp6] * 4),
        "big": make.pcap([udp6, udp4] * 4, order=">", magic=make.NANO),
        "raw": make.pcap([udp4[18:], udp6[14:]] * 4, link=make.RAW),
        "sll": make.pcap([make.sll(udp4[18:])] * 4, link=make.SLL),
        "sll2": make.pcap([make.sll2(udp4[18:])] * 4, link=make.SLL2),
        "lines": b"line\r\n\n" * 40 + b"x" * 300 + b"\nend",
        "prefixed": b"".join(
            len(b).to_bytes(4, "little") + b for b in (b"a", b"bc", bytes(90)) * 9
        ),
    }
    for name, content in corpus.items():
        (tmp_path / name).write_bytes(content)
    seed = str(secrets.randbelow(1 << 32))
    files = [str(tmp_path / name) for name in corpus]
    ran = subprocess.run(
        [str(binary), seed, str(ROUNDS), *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, f"seed {seed}: {ran.stderr[-4000:]}"
