"""Whether a bundle is what its manifest says. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MANIFEST = "manifest.json"
FORMAT = "byteor-incident-bundle"
FORMAT_VERSIONS = (1,)


def problems_of(files: Mapping[str, bytes]) -> list[str]:
    """Return everything that is wrong; nothing when every file is there and untouched."""
    manifest, problem = read_manifest(files)
    if problem:
        return [problem]
    rows = {str(row["name"]): row for row in manifest["files"]}
    found = []
    for name, row in rows.items():
        if name not in files:
            found.append(f"{name}: missing")
        elif len(files[name]) != row["bytes"]:
            found.append(f"{name}: seen {len(files[name]):,} bytes; wanted {row['bytes']:,}")
        elif hashlib.sha256(files[name]).hexdigest() != row["sha256"]:
            found.append(f"{name}: its SHA-256 is not the manifest's: it was changed")
    found += [f"{name}: not in the manifest" for name in files if name not in {*rows, MANIFEST}]
    return found or _json_problems(files)


def read_manifest(files: Mapping[str, bytes]) -> tuple[dict[str, Any], str]:
    """Return the manifest, and what is wrong with it, empty if nothing is."""
    if MANIFEST not in files:
        return {}, f"{MANIFEST}: missing; is this a bundle?"
    try:
        manifest = json.loads(files[MANIFEST])
    except (ValueError, RecursionError) as error:
        return {}, f"{MANIFEST}: not JSON ({type(error).__name__})"
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return {}, f"{MANIFEST}: not of a bundle"
    version = manifest.get("format_version")
    if version not in FORMAT_VERSIONS:
        return {}, f"{MANIFEST}: format version {version!r}; this client reads {FORMAT_VERSIONS[0]}"
    rows = manifest.get("files")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        return {}, f"{MANIFEST}: its list of files is damaged"
    return manifest, ""


def _is_row(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("name"), str)
        and isinstance(row.get("bytes"), int)
        and isinstance(row.get("sha256"), str)
    )


def _json_problems(files: Mapping[str, bytes]) -> list[str]:
    found = []
    for name, content in files.items():
        if name.endswith(".json"):
            try:
                json.loads(content)
            except (ValueError, RecursionError):
                found.append(f"{name}: not JSON")
    return found
