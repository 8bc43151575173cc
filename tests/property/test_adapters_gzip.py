"""Gzip input that was damaged anywhere."""

from __future__ import annotations

import gzip
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from byteord.adapters.open import OpenContext, open_source

LINES = b"".join(b"line %d\n" % number for number in range(300))
WHOLE = gzip.compress(LINES) + gzip.compress(b"more\n")


@settings(max_examples=150)
@given(
    st.integers(0, len(WHOLE)),
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=3),
)
def test_damage_is_counted_or_named_and_never_invents_success(
    cut: int, changes: list[tuple[int, int]]
) -> None:
    """Either all lines came, or a count or the failure says that something is missing."""
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "in"
        path.write_bytes(data[:cut])
        options = {"path": str(path), "gzip": "always"}
        context = OpenContext(240, read_dirs=(directory,))
        with closing(open_source("file", options, context)) as handle:
            messages = drive.drain(handle)
            report = handle.report()
    assert report["status"] in {native.ENDED, native.FAILED}
    complete = messages == (LINES + b"more\n").split(b"\n")[:-1]
    told = report["status"] == native.FAILED or any(report["rejected"].values())
    first_member_only = messages == LINES.split(b"\n")[:-1]
    assert complete or told or first_member_only or cut == 0
