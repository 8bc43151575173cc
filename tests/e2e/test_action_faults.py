"""What actions do where it gets hard: overlap, endless answers, back-pressure, dead letters."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from byteord.deployment.plan import EffectPlan, RunPlan
from byteord.runs.dead_letters import dead_letters
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


def _kept(plan: RunPlan, tmp_path: Path) -> RunPlan:
    """Return the plan with a directory of actions that outlives the run, as a daemon gives it."""
    directory = tmp_path / "actions" / plan.run_id
    directory.mkdir(parents=True)
    return replace(plan, actions_dir=str(directory))


def test_actions_overlap_and_messages_leave_in_order(tmp_path: Path, hook: Hook) -> None:
    """With a concurrency of 4 posts are in hand together, one fails, and order and count hold."""
    hook.script = [0.3, 0.2, 500, 0.1, 0.3, 0.1]
    limits = f'ca_file = "{hook.ca}"\nconcurrency = 4'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits)
    with running(plan) as run:
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        report = report_of(run)
    assert 1 < hook.at_once <= 4
    assert hook.connections <= 4
    assert sorted(hook.posts) == sorted(zip(keys_of(LINES), map(str.encode, LINES), strict=True))
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES
    assert (report["acted"], report["retried"]) == (20, 1)


@pytest.mark.parametrize(("fault", "again"), [("drip", 1), ("flood", 0)])
def test_an_answer_without_end_is_bounded(
    tmp_path: Path, hook: Hook, fault: str, again: int
) -> None:
    """One that never comes is a timeout, tried again; what follows a good status is cut off."""
    hook.script = [200, fault]
    limits = f'ca_file = "{hook.ca}"\ntimeout_ms = 400'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits)
    with running(plan) as run:
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        assert report_of(run)["retried"] == again
    assert [body for _, body, _ in hook.attempts].count(LINES[1].encode()) == 1 + again
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES


def test_back_pressure_shows_and_nothing_is_lost(tmp_path: Path, hook: Hook) -> None:
    """While the server fails the ring fills and upstream is blocked; then all goes on in order."""
    hook.always = 503
    limits = f'ca_file = "{hook.ca}"\nretries_max = 1000'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits, ring="capacity = 8")
    with running(plan) as run:
        give_lease(run)
        until(lambda: run.role("in")["state"] == "blocked", 20.0, "upstream blocked")
        until(lambda: run.role("s")["lag_slots"] == 8, 20.0, "a full ring")
        hook.always = 200
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    assert [body.decode() for _, body in hook.posts] == LINES
    assert (tmp_path / "out.txt").read_text().splitlines() == LINES


def test_what_was_set_aside_can_be_had_back(tmp_path: Path, hook: Hook) -> None:
    """Without a lease and with `dead_letter`: whole messages, in order, on the disk."""
    limits = f'ca_file = "{hook.ca}"'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits, policy="dead_letter")
    plan = _kept(plan, tmp_path)
    with running(plan) as run:
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        assert report_of(run)["dead_lettered"] == len(LINES)
    found = list(dead_letters(str(tmp_path / "actions"), plan.run_id))
    assert [each.payload.decode() for each in found] == LINES
    assert [each.key for each in found] == keys_of(LINES)
    assert {each.why for each in found} == {"the run has no lease"}


def test_without_room_for_dead_letters_messages_wait(tmp_path: Path, hook: Hook) -> None:
    """A full file loses nothing: what does not fit is held, and done once there is a lease."""
    limits = f'ca_file = "{hook.ca}"'
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, limits, policy="dead_letter")
    plan = _kept(plan, tmp_path)
    worker = next(each.index for each in plan.workers if "s" in each.name)
    with open(f"{plan.actions_dir}/dead-letters-{worker}.jsonl", "wb") as file:
        file.truncate((64 << 20) - 1000)  # room for two, as sparse as it is
    with running(plan) as run:
        until(lambda: report_of(run)["held"] == 1, 20.0, "a message that waits")
        aside = report_of(run)["dead_lettered"]
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
    assert 0 < aside < 5
    assert [body.decode() for _, body in hook.posts] == LINES[aside:]


def test_a_message_that_was_given_up_can_be_had_back(tmp_path: Path, hook: Hook) -> None:
    """It is the one that failed the run, and its reason."""
    hook.script = [200, 200, 404]
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, f'ca_file = "{hook.ca}"')
    plan = _kept(plan, tmp_path)
    with running(plan) as run:
        give_lease(run)
        assert run.until_state("completed", "failed")["state"] == "failed"
    [letter] = dead_letters(str(tmp_path / "actions"), plan.run_id)
    assert (letter.sequence, letter.payload.decode()) == (2, LINES[2])
    assert letter.why == "status 404 after 1 attempt"


def test_a_failing_journal_stops_actions(tmp_path: Path, hook: Hook) -> None:
    """What cannot be written down before it happens does not happen."""
    plan = action_plan(tmp_path, f"http_post:{hook.url}", LINES, f'ca_file = "{hook.ca}"')
    with running(plan) as run:
        until(lambda: report_of(run)["held"] == 1, 20.0, "a message that waits for the lease")
        resource.prlimit(run.worker_pid("s"), resource.RLIMIT_FSIZE, (0, 0))
        give_lease(run)
        status = run.until_state("completed", "failed")
    assert "File too large" in status["failure"]["message"]
    assert hook.attempts == []


def _listener(kind: str, path: str) -> tuple[socket.socket, str]:
    """Return a socket that waits for what an egress sends, and its option."""
    family = socket.AF_UNIX if kind.startswith("unix") else socket.AF_INET
    datagrams = kind in {"udp", "unix_dgram"}
    made = socket.socket(family, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    made.bind(path if family == socket.AF_UNIX else ("127.0.0.1", 0))
    if not datagrams:
        made.listen()
    made.settimeout(10)
    if family == socket.AF_INET:
        return made, f'connect = "127.0.0.1:{made.getsockname()[1]}"'
    return made, f'path = "{path}"' if datagrams else f'connect = "{path}"'


def _sending(tmp_path: Path, kind: str, option: str, mode: str) -> RunPlan:
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
    plan = make_test_plan(
        spec_text("[[stages]]\nname = 's'\nstage = 'identity'\n"),
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.txt"\n'
        f'[adapters.out]\nkind = "{kind}"\n{option}\n',
        directories=(str(tmp_path),),
    )
    effect = EffectPlan(plan.roles[-1].index, f"adapter:{kind}", option, mode)
    return replace(plan, effects=(effect,))


KINDS = ["udp", "tcp", "unix_stream", "unix_dgram"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_egress_that_sends_is_gated(tmp_path: Path, kind: str) -> None:
    """Nothing leaves without a lease; with one everything does, in order."""
    listener, option = _listener(kind, str(tmp_path / "socket"))
    with listener, running(_sending(tmp_path, kind, option, "act")) as run:
        until(lambda: run.role("out")["state"] == "blocked", 20.0, "blocked")
        assert run.role("out")["received"] == 0
        give_lease(run)
        assert _received(listener, kind, len(LINES)) == LINES
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()


@pytest.mark.parametrize("kind", KINDS)
def test_an_egress_that_sends_is_not_opened_in_a_dry_run(tmp_path: Path, kind: str) -> None:
    """Everything flows, the peer sees nothing of it, the journal says where it would have gone."""
    listener, option = _listener(kind, str(tmp_path / "socket"))
    with listener, running(_sending(tmp_path, kind, option, "record")) as run:
        assert run.until_state("completed", "failed")["state"] == "completed", run.status()
        assert run.role("out")["received"] == len(LINES)
        [entry] = journal_of(run)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1) if kind in {"udp", "unix_dgram"} else listener.accept()
    assert entry["event"] == "would"
    assert entry["target"].startswith(f"{kind} ")


def _received(listener: socket.socket, kind: str, count: int) -> list[str]:
    if kind in {"udp", "unix_dgram"}:
        return [listener.recv(4096).decode() for _ in range(count)]
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        return [line.decode().rstrip("\n") for line in lines]
