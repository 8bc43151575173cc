"""An incident bundle as the source of a replay: checked, and filled up where it lacks something.

Owns the check against its manifest, and what a replay needs that a bundle lacks: its deployment was
redacted, so ends that touch nothing stand in for its adapters. Blocks on files, and trusts none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from byteord.capture.files import to_json
from byteord.capture.recorded import CAPTURE, MANIFEST, Recorded
from byteord.errors import DataError, DeniedError
from byteord.spec.document import Source

CODE = "code"
_PLACES = ("", "capture")
_TABLES = ("failure", "limits")
_REDACTED = "redacted:"
_TOKEN = re.compile(rb"redacted:[0-9a-f]{24}")
_NAMED_MAX = 8
_MANIFEST_BYTES_MAX = 64 << 20


def capture_place(uploaded: str) -> str:
    """Return where in an upload the capture or journal lies; DataError for a damaged bundle."""
    if os.path.exists(os.path.join(uploaded, MANIFEST)):
        _check(uploaded)
    for place in _PLACES:
        path = os.path.join(uploaded, place)
        if os.path.exists(os.path.join(path, CAPTURE)):
            return path
    return uploaded


def code_place(capture: str) -> str:
    """Return where the code lies that came with a capture; empty: none did."""
    bundle = os.path.dirname(capture)
    if not os.path.exists(os.path.join(bundle, MANIFEST)):
        return ""
    path = os.path.join(bundle, CODE)
    return path if os.path.isdir(path) else ""


def stand_in(recorded: Recorded) -> Source:
    """Return a deployment with ends that touch nothing, and what else is known of the recorded."""
    flat: dict[str, Any] = {"version": 1}
    environment = recorded.facts.get("environment")
    if isinstance(environment, str):
        flat["environment"] = environment
    flat |= {f"adapters.{name}.kind": "generator" for name in _names(recorded, "ingresses")}
    flat |= {f"adapters.{name}.kind": "discard" for name in _names(recorded, "egresses")}
    flat |= _kept(os.path.join(os.path.dirname(recorded.directory), "deployment.toml"))
    text = "".join(f"{key}={_value(flat[key])}\n" for key in sorted(flat))
    return Source("deployment.kv", text.encode("ascii", "replace"), "kv")


def check_withheld(recorded: Recorded, spec: Source | None) -> None:
    """Refuse to run a spec with tokens in it; `spec`: given instead of the recorded one.

    Raises DeniedError (SPEC_WITHHELD), which names the values and what lets them leave.
    """
    if spec is not None:
        if _TOKEN.search(spec.content):
            raise DeniedError(
                f"{spec.name}: seen tokens where values were withheld from a bundle; wanted the "
                "spec itself, as its author has it (--spec)",
                reason="SPEC_WITHHELD",
            )
        return
    withheld = recorded.facts.get("spec_withheld")
    names = [str(each) for each in withheld] if isinstance(withheld, list) else []
    if names:
        more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        raise DeniedError(
            f"spec: {', '.join(names[:_NAMED_MAX])}{more}: withheld when the bundle was made; give "
            f"the spec (--spec; its SHA-256 is {recorded.facts.get('spec_sha256')}), or let them "
            f'leave: [bundle] config = ["{names[0]}"] in the deployment of the next run',
            reason="SPEC_WITHHELD",
            details={"withheld": ",".join(names)},
        )


def _names(recorded: Recorded, key: str) -> Iterator[str]:
    for row in recorded.facts.get(key) or ():
        if isinstance(row, dict) and isinstance(row.get("name"), str):
            yield row["name"]


def _kept(path: str) -> dict[str, Any]:
    """Return failure policy and limits of a redacted deployment, where they are not tokens."""
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return {
        f"{table}.{key}": value
        for table in _TABLES
        if isinstance(raw.get(table), Mapping)
        for key, value in raw[table].items()
        if isinstance(value, bool | int) or (isinstance(value, str) and _is_word(value))
    }


def _is_word(value: str) -> bool:
    return value.replace("_", "").isalnum() and value.isascii() and _REDACTED not in value


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(bundle: str) -> None:
    """Hold every file against the manifest."""
    rows = _rows(os.path.join(bundle, MANIFEST))
    there = set(_files(bundle, ""))
    for name, (size, digest) in rows.items():
        if name not in there:
            raise _damaged(name, "missing")
        path = os.path.join(bundle, *name.split("/"))
        if os.path.getsize(path) != size:
            raise _damaged(name, f"{os.path.getsize(path):,} bytes instead of {size:,}")
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise _damaged(name, "changed: its SHA-256 is not the manifest's")
    if extra := sorted(there - {*rows, MANIFEST}):
        raise _damaged(extra[0], "not in the manifest")


def _rows(path: str) -> dict[str, tuple[int, str]]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MANIFEST_BYTES_MAX)
        raw = json.loads(data)
        if not _is_untouched(raw, data):
            raise _damaged(MANIFEST, "changed: its SHA-256 is not the one that it tells")
        return {str(row["name"]): (int(row["bytes"]), str(row["sha256"])) for row in raw["files"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(MANIFEST, f"no manifest ({type(error).__name__})") from error


def _is_untouched(manifest: Mapping[str, Any], data: bytes) -> bool:
    bare = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    told = manifest.get("manifest_sha256")
    return to_json(manifest) == data and hashlib.sha256(to_json(bare)).hexdigest() == told


def _files(top: str, beneath: str) -> Iterator[str]:
    for entry in os.scandir(os.path.join(top, beneath)):
        name = f"{beneath}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files(top, f"{name}/")
        else:
            yield name


def _damaged(name: str, seen: str) -> DataError:
    return DataError(
        f"bundle: {name}: {seen}; wanted it as its manifest says: get the bundle again",
        reason="BUNDLE_DAMAGED",
        details={"file": name},
    )
