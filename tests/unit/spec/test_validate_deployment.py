"""Deployments: defaults, flags, endpoints, authority, host."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from byteord.deployment.authority_rules import address_allowed, path_allowed
from byteord.deployment.memory import estimate_memory, workers_of
from byteord.deployment.model import Environment, Fuse, Wait
from byteord.deployment.topology import cpu_list
from byteord.deployment.validate import Report
from tests.unit.spec.documents import (
    AUTHORITY,
    DEPLOYMENT,
    HOST,
    SPEC,
    check,
    errors,
    found,
    stages_spec,
)

CHAIN = stages_spec(
    'name = "a"\nstage = "look"',
    'name = "p"\nstage = "python:m:C"\ndepends_on = [0]',
    'name = "b"\nstage = "trim"\ndepends_on = [1]',
)


def _kv(report: Report) -> bytes:
    assert report.deployment is not None, report.findings
    return report.deployment.kv


def test_an_absent_deployment_is_one_with_every_default() -> None:
    """A spec alone runs from the client's input to its output in the daemon's environment."""
    report = check(authority=replace(AUTHORITY, environment=Environment.STAGING))
    assert report.ok
    deployment = report.deployment
    assert deployment is not None
    assert deployment.environment is Environment.STAGING
    assert {name: item.kind for name, item in deployment.adapters.items()} == {
        "in": "stdin",
        "out": "stdout",
    }
    assert deployment.adapters["in"].options == {"framing": "lines"}
    assert deployment.sha256 == hashlib.sha256(deployment.kv).hexdigest()


def test_canonical_kv_of_a_deployment_reads_back() -> None:
    """Reading the canonical form gives the same deployment and the same bytes."""
    first = check(SPEC, f"{DEPLOYMENT}\n[tuning]\npin = [2, 0]\n[failure]\npolicy = 'restart'\n")
    again = check(SPEC, _kv(first))
    assert again.deployment == first.deployment
    assert first.deployment is not None
    assert first.deployment.tuning.pin == (2, 0)


@pytest.mark.parametrize(
    "text",
    [
        f"version = 1\nenvironment = 'dev'\n{DEPLOYMENT}",
        f"{DEPLOYMENT}framing = 'lines'\n[tuning]\nwait = 'backoff'\n[limits]\nmax_batch = 256\n",
        "adapters.in.kind=box\nadapters.in.path=/data/in\nadapters.out.kind=box\nadapters.out.path=/data/out",
    ],
)
def test_spelling_does_not_change_the_hash(text: str) -> None:
    """Defaults spelled out and KV instead of TOML are the same deployment."""
    assert _kv(check(SPEC, text)) == _kv(check(SPEC, DEPLOYMENT))


def test_overrides_are_applied_before_validation_and_hashed() -> None:
    """A flag is as if it stood in the document: checked, effective, part of the hash."""
    by_flag = check(SPEC, DEPLOYMENT, overrides={"tuning.wait": "park", "tuning.pin.0": "1"})
    by_text = check(SPEC, f"{DEPLOYMENT}\n[tuning]\nwait = 'park'\npin = [1]\n")
    assert _kv(by_flag) == _kv(by_text)
    assert by_flag.deployment is not None
    assert by_flag.deployment.tuning.wait is Wait.PARK
    wrong = check(SPEC, DEPLOYMENT, overrides={"tuning.wait": "sleep"})
    hits = found(wrong, "VALUE_CHOICE")
    assert [(item.path, item.line) for item in hits] == [("tuning.wait", 0)]
    assert "given by --set" in hits[0].seen


def test_overrides_replace_what_the_document_says() -> None:
    """A flag wins over the document, whatever shape the key had there."""
    pinned = f"{DEPLOYMENT}\n[tuning]\npin = [0, 1]\n"
    report = check(SPEC, pinned, overrides={"tuning.pin": "balanced"})
    assert report.deployment is not None
    assert report.deployment.tuning.pin == "balanced"
    report = check(SPEC, pinned, overrides={"tuning.pin.1": "3"})
    assert report.deployment is not None
    assert report.deployment.tuning.pin == (0, 3)
    report = check(
        SPEC, DEPLOYMENT, overrides={"adapters.out.kind": "stdout", "adapters.out.path": "x"}
    )
    assert found(report, "ADAPTER_OPTION_UNKNOWN")


def test_an_unknown_key_in_a_flag_is_an_error_in_dev_too() -> None:
    """A mistyped flag never runs without its effect."""
    report = check(SPEC, DEPLOYMENT, overrides={"tuning.wiat": "spin"})
    assert errors(report) == ["KEY_UNKNOWN"]
    assert 'did you mean "wait"?' in report.findings[0].fix
    report = check(SPEC, DEPLOYMENT, overrides={"tunign.wait": "spin"})
    assert errors(report) == ["KEY_UNKNOWN"]
    report = check(SPEC, DEPLOYMENT, overrides={"adapters.in.framnig": "fixed"})
    assert errors(report) == ["ADAPTER_OPTION_UNKNOWN"]


def test_overrides_work_without_a_deployment() -> None:
    """Flags alone keep the defaults of an absent deployment."""
    report = check(overrides={"tuning.fuse": "always", "adapters.in.framing": "fixed"})
    assert "KEY_MISSING" in errors(report)
    report = check(overrides={"tuning.fuse": "always"})
    assert report.deployment is not None
    assert report.deployment.tuning.fuse is Fuse.ALWAYS
    assert report.deployment.adapters["in"].kind == "stdin"


def test_client_streams_stand_in_for_adapters() -> None:
    """`--input` and `--output` replace the adapters, keep their framing, and need no path."""
    text = DEPLOYMENT.replace("/data/in", "/secret/in") + "framing = 'fixed'\n"
    report = check(SPEC, text, client_input=True, client_output=True)
    assert report.ok, report.findings
    assert report.deployment is not None
    assert report.deployment.adapters["in"].kind == "stream"
    assert report.deployment.adapters["in"].options == {"framing": "lines"}
    assert report.deployment.adapters["out"].options == {"framing": "fixed"}
    assert _kv(report) != _kv(check(SPEC, DEPLOYMENT))


def test_a_client_stream_binds_an_unbound_endpoint() -> None:
    """An endpoint that the client streams needs no adapter in the deployment."""
    text = "[adapters.out]\nkind = 'stdout'\n"
    assert errors(check(SPEC, text)) == ["DEPLOYMENT_ENDPOINT_UNBOUND"]
    assert check(SPEC, text, client_input=True).ok


@pytest.mark.parametrize(
    ("daemon", "asked", "ok"),
    [
        ("dev", "staging", True),
        ("dev", "prod", True),
        ("staging", "prod", True),
        ("staging", "dev", False),
        ("prod", "staging", False),
    ],
)
def test_an_environment_may_be_stricter_never_looser(daemon: str, asked: str, ok: bool) -> None:
    """A deployment narrows the daemon's environment or is refused."""
    authority = replace(AUTHORITY, environment=Environment(daemon))
    report = check(SPEC, f"environment = '{asked}'\n{DEPLOYMENT}", authority=authority)
    assert report.ok is ok
    assert report.environment == (asked if ok else daemon)


def test_an_unreadable_deployment_leaves_the_spec_checked() -> None:
    """A broken deployment does not hide what is wrong with the spec."""
    report = check(SPEC.replace("orders", "1"), "x = [")
    assert sorted(errors(report)) == ["DOCUMENT_SYNTAX", "SPEC_NAME_INVALID"]
    assert report.deployment is None


def test_a_broken_spec_does_not_blame_the_deployment() -> None:
    """Without readable endpoints nothing is said about what adapters are bound to."""
    report = check("x = [", DEPLOYMENT)
    assert errors(report) == ["DOCUMENT_SYNTAX"]
    assert report.deployment is None


@pytest.mark.parametrize(
    ("path", "dirs", "ok"),
    [
        ("/data/in", ("/data",), True),
        ("/data/a/b", ("/x", "/data/"), True),
        ("in", ("/data",), True),
        ("/data", ("/data",), False),
        ("/database/in", ("/data",), False),
        ("/data/../etc/passwd", ("/data",), False),
        ("../in", ("/data",), False),
        ("in", (), False),
        ("/etc/passwd", ("/",), True),
    ],
)
def test_paths_lie_beneath_an_allowed_directory(path: str, dirs: tuple[str, ...], ok: bool) -> None:
    """A path is allowed by its whole components, and never goes up."""
    assert path_allowed(path, dirs) is ok


@pytest.mark.parametrize(
    ("address", "pattern", "ok"),
    [
        ("127.0.0.1:80", "127.0.0.1:*", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "*:80", True),
        ("10.0.0.1:80", "127.0.0.1:*", False),
        ("[::1]:80", "::1:*", True),
        ("LOCALHOST:80", "localhost:80", True),
        ("unix:/run/feeds/a.sock", "unix:/run/feeds", True),
        ("unix:/run/feedsx/a.sock", "unix:/run/feeds", False),
        ("unix:/run/feeds/../x", "unix:/run/feeds", False),
        ("unix:/run/feeds/a", "*:*", False),
        ("h:80", "unix:/run", False),
        (":80", "*:80", False),
    ],
)
def test_addresses_match_patterns(address: str, pattern: str, ok: bool) -> None:
    """A pattern has `*` for a host or a port, or is a directory of Unix sockets."""
    assert address_allowed(address, pattern) is ok


def test_worker_and_memory_estimates() -> None:
    """Shared memory counts every ring of every shard; fusing takes the fewest workers."""
    alone = check(CHAIN, None, overrides={"tuning.fuse": "never"})
    fused = check(CHAIN, None, overrides={"tuning.fuse": "always"})
    assert alone.spec is not None
    assert alone.deployment is not None
    assert fused.deployment is not None
    assert workers_of(alone.spec, alone.deployment) == 4
    assert workers_of(alone.spec, fused.deployment) == 3
    memory = estimate_memory(alone.spec, alone.deployment)
    assert memory.rings_bytes >= 1024 * 256
    assert memory.total_bytes >= memory.rings_bytes + memory.control_bytes


def test_spin_is_measured_against_the_pinned_cpus() -> None:
    """As many CPUs as spinning workers are enough."""
    overrides = {"tuning.wait": "spin", "tuning.fuse": "never", "tuning.pin": "physical"}
    assert check(CHAIN, None, overrides=overrides).ok
    fewer = replace(HOST, cpus_allowed=(0, 1, 2), physical_cores=((0, 4), (1, 5), (2, 6)))
    assert errors(check(CHAIN, None, overrides=overrides, host=fewer)) == ["HOST_SPIN_OVERCOMMIT"]


def test_without_host_facts_the_host_level_did_not_run() -> None:
    """A host that was not measured is not judged."""
    report = check(SPEC, DEPLOYMENT, host=None, overrides={"tuning.pin.0": "99"})
    assert report.ok
    assert not report.levels[-1].ran
    assert "measured" in report.levels[-1].not_checked


def test_cpu_lists_are_written_as_ranges() -> None:
    """CPU numbers are shown short."""
    assert cpu_list((0, 1, 2, 3, 6, 8, 9)) == "0-3,6,8-9"
    assert cpu_list(()) == ""


@pytest.mark.parametrize("policy", ["hold", "stop", "dead_letter"])
@pytest.mark.parametrize("kind", ["box", "file"])
def test_dead_letters_are_for_runs_whose_egresses_do_not_act(policy: str, kind: str) -> None:
    """Only an egress that acts would lose its messages, and only by that policy."""
    bound = DEPLOYMENT.replace('"box"\npath = "/data/out"', f'"{kind}"\npath = "/data/out"')
    report = check(SPEC, f'{bound}\n[effects]\non_lease_lost = "{policy}"\n')
    refused = (policy, kind) == ("dead_letter", "file")
    assert ("DEPLOYMENT_LEASE_LOST_EGRESS" in errors(report)) is refused
    assert report.ok is not refused
