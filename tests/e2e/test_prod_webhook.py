"""A webhook in prod, end to end: a real daemon, byteorctl, signers, a server that counts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.governed import GovernedHost
from tests.support.https import Hook, https_hook
from tests.support.poll import until

COUNT = 60
LINES = [f"alarm {n}" for n in range(COUNT)]


class Host(GovernedHost):
    """A prod host whose pipeline posts each line of a file to a hook."""

    def __init__(self, top: Path, hook: Hook) -> None:
        """Write the input, then start everything."""
        (top / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
        self.hook = hook
        spec = (
            'version = 1\nname = "alarms"\nmodel = "single_ring"\n[ring]\ncapacity = 8\n'
            f"[[stages]]\nname = 'notify'\nstage = 'http_post:{hook.url}'\n"
            '[[endpoints]]\nname = "in"\nkind = "ingress"\n'
            '[[endpoints]]\nname = "out"\nkind = "egress"\n'
        )
        deployment = (
            f'version = 1\n[adapters.in]\nkind = "file"\npath = "{top}/in.txt"\n'
            '[adapters.out]\nkind = "discard"\n'
            f'[actions]\nca_file = "{hook.ca}"\nbackoff_ms = 10\nbackoff_max_ms = 50\n'
            "retries_max = 20\n"
        )
        config = {
            "allow.read_dirs": [str(top)],
            "allow.url_prefixes": [hook.url.rpartition("/")[0]],
        }
        super().__init__(top, spec=spec, deployment=deployment, config=config)

    def ended(self, run: str) -> bool:
        """Tell whether a run has come to its end as it should."""
        state = self.status(run)["state"]
        assert state in {"running", "draining", "completed"}, self.status(run)
        return bool(state == "completed")


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    """Provide the server, with an authority of its own."""
    with https_hook(tmp_path) as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, hook: Hook) -> Iterator[Host]:
    """Provide the host."""
    made = Host(tmp_path, hook)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.timeout(240)
def test_prod_posts_what_two_people_signed_and_nothing_else(host: Host, hook: Hook) -> None:
    """Refused for every other run, place, time and count; then each message is posted once.

    The server answers 500 now and then and a worker is killed: what comes twice has the same key
    and body. Each refusal stands in the audit log with its reason, and no connection was made.
    """
    described = host.call("describe", host.spec, "-o", "json")
    assert json.loads(described.stdout)["needs"] == [
        {
            "where": "notify", "capability": "http_post", "target": hook.url,
            "decision": "RequireApproval", "reason": "there is no approval",
        }
    ]  # fmt: skip
    said = host.refused("APPROVAL_REQUIRED")
    assert f"http_post of notify ({hook.url})" in said
    assert f"byteorctl approve request {host.spec}" in said
    expired = shutil.copy(host.expired(), host.top / "expired")
    host.request("--uses", "1", "--reason", "release 7")
    host.refused("APPROVAL_TOO_FEW_SIGNERS", "--approval", host.sign("alice"))
    approval = shutil.copy(host.sign("alice", "bob"), host.top / "signed")

    spec = host.spec.read_text()
    host.spec.write_text(spec.replace("capacity = 8", "capacity = 16"))
    host.refused("APPROVAL_SPEC_DIFFERS", "--approval", approval)
    host.spec.write_text(spec)
    deployment = host.deployment.read_text()
    host.deployment.write_text(deployment.replace("retries_max = 20", "retries_max = 21"))
    host.refused("APPROVAL_DEPLOYMENT_DIFFERS", "--approval", approval)
    host.deployment.write_text(deployment)
    staging = host.start("staging")
    try:
        host.refused("APPROVAL_WRONG_ENVIRONMENT", "--approval", approval, daemon=staging)
        assert staging.stop() == 0
    finally:
        staging.close()
    host.refused("APPROVAL_EXPIRED", "--approval", expired)
    assert hook.connections == 0

    hook.script = [200, 500, 200, "close", 200]
    run = host.started("--approval", approval)
    until(lambda: len(hook.posts) >= COUNT // 3, 60.0, "a third of the posts")
    _kill_poster(host, run)
    until(partial(host.ended, run), 60.0, "the end of the run")
    _check_posts(hook)
    host.refused("APPROVAL_USED_UP", "--approval", approval)
    _check_audit(host, run)


def _kill_poster(host: Host, run: str) -> None:
    """Kill the worker that posts; it is restarted."""
    seen = host.status(run)
    index = next(role["worker"] for role in seen["roles"] if role["name"] == "notify")
    os.kill(next(each["pid"] for each in seen["workers"] if each["index"] == index), signal.SIGKILL)


def _check_posts(hook: Hook) -> None:
    assert sorted({body for _, body in hook.posts}) == sorted(line.encode() for line in LINES)
    assert len({key for key, _ in hook.posts}) == COUNT, "each message has one key"
    assert len(set(hook.posts)) == COUNT, "a key never comes with another body"
    order = list(dict.fromkeys(body for _, body in hook.posts))
    assert order == [line.encode() for line in LINES]


def _check_audit(host: Host, run: str) -> None:
    """The log names each refusal, the admission with its signers, and what was done."""
    records = host.audit()
    reasons = [each["reason"] for each in records if each["kind"] == "denied"]
    assert reasons == [
        "APPROVAL_REQUIRED", "APPROVAL_TOO_FEW_SIGNERS", "APPROVAL_SPEC_DIFFERS",
        "APPROVAL_DEPLOYMENT_DIFFERS", "APPROVAL_EXPIRED", "APPROVAL_USED_UP",
    ]  # fmt: skip
    mine = {each["kind"]: each for each in records if each.get("run") == run}
    assert mine["run.admitted"]["signers"] == ["alice", "bob"]
    assert mine["run.admitted"]["method"] == "StartRun"
    [effect] = mine["effects.ended"]["effects"]
    assert (effect["where"], effect["capability"], effect["mode"]) == ("notify", "http_post", "act")
    assert effect["done"] >= COUNT
    assert list(mine["effects.ended"]["files"])
    assert host.daemon.stop() == 0
    audit = host.daemon.directory / "state" / "audit"
    assert byteorctl("audit", "verify", audit).returncode == 0


@pytest.mark.timeout(120)
def test_what_was_given_up_comes_back_by_a_verb(host: Host, hook: Hook) -> None:
    """The message that failed the run is written as `run --input` reads it; reading is audited."""
    hook.always = 404
    host.request()
    host.sign("alice", "bob")
    run = host.started()
    until(lambda: host.status(run)["state"] == "failed", 30.0, "the failure")
    output = host.top / "again.txt"
    done = host.call("dead-letters", run, "--output", output, "-o", "json")
    assert done.returncode == 0, done.stderr
    [letter] = json.loads(done.stdout)["letters"]
    assert (letter["role"], letter["sequence"]) == ("notify", 0)
    assert letter["why"] == "status 404 after 1 attempt"
    assert output.read_text() == f"{LINES[0]}\n"
    shown = host.call("dead-letters", "alarms")
    assert "status 404" in shown.stdout.decode()
    assert [each["run"] for each in host.audit() if each["kind"] == "payload.read"] == [run, run]
    none = host.call("dead-letters", "nothing")
    assert none.returncode == 66


@pytest.mark.timeout(120)
def test_describe_tells_the_pins_that_prod_demands(host: Host) -> None:
    """A program without a pin is refused; with the one that `describe` prints it is not."""
    program = host.top / "notify.sh"
    program.write_text("#!/bin/sh\ncat > /dev/null\n")
    program.chmod(0o755)
    host.daemon.stop()
    text = host.daemon.config.read_text() + f'allow.exec = ["{program}"]\n'
    host.daemon.config.write_text(text)
    host.daemon.start()
    spec = host.spec.read_text().replace(f"http_post:{host.hook.url}", f"exec:{program}")
    host.spec.write_text(spec)
    refused = host.call("validate", host.spec)
    assert refused.returncode == 78
    assert b"POLICY_DIGEST_MISSING" in refused.stdout
    described = host.call("describe", host.spec, "-o", "json")
    assert described.returncode == 0, described.stderr
    pin = json.loads(described.stdout)["pins"]["notify"]
    assert pin == "sha256:" + hashlib.sha256(program.read_bytes()).hexdigest()
    host.spec.write_text(spec.replace("name = 'notify'", f"name = 'notify'\ndigest = '{pin}'"))
    assert host.call("validate", host.spec).returncode == 0


def test_capabilities_lists_the_stages_that_act(host: Host) -> None:
    """With the capability that each needs."""
    shown = host.call("capabilities", "-o", "json")
    found = {each["name"]: each for each in json.loads(shown.stdout)["stages"]}
    assert found["http_post:URL"]["effects"] == ["http_post"]
    assert found["exec:PROGRAM|ARGUMENT|..."]["kind"] == "action"
