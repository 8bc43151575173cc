"""Imports modules of stages from the code directories: from source, no links, no cached bytecode.

A stale or planted `.pyc` must not run in place of the source that was hashed, so none is read and
none is written there. What is installed loads as ever: compiling NumPy anew takes half a second.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from types import CodeType, ModuleType

from byteord.errors import StageError


class _SourceLoader(SourceFileLoader):
    """Compiles the source each time; never looks at `__pycache__`."""

    frozen = ""
    """Where the bytes are, if not where the module says it comes from."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def get_data(self, path: str) -> bytes:
        return bytes(super().get_data(self.frozen if self.frozen and path == self.path else path))


class _CodeFinder:
    """Finds modules beneath the code directories alone; goes first on `sys.meta_path`.

    A module of one file that was copied from one of `shown` says that it comes from there, so that
    it finds what lies beside it.
    """

    def __init__(self, code_dirs: Sequence[str], shown: Sequence[str] = ()) -> None:
        self.code_dirs = [os.path.realpath(directory) for directory in code_dirs]
        self.shown = [os.path.realpath(directory) for directory in shown]
        allowed = [*self.code_dirs, *self.shown]
        places = (os.path.realpath(each) for each in sys.path if each)
        self._installed = [
            each for each in places if each not in allowed and _beneath(each, allowed)
        ]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        entries = self.code_dirs if path is None else [each for each in path if self.holds(each)]
        for entry in entries:
            loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (_SourceLoader, [".py"])
            spec = FileFinder(entry, *loaders).find_spec(name)
            if spec is not None:
                self._refuse_links(name, spec)
                return self._as_shown(spec)
        return None

    def _as_shown(self, spec: ModuleSpec) -> ModuleSpec:
        loader = spec.loader
        if not isinstance(loader, _SourceLoader) or spec.submodule_search_locations is not None:
            return spec
        for directory in self.shown:
            path = os.path.join(directory, os.path.basename(loader.path))
            if os.path.dirname(loader.path) in self.code_dirs and os.path.isfile(path):
                loader.frozen, loader.path, spec.origin = loader.path, path, path
                break
        return spec

    def holds(self, path: str) -> bool:
        """Tell whether a path lies beneath a code directory, and not in an environment in there."""
        return not _beneath(path, self._installed) and _beneath(
            path, (*self.code_dirs, *self.shown)
        )

    def _refuse_links(self, name: str, spec: ModuleSpec) -> None:
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        for place in places:
            if place is not None and os.path.realpath(place) != place:
                raise StageError(
                    f"module {name!r}: {place} is or lies behind a link to "
                    f"{os.path.realpath(place)}; put the files themselves into the code directory",
                    reason="STAGE_MODULE_IS_LINK",
                )


def _beneath(path: str, directories: Sequence[str]) -> bool:
    return any(path == each or path.startswith(each + os.sep) for each in directories)


def import_code(name: str, code_dirs: Sequence[str], shown: Sequence[str] = ()) -> ModuleType:
    """Import module `name` and what it imports of its neighbours from the code directories.

    `shown`: where the code directories were copied from.

    StageError: STAGE_MODULE_NOT_FOUND, STAGE_MODULE_IS_LINK, STAGE_IMPORT_FAILED (with what the
    module raised).
    """
    finder = install_finder(code_dirs, shown)
    try:
        module = importlib.import_module(name)
    except StageError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise _not_found(name, code_dirs) from error
        raise _needs(name, error) from error
    except Exception as error:  # the module is a user's code: whatever it raises is the finding
        raise _failed(name, error) from error
    if not finder.holds(os.path.realpath(module.__file__ or "")):
        raise _not_found(name, code_dirs)
    return module


def install_finder(code_dirs: Sequence[str], shown: Sequence[str] = ()) -> _CodeFinder:
    """Put a finder of these directories in front, or return the one that is there."""
    sys.dont_write_bytecode = True
    finder = _CodeFinder(code_dirs, shown)
    for each in sys.meta_path:
        if isinstance(each, _CodeFinder) and each.code_dirs == finder.code_dirs:
            return each
    sys.meta_path.insert(0, finder)
    return finder


def _not_found(name: str, code_dirs: Sequence[str]) -> StageError:
    searched = ", ".join(code_dirs) or "none are allowed"
    return StageError(
        f"module {name!r} is in none of the code directories ({searched}); put it there, or rename "
        "it if an installed module has the same name",
        reason="STAGE_MODULE_NOT_FOUND",
    )


def _needs(name: str, error: ModuleNotFoundError) -> StageError:
    return StageError(
        f"module {name!r} needs {error.name}, which is not installed where byteord runs: install "
        "it there, or put it beside the module",
        reason="STAGE_IMPORT_FAILED",
    )


def _failed(name: str, error: Exception) -> StageError:
    return StageError(
        f"module {name!r} cannot be imported: {type(error).__name__}: {error}",
        reason="STAGE_IMPORT_FAILED",
    )
