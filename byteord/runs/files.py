"""Files that a deployment names, read when it is validated: schema files.

Owns reading them beneath the daemon's directories, and asking the stages that use them. What is
read here is what runs: workers get the contents, not the paths.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Sequence

from byteord.adapters.paths import open_regular
from byteord.deployment.model import Dataguard, SchemaFile
from byteord.errors import InvalidDocumentError
from byteord.spec.model import ConfigProblem, Stage
from byteord.stages.guard.bind import STAGES, bind
from byteord.stages.guard.registry import FILE_BYTES_MAX, parse_registry

FILES_MAX = 64


class RunFiles:
    """Implements `byteord.deployment.model.DocumentFiles` beneath the daemon's read_dirs."""

    def __init__(self, read_dirs: Sequence[str]) -> None:
        """Read beneath these directories alone, following no link."""
        self._dirs = tuple(read_dirs)

    def schemas(self, paths: Sequence[str]) -> tuple[SchemaFile, ...]:
        """Return schema files as read; raise a ByteorError that names what is wrong."""
        if len(paths) > FILES_MAX:
            raise InvalidDocumentError(f"{len(paths)} schema files; wanted at most {FILES_MAX}")
        contents = [(path, self._read(path)) for path in paths]
        parse_registry(contents)
        return tuple(
            SchemaFile(path, hashlib.sha256(content).hexdigest(), content.decode())
            for path, content in contents
        )

    def certificates(self, path: str) -> SchemaFile:
        """Return a PEM file as read; raise a ByteorError that names what is wrong."""
        content = self._read(path)
        try:
            ssl.create_default_context(cadata=content.decode("ascii"))
        except (ValueError, ssl.SSLError) as error:
            raise InvalidDocumentError(
                f"actions.ca_file {path}: it holds no certificates ({error}); wanted PEM"
            ) from error
        return SchemaFile(path, hashlib.sha256(content).hexdigest(), content.decode("ascii"))

    def _read(self, path: str) -> bytes:
        with open(open_regular(path, self._dirs, os.O_RDONLY), "rb") as file:
            return file.read(FILE_BYTES_MAX + 1)

    def misfits(self, stage: Stage, dataguard: Dataguard, payload_max: int) -> list[ConfigProblem]:
        """Return what keeps a data protection stage from working with these schemas."""
        if stage.stage not in STAGES:
            return []
        registry = parse_registry((file.path, file.text.encode()) for file in dataguard.schemas)
        _, problems = bind(
            stage.config, registry, has_key=bool(dataguard.hash_key), payload_max=payload_max
        )
        return problems
