"""An action behind two inputs is killed: their order may change, what was done stays done."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from byteord.deployment.actions import COUNTERS
from byteord.deployment.model import ActionLimits
from byteord.deployment.plan import EffectPlan
from tests.support.actions import give_lease
from tests.support.https import Hook, https_hook
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, running

COUNT = 150
STATE_BYTES = 64 + 8 * len(COUNTERS)


def _posted(hook: Hook, count: int) -> bool:
    return len(hook.posts) >= count


def _kill(run: LiveRun) -> None:
    """Kill the worker of the action, and wait for the next one."""
    pid = run.worker_pid("s")
    os.kill(pid, signal.SIGKILL)
    until(lambda: run.worker_pid("s") not in {0, pid}, 20.0, "a new worker")


@pytest.mark.timeout(90)
def test_each_message_of_two_inputs_has_one_key(tmp_path: Path) -> None:
    """Across kills every message is posted; one that is posted twice has the same key and body.

    Some messages are equal: they are posted as often as they came, each under its own key.
    """
    inputs = {
        name: [f"{name} {n}" if n % 10 else "the same" for n in range(COUNT)] for name in "ab"
    }
    for name, lines in inputs.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    with https_hook(tmp_path) as hook:
        roles: list[R] = [
            source(name, "all", "file", path=str(tmp_path / name), framing="lines")
            for name in inputs
        ]
        more = {"state": "state", "state_bytes": STATE_BYTES, "report": COUNTERS}
        roles += [
            stage("s", "all", "done", f"http_post:{hook.url}", **more),
            sink("out", "done", "file", path=str(tmp_path / "out"), mode="truncate"),
        ]
        plan = graph_plan(
            [L("all", capacity=16), L("done", capacity=16)], roles, read_dirs=(str(tmp_path),),
            write_dirs=(str(tmp_path),), url_prefixes=(hook.url.rpartition("/")[0],),
            ca_text=Path(hook.ca).read_text(), max_batch=16,
        )  # fmt: skip
        limits = ActionLimits(concurrency=3)
        plan = replace(
            plan,
            actions={name: getattr(limits, name) for name in ActionLimits.__slots__},
            effects=(EffectPlan(2, "http_post", hook.url, "act"),),
        )
        with running(plan) as run:
            give_lease(run)
            for count in (40, 120, 200):
                until(partial(_posted, hook, count), 30.0, f"{count} posts")
                _kill(run)
            assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        wanted = Counter(line.encode() for lines in inputs.values() for line in lines)
        keys = dict(hook.posts)
        assert Counter(keys.values()) == wanted, "as many keys for a body as messages"
        assert len(set(hook.posts)) == len(keys), "no key with two bodies"
        assert Counter((tmp_path / "out").read_bytes().splitlines()) == wanted
