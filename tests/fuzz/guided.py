"""Coverage-guided fuzzing of one target with atheris, as a program of its own.

    python -m tests.fuzz.guided documents|regions|trust|schemas CORPUS... [libFuzzer options]

What it finds stays in the first corpus directory; a crash is written beside it and ends it.
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

CRC_AT = 260
"""Offset of the header's checksum, which is made right so that what lies behind it is reached."""
HEADER_BYTES, PATCHES_MAX = 264, 6


def _documents() -> Callable[[bytes], None]:
    with atheris.instrument_imports(include=["byteord.spec", "byteord.deployment"]):
        from tests.fuzz import test_documents
    return test_documents.target


def _regions() -> Callable[[bytes], None]:
    """Patch words of a sound region as the fuzzer says: it is refused, or read without a crash."""
    from byteord._cext import stages

    sound = _sound_regions()

    def target(data: bytes) -> None:
        told = atheris.FuzzedDataProvider(data)
        region = bytearray(sound[told.ConsumeIntInRange(0, len(sound) - 1)])
        for _ in range(told.ConsumeIntInRange(1, PATCHES_MAX)):
            end = HEADER_BYTES if told.ConsumeBool() else len(region)
            at = told.ConsumeIntInRange(0, end // 4 - 1) * 4
            region[at : at + 4] = struct.pack("<I", told.ConsumeIntInRange(0, 0xFFFFFFFF))
        region[CRC_AT : CRC_AT + 4] = struct.pack("<I", stages.crc32c(bytes(region[:CRC_AT]), 0))
        _open(bytes(region))

    return target


def _trust() -> Callable[[bytes], None]:
    """Credentials, envelopes, key sets and audit records: what holds was really signed."""
    with atheris.instrument_imports(include=["byteor.trust"]):
        from tests.fuzz import test_trust
    return test_trust.target


def _schemas() -> Callable[[bytes], None]:
    """A schema file, then a message: refused by name, and what a stage leaves is a message."""
    with atheris.instrument_imports(include=["byteord.stages.guard"]):
        from tests.fuzz import test_schemas
    return test_schemas.target


def _sound_regions() -> list[bytes]:
    from byteord.regions.create import create_run
    from tests.support.run import make_test_plan, spec_text

    stage = '[[stages]]\nname = "pass"\nstage = "identity"\n'
    spec = spec_text(stage, ring="capacity = 8\nslot_bytes = 64")
    ends = '[adapters.in]\nkind = "generator"\nsize = 48\n[adapters.out]\nkind = "discard"\n'
    root = tempfile.mkdtemp(prefix="byteor-test-", dir="/dev/shm")
    try:
        directory = Path(create_run(root, make_test_plan(spec, ends)))
        return [(directory / name).read_bytes() for name in ("ring-0", "control")]
    finally:
        shutil.rmtree(root)


def _open(data: bytes) -> None:
    from byteord._cext import control, region

    descriptor = os.memfd_create("fuzz")
    try:
        os.write(descriptor, data)
        for kind in (region.Ring, control.Control):
            try:
                opened: Any = kind(descriptor, False, 0)
            except region.RegionFault:
                continue
            _read(opened)
    finally:
        os.close(descriptor)


def _read(opened: Any) -> None:
    if hasattr(opened, "payload"):
        opened.read()
        opened.payload(0)
        return
    opened.identity()
    opened.run()
    for role in range(min(opened.role_count, 8)):
        opened.role(role)
        opened.summary(role, "service")
    for unit in range(min(opened.unit_count, 8)):
        opened.unit(unit)


def main() -> None:
    """Fuzz the target that the first argument names."""
    targets = {
        "documents": _documents,
        "regions": _regions,
        "trust": _trust,
        "schemas": _schemas,
    }
    target = targets[sys.argv[1]]()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], atheris.instrument_func(target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
