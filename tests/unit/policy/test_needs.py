"""What a run needs, computed from valid documents."""

from __future__ import annotations

import pytest

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.model import Authority
from byteord.deployment.validate import validate
from byteord.policy.needs import Need, needs
from byteord.spec.document import Source
from byteord.stages.catalogue import CATALOGUE as STAGES
from tests.support.runs import deployment_text, spec_text

AUTHORITY = Authority(
    code_dirs=("/code",),
    read_dirs=("/data",),
    write_dirs=("/data",),
    listen=("*:*", "unix:/run/x"),
    connect=("*:*", "unix:/run/x"),
)
PYTHON = 'stage = "python:mod:Class"'


def needed(stage: str, egress: str, ingress: str = 'kind = "generator"') -> tuple[Need, ...]:
    """Return the needs of a run of one stage."""
    report = validate(
        Source("spec.toml", spec_text([stage]).encode(), "toml"),
        Source("deployment.toml", deployment_text(ingress, egress, "").encode(), "toml"),
        authority=AUTHORITY,
        stages=STAGES,
        adapters=ADAPTERS,
    )
    assert report.ok, report.findings
    assert report.spec is not None
    assert report.deployment is not None
    return needs(report.spec, report.deployment)


@pytest.mark.parametrize(
    ("egress", "target"),
    [
        ('kind = "udp"\nconnect = "10.0.0.1:99"', "10.0.0.1:99"),
        ('kind = "tcp"\nconnect = "10.0.0.1:99"\nframing = "lines"', "10.0.0.1:99"),
        ('kind = "tcp"\nlisten = "127.0.0.1:99"\nframing = "lines"', "127.0.0.1:99"),
        ('kind = "unix_stream"\nconnect = "/run/x/s"\nframing = "lines"', "/run/x/s"),
        ('kind = "unix_dgram"\npath = "/run/x/s"', "/run/x/s"),
        ('kind = "file"\npath = "/data/out"\nframing = "lines"', "/data/out"),
    ],
)
def test_an_egress_that_writes_outside_is_a_need(egress: str, target: str) -> None:
    """Each such kind of adapter is one need, with where it writes."""
    kind = egress.partition('"')[2].partition('"')[0]
    assert needed('stage = "identity"', egress) == (Need("out", f"adapter:{kind}", target),)


@pytest.mark.parametrize("egress", ['kind = "discard"', 'kind = "client"', 'kind = "stdout"'])
def test_what_stays_inside_is_none(egress: str) -> None:
    """Nothing is needed to discard, or to hand to a process or client of the caller's own."""
    assert needed('stage = "identity"', egress) == ()


def test_receiving_is_none() -> None:
    """An ingress takes what comes: it is bounded by the daemon's lists, not gated."""
    ingress = 'kind = "udp"\nbind = "127.0.0.1:99"'
    assert needed('stage = "identity"', 'kind = "discard"', ingress) == ()


def test_user_stages_need_what_they_declare_or_count_as_undeclared() -> None:
    """Declared capabilities one by one; nothing declared is the capability `undeclared`."""
    discard = 'kind = "discard"'
    assert needed(f'{PYTHON}\neffects = ["mail", "http"]', discard) == (
        Need("s0", "http", "python:mod:Class"),
        Need("s0", "mail", "python:mod:Class"),
    )
    assert needed(f"{PYTHON}\neffects = []", discard) == ()
    assert needed(PYTHON, discard) == (Need("s0", "undeclared", "python:mod:Class"),)
