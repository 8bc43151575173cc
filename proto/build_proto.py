"""Build step that turns `proto/byteor/v1/*.proto` into Python beside the sources.

Owns the protoc call and nothing else. It is a sub-command of `build`, because an editable install
swallows errors of a customised `build_py`. Any failure of protoc fails the build.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Command
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "byteor" / "v1"


class BuildProto(Command):
    """Run protoc over every file of `byteor.v1`."""

    description = "generate Python from the byteor.v1 protocol buffers"
    user_options: list[tuple[str, str, str]] = []

    def initialize_options(self) -> None:
        """Satisfy `Command`; there is nothing to configure."""

    def finalize_options(self) -> None:
        """Satisfy `Command`; there is nothing to configure."""

    def run(self) -> None:
        """Generate messages, services and their type stubs; raise if protoc does not succeed."""
        protos = sorted(str(path.relative_to(ROOT)) for path in PACKAGE.glob("*.proto"))
        if not protos:
            raise FileNotFoundError(f"no .proto files under {PACKAGE}")
        plugins = str(Path(sys.executable).parent)
        env = dict(os.environ, PATH=os.pathsep.join([plugins, os.environ.get("PATH", os.defpath)]))
        outputs = [
            f"--{kind}_out={ROOT}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")
        ]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", *outputs, *protos]
        subprocess.run(command, cwd=ROOT, env=env, check=True)

    def get_source_files(self) -> list[str]:
        """Return the sources for the sdist."""
        return sorted(str(path.relative_to(ROOT.parent)) for path in PACKAGE.glob("*.proto"))

    def get_outputs(self) -> list[str]:
        """Return nothing: the packages list the generated files."""
        return []

    def get_output_mapping(self) -> dict[str, str]:
        """Return nothing: files are generated in place."""
        return {}


class Build(build):
    """The standard build, with protobuf generation first."""

    sub_commands = [("build_proto", None), *build.sub_commands]
