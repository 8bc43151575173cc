"""Cases of a pipeline's golden tests: found in a directory, read strictly.

A directory has `spec.toml`, as a rule `deployment.toml`, and `cases/NAME.toml`. It must not talk to
a daemon or compare anything.
"""

from __future__ import annotations

import fnmatch
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable

CASES = "cases"
SUFFIX = ".toml"
KEYS = {
    "description": str,
    "input": str,
    "input_text": str,
    "output": str,
    "output_text": str,
    "output_sha256": str,
    "fails": str,
    "drops": dict,
    "set": dict,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what goes in, what has to come out.

    `output_path` is a file beside the case, `output` its content (None: not made yet);
    `output_sha256` stands for an output that is too large to keep. With all of them None and empty
    the output is not compared. `fails` is the reason of the failure that the run must end with.
    """

    name: str
    path: str
    description: str
    input: bytes
    output: bytes | None
    output_path: str
    output_sha256: str
    fails: str = ""
    drops: Mapping[str, int] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)


def find_cases(directory: str, patterns: Sequence[str]) -> list[Case]:
    """Return the cases of `directory` whose name matches any of `patterns`, sorted by name.

    Raises CliError: 66 where there is no case, 65 for one that is not what a case must be.
    """
    place = os.path.join(directory, CASES)
    try:
        names = sorted(entry for entry in os.listdir(place) if entry.endswith(SUFFIX))
    except OSError as error:
        raise unreadable("cases", place, error) from error
    names = [name.removesuffix(SUFFIX) for name in names]
    chosen = [n for n in names if not patterns or any(fnmatch.fnmatch(n, p) for p in patterns)]
    if not chosen:
        seen = ", ".join(names) or f"no *{SUFFIX}"
        wanted = f"a name like {' or '.join(patterns)}" if patterns else f"NAME{SUFFIX} files"
        raise CliError(f"cases {place}: seen {seen}; wanted {wanted}", Exit.NO_INPUT)
    return [read_case(os.path.join(place, name + SUFFIX)) for name in chosen]


def read_case(path: str) -> Case:
    """Read one case and the files that it names."""
    raw = _table(path)
    output_path = _beside(path, raw["output"]) if "output" in raw else ""
    return Case(
        name=os.path.basename(path).removesuffix(SUFFIX),
        path=path,
        description=raw.get("description", ""),
        input=_input(path, raw),
        output=_expected(raw, output_path),
        output_path=output_path,
        output_sha256=raw.get("output_sha256", "").removeprefix("sha256:"),
        fails=raw.get("fails", ""),
        drops=_drops(path, raw.get("drops", {})),
        overrides={key: _scalar(path, key, value) for key, value in raw.get("set", {}).items()},
    )


def _table(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise unreadable("case", path, error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(path, f"{error}", "TOML", "correct the syntax there") from error
    for key, value in raw.items():
        if key not in KEYS:
            raise _bad(path, f"the key {key}", f"one of {', '.join(KEYS)}", "rename or remove it")
        if not isinstance(value, KEYS[key]):
            wanted = "a table" if KEYS[key] is dict else "text"
            raise _bad(path, f"{key} = {value!r}", wanted, "correct its type")
    for group in (("input", "input_text"), ("output", "output_text", "output_sha256")):
        given = [key for key in group if key in raw]
        if len(given) > 1:
            raise _bad(path, " and ".join(given), f"one of {', '.join(group)}", "keep one")
    if not {"output", "output_text", "output_sha256", "fails", "drops"} & raw.keys():
        raise _bad(path, "nothing expected", "output, fails or drops", "say what must come out")
    return raw


def _input(path: str, raw: Mapping[str, Any]) -> bytes:
    if "input" not in raw:
        return str(raw.get("input_text", "")).encode()
    name = _beside(path, raw["input"])
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable("input", name, error) from error


def _expected(raw: Mapping[str, Any], output_path: str) -> bytes | None:
    if "output_text" in raw:
        return str(raw["output_text"]).encode()
    if not output_path:
        return None
    try:
        with open(output_path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None  # `--update` makes it; without, its absence is a difference
    except OSError as error:
        raise unreadable("expected output", output_path, error) from error


def _beside(path: str, name: str) -> str:
    return os.path.join(os.path.dirname(path), name)


def _drops(path: str, raw: Mapping[str, Any]) -> dict[str, int]:
    for role, number in raw.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise _bad(path, f"drops.{role} = {number!r}", "a number of messages", "correct it")
    return dict(raw)


def _scalar(path: str, key: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise _bad(path, f"set.{key} = {value!r}", "text, an integer or a boolean", "correct it")


def _bad(path: str, seen: str, wanted: str, fix: str) -> CliError:
    return CliError(f"case {path}: seen {seen}; wanted {wanted}: {fix}", Exit.DATA)
