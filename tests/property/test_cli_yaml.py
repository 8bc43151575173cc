"""YAML of any plain data."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from byteorctl.output.yaml import to_yaml

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | st.text() | FLOATS
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_yaml_reads_back_as_what_was_written(data: Any) -> None:
    """A YAML reader gets exactly the data, whatever its strings look like."""
    assert yaml.safe_load(to_yaml(data)) == data
