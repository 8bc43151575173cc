"""Whether a bundle is what its manifest says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from byteorctl.bundle.archive import Opened, read_bundle
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit

MANIFEST = "manifest.json"
SPEC = "spec.kv"
FORMAT = "byteor-incident-bundle"
FORMAT_VERSIONS = (1,)
_NAMED_MAX = 8


def problems_of(opened: Opened) -> list[str]:
    """Return everything that is wrong; nothing when every file is there and untouched."""
    manifest, problem = read_manifest(opened.files)
    if problem:
        return [problem]
    rows = {str(row["name"]): row for row in manifest["files"]}
    found = []
    if len(rows) != len(manifest["files"]) or MANIFEST in rows:
        found.append(f"{MANIFEST}: it lists a file twice, or itself")
    for name, row in rows.items():
        seen = opened.digests.get(name)
        if seen is None:
            found.append(f"{name}: missing")
        elif seen.size != row["bytes"]:
            found.append(f"{name}: seen {seen.size:,} bytes; wanted {row['bytes']:,}")
        elif seen.sha256 != row["sha256"]:
            found.append(f"{name}: its SHA-256 is not the manifest's: it was changed")
    found += [f"{name}: not in the manifest" for name in opened.digests
              if name not in {*rows, MANIFEST}]  # fmt: skip
    return found or _spec_problems(manifest, opened) or _json_problems(opened.files)


def notes_of(manifest: Mapping[str, Any]) -> list[str]:
    """Return what a check of a whole bundle cannot tell."""
    names = withheld_of(manifest)
    if not names:
        return []
    named = ", ".join(names[:_NAMED_MAX]) + (", ..." if len(names) > _NAMED_MAX else "")
    said = (
        f"{SPEC}: tokens stand for values that were withheld ({named}): it is checked as it is in "
        f"the bundle; against the SHA-256 of the whole, {manifest.get('spec_sha256')}, it cannot be"
    )
    return [said]


def withheld_of(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of the values that tokens stand for in a bundle's spec."""
    withheld = manifest.get("spec_withheld")
    return [str(each) for each in withheld] if isinstance(withheld, list) else []


def _spec_problems(manifest: Mapping[str, Any], opened: Opened) -> list[str]:
    """Hold the spec against its digest, where it is the whole spec and the manifest tells one."""
    told, seen = manifest.get("spec_sha256"), opened.digests.get(SPEC)
    if told is None or seen is None or withheld_of(manifest) or seen.sha256 == told:
        return []
    return [f"{SPEC}: seen SHA-256 {seen.sha256}; wanted {told}, the spec's that was run"]


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
    if not _is_untouched(manifest, files[MANIFEST]):
        return {}, f"{MANIFEST}: its SHA-256 is not the one that it tells: it was changed"
    rows = manifest.get("files")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        return {}, f"{MANIFEST}: its list of files is damaged"
    return manifest, ""


def _is_untouched(manifest: Mapping[str, Any], content: bytes) -> bool:
    """Tell whether a manifest is written as one is, and has the digest that it tells."""
    bare = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    told = manifest.get("manifest_sha256")
    return _text(manifest) == content and hashlib.sha256(_text(bare)).hexdigest() == told


def _text(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, indent=2, sort_keys=True).encode() + b"\n"


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


def verified(path: str) -> Mapping[str, bytes]:
    """Return the files for people of a bundle that is whole; raises CliError 65 for another."""
    opened = read_bundle(path)
    problems = problems_of(opened)
    if problems:
        raise CliError(
            f"bundle {path}: damaged: {problems[0]}; get it again", Exit.DATA, notes=problems[1:]
        )
    return opened.files
