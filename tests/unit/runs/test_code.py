"""Digests of the code that a run would load."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from byteord.errors import StageError
from byteord.runs.code import code_digests
from byteord.spec.model import Stage


def digest_of(key: str, *directories: Path, pin: str = "") -> str:
    """Return the digest for one stage key."""
    stage = Stage(name="mine", stage=key, digest=pin)
    return code_digests([stage], [str(each) for each in directories])["mine"]


def reason_of(key: str, *directories: Path, pin: str = "") -> tuple[str, str]:
    """Return reason and message of the refusal of a stage key."""
    with pytest.raises(StageError) as caught:
        digest_of(key, *directories, pin=pin)
    return caught.value.reason, caught.value.message


def package(top: Path, **files: str) -> None:
    """Write a package; `__` in a name stands for `/`."""
    for name, text in files.items():
        path = top / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_built_in_stages_load_no_code() -> None:
    """Only stages that load code have a digest."""
    assert code_digests([Stage(name="a", stage="identity")], []) == {}


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("mod.py", "python:mod:Class"),
        ("mod.py", "numba:mod:function"),
        ("lib.so", "cabi:lib.so:symbol"),
        ("sub/lib.so", "cabi:sub/lib.so:symbol"),
    ],
)
def test_a_single_file_has_its_own_sha256(tmp_path: Path, file: str, key: str) -> None:
    """`sha256sum FILE` gives the digest that a spec pins."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"raise SystemExit('must not be imported')")
    wanted = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest_of(key, tmp_path / "none", tmp_path, pin=wanted) == wanted


def test_a_package_has_the_digest_of_its_listing(tmp_path: Path) -> None:
    """`find ... | sort | xargs sha256sum | sha256sum` gives the digest of a package."""
    package(tmp_path / "pkg", _init_="", a="x = 1\n", sub__b="y = 2\n")
    (tmp_path / "pkg" / "_init_.py").rename(tmp_path / "pkg" / "__init__.py")
    (tmp_path / "pkg" / "data.bin").write_bytes(b"\x00\xff")
    pipeline = (
        "find . -type f ! -path '*/__pycache__/*' -printf '%P\\0' | LC_ALL=C sort -z"
        " | xargs -0 sha256sum | sha256sum"
    )
    listing = subprocess.run(
        ["sh", "-c", pipeline],
        cwd=tmp_path / "pkg",
        check=True,
        capture_output=True,
        text=True,
    )
    assert digest_of("python:pkg.sub.b:Class", tmp_path) == "sha256:" + listing.stdout.split()[0]


def test_a_package_digest_covers_every_file_but_caches(tmp_path: Path) -> None:
    """A change of any file, its name included, changes the digest; compiled caches do not."""
    top = tmp_path / "pkg"
    package(top, a="x = 1\n", sub__b="y = 2\n")
    (top / "__init__.py").write_text("")
    before = digest_of("python:pkg:Class", tmp_path)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(top)], check=True)
    assert list(top.rglob("*.pyc"))
    assert digest_of("python:pkg:Class", tmp_path) == before
    (top / "sub" / "b.py").write_text("y = 3\n")
    changed = digest_of("python:pkg:Class", tmp_path)
    assert changed != before
    (top / "sub" / "b.py").rename(top / "sub" / "c.py")
    assert digest_of("python:pkg:Class", tmp_path) not in {before, changed}


def test_the_first_directory_that_has_it_wins(tmp_path: Path) -> None:
    """Directories are searched in the order of the configuration."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mod.py").write_text(name)
    one, two = tmp_path / "one", tmp_path / "two"
    assert digest_of("python:mod:C", one, two) == digest_of("python:mod:C", one)
    assert digest_of("python:mod:C", two, one) == digest_of("python:mod:C", two)


@pytest.mark.parametrize(
    "key",
    [
        "python:nosuch:Class",
        "python:mod.inner:Class",
        "python:../mod:Class",
        "python:/etc/passwd:Class",
        "cabi:nosuch.so:symbol",
        "cabi:../lib.so:symbol",
        "cabi:/lib.so:symbol",
        "numba::f",
    ],
)
def test_missing_code_is_named_with_where_it_was_searched(tmp_path: Path, key: str) -> None:
    """What is not beneath a code directory is not found, however the key is written."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "mod.py").write_text("")
    (tmp_path / "lib.so").write_text("")
    reason, message = reason_of(key, inner)
    assert reason == "STAGE_CODE_NOT_FOUND"
    assert str(inner) in message
    assert "'mine'" in message


def test_without_code_directories_it_says_so() -> None:
    """An empty list of directories is named as the cause."""
    assert "allows no code_dirs" in reason_of("python:mod:Class")[1]


def test_a_pinned_digest_that_differs_is_refused(tmp_path: Path) -> None:
    """The refusal shows the digest seen and the one wanted."""
    (tmp_path / "mod.py").write_text("x")
    pin = "sha256:" + "0" * 64
    reason, message = reason_of("python:mod:C", tmp_path, pin=pin)
    assert reason == "STAGE_CODE_DIGEST_MISMATCH"
    assert pin in message
    assert hashlib.sha256(b"x").hexdigest() in message


@pytest.mark.parametrize("where", ["module", "directory", "inside"])
def test_links_are_not_followed(tmp_path: Path, where: str) -> None:
    """A link out of the code directory, anywhere on the way, is refused by name."""
    outside = tmp_path / "outside"
    package(outside / "pkg", a="x = 1\n")
    (outside / "pkg" / "__init__.py").write_text("")
    code = tmp_path / "code"
    code.mkdir()
    if where == "module":
        (code / "pkg.py").symlink_to(outside / "pkg" / "a.py")
    elif where == "directory":
        (code / "pkg").symlink_to(outside / "pkg")
    else:
        (code / "pkg").mkdir()
        (code / "pkg" / "__init__.py").write_text("")
        (code / "pkg" / "more").symlink_to(outside / "pkg")
    assert reason_of("python:pkg:C", code)[0] == "STAGE_CODE_UNREADABLE"


def test_a_package_beyond_bounds_is_refused(tmp_path: Path) -> None:
    """A package with a huge file is refused before it is read."""
    top = tmp_path / "pkg"
    package(top, a="")
    (top / "__init__.py").write_text("")
    with (top / "huge.bin").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    assert reason_of("python:pkg:C", tmp_path)[0] == "STAGE_CODE_TOO_LARGE"
