"""Specs: canonical form, hash, environments, all findings at once."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from byteord.deployment.model import Authority, Environment
from byteord.deployment.validate import LEVELS
from byteord.spec.findings import without_userinfo
from byteord.spec.model import ByteRange, StateKind
from tests.unit.spec.documents import (
    AUTHORITY,
    ENDS,
    HEAD,
    SPEC,
    check,
    errors,
    found,
    stages_spec,
)

PYTHON = 'name = "p"\nstage = "python:a.mod:Cls"'


def test_the_smallest_spec_has_every_default_in_its_canonical_form() -> None:
    """The canonical form spells out every default, and the hash is that of its bytes."""
    report = check()
    assert report.ok
    assert report.spec is not None
    assert report.spec.sha256 == hashlib.sha256(report.spec_kv).hexdigest()
    assert b"ring.capacity=1024\n" in report.spec_kv
    assert b"stages.0.config.field=first\n" in report.spec_kv
    assert b"stages.0.drops" not in report.spec_kv


@pytest.mark.parametrize(
    "text",
    [
        f"version = 1\n{SPEC}",
        f"{SPEC}\n[ring]\ncapacity = 0x400\nslot_bytes = 256\nordering = 'strict'\n",
        SPEC.replace("config.value = 84", 'config = { value = 84, field = "first", odd = false }'),
        SPEC.replace("config.value = 84", 'config.value = "84"'),
        SPEC.replace("config.value = 84", "config.value = 84\ndepends_on = []\nsource = true"),
        SPEC.replace(
            "config.value = 84",
            'config.value = 84\ndrops = true\nmutates = []\nstate = "stateless"',
        ),
        HEAD
        + 'endpoints = [{kind = "egress", name = "out"}, {kind = "ingress", name = "in"}]\n'
        + SPEC[len(HEAD) :].replace(ENDS, ""),
    ],
)
def test_spelling_does_not_change_the_hash(text: str) -> None:
    """Defaults spelled out, other notations and another order are the same logical spec."""
    report = check(text)
    assert report.spec_kv == check().spec_kv, report.findings


@pytest.mark.parametrize(
    "text",
    [
        SPEC.replace("84", "85"),
        SPEC.replace("orders", "order"),
        f"{SPEC}\n[ring]\ncapacity = 2048\n",
        SPEC.replace("config.value = 84", "config.value = 84\nconfig.odd = true"),
    ],
)
def test_meaning_changes_the_hash(text: str) -> None:
    """Another value is another spec."""
    report = check(text)
    assert report.spec_kv
    assert report.spec_kv != check().spec_kv


def test_canonical_kv_reads_back_as_the_same_spec() -> None:
    """Reading the canonical form gives the same spec and the same bytes."""
    text = stages_spec(
        'name = "keep"\nstage = "keep"\nconfig.value = 1',
        f"{PYTHON}\ndepends_on = [0]\nmutates = [{{offset = 8}}, {{offset = 0, length = 4}}]\n"
        'resizes = true\nstate = "state"\nstate_bytes = 64\ndeterministic = true\n'
        'effects = ["http", "exec", "http"]\n'
        'config = { a = [1, "1", true, "true", 0.5], b.c = "\xe9" }',
        ring='shards = 4\nordering = "per_key"\nshard_key = { offset = 4, length = 2 }',
    )
    first = check(text)
    assert first.spec is not None, first.findings
    stage = first.spec.stages[1]
    assert stage.mutates == (ByteRange(0, 4), ByteRange(8, 0))
    assert stage.effects == ("exec", "http")
    assert stage.state is StateKind.STATE
    assert dict(stage.config) == {
        "a.0": 1,
        "a.1": "1",
        "a.2": True,
        "a.3": "true",
        "a.4": "0.5",
        "b.c": "\xe9",
    }
    again = check(first.spec_kv)
    assert again.spec == first.spec


def test_declared_effect_free_differs_from_not_declared() -> None:
    """`effects = []` and no `effects` are different specs, in TOML and in KV."""
    silent = check(stages_spec(PYTHON))
    free = check(stages_spec(f"{PYTHON}\neffects = []"))
    assert silent.spec is not None
    assert free.spec is not None
    assert silent.spec.stages[0].effects is None
    assert free.spec.stages[0].effects == ()
    assert check(free.spec_kv).spec == free.spec
    assert check(silent.spec_kv).spec == silent.spec


def test_defaults_of_user_stages() -> None:
    """A Python stage keeps private state by default; a native one none."""
    for kind, state in (
        ("python:a:B", "private"),
        ("cabi:x.so:f", "stateless"),
        ("numba:a:f", "stateless"),
    ):
        report = check(stages_spec(f'name = "p"\nstage = "{kind}"'))
        assert report.spec is not None
        assert report.spec.stages[0].state == state


def test_all_findings_at_once() -> None:
    """Five stages, bad references, bad sizes and refused modes are all reported in one go."""
    spec = stages_spec(
        'name = "a"\nstage = "look"\ndepends_on = [4]',
        'name = "a"\nstage = "nobody"\nsource = true',
        'name = "c"\nstage = "look"\ndepends_on = [0, 0]',
        'name = "d"\nstage = "look"\ndepends_on = [1, 0]',
        'name = "e"\nstage = "look"',
        ring='capacity = 1000\nslot_bytes = 100\nproducer = "mpmc"\n'
        'scheduling = "work_queue"\nshards = 2',
    )
    assert sorted(errors(check(spec))) == [
        "SPEC_CAPACITY_NOT_POWER_OF_TWO",
        "SPEC_DEPENDENCY_DUPLICATE",
        "SPEC_DEPENDENCY_FORWARD",
        "SPEC_DEPENDENCY_MISSING",
        "SPEC_DEPENDENCY_ORDER",
        "SPEC_NAME_DUPLICATE",
        "SPEC_PRODUCER_UNSUPPORTED",
        "SPEC_SCHEDULING_UNSUPPORTED",
        "SPEC_SLOT_BYTES_NOT_MULTIPLE",
        "SPEC_STAGES_TOO_MANY",
        "SPEC_STAGE_UNKNOWN",
        "SPEC_STRICT_SHARDS",
    ]


def test_findings_stand_in_document_order() -> None:
    """Findings come spec first, then by line."""
    report = check("rinng = 1\n" + SPEC.replace("84", '"x"'), "[adapters.in]\nkind = 'bix'\n")
    places = [(item.document, item.line) for item in report.findings]
    assert places == sorted(places, key=lambda item: (item[0] != "spec", item[1]))


@pytest.mark.parametrize(
    ("daemon", "asked", "severity"),
    [
        ("dev", "dev", "warning"),
        ("dev", "prod", "error"),
        ("staging", "staging", "error"),
        ("prod", "prod", "error"),
    ],
)
def test_unknown_keys_by_environment(daemon: str, asked: str, severity: str) -> None:
    """An unknown key is a warning in dev and an error elsewhere, in every document and table."""
    authority = replace(AUTHORITY, environment=Environment(daemon))
    report = check(
        SPEC.replace("config.value = 84", "config.value = 84\nconfig.vlaue = 1\nstag = 1"),
        f"environment = '{asked}'\nlimit = 1\n[adapters.in]\nkind = 'stdin'\nframng = 'x'\n"
        "[adapters.out]\nkind = 'stdout'\n",
        authority=authority,
    )
    codes = ("KEY_UNKNOWN", "STAGE_CONFIG_UNKNOWN_KEY", "ADAPTER_OPTION_UNKNOWN")
    hits = [item for item in report.findings if item.code in codes]
    assert len(hits) == 4
    assert {str(item.severity) for item in hits} == {severity}
    assert report.environment == asked


def test_an_unknown_key_has_no_effect_in_dev() -> None:
    """In dev an unknown key is left out of the canonical form."""
    report = check(
        SPEC.replace("config.value = 84", "config.value = 84\nconfig.vlaue = 1\nstag = 1")
    )
    assert report.ok
    assert report.spec_kv == check().spec_kv


def test_a_wide_diamond_is_accepted() -> None:
    """Two branches that change disjoint bytes and meet again are a valid shape."""
    report = check(
        stages_spec(
            'name = "a"\nstage = "keep"\nconfig.value = 1',
            'name = "b"\nstage = "scrub"\nconfig.at = 0\ndepends_on = [0]',
            'name = "c"\nstage = "scrub"\nconfig.at = 4\ndepends_on = [0]',
            'name = "d"\nstage = "trim"\ndepends_on = [1, 2]',
        )
    )
    assert report.ok, report.findings


def test_levels_say_what_they_did_not_check() -> None:
    """Each level says whether it ran and what it left unchecked."""
    report = check(level="topology")
    assert [level.name for level in report.levels] == list(LEVELS)
    assert [level.ran for level in report.levels] == [True, True, True, False, False]
    assert all(level.not_checked for level in report.levels)
    assert report.spec is not None


def test_an_unreadable_spec_runs_one_level() -> None:
    """Behind a syntax error nothing is guessed: later levels did not run and say so."""
    report = check("x = [")
    assert [level.ran for level in report.levels] == [True, False, False, False, False]
    assert report.spec is None
    assert report.spec_kv == b""


def test_a_secret_is_never_repeated() -> None:
    """A finding about a secret does not contain it; a reference is accepted."""
    hushed = check(SPEC.replace("value = 84", 'value = 84\nconfig.u = "amqp://me:hush@h/q"'))
    assert found(hushed, "SECRET_IN_URL")
    assert not any("hush" in str(item) for item in hushed.findings)
    ok = check(stages_spec(f'{PYTHON}\nconfig.password = "secret:db.password"'))
    assert not found(ok, "SECRET_IN_CLEAR")


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hush@host/in",
        "https://me:x@hush@host/in",
        "https://me:x/hush@host/in",
        "https://hush@host/in",
        f"https://me:{'hush' * 30}@host/in",
    ],
)
@pytest.mark.parametrize(
    "place", ['stage = "http_post:{}"', 'stage = "{}"', 'stage = "keep"\n"{}" = 1']
)
def test_no_finding_repeats_the_password_of_a_url(place: str, url: str) -> None:
    """Whatever else is found there (a URL not allowed, no stage, no key) shows the host alone."""
    report = check(stages_spec(f'name = "a"\n{place.format(url)}'))
    said = [f"{item} {item.path}" for item in report.findings]
    assert any("https://***@" in text for text in said)
    assert not any("hush" in text for text in said)


@pytest.mark.parametrize(
    "text", ["https://host:8080/a@b", "https://host/a@b", "at https://host:80 a@b", "me:x@host"]
)
def test_what_is_no_userinfo_is_left(text: str) -> None:
    """An @ behind the host is part of the path, and not every colon is a password's."""
    assert without_userinfo(text) == text


def test_validation_of_code_needs_no_code() -> None:
    """A stage whose module does not exist is valid: validation imports nobody's code."""
    report = check(stages_spec('name = "p"\nstage = "python:no_such_module_anywhere:Cls"'))
    assert report.ok


def test_policy_of_an_empty_authority() -> None:
    """Without code directories a spec of built-in stages is fine and one with code is not."""
    assert check(authority=Authority()).ok
    assert errors(check(stages_spec(PYTHON), authority=Authority())) == ["POLICY_NO_CODE_DIRS"]


def test_unknown_level_is_a_caller_error() -> None:
    """A level that does not exist is the caller's mistake, not a finding."""
    with pytest.raises(ValueError, match="none of syntax"):
        check(level="hosts")


def test_thousands_of_unknown_keys_stay_cheap() -> None:
    """A document full of unknown keys is answered, with advice for the first of them only."""
    junk = "".join(f"key_number_{i} = 1\n" for i in range(9_000))
    report = check(junk + SPEC)
    assert len(found(report, "KEY_UNKNOWN")) == 9_000
    wide = check(
        SPEC.replace("config.value = 84", "".join(f"config.k{i} = 1\n" for i in range(2_000)))
    )
    assert found(wide, "VALUE_RANGE")
