"""A native module is built again when anything that it includes has changed."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from typing import Any

import pytest

from cext.build_native import dependencies
from tests.support.tree import TOP

MODULES: list[dict[str, Any]] = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"][
    "setuptools"
]["ext-modules"]


def _of(module: dict[str, Any]) -> set[str]:
    return set(dependencies(module["sources"]))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="the compiler is asked what it includes")
@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module["name"]))
def test_what_the_compiler_includes_is_known(module: dict[str, Any]) -> None:
    """Of the C sources and of the headers that Cython's sources name."""
    known = _of(module)
    headers = [name for name in known if name.endswith(".h")]
    sources = [name for name in module["sources"] if name.endswith(".c")]
    command = ["gcc", "-std=gnu11", "-MM", "-Icext", *sources]
    named = "".join(f'#include "{name}"\n' for name in headers)
    asked = subprocess.run(
        [*command, "-x", "c", "-"], cwd=TOP, input=named, text=True, capture_output=True, check=True
    )
    found = {str((TOP / word).resolve().relative_to(TOP)) for word in _files(asked.stdout)}
    assert found <= known | set(module["sources"])


def _files(rules: str) -> list[str]:
    words = rules.replace("\\\n", " ").split()
    return [word for word in words if not word.endswith(":") and word != "-"]


def test_a_header_at_the_bottom_is_a_dependency_of_all_that_stand_on_it() -> None:
    """Through any number of includes, and through Cython's declarations."""
    by_name = {module["name"].rpartition(".")[2]: _of(module) for module in MODULES}
    for name in ("worker", "graph", "journal", "client", "control", "tap", "capture"):
        assert {"cext/atomics.h", "cext/layout.h"} <= by_name[name]
    assert "cext/unit.pxd" in by_name["worker"]
    assert by_name["confine"] == {"cext/confine.h"}
