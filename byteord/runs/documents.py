"""The frozen documents of a run beside its regions, for whoever looks at it later."""

from __future__ import annotations

import os
from pathlib import Path

from byteord.capture.files import RunDocuments

SPEC, DEPLOYMENT = "spec.kv", "deployment.kv"


def save_documents(directory: str, documents: RunDocuments) -> None:
    """Write both into the run's directory; raises OSError."""
    Path(directory, SPEC).write_bytes(documents.spec_kv)
    Path(directory, DEPLOYMENT).write_bytes(documents.deployment_kv)


def load_documents(directory: str) -> RunDocuments:
    """Return what is there; empty where there is nothing."""
    return RunDocuments(_read(directory, SPEC), _read(directory, DEPLOYMENT))


def _read(directory: str, name: str) -> bytes:
    try:
        return Path(os.path.join(directory, name)).read_bytes()
    except OSError:
        return b""
