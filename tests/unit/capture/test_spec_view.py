"""Which values of a spec leave its host, and that nothing else of it changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.capture.files import flat_of
from byteord.capture.redact import Redactor
from byteord.capture.spec_view import SpecFilter, SpecView
from byteord.spec.kv import write
from byteord.spec.stage_key import tokened_key
from byteord.stages.catalogue import CATALOGUE

PLANTED = "Zq7planted9w4"
RING: dict[str, Any] = {
    "version": 1,
    "name": "detector",
    "model": "single_ring",
    "ring.capacity": 1024,
    "stages.0.name": "keep",
    "stages.0.stage": "filter",
    "stages.0.config.contains": "error",
    "stages.0.depends_on": (),
    "stages.1.name": "detect",
    "stages.1.stage": "python:detect:Detect",
    "stages.1.depends_on.0": 0,
    "stages.1.config.limit": 71,
    "stages.1.config.users.0.password": f"before {PLANTED} after",
    "stages.1.config.strict": True,
    "stages.1.digest": "sha256:" + "0" * 64,
    "endpoints.0.name": "in",
    "endpoints.0.kind": "ingress",
}
GRAPH: dict[str, Any] = {
    "version": 1,
    "name": "graph",
    "model": "lane_graph",
    "lanes.0.name": "all",
    "lanes.0.kind": "events",
    "roles.0.name": "post",
    "roles.0.kind": "stage",
    "roles.0.rx.0": "all",
    "roles.0.stage": f"http_post:https://hooks.example:8443/T0/{PLANTED}?key={PLANTED}",
    "roles.1.name": "call",
    "roles.1.stage": f"exec:/usr/bin/notify|--token={PLANTED}|x",
    "roles.1.config.env": PLANTED,
}


def view(flat: dict[str, Any], *allowed: str) -> tuple[SpecView, dict[str, str]]:
    """Return what leaves of a spec, and what its tokens stand for."""
    redactor = Redactor(bytes(32), ADAPTERS)
    kv = write(flat)
    return SpecFilter(redactor, CATALOGUE, allowed).spec(kv, flat_of(kv)), redactor.tokens


def test_free_values_are_tokens_and_all_else_is_the_same_bytes() -> None:
    """Of a stage of one's own the configuration is withheld; of a built-in stage nothing is."""
    seen, tokens = view(RING)
    assert seen.withheld == (
        "stages.detect.config.limit",
        "stages.detect.config.strict",
        "stages.detect.config.users.0.password",
    )
    assert PLANTED.encode() not in seen.kv
    kept = [line for line in seen.kv.splitlines() if b"redacted:" not in line]
    assert kept == [line for line in write(RING).splitlines() if b"s.1.config" not in line]
    assert sorted(tokens.values()) == ["71", f"before {PLANTED} after", "true"]


def test_of_an_action_the_program_or_the_host_stays() -> None:
    """Arguments, and of a URL everything behind the host, are tokens."""
    seen, _ = view(GRAPH)
    assert seen.withheld == ("stages.post.target", "stages.call.config.env", "stages.call.target")
    assert PLANTED.encode() not in seen.kv
    assert b"roles.0.stage=http_post:https://hooks.example:8443/redacted:" in seen.kv
    assert b"roles.1.stage=exec:/usr/bin/notify|redacted:" in seen.kv


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("exec:/bin/true", "exec:/bin/true"),
        ("http_post:https://host", "http_post:https://host"),
        ("http_post:https://host/", "http_post:https://host/"),
        ("http_post:https://me@host/", "http_post:redacted:"),
        ("http_post:https://host?key=1", "http_post:https://hostredacted:"),
        ("http_post:https://host#key", "http_post:https://hostredacted:"),
        ("exec:relative|x", "exec:redacted:"),
        ("identity", "identity"),
        ("python:a.b:C", "python:a.b:C"),
    ],
)
def test_keys_of_stages(key: str, shown: str) -> None:
    """What cannot hide a secret is shown as it is."""
    made = tokened_key(key, Redactor(bytes(32), ADAPTERS).token)
    assert made == shown if "redacted:" not in shown else made.startswith(shown)
    assert made.count("redacted:") == shown.count("redacted:")


@pytest.mark.parametrize(
    ("allowed", "withheld"),
    [
        (["stages.detect.config.limit"], 2),
        (["stages.detect.config.*"], 0),
        (["stages.*.config.users.*"], 2),
        (["stages.*.*"], 0),
        (["*"], 0),
        (["stages.other.config.*", "stages.detect.target", "[!x]*"], 3),
    ],
)
def test_what_the_deployment_lets_leave_stays(allowed: list[str], withheld: int) -> None:
    """By name or pattern; with nothing withheld the spec is the same to the byte."""
    seen, _ = view(RING, *allowed)
    assert len(seen.withheld) == withheld
    assert (seen.kv == write(RING)) == (withheld == 0)


def test_the_description_has_the_same_tokens() -> None:
    """A reader of both sees that they speak of one value."""
    redactor = Redactor(bytes(32), ADAPTERS)
    stage = {"name": "detect", "stage": "python:detect:Detect", "config": {"limit": 71}}
    said = SpecFilter(redactor, CATALOGUE).description({"name": "detector", "stages": [stage]})
    assert said["stages"][0]["config"] == {"limit": redactor.token("71")}
    assert said["stages"][0]["stage"] == "python:detect:Detect"


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(
        [
            "stages.1.config.a",
            "stages.1.config.a.b.0.c",
            "stages.0.config.unknown",
            "strange.key",
            "stages.7.config.x",
        ]
    ),
    value=st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(
            lambda text: f"{text}{PLANTED}{text}"
        ),
        st.integers(10**12, 10**15),
    ),
)
def test_a_free_value_never_stays(place: str, value: str | int) -> None:
    """Wherever a value stands that no table knows, and whatever it is made of."""
    seen, tokens = view({**RING, place: value})
    secret = PLANTED if isinstance(value, str) else str(value)
    assert secret.encode() not in seen.kv
    assert str(value) in tokens.values()
    assert any(name.endswith(place.rpartition(".")[2]) for name in seen.withheld)


def test_what_cannot_be_read_does_not_leave() -> None:
    """A document that is no KV is withheld whole."""
    redactor = Redactor(bytes(32), ADAPTERS)
    kv = f"{PLANTED} {PLANTED}\n".encode()
    assert SpecFilter(redactor, CATALOGUE).spec(kv, flat_of(kv)) == SpecView(b"", ("spec.kv",))
