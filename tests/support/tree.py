"""Where the files of this tree are, and which of them belong to the project."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
EXAMPLES = TOP / "deploy" / "examples"


@cache
def project_files() -> tuple[Path, ...]:
    """Return every file of the project: what git tracks or would, without what is built."""
    command = ["git", "-C", str(TOP), "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    environment = {**os.environ, "GIT_CONFIG_COUNT": "1"}
    environment |= {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    listed = subprocess.run(command, env=environment, capture_output=True, check=False)
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    paths = [TOP / name for name in names] or [
        path for path in sorted(TOP.rglob("*")) if not _built(path.relative_to(TOP))
    ]
    return tuple(path for path in paths if path.is_file())


def _built(path: Path) -> bool:
    around = {"__pycache__", "build", "dist"}
    return any(part.startswith(".") or part in around for part in path.parts)


def sources(*suffixes: str, under: str = "") -> list[Path]:
    """Return the project's files with one of these suffixes below a directory of the tree."""
    top = TOP / under
    return [path for path in project_files() if path.suffix in suffixes and top in path.parents]
