"""Build step of the native modules: several at once, each again when what it includes has changed.

Owns the list of those files, read from the sources themselves, and how many modules are built at a
time. How modules are compiled is the business of setuptools and Cython, and stands in
`pyproject.toml`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

DIRECTORY = Path(__file__).resolve().parent
_C = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_CYTHON = re.compile(
    r'^\s*cdef extern from "([^"]+)"|^\s*include\s+"([^"]+)"'
    r"|^\s*from\s+(\w+)\s+cimport\b|^\s*cimport\s+(\w+)",
    re.MULTILINE,
)


class BuildNative(build_ext):
    """The standard step, told what each module depends on."""

    command_name = "build_ext"
    """Whose settings in `pyproject.toml` are its own, also where a front end makes it anew."""

    def finalize_options(self) -> None:
        """Fill in the dependencies."""
        super().finalize_options()
        for extension in self.extensions or []:
            extension.depends = dependencies(extension.sources)

    def build_extensions(self) -> None:
        """Build the modules, as many at once as there are CPUs, or as `--parallel` says.

        In processes: Cython is not made for threads. Each module has a directory of its own, since
        several compile the same C file. Raises CompileError when one fails, whose process says why.
        """
        workers = int(self.parallel or len(os.sched_getaffinity(0)))
        if min(workers, len(self.extensions)) == 1:
            super().build_extensions()
            return
        fork = get_context("fork")  # each inherits this command, and the modules that made it
        waiting, failed = list(self.extensions), False
        running: list[ForkProcess] = []
        while waiting or running:
            while waiting and len(running) < workers:
                process = fork.Process(target=self._build_apart, args=(waiting.pop(),))
                process.start()
                running.append(process)
            wait([each.sentinel for each in running])
            failed = failed or any(each.exitcode for each in running)
            running = [each for each in running if each.exitcode is None]
            if failed:
                waiting.clear()
        if failed:
            raise CompileError("a native module was not built: see above")

    def _build_apart(self, extension: Extension) -> None:
        """Build one module, in a process of its own, which changes nothing of this one."""
        self.build_temp = str(Path(self.build_temp) / extension.name)
        self.build_extension(extension)


def dependencies(names: Sequence[str]) -> list[str]:
    """Return the files of this directory that sources include, whatever the way.

    Paths relative to the top of the tree, sorted.
    """
    top = DIRECTORY.parent
    sources = {top / source for source in names}
    found: set[Path] = set()
    waiting = list(sources)
    while waiting:
        new = _included(waiting.pop()) - found
        found |= new
        waiting += new
    return sorted(str(path.relative_to(top)) for path in found - sources)


def _included(path: Path) -> set[Path]:
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".c", ".h"}:
        names = _C.findall(text)
    else:
        names = []
        for header, included, *modules in _CYTHON.findall(text):
            names += [name for name in (header, included) if name]
            names += [f"{name}.pxd" for name in modules if name]
    near = [(path.parent / name).resolve() for name in names]
    both = [*near, *((DIRECTORY / name).resolve() for name in names)]
    return {each for each in both if each.is_file()}
