"""Stages that act: a real HTTPS server and real programs, their faults, the lease, the journal."""

from __future__ import annotations

import hashlib
import os
import signal
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from byteord.deployment.plan import EffectPlan, RunPlan
from tests.support.actions import (
    LINES,
    action_plan,
    give_lease,
    journal_of,
    keys_of,
    report_of,
)
from tests.support.https import Hook, https_hook
from tests.support.poll import until
from tests.support.run import make_test_plan, running, spec_text


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    """Provide the server."""
    with https_hook(tmp_path) as server:
        yield server


def _posted(hook: Hook, count: int) -> bool:
    return len(hook.posts) >= count


def test_each_message_is_posted_once_with_its_key_and_passes_on(tmp_path: Path, hook: Hook) -> None:
    """One post a message, in order, over one connection, with the key that its place gives it."""
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, f'ca_file = "{hook.ca}"')
    with running(plan) as run:
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        journal, report = journal_of(run), report_of(run)
    assert hook.posts == [
        (key, line.encode()) for key, line in zip(keys_of(LINES), LINES, strict=True)
    ]
    assert hook.connections == 1
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES
    assert [entry["event"] for entry in journal] == ["begin", "done"] * 20
    assert report["acted"] == 20


def test_faults_of_the_server_are_tried_again_in_order(tmp_path: Path, hook: Hook) -> None:
    """500, a closed connection, 429 with Retry-After and slowness lose and reorder nothing."""
    hook.script = [500, 200, "close", 200, (429, "1"), 200, 0.8, 200, 503, 503]
    limits = f'ca_file = "{hook.ca}"\ntimeout_ms = 500\nretries_max = 4'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits)
    with running(plan) as run:
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        report = report_of(run)
    order = list(dict.fromkeys(key for key, _, _ in hook.attempts))
    assert order == keys_of(LINES)
    assert {key for key, _ in hook.posts} == set(keys_of(LINES))
    waited = [at for key, _, at in hook.attempts if key == keys_of(LINES)[2]]
    assert max(waited) - min(waited) >= 0.95
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES
    assert report["retried"] == 6


@pytest.mark.parametrize(
    ("fault", "words"), [("certificate", "CERTIFICATE"), ("404", "status 404")]
)
def test_what_cannot_get_better_is_not_tried_again(
    tmp_path: Path, hook: Hook, fault: str, words: str
) -> None:
    """A wrong certificate or a refusal stops the run at its message, which is not passed on."""
    hook.script = [200, 200, 404]
    ca = hook.ca
    if fault == "certificate":
        (tmp_path / "other").mkdir()
        from tests.support.https import make_certificates

        ca, _ = make_certificates(tmp_path / "other")
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, f'ca_file = "{ca}"')
    with running(plan) as run:
        give_lease(run)
        status = run.until_state("completed", "failed")
    assert status["state"] == "failed"
    assert words in status["failure"]["message"].upper() or words in status["failure"]["message"]
    passed = 0 if fault == "certificate" else 2
    assert status["failure"]["sequence"] == passed
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES[:passed]
    assert len(hook.attempts) == (0 if fault == "certificate" else 3)


def test_a_killed_worker_posts_again_only_with_the_same_key(tmp_path: Path, hook: Hook) -> None:
    """Across kill -9 no message is lost, and what arrives twice has the same key and body."""
    lines = [f"message {n}" for n in range(120)]
    plan = action_plan(tmp_path, f"http_post:{hook.url}", lines, f'ca_file = "{hook.ca}"')
    with running(plan) as run:
        give_lease(run)
        for count in (20, 60):
            until(partial(_posted, hook, count), 30.0, f"{count} posts")
            os.kill(run.worker_pid("s"), signal.SIGKILL)
            until(lambda: run.worker_pid("s") > 0, 10.0, "a new worker")
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    bodies = dict(hook.posts)
    assert bodies == {key: line.encode() for key, line in zip(keys_of(lines), lines, strict=True)}
    assert len(set(hook.posts)) == 120
    assert len(hook.posts) <= 122
    assert (tmp_path / "out.txt").read_text().splitlines() == lines


def test_without_a_lease_messages_are_held_and_seen_to_be(tmp_path: Path, hook: Hook) -> None:
    """Nothing is posted before the lease; the role shows as blocked; with the lease it goes on."""
    limits = f'ca_file = "{hook.ca}"'
    failure = "stage_timeout_s = 1"
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits, failure=failure)
    with running(plan) as run:
        until(lambda: run.role("s")["state"] == "blocked", 20.0, "blocked")
        until(lambda: report_of(run)["held"] == 1, 5.0, "counted as held")
        started = run.reader.read()["clock_ns"]
        until(lambda: run.reader.read()["clock_ns"] > started + 2_000_000_000, 10.0, "two seconds")
        assert run.status()["state"] == "running"
        assert hook.attempts == []
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    assert len(hook.posts) == 20


@pytest.mark.parametrize("policy", ["dead_letter", "stop"])
def test_the_policy_decides_what_a_lost_lease_does(tmp_path: Path, hook: Hook, policy: str) -> None:
    """Dead-lettered messages are in the journal and flow on; `stop` stops the run by name."""
    plan = action_plan(
        tmp_path, f"http_post:{hook.url}", LINES, f'ca_file = "{hook.ca}"', policy=policy
    )
    with running(plan) as run:
        status = run.until_state("completed", "failed")
        journal = journal_of(run)
    assert hook.attempts == []
    if policy == "stop":
        assert "no lease" in status["failure"]["message"]
        return
    assert [entry["event"] for entry in journal] == ["dead_letter"] * 20
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES


def test_a_dry_run_writes_down_and_does_nothing(tmp_path: Path, hook: Hook) -> None:
    """In record mode everything flows, each action is in the journal, no connection is made."""
    plan = action_plan(
        tmp_path, f"http_post:{hook.url}", LINES, f'ca_file = "{hook.ca}"', mode="record"
    )
    with running(plan) as run:
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        journal, report = journal_of(run), report_of(run)
    assert hook.connections == 0
    assert [(entry["event"], entry["key"]) for entry in journal] == [
        ("would", key) for key in keys_of(LINES)
    ]
    assert report["would_have_acted"] == 20


def test_an_abort_stops_a_stage_that_keeps_trying(tmp_path: Path, hook: Hook) -> None:
    """A run whose server never answers well stops when it is told to, not when retries end."""
    hook.always = 503
    limits = f'ca_file = "{hook.ca}"\nretries_max = 1000'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits)
    with running(plan) as run:
        give_lease(run)
        until(lambda: len(hook.attempts) > 3, 20.0, "tries")
        run.command(op="stop", mode="abort")
        assert run.until_state("stopped", "failed", timeout_s=4)["state"] == "stopped"


PROGRAM = """#!/bin/sh
read line
case "$line" in
  *hang*) exec sleep 60.061 ;;
  *three*) exit 3 ;;
  *flood*) while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done ;;
  *fork*) setsid sleep 60.061 >/dev/null 2>&1 & sleep 60.061 >/dev/null 2>&1 & ;;
esac
echo "$line" >> "$1"
"""


def _program(tmp_path: Path) -> str:
    path = tmp_path / "program.sh"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return f"{path}|{tmp_path}/done.txt"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fork", ""),
        ("hang", "did not end within 0.5 s"),
        ("three", "exit 3"),
        ("flood", "printed more than 1000 bytes"),
    ],
)
def test_programs_are_bounded_and_leave_nothing(tmp_path: Path, line: str, words: str) -> None:
    """A program that hangs, fails, floods or forks is named; it and its children are gone."""
    target = _program(tmp_path)
    limits = "exec_timeout_ms = 500\noutput_bytes_max = 1000\nretries_max = 1"
    plan = action_plan(tmp_path, f"exec:{target}", ["one", line, "two"], limits, allow=(target,))
    with running(plan) as run:
        give_lease(run)
        status = run.until_state("completed", "failed")
    said = (status["failure"] or {"message": ""})["message"]
    assert words in said
    done = (tmp_path / "done.txt").read_text().split()
    assert done == (["one"] if words else ["one", line, "two"])
    assert (tmp_path / "out.txt").read_text().split() == done
    until(lambda: not _processes("sleep 60.061"), 5.0, "no process left")


def _processes(words: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
            if command == words:
                found.append(entry.name)
    return found


def test_a_program_that_changed_does_not_run(tmp_path: Path) -> None:
    """Each run is of the very program that was admitted; its message can be had back."""
    target = _program(tmp_path)
    program = Path(target.partition("|")[0])
    digest = "sha256:" + hashlib.sha256(program.read_bytes()).hexdigest()
    plan = action_plan(tmp_path, f"exec:{target}", ["one", "two"], allow=(target,))
    roles = [replace(each, digest=digest) if each.stage else each for each in plan.roles]
    with running(replace(plan, roles=tuple(roles))) as run:
        until(lambda: report_of(run)["held"] == 1, 20.0, "the first message waits")
        program.write_text(PROGRAM.replace("exit 3", "exit 4"))
        give_lease(run)
        status = run.until_state("completed", "failed")
    assert "was admitted with sha256:" in status["failure"]["message"]
    assert not (tmp_path / "done.txt").exists()


def test_only_what_is_allowed_to_the_letter_runs(tmp_path: Path) -> None:
    """Another argument is another program; a URL beside the prefix is another place."""
    target = _program(tmp_path)
    with pytest.raises(AssertionError, match="POLICY_EXEC_DENIED"):
        action_plan(tmp_path, f"exec:{target}", ["one"], allow=(target + "x",))
    with pytest.raises(AssertionError, match="POLICY_URL_DENIED"):
        action_plan(tmp_path, "http_post:https://127.0.0.2:9/hook", ["one"])


def test_tls_context_is_the_strict_one() -> None:
    """Certificates and host names are verified, nothing older than TLS 1.2 is spoken."""
    from byteord.deployment.model import ActionLimits
    from byteord.stages.actions.http import HttpPost

    post = HttpPost("https://127.0.0.1/", ActionLimits(), ca_text="", token="")
    context = post._pool.connection_pool_kw["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    post.close()


def _copying(tmp_path: Path, mode: str, policy: str = "hold") -> RunPlan:
    """Return a plan whose file egress is gated."""
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
    plan = make_test_plan(
        spec_text("[[stages]]\nname = 's'\nstage = 'identity'\n"),
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.txt"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.txt"\nmode = "truncate"\n',
        directories=(str(tmp_path),),
    )
    effect = EffectPlan(plan.roles[-1].index, "adapter:file", f"{tmp_path}/out.txt", mode)
    return replace(plan, effects=(effect,), effects_policy=policy)


def test_a_gated_adapter_writes_only_under_a_lease(tmp_path: Path) -> None:
    """It holds without one, visibly, and writes everything once there is one."""
    with running(_copying(tmp_path, "act")) as run:
        until(lambda: run.role("out")["state"] == "blocked", 20.0, "blocked")
        assert (tmp_path / "out.txt").read_text() == ""
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES


def test_a_gated_adapter_never_counts_messages_away(tmp_path: Path) -> None:
    """It keeps no dead letters, so where a plan asks for some it holds: all are written later."""
    with running(_copying(tmp_path, "act", "dead_letter")) as run:
        until(lambda: run.role("out")["state"] == "blocked", 20.0, "blocked")
        assert run.role("out")["received"] == 0
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES


def test_a_gated_adapter_stops_where_policy_says_so(tmp_path: Path) -> None:
    """With `stop` a lost lease fails the run by name."""
    with running(_copying(tmp_path, "act", "stop")) as run:
        status = run.until_state("completed", "failed")
    assert "no lease" in status["failure"]["message"]


def test_a_dry_run_opens_no_gated_adapter(tmp_path: Path) -> None:
    """In record mode everything flows, the file is not made, the journal says what would be."""
    with running(_copying(tmp_path, "record")) as run:
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        journal, received = journal_of(run), run.role("out")["received"]
    assert received == len(LINES)
    assert not (tmp_path / "out.txt").exists()
    assert [(entry["event"], entry["target"]) for entry in journal] == [
        ("would", f"file {tmp_path}/out.txt")
    ]


def test_code_with_effects_is_not_called_in_a_dry_run(tmp_path: Path) -> None:
    """A user's stage that has effects is stood in for: messages pass, its module is not loaded."""
    (tmp_path / "acting.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')\n")
    plan = _copying(tmp_path, "act")
    role = next(role for role in plan.roles if role.stage)
    roles = [
        replace(each, stage="python:acting:Act") if each is role else each for each in plan.roles
    ]
    effect = EffectPlan(role.index, "pager", "python:acting:Act", "record")
    with running(replace(plan, roles=tuple(roles), effects=(effect,))) as run:
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        journal = journal_of(run)
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES
    assert [entry["event"] for entry in journal] == ["would"] * len(LINES)
    assert not (tmp_path / "loaded").exists()


def test_planted_bytecode_does_not_run(tmp_path: Path) -> None:
    """What runs is the source that was hashed, whatever lies in `__pycache__` beside it."""
    import py_compile

    source = tmp_path / "shown.py"
    source.write_text(_PASSING.format("planted"))
    planted = py_compile.compile(
        str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert planted
    source.write_text(_PASSING.format("hashed"))
    (tmp_path / "in.txt").write_text("a\n")
    plan = make_test_plan(
        spec_text(
            "[[stages]]\nname='s'\nstage='python:shown:Shown'\nmutates='all'\nresizes=true\n"
        ),
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.txt"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.txt"\nmode = "truncate"\n',
        directories=(str(tmp_path),),
    )
    with running(plan) as run:
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    assert (tmp_path / "out.txt").read_text() == "hashed\n"


_PASSING = """
class Shown:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        for index in range(len(batch)):
            batch.replace(index, b"{}")
"""
