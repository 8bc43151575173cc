"""Views of documents: describe, dot, diff and the reference."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from byteord.deployment.describe import describe
from byteord.deployment.diff import Diff, diff, kind_of
from byteord.deployment.keys import DEPLOYMENT_KEYS
from byteord.deployment.model import Authority
from byteord.errors import InvalidDocumentError
from byteord.spec.dot import to_dot
from byteord.spec.keys import SPEC_KEYS
from byteord.spec.model import Spec
from byteord.spec.schema import key_of
from tests.unit.spec.documents import (
    DEPLOYMENT,
    SPEC,
    Adapters,
    Stages,
    check,
    source,
    stages_spec,
)

DIAMOND = stages_spec(
    'name = "a"\nstage = "keep"\nconfig.value = 1',
    'name = "b"\nstage = "python:m:C"\ndepends_on = [0]\nmutates = [{ offset = 0, length = 4 }]',
    'name = "c"\nstage = "look"\ndepends_on = [0]',
    'name = "d"\nstage = "cabi:x.so:f"\ndepends_on = [1, 2]\neffects = ["http"]',
    ring='shards = 2\nordering = "per_key"\nshard_key = { offset = 0, length = 8 }',
)


def _spec(text: str) -> Spec:
    report = check(text)
    assert isinstance(report.spec, Spec), report.findings
    return report.spec


def compare(old: str, new: str, kind: str = "") -> Diff:
    """Return what changed between two documents given as text."""
    return diff(
        source(old),
        source(new),
        authority=Authority(),
        stages=Stages(),
        adapters=Adapters(),
        kind=kind,
    )


def test_describe_gives_the_whole_run_as_json() -> None:
    """What describe says has every part a person asks for, after defaults, and is plain JSON."""
    report = check(DIAMOND, DEPLOYMENT, overrides={"tuning.wait": "park"})
    assert report.spec is not None
    assert report.deployment is not None
    said = describe(report.spec, report.deployment)
    assert json.loads(json.dumps(said)) == said
    assert said["spec_sha256"] == report.spec.sha256
    assert said["ring"]["message_bytes_max"] == 240
    assert said["memory"]["total_bytes"] > 2 * 1024 * 256
    assert said["wait"]["strategy"] == "park"
    assert "futex" in said["wait"]["wake_up"]
    assert said["capabilities"] == ["http"]
    assert [stage["follows"] for stage in said["stages"]] == [["in"], ["a"], ["a"], ["b", "c"]]
    assert said["stages"][0]["drops"] is True
    assert said["stages"][1]["side_effecting"] is True
    assert said["endpoints"][0] == {
        "name": "in",
        "kind": "ingress",
        "adapter": "box",
        "options": {"path": "/data/in", "framing": "lines"},
    }
    assert any("counts as side-effecting" in note for note in said["notes"])


def test_dot_is_a_graph_that_graphviz_draws() -> None:
    """The DOT text has every stage and edge, and Graphviz accepts it."""
    text = to_dot(_spec(DIAMOND))
    for edge in ('"ring " -> "a"', '"a" -> "b"', '"b" -> "d"', '"c" -> "d"', '"d" -> "out"'):
        assert edge in text
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    drawn = subprocess.run(
        ["dot", "-Tplain"], input=text, capture_output=True, text=True, check=True, timeout=30
    )
    assert drawn.stderr == ""
    assert len(re.findall(r"^edge ", drawn.stdout, re.MULTILINE)) == 7


def test_diff_names_each_change() -> None:
    """A diff lists changed keys with canonical values, and what it takes."""
    result = compare(SPEC, SPEC.replace("84", "85") + "\n[ring]\ncapacity = 2048\n")
    assert result.kind == "spec"
    assert [(item.path, item.old, item.new) for item in result.changes] == [
        ("ring.capacity", "1024", "2048"),
        ("stages.0.config.value", "84", "85"),
    ]
    assert result.takes == "restart"
    assert result.ok
    assert result.old_sha256 == _spec(SPEC).sha256


def test_diff_of_equal_meaning_is_empty() -> None:
    """Another spelling is no change."""
    result = compare(SPEC, _spec(SPEC).kv.decode())
    assert result.changes == ()
    assert result.takes == "none"


def test_diff_of_deployments() -> None:
    """Deployments are told from specs, and compared after defaults."""
    result = compare(DEPLOYMENT, f"{DEPLOYMENT}\n[tuning]\npin = [1]\n")
    assert result.kind == "deployment"
    assert [(item.path, item.old, item.new) for item in result.changes] == [
        ("tuning.pin", "none", None),
        ("tuning.pin.0", None, "1"),
    ]


def test_diff_of_a_spec_with_a_deployment_is_refused() -> None:
    """Two kinds of documents cannot be compared."""
    with pytest.raises(InvalidDocumentError) as error:
        compare(SPEC, DEPLOYMENT)
    assert error.value.reason == "DIFF_KINDS_DIFFER"
    assert kind_of(source("x = [")) == "spec"


def test_diff_of_a_broken_document_gives_its_findings() -> None:
    """A document with errors is not compared; its findings are handed over."""
    result = compare(SPEC, SPEC.replace("single_ring", "ring"))
    assert not result.ok
    assert result.changes == ()
    assert [item.code for item in result.new_findings] == ["SPEC_MODEL_UNKNOWN"]
    assert result.old_findings == ()


def test_every_canonical_key_has_a_row() -> None:
    """Whatever stands in a canonical document is described by the table of keys."""
    report = check(DIAMOND, f"{DEPLOYMENT}\n[tuning]\npin = [1]\n")
    assert report.deployment is not None
    for text, keys in ((report.spec_kv, SPEC_KEYS), (report.deployment.kv, DEPLOYMENT_KEYS)):
        for line in text.decode().splitlines():
            assert key_of(keys, line.partition("=")[0]) is not None, line


def test_importing_validation_is_light() -> None:
    """Validation starts without asyncio, gRPC, NumPy, msgspec or any catalogue of stages."""
    code = (
        "import sys, byteord.deployment.validate;"
        "import byteord.deployment.describe, byteord.deployment.diff;"
        "print([m for m in ('asyncio', 'grpc', 'numpy', 'msgspec', 'decimal', 'byteord.stages', "
        "'byteord.adapters') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
