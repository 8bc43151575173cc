"""The native stages, built strictly and with sanitizers, over damaged rings and damaged state."""

from __future__ import annotations

import subprocess
from pathlib import Path

CEXT = Path(__file__).parents[2] / "cext"
PROGRAM = Path(__file__).parent / "native" / "stages_fuzz.c"
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def test_stages_stay_inside_ring_and_state(tmp_path: Path) -> None:
    """No warning in a strict build; no access outside, no undefined behaviour, no leak."""
    sources = sorted(
        str(source) for pattern in ("stage_*.c", "guard_*.c") for source in CEXT.glob(pattern)
    )
    program = tmp_path / "stages_fuzz"
    command = ["cc", *STRICT, *SANITIZE, f"-I{CEXT}", str(PROGRAM), *sources, "-o", str(program)]
    subprocess.run(command, check=True, timeout=100)
    done = subprocess.run(
        [str(program), "400", "7"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
