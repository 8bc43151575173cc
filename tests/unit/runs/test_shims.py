"""Shims that wait for a run: how many, which, and when one is no longer taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from byteord.errors import UnavailableError
from byteord.runs.leftovers import runs_shim_of
from byteord.runs.shims import (
    NUMPY,
    PLAIN,
    UNLIMITED,
    WITH_NUMPY,
    Kind,
    Shim,
    ShimReserve,
    spawn_shim,
    wants_numpy,
)
from byteord.shim.order import Order, waiting_place
from tests.support.poll import until
from tests.support.run import make_test_plan, spec_text
from tests.support.runs import until as eventually

ROOT = "/dev/shm"
STAGE = """
[[stages]]
name = "mine"
stage = "python:mine:Mine"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "generator"
[adapters.out]
kind = "discard"
"""


def gone(pid: int) -> bool:
    """Tell whether a process has ended and been collected."""
    return not Path(f"/proc/{pid}").exists()


def state(pid: int) -> str:
    """Return the state letter of a process, `Z` for one that has ended and was not collected."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def descriptors(pid: int) -> dict[int, str]:
    """Return what a process has open; not all that it closes again as it starts."""
    links = {}
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links[int(each.name)] = os.readlink(each)
    return links


@pytest.fixture
def shim() -> Iterator[Shim]:
    """Provide a shim that waits; afterwards it is gone."""
    shim = spawn_shim(ROOT)
    try:
        yield shim
    finally:
        shim.end()
        assert gone(shim.pid)


def test_a_shim_without_a_daemon_ends_by_itself(shim: Shim) -> None:
    """When the other end of its channel closes without an order, as by `kill -9`, it is over."""
    shim.channel.close()
    until(lambda: state(shim.pid) == "Z", 30.0, "the shim has ended")
    assert os.waitstatus_to_exitcode(os.waitpid(shim.pid, 0)[1]) == 0


def test_a_shim_waits_in_a_place_that_adoption_knows(shim: Shim) -> None:
    """Before it shows its run it shows that it waits beneath the directory of runs."""
    until(lambda: runs_shim_of(shim.pid, f"{ROOT}/any-run"), 30.0, "it shows its place")
    assert not runs_shim_of(shim.pid, "/elsewhere/any-run")
    assert not runs_shim_of(os.getpid(), f"{ROOT}/any-run")


def test_a_shim_holds_nothing_of_the_daemon(shim: Shim) -> None:
    """Of this process's descriptors it has its standard ones and its channel alone."""
    until(lambda: b"byteord.shim" in Path(f"/proc/{shim.pid}/cmdline").read_bytes(), 30.0, "exec")
    words = Path(f"/proc/{shim.pid}/cmdline").read_bytes().split(b"\0")
    channel = int(words[words.index(waiting_place(ROOT).encode()) + 1])
    links = descriptors(shim.pid)
    assert links[0] == links[1] == "/dev/null"
    assert links[channel].startswith("socket:")
    assert {fd for fd, link in links.items() if link.startswith("socket:")} == {channel}


def test_only_what_a_fresh_one_would_be_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim that was moved, whose environment is old, or that died is not what would start now."""
    shim = spawn_shim(ROOT)
    assert shim.as_fresh()
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Antarctica/Troll")
        assert not shim.as_fresh()
    assert shim.as_fresh()
    nice = os.getpriority(os.PRIO_PROCESS, shim.pid)
    os.setpriority(os.PRIO_PROCESS, shim.pid, nice + 1)
    assert not shim.as_fresh()
    shim.end()
    shim = spawn_shim(ROOT)
    os.kill(shim.pid, signal.SIGKILL)
    until(lambda: state(shim.pid) == "Z", 30.0, "the shim has ended")
    assert not shim.as_fresh()
    shim.end()


def test_an_order_to_a_dead_shim_is_an_error(shim: Shim, tmp_path: Path) -> None:
    """It names the shim and says what to do."""
    os.kill(shim.pid, signal.SIGKILL)
    os.waitpid(shim.pid, 0)
    with pytest.raises(UnavailableError, match=rf"{shim.pid}.*try again"):
        shim.order(Order(str(tmp_path)))


def test_one_waits_and_is_replaced_after_each_start() -> None:
    """A daemon that stays has a shim wait, another soon after that is taken, none at its end."""

    async def life() -> None:
        reserve = ShimReserve(ROOT, starts=UNLIMITED)
        reserve.fill()
        [first] = reserve.pids
        reserve.fill()
        assert list(reserve.pids) == [first]
        reserve.prepare(PLAIN)
        taken = reserve.take(PLAIN)
        assert (taken.pid, len(reserve.pids)) == (first, 0)
        reserve.settle()
        await eventually(lambda: len(reserve.pids) == 1, "another one waits")
        [second] = reserve.pids
        reserve.close()
        assert gone(second)
        reserve.fill()
        assert len(reserve.pids) == 0
        taken.end()

    asyncio.run(life())


def test_what_is_counted_ends_with_the_last_start() -> None:
    """With one run expected nothing waits after it; with none, a shim is started with its run."""

    async def life(starts: int) -> None:
        reserve = ShimReserve(ROOT, starts=starts)
        reserve.fill()
        assert len(reserve.pids) == starts
        reserve.prepare(PLAIN)
        [pid] = reserve.pids
        reserve.settle()  # the run was refused: nobody took it
        assert len(reserve.pids) == 0
        assert gone(pid)

    for starts in (0, 1):
        asyncio.run(life(starts))


def test_python_gets_numpy_once_it_was_wanted() -> None:
    """The first run with Python stages takes the plain shim; from then on one with NumPy waits."""

    async def life() -> None:
        reserve = ShimReserve(ROOT, starts=UNLIMITED)
        reserve.fill()
        reserve.prepare(WITH_NUMPY)
        first = reserve.take(WITH_NUMPY)
        assert not first.kind.numpy
        reserve.fill()
        assert len(reserve.pids) == 2
        second, third = reserve.take(WITH_NUMPY), reserve.take(PLAIN)
        assert (second.kind.numpy, third.kind.numpy) == (True, False)
        for shim in (first, second, third):
            shim.end()

    asyncio.run(life())


def test_a_run_with_a_hash_seed_has_a_shim_of_its_own() -> None:
    """The one that waits has another seed; it goes on waiting, and the own one has the seed."""

    async def life() -> None:
        reserve = ShimReserve(ROOT, starts=UNLIMITED)
        reserve.fill()
        [first] = reserve.pids
        kind = Kind(hash_seed=4242)
        reserve.prepare(kind)
        assert len(reserve.pids) == 2
        shim = reserve.take(kind)
        assert list(reserve.pids) == [first]
        seeded = b"PYTHONHASHSEED=4242"
        place = Path(f"/proc/{shim.pid}/environ")
        await eventually(lambda: seeded in place.read_bytes().split(b"\0"), "the seed")
        shim.end()
        reserve.prepare(kind)
        reserve.settle()  # that run was refused
        assert list(reserve.pids) == [first]
        reserve.close()

    asyncio.run(life())


def test_numpy_is_loaded_early_only_where_it_must_be_the_installed_one(tmp_path: Path) -> None:
    """Not for native runs, not where memory is locked, not where a code directory shadows it."""
    plan = make_test_plan(spec_text(STAGE), DEPLOYMENT, directories=[str(tmp_path)])
    assert wants_numpy(plan)
    native = tuple(replace(role, stage="identity") for role in plan.roles)
    assert not wants_numpy(replace(plan, roles=native))
    assert not wants_numpy(replace(plan, tuning=replace(plan.tuning, mlock=True)))
    (tmp_path / f"{NUMPY}.py").write_text("")
    assert not wants_numpy(plan)
