"""Where the code of stages comes from, and what of it is compiled anew."""

from __future__ import annotations

import importlib.machinery
import json
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from byteord.errors import StageError
from byteord.stages.source import import_code
try:
    module = import_code("mine", json.loads(sys.argv[1]))
except StageError as error:
    print(json.dumps({"reason": error.reason, "message": error.message}))
else:
    kinds = {name: type(sys.modules[name].__loader__).__name__ for name in ("mine", "theirs")}
    print(json.dumps({"who": module.who, "cached": sys.pycache_prefix is None, **kinds}))
"""


def load(code_dirs: list[Path], path: list[Path]) -> dict[str, object]:
    """Import `mine` in a process of its own, with `path` in front of its `sys.path`."""
    lists = [json.dumps([str(each) for each in group]) for group in (code_dirs, path)]
    command = [sys.executable, "-I", "-c", PROBE, *lists]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    said: dict[str, object] = json.loads(done.stdout)
    return said


def plant(module: Path, text: str) -> None:
    """Leave bytecode of another source where a module's own would be, newer than it."""
    source = module.with_suffix(".planted")
    source.write_text(text)
    target = module.parent / "__pycache__" / f"{module.stem}.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), str(target), invalidation_mode=mode, doraise=True)


@pytest.mark.parametrize("nested", [False, True], ids=["elsewhere", "in the code directory"])
def test_code_is_compiled_and_packages_come_cached(tmp_path: Path, *, nested: bool) -> None:
    """A stage's module runs from its source; what is installed keeps its bytecode.

    Even if the environment lies inside the code directory: compiling NumPy would cost every start.
    """
    code = tmp_path / "code"
    packages = (code if nested else tmp_path) / "venv" / "site-packages"
    packages.mkdir(parents=True)
    code.mkdir(exist_ok=True)
    (code / "mine.py").write_text("import theirs\nwho = ['source', theirs.who]\n")
    (packages / "theirs.py").write_text("who = 'source'\n")
    plant(code / "mine.py", "who = ['planted', 'planted']\n")
    plant(packages / "theirs.py", "who = 'cache'\n")
    said = load([code], [packages])
    assert said["who"] == ["source", "cache"]
    assert said["cached"] is True
    assert said["theirs"] == importlib.machinery.SourceFileLoader.__name__
    assert said["mine"] != said["theirs"]


def test_a_module_that_needs_what_is_not_installed_says_so(tmp_path: Path) -> None:
    """The message names the missing package, not the stage's module."""
    (tmp_path / "mine.py").write_text("import nobody_wrote_this\n")
    said = load([tmp_path], [])
    assert said["reason"] == "STAGE_IMPORT_FAILED"
    assert "'mine' needs nobody_wrote_this, which is not installed" in str(said["message"])
