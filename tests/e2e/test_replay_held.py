"""Replays of what retention goes on in: what is read is held, or it is said what has gone."""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.errors import NotFoundError
from byteord.regions.journals import names
from byteord.regions.segments import Range
from byteord.rpc.control import Catalogues, Control
from byteord.rpc.replay_hold import Holds
from byteord.rpc.replay_wanted import ReplayDone, ReplayWanted
from byteord.rpc.replays import Replays
from byteord.runs.host import read_host
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from byteord.runs.view import Admission, RunView
from byteord.stages.catalogue import CATALOGUE as STAGES
from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon
from tests.support.poll import until
from tests.support.recordings import frames, write_segments
from tests.support.replayed import replay
from tests.support.runs import Runs, ended, input_of, managed, run

COUNT = 5_000
LINES = b"".join(b"line %05d\n" % number for number in range(COUNT))
SPEC = """
version = 1
name = "endless"
model = "single_ring"
[ring]
slot_bytes = 128
[[stages]]
name = "pass"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "generator"
rate = 300000
size = 64
[adapters.out]
kind = "discard"
[capture]
directory = "{directory}"
keep = "last"
last_messages = 2000
segment_bytes = 131072
"""
"""Segments go every few milliseconds, long before a replay has started."""


class _LateControl(Control):
    """Starts a replay after something has happened to what it is about to read."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def start(self, admission: Admission) -> RunView:
        """As the daemon does, only later."""
        self.meanwhile()
        return await super().start(admission)


async def _recorded(runs: Runs, manager: RunManager) -> tuple[str, Path]:
    """Record a run; return its id and where its input lies, in several segments."""
    captures = runs.top / "data" / "captures"
    more = f'[capture]\ndirectory = "{captures}"\nsegment_bytes = 131072'
    admission = runs.admission(egress='kind = "discard"', client_output=False, more=more)
    view = await manager.start(admission)
    await manager.feed(view.id, input_of(LINES))
    last = await ended(manager, view.id)
    assert last.state is RunState.COMPLETED, last.failure
    place = captures / view.id / "in" / "in"
    assert len(names(place)) > 1
    return view.id, place


def _retention(place: Path) -> None:
    """Take the oldest segment, as the recorder does."""
    min(place.glob("*.seg")).unlink()


async def _replayed(
    runs: Runs, manager: RunManager, wanted: ReplayWanted, meanwhile: Callable[[], None]
) -> Mapping[str, Any]:
    control = _LateControl(runs.authority, manager, Catalogues(STAGES, ADAPTERS), read_host)
    control.meanwhile = meanwhile
    replays = Replays(control, str(runs.top / "replays"))
    *_, last = [event async for event in replays.replay(wanted, "uid:0", sees=True)]
    assert isinstance(last, ReplayDone)
    return last.fields


@pytest.mark.timeout(60)
def test_what_retention_takes_while_a_replay_starts_is_replayed_all_the_same() -> None:
    """Its first segment goes between the survey and the start: all is there, and nothing stays."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            run_id, place = await _recorded(runs, manager)
            wanted = ReplayWanted(str(uuid.uuid4()), run_id=run_id)
            result = await _replayed(runs, manager, wanted, lambda: _retention(place))
            assert (result["verdict"], result["replayed"]) == ("equal", COUNT), result
            assert not list((runs.top / "replays").glob("held/*"))

    run(work)


@pytest.mark.timeout(60)
def test_what_cannot_be_held_and_has_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without links: the range that was wanted, what is left, what to do."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            run_id, place = await _recorded(runs, manager)
            monkeypatch.setattr(os, "link", no_links)
            second = names(place)[1]
            wanted = ReplayWanted(str(uuid.uuid4()), run_id=run_id, range=Range(from_sequence=7))
            with pytest.raises(NotFoundError) as refused:
                await _replayed(runs, manager, wanted, lambda: _retention(place))
            assert refused.value.reason == "RANGE_GONE"
            for part in (
                f"ingress in: messages 7 to {COUNT - 1:,} were taken by retention",
                f"left is {second:,} to {COUNT - 1:,}",
                "--last N",
                "incident-bundle",
            ):
                assert part in refused.value.message
            audit = (runs.top / "replays" / f"{wanted.request_id}.json").read_text()
            assert "RANGE_GONE" in audit
            again = ReplayWanted(str(uuid.uuid4()), run_id=run_id)  # nothing goes this time
            left = await _replayed(runs, manager, again, lambda: None)
            assert left["verdict"] == "not_comparable"
            assert f"its first {second:,} messages were not kept" in left["reasons"][0]["message"]
            assert "divergence" not in left, "places differ: there is nothing to hold against"

    run(work)


@pytest.mark.timeout(120)
def test_a_run_that_keeps_its_last_messages_is_replayed_while_it_goes_on() -> None:
    """By its id all that is there, from its directory the last ones."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        top = Path(place)
        (top / "spec.toml").write_text(SPEC)
        (top / "deployment.toml").write_text(DEPLOYMENT.format(directory=top / "captures"))
        with running_daemon(config={"allow.write_dirs": [place]}) as daemon:
            at = ["--address", daemon.address]
            started = byteorctl(*at, "run", "--detach", top / "spec.toml")
            assert started.returncode == 0, started.stderr
            run_id = started.stdout.decode().split()[0]
            stream = top / "captures" / run_id / "in" / "in"
            until(lambda: stream.is_dir() and min(names(stream), default=0), 30, "retention")
            code, result, said = replay(daemon.address, run_id)
            assert code == 0, said
            assert [each["code"] for each in result["reasons"]][:1] == ["gap"], result
            assert result["replayed"] == result["selected"] >= 2000
            code, result, said = replay(daemon.address, top / "captures" / run_id, "--last", "100")
            assert (code, result["replayed"]) == (0, 100), said
            code, _, said = replay(daemon.address, run_id, "--to-sequence", "10")
            assert code == 66
            assert "seen messages 0 to 10, which selects no message" in said
            assert "retention let go of what came before" in said
            assert byteorctl(*at, "stop", "--abort", run_id).returncode == 0
            assert not list((daemon.directory / "state" / "replays").glob("held/*"))


def test_holds_lie_beside_a_source_on_another_file_system_and_end_with_their_daemon(
    tmp_path: Path,
) -> None:
    """State and source on two file systems: links beside the source; a new daemon removes them."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/dev/shm") as place:
        source = Path(place) / "run-1"
        write_segments(source / "in" / "feed", frames([b"a" * 400] * 500))
        write_segments(source / "choices" / "role", frames([b"c" * 16]))
        state = tmp_path / "held"
        holds = Holds(str(state))
        held = holds.take("some-id", str(source))
        assert held.held
        assert held.named == str(source)
        assert Path(held.directory).parent.parent == Path(place)
        kept = names(Path(held.directory) / "in" / "feed")
        assert len(kept) > 1
        for path in (source / "in" / "feed").iterdir():
            path.unlink()
        assert names(Path(held.directory) / "in" / "feed") == kept
        (source / "choices" / "role" / f"{99:020d}.seg").write_bytes(b"later")
        holds.catch_up(held)
        assert names(Path(held.directory) / "choices" / "role") == [0, 99]
        Holds(str(state))
        assert sorted(path.name for path in Path(place).iterdir()) == ["run-1"]
        assert not list(tmp_path.glob("held/*"))
