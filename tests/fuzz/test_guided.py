"""The document parsers and the region openers under coverage-guided fuzzing, for seconds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fuzz import test_schemas as test_schemas_reader
from tests.fuzz import test_trust as test_trust_readers
from tests.fuzz.mutation import CORPUS

SECONDS = 3

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: it has no wheel for this Python",
)


def _fuzz(target: str, found: Path, *seeds: Path) -> str:
    found.mkdir()
    command = [sys.executable, "-m", "tests.fuzz.guided", target, str(found), *map(str, seeds)]
    options = [f"-max_total_time={SECONDS}", "-max_len=4096", f"-artifact_prefix={found}/"]
    done = subprocess.run(
        [*command, *options, "-rss_limit_mb=1500", "-timeout=20"],
        cwd=CORPUS.parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stderr


@pytest.mark.timeout(120)
def test_documents(tmp_path: Path) -> None:
    """Whatever reaches the parsers and the validation: findings, never an exception."""
    assert "Done" in _fuzz("documents", tmp_path / "found", CORPUS / "documents")


@pytest.mark.timeout(120)
def test_trust(tmp_path: Path) -> None:
    """Whatever reaches the readers of credentials and key sets: nothing unsigned holds."""
    seeds = _seeds(tmp_path / "seeds", test_trust_readers.SEEDS)
    assert "Done" in _fuzz("trust", tmp_path / "found", seeds)


@pytest.mark.timeout(120)
def test_schemas(tmp_path: Path) -> None:
    """Whatever reaches the reader of schemas, and the stage that works by them: no crash."""
    seeds = _seeds(tmp_path / "seeds", test_schemas_reader.SEEDS)
    assert "Done" in _fuzz("schemas", tmp_path / "found", seeds)


def _seeds(directory: Path, contents: Sequence[bytes]) -> Path:
    """Write inputs to begin with."""
    directory.mkdir()
    for index, content in enumerate(contents):
        (directory / str(index)).write_bytes(content)
    return directory


@pytest.mark.timeout(120)
def test_regions(tmp_path: Path) -> None:
    """Sound regions with words changed and the checksum right: refused, or read safely."""
    assert "Done" in _fuzz("regions", tmp_path / "found")
