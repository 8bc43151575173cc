"""A stage that hangs, dies or fails on a batch is named with its message as exactly as can be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.run import make_test_plan, running, spec_text

MODULE = '''
import os
import threading


class HangsAt:
    """Never comes back from the message that says so."""

    def __init__(self, ctx):
        pass

    def process(self, batch):
        for payload in batch:
            if bytes(payload) == b"line 137":
                del payload
                threading.Event().wait(3600)


class HangsWhole(HangsAt):
    """Never comes back from a batch that it has not looked at."""

    def process(self, batch):
        threading.Event().wait(3600)


class DiesAt(HangsAt):
    """Takes its process with it at one message."""

    def process(self, batch):
        for payload in batch:
            if bytes(payload) == b"line 137":
                os._exit(9)


class FailsWhole(HangsAt):
    """Fails on a batch without having looked at one message of it."""

    def process(self, batch):
        if len(batch) > 1:
            raise ValueError("this batch")
'''
DEPLOYMENT = """
[adapters.in]
kind = "file"
path = "{path}"
framing = "lines"
[adapters.out]
kind = "discard"
[failure]
stage_timeout_s = 1
"""
LINES = [b"line %d" % index for index in range(500)]


def _failure(tmp_path: Path, name: str) -> dict[str, Any]:
    (tmp_path / "named_message_stages.py").write_text(MODULE)
    (tmp_path / "lines").write_bytes(b"\n".join(LINES))
    stage = (
        f'[[stages]]\nname = "odd"\nstage = "python:named_message_stages:{name}"\neffects = []\n'
    )
    plan = make_test_plan(
        spec_text(stage), DEPLOYMENT.format(path=tmp_path / "lines"), directories=[str(tmp_path)]
    )
    with running(plan) as run:
        failure: dict[str, Any] = run.until_state("failed")["failure"]
        run.shim.wait(10)
    assert failure["role"] == "odd"
    return failure


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [("HangsAt", "STAGE_HUNG", "has not returned for 1"), ("DiesAt", "WORKER_DIED", "exit 9")],
)
def test_the_message_that_a_stage_took_last_is_named(
    tmp_path: Path, name: str, reason: str, said: str
) -> None:
    """A stage that walks its batch: the very message, by sequence and digest."""
    failure = _failure(tmp_path, name)
    assert failure["reason"] == reason
    assert failure["sequence"] == 137
    assert failure["message_sha256"] == hashlib.sha256(b"line 137").hexdigest()
    assert said in failure["message"]
    assert "the message that it took last is sequence 137" in failure["message"]


@pytest.mark.timeout(60)
def test_a_batch_that_hangs_as_a_whole_is_named_by_its_first_message(tmp_path: Path) -> None:
    """A stage that took no single message: the first of the batch, and said to be that."""
    failure = _failure(tmp_path, "HangsWhole")
    assert failure["reason"] == "STAGE_HUNG"
    assert failure["message_sha256"] == hashlib.sha256(LINES[failure["sequence"]]).hexdigest()
    assert "sequence and digest are those of the first" in failure["message"]


@pytest.mark.timeout(60)
def test_a_failed_batch_of_a_stage_with_private_state_says_what_is_not_known(
    tmp_path: Path,
) -> None:
    """It cannot be called again message by message: how many there were, and which is named."""
    failure = _failure(tmp_path, "FailsWhole")
    assert failure["reason"] == "STAGE_FAILED"
    assert failure["message_sha256"] == hashlib.sha256(LINES[failure["sequence"]]).hexdigest()
    assert "ValueError: this batch" in failure["message"]
    assert "messages that it took as a whole; which is not known" in failure["message"]
