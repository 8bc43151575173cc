"""Loading of native stages: C libraries, compiled functions, and every way it can fail."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from byteord._cext.stages import drive, drive_end
from byteord.deployment.plan import RolePlan
from byteord.errors import StageError
from byteord.stages import include_dir
from byteord.stages.load import open_native

SLOT_BYTES = 128
PAYLOAD_MAX = SLOT_BYTES - 16
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "cabi-stage"
STRICT_C = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="the extra byteor[numba] is not installed"
)


def _role(stage: str, **declared: Any) -> RolePlan:
    return RolePlan(index=0, name="it", kind="stage", shard=0, cell=0, stage=stage, **declared)


def _compile(source: Path, library: Path) -> None:
    command = ["cc", *STRICT_C, "-shared", "-fPIC", f"-I{include_dir()}"]
    subprocess.run([*command, "-o", str(library), str(source)], check=True, timeout=60)


@pytest.fixture(scope="module")
def code_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a code directory with the example library, in a subdirectory and behind links too."""
    directory = tmp_path_factory.mktemp("code")
    _compile(EXAMPLE / "tally.c", directory / "libtally.so")
    (directory / "inner").mkdir()
    (directory / "inner" / "libtally.so").write_bytes((directory / "libtally.so").read_bytes())
    (directory / "liblink.so").symlink_to("libtally.so")
    (directory / "outer").symlink_to("inner")
    (directory / "libtext.so").write_text("not a library")
    return directory


def _reason(role: RolePlan, *code_dirs: Path) -> tuple[str, str]:
    with pytest.raises(StageError) as caught:
        open_native(role, [str(each) for each in code_dirs], PAYLOAD_MAX)
    return caught.value.reason, caught.value.message


def _tally(library: str = "libtally.so", **declared: Any) -> RolePlan:
    return _role(f"cabi:{library}:tally", **({"drops": True, "state_bytes": 16} | declared))


@pytest.mark.parametrize("library", ["libtally.so", "inner/libtally.so"])
def test_example_library_counts_drops_and_sums(code_dir: Path, library: str) -> None:
    """The example of the documentation builds without a warning and does what it says."""
    handle = open_native(_tally(library), [str(code_dir)], PAYLOAD_MAX)
    state = bytearray(handle.state_bytes)
    assert (handle.name, handle.flags, len(state)) == ("tally", 2, 16)
    left = drive(handle.address, [b"12", b"x", None, b"30"], SLOT_BYTES, state)
    assert left == [b"12", None, None, b"30"]
    assert drive_end(handle.address, SLOT_BYTES, state) == b'{"count":2,"sum":42}'
    handle.close()


def test_example_library_names_the_message_at_fault(code_dir: Path) -> None:
    """Configuration reaches the library, and its error its caller, with the index."""
    role = _tally(config={"strict": True})
    handle = open_native(role, [str(code_dir)], PAYLOAD_MAX)
    with pytest.raises(StageError, match="not a decimal number") as caught:
        drive(handle.address, [b"12", b"x"], SLOT_BYTES, bytearray(16))
    assert caught.value.details["index"] == "1"
    handle.close()


def test_two_instances_of_one_library_and_no_descriptor_left(code_dir: Path) -> None:
    """Instances are independent, and closing them gives every descriptor back."""
    before = len(os.listdir("/proc/self/fd"))
    handles = [open_native(_tally(), [str(code_dir)], PAYLOAD_MAX) for _ in range(3)]
    assert len({handle.address for handle in handles}) == 3
    for handle in handles:
        handle.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_digest_is_of_the_bytes_that_are_loaded(code_dir: Path) -> None:
    """A pinned digest is compared before anything is loaded."""
    right = hashlib.sha256((code_dir / "libtally.so").read_bytes()).hexdigest()
    open_native(_tally(digest=f"sha256:{right}"), [str(code_dir)], PAYLOAD_MAX).close()
    reason, message = _reason(_tally(digest="sha256:" + "0" * 64), code_dir)
    assert reason == "STAGE_DIGEST_MISMATCH"
    assert right in message


@pytest.mark.parametrize(
    ("library", "wanted"),
    [
        ("libnone.so", "none of the code directories"),
        ("liblink.so", "a link"),
        ("outer/libtally.so", "a link"),
        ("libtext.so", "cannot be loaded"),
    ],
)
def test_library_that_cannot_be_found_or_loaded(code_dir: Path, library: str, wanted: str) -> None:
    """A missing, linked or broken library is named, with what is wrong."""
    reason, message = _reason(_tally(library), code_dir)
    assert reason == "STAGE_LIBRARY_NOT_FOUND"
    assert wanted in message
    assert library in message
    assert "/proc/self" not in message


def test_later_code_directory_is_searched_too(code_dir: Path, tmp_path: Path) -> None:
    """The first code directory that has the library wins."""
    open_native(_tally(), [str(tmp_path), str(code_dir)], PAYLOAD_MAX).close()


def test_symbol_config_and_declaration_errors(code_dir: Path) -> None:
    """Each disagreement between spec and library has its own reason and names both sides."""
    assert _reason(_role("cabi:libtally.so:nothing"), code_dir)[0] == "STAGE_SYMBOL_NOT_FOUND"
    reason, message = _reason(_tally(config={"strikt": True}), code_dir)
    assert (reason, "unknown key `strikt`" in message) == ("STAGE_CONFIG_INVALID", True)
    assert _reason(_tally(drops=False), code_dir)[0] == "STAGE_UNDECLARED"
    reason, message = _reason(_tally(state_bytes=8), code_dir)
    assert (reason, "state_bytes = 16" in message) == ("STAGE_STATE_TOO_SMALL", True)


def test_other_abi_and_other_struct_are_refused(tmp_path: Path) -> None:
    """A library of another version of the header, or without functions, never runs."""
    source = tmp_path / "old.c"
    source.write_text(
        "#include <byteor_stage.h>\n"
        "#define SIZE sizeof(byteor_stage_vtable)\n"
        "const byteor_stage_vtable newer = {.abi = 2, .struct_bytes = SIZE};\n"
        "const byteor_stage_vtable shorter = {.abi = 1, .struct_bytes = 24};\n"
        "const byteor_stage_vtable empty = {.abi = 1, .struct_bytes = SIZE};\n"
    )
    _compile(source, tmp_path / "libold.so")
    for symbol, wanted in (("newer", "ABI 2"), ("shorter", "24 bytes"), ("empty", "lacks create")):
        reason, message = _reason(_role(f"cabi:libold.so:{symbol}"), tmp_path)
        assert reason == "STAGE_ABI_MISMATCH"
        assert wanted in message


def test_header_compiles_alone_as_c_and_cpp(tmp_path: Path) -> None:
    """The public header needs no other header of byteor, and C++ takes it."""
    for language, standard in (("c", "c11"), ("c++", "c++17")):
        source = tmp_path / f"alone.{language}"
        source.write_text("#include <byteor_stage.h>\nint main() { return 0; }\n")
        flags = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", f"-std={standard}"]
        command = ["cc", "-x", language, *flags, f"-I{include_dir()}", "-fsyntax-only", str(source)]
        subprocess.run(command, check=True, timeout=60)


def test_builtin_through_the_loader() -> None:
    """Built-in stages take canonical text of any scalar, and say what is wrong."""
    role = _role("filter", drops=True, config={"value": 65, "invert": True})
    handle = open_native(role, [], PAYLOAD_MAX)
    assert drive(handle.address, [b"A", b"B"], SLOT_BYTES) == [None, b"B"]
    handle.close()
    assert _reason(_role("filter", drops=True))[0] == "STAGE_CONFIG_INVALID"
    assert _reason(_role("filtre"))[0] == "STAGE_UNKNOWN"
    assert _reason(_role("python:module:Class"))[0] == "STAGE_UNKNOWN"
    assert _reason(_role("cabi:../x.so:y"))[0] == "STAGE_UNKNOWN"


NUMBA_MODULE = """
from . import numbers

def large(payloads, lengths, keep):
    for i in range(len(lengths)):
        if keep[i]:
            keep[i] = lengths[i] > numbers.LEAST

def total(payloads, lengths, keep, state):
    for i in range(len(lengths)):
        if keep[i]:
            state[0] += payloads[i, 0]
            payloads[i, 0] = state[0]
            lengths[i] = 1

def total_end(payload, length, state):
    payload[length] = state[0]
    return length + 1

def fault(payloads, lengths, keep):
    for i in range(len(lengths)):
        if lengths[i] == 2:
            return i
        if lengths[i] == 3:
            raise ValueError("three")
    return -1

def text(payloads, lengths, keep):
    return "text"
"""


@pytest.fixture
def numba_dir(tmp_path: Path) -> tuple[Path, str]:
    """Return a code directory and the name of a package in it that no other test uses."""
    name = f"pkg_{tmp_path.name}".replace("-", "_")
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "numbers.py").write_text("LEAST = 2\n")
    (package / "stages.py").write_text(NUMBA_MODULE)
    return tmp_path, f"numba:{name}.stages"


@needs_numba
def test_numba_drops_in_place(numba_dir: tuple[Path, str]) -> None:
    """A plain function works on the slots themselves, and passes over dropped messages."""
    directory, module = numba_dir
    handle = open_native(_role(f"{module}:large", drops=True), [str(directory)], PAYLOAD_MAX)
    left = drive(handle.address, [b"abc", b"ab", None, b"abcd"] * 700, SLOT_BYTES)
    assert left == [b"abc", None, None, b"abcd"] * 700
    handle.close()
    assert not list(directory.rglob("__pycache__"))


@needs_numba
def test_numba_state_resize_and_end(numba_dir: tuple[Path, str]) -> None:
    """State is the area of the run, lengths and payloads change, the end leaves a message."""
    directory, module = numba_dir
    declared = {"mutates": ((0, 0),), "resizes": True, "state_bytes": 8}
    handle = open_native(_role(f"{module}:total", **declared), [str(directory)], PAYLOAD_MAX)
    state = bytearray(8)
    assert drive(handle.address, [b"\1x", None, b"\2"], SLOT_BYTES, state) == [b"\1", None, b"\3"]
    assert drive_end(handle.address, SLOT_BYTES, state, last=b"so far ") == b"so far \3"
    assert state == b"\3" + bytes(7)
    handle.close()


@needs_numba
def test_numba_errors_name_the_message_or_the_declaration(numba_dir: tuple[Path, str]) -> None:
    """Index, exception, undeclared drop and undeclared length are stage errors."""
    directory, module = numba_dir
    handle = open_native(_role(f"{module}:fault"), [str(directory)], PAYLOAD_MAX)
    with pytest.raises(StageError, match="named this message") as caught:
        drive(handle.address, [b"a", b"ab"], SLOT_BYTES)
    assert caught.value.details["index"] == "1"
    with pytest.raises(StageError, match="raised an exception"):
        drive(handle.address, [b"abc"], SLOT_BYTES)
    assert drive(handle.address, [b"a"], SLOT_BYTES) == [b"a"]
    handle.close()
    handle = open_native(_role(f"{module}:large"), [str(directory)], PAYLOAD_MAX)
    with pytest.raises(StageError, match="drops = true"):
        drive(handle.address, [b"a"], SLOT_BYTES)
    handle.close()


@needs_numba
def test_numba_functions_that_cannot_be_opened(numba_dir: tuple[Path, str]) -> None:
    """Each reason is its own: not there, not compilable, wrong result, configuration, too much."""
    directory, module = numba_dir
    assert _reason(_role(f"{module}:none"), directory)[0] == "STAGE_FUNCTION_NOT_FOUND"
    assert _reason(_role(f"{module}x:none"), directory)[0] == "STAGE_MODULE_NOT_FOUND"
    assert _reason(_role("numba:json:dumps"), directory)[0] == "STAGE_MODULE_NOT_FOUND"
    reason, message = _reason(_role(f"{module}:text"), directory)
    assert (reason, "None or an integer" in message) == ("STAGE_COMPILE_FAILED", True)
    reason, message = _reason(_role(f"{module}:total", state_bytes=8), directory)
    assert (reason, "declare `mutates`" in message) == ("STAGE_COMPILE_FAILED", True)
    config = {"config": {"x": 1}}
    assert _reason(_role(f"{module}:large", **config), directory)[0] == "STAGE_CONFIG_INVALID"
    large = {"state_bytes": 5000}
    assert _reason(_role(f"{module}:total", **large), directory)[0] == "STAGE_STATE_TOO_LARGE"


@needs_numba
def test_module_that_fails_or_is_a_link(tmp_path: Path) -> None:
    """What a user's module raises is named; a link out of the code directory is refused."""
    (tmp_path / "real").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "stages_that_raise.py").write_text("1 / 0\n")
    (tmp_path / "real" / "stages_linked.py").write_text("")
    (tmp_path / "code" / "stages_linked.py").symlink_to(tmp_path / "real" / "stages_linked.py")
    reason, message = _reason(_role("numba:stages_that_raise:f"), tmp_path / "code")
    assert (reason, "ZeroDivisionError" in message) == ("STAGE_IMPORT_FAILED", True)
    assert _reason(_role("numba:stages_linked:f"), tmp_path / "code")[0] == "STAGE_MODULE_IS_LINK"
