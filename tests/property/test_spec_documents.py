"""Documents: one canonical form, whatever they were written in; no text that breaks a reader."""

from __future__ import annotations

import string
import tomllib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteord.spec import kv, toml
from byteord.spec.document import Bare, Document, Source, read
from byteord.spec.findings import Collector
from byteord.spec.model import Spec
from tests.property.documents import kv_text, specs, toml_text, trees, values
from tests.unit.spec.documents import DEPLOYMENT, HEAD, SPEC, check

DOCUMENTS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _read(text: str | bytes, form: str) -> tuple[Document, Collector]:
    found = Collector("spec", {})
    content = text.encode() if isinstance(text, str) else text
    return read(Source("", content, form), found), found


def _spec(text: str | bytes) -> Spec:
    report = check(text)
    assert isinstance(report.spec, Spec), report.findings
    return report.spec


@given(st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=8), values()))
@settings(DOCUMENTS)
def test_kv_writes_and_reads_any_value(flat: dict[str, str | int | bool]) -> None:
    """Any value survives KV with its type, in ASCII, one line each."""
    text = kv.write(flat)
    assert text.decode("ascii").count("\n") == len(flat)
    document, found = _read(text, "kv")
    assert not found.findings
    back = {k: kv.infer(v) if isinstance(v, Bare) else v for k, v in document.tree.items()}
    assert back == flat
    assert [type(back[key]) for key in flat] == [type(flat[key]) for key in flat]
    assert kv.write(back) == text


@given(specs())
@settings(DOCUMENTS)
def test_toml_and_kv_give_the_same_spec(tree: dict[str, Any]) -> None:
    """The same logical spec has the same bytes and hash from TOML and from KV."""
    from_toml = _spec(toml_text(tree))
    from_kv = _spec(kv_text(tree))
    assert from_toml == from_kv
    assert from_toml.sha256 == from_kv.sha256


@given(specs(), st.randoms(use_true_random=False))
@settings(DOCUMENTS)
def test_decoding_and_encoding_never_drifts(tree: dict[str, Any], random: Any) -> None:
    """The canonical form reads back to itself, in any order of its lines."""
    first = _spec(toml_text(tree))
    lines = first.kv.decode("ascii").splitlines()
    random.shuffle(lines)
    again = _spec("\n".join(lines))
    assert again == first
    assert _spec(again.kv).kv == first.kv


@given(trees())
@settings(DOCUMENTS)
def test_every_leaf_of_toml_has_a_place(tree: dict[str, Any]) -> None:
    """Whatever tomllib reads, the outline places: each key in a line that has its last part."""
    text = toml_text(tree)
    document, found = _read(text, "toml")
    assert not found.findings, (text, found.findings)
    assert document.tree == tomllib.loads(text)
    lines = text.split("\n")
    for path in _paths(document.tree, ()):
        place = document.places[path]
        assert 1 <= place.column <= len(lines[place.line - 1])
        if not path[-1].isdecimal():
            assert path[-1] in lines[place.line - 1]


def _paths(node: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if isinstance(node, dict) and node:
        return [found for name, child in node.items() for found in _paths(child, (*path, name))]
    if isinstance(node, list) and node:
        return [found for i, child in enumerate(node) for found in _paths(child, (*path, str(i)))]
    return [path] if path else []


@given(st.text(st.sampled_from("[]{}=\"'\\\n\r\t #.,a0-_\x00\xe9"), max_size=60))
@settings(DOCUMENTS, max_examples=400)
def test_the_outline_agrees_with_tomllib_on_any_text(text: str) -> None:
    """A text is read exactly when tomllib reads it, within the limits, and each key has a place."""
    found = Collector("spec", {})
    document = toml.parse(text, found)
    try:
        tree = tomllib.loads(text)
    except ValueError:
        assert found.findings
        assert not document.readable
        return
    if document.readable:
        assert document.tree == tree
        assert all(path in document.places for path in _paths(tree, ()))
    else:
        assert {item.code for item in found.findings} <= {"DOCUMENT_TOO_DEEP"}


_BREAKS = st.tuples(
    st.integers(0, len(SPEC)),
    st.integers(0, 12),
    st.sampled_from(["", "\x00", '"', "[", "]", "=", "\n", "a.b=1\n", "\xff", "1e999", "{}"]),
)


@given(st.lists(_BREAKS, min_size=1, max_size=4), st.sampled_from(["toml", "kv", ""]))
@settings(DOCUMENTS, max_examples=300)
def test_a_broken_spec_is_reported_never_raised(
    breaks: list[tuple[int, int, str]], form: str
) -> None:
    """Any mutilation of a spec gives findings or a spec, never an exception."""
    text = SPEC if form != "kv" else check().spec_kv.decode()
    for start, length, insert in breaks:
        text = text[:start] + insert + text[start + length :]
    report = check(Source("", text.encode("latin-1", "replace"), form))
    assert report.ok is (report.spec is not None)


@given(st.binary(max_size=300))
@settings(DOCUMENTS)
def test_any_bytes_are_reported_never_raised(content: bytes) -> None:
    """Arbitrary bytes as spec and as deployment give findings, never an exception."""
    assert not check(content).ok
    check(SPEC, content)
    check(HEAD.encode() + content, DEPLOYMENT.encode() + content)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "tuning.pin",
                "tuning.pin.0",
                "adapters",
                "adapters.in.kind",
                "failure",
                "limits.max_batch",
                "x..y",
                "",
                "version",
            ]
        ),
        st.text(max_size=8),
        max_size=4,
    )
)
@settings(DOCUMENTS)
def test_any_flags_are_reported_never_raised(overrides: dict[str, str]) -> None:
    """Arbitrary `--set` flags give findings, never an exception."""
    check(SPEC, DEPLOYMENT, overrides=overrides)
