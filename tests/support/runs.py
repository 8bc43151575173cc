"""Runs without a daemon: a real manager, real shims and workers, checked for leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from byteord._cext.stages import crc32c
from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.model import ApprovalRules, Authority
from byteord.deployment.validate import validate
from byteord.policy.governor import Governor
from byteord.runs.host import read_host
from byteord.runs.manager import RunManager, RunSettings
from byteord.runs.view import CHUNK_BYTES_MAX, Admission, InputChunk, RunView
from byteord.spec.document import Source
from byteord.stages.catalogue import CATALOGUE as STAGES

T = TypeVar("T")

STAGES_MODULE = '''
import threading

class Upper:
    """Upper-case text, in place."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, bytes(payload).upper())

class Raises:
    """Raise on the message that says so."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for payload in batch:
            if bytes(payload).startswith(b"boom"):
                raise ValueError("no boom please")

class Broken:
    """Cannot be made."""
    def __init__(self, ctx):
        raise RuntimeError("missing model file")
    def process(self, batch):
        pass

class Summary:
    """Drop everything; say at the end that this was it."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        batch.keep([False] * len(batch))
    def end(self, batch):
        return b"that was it"

class Hangs:
    """Never return."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        threading.Event().wait(3600)
'''


def python_stage(name: str) -> str:
    """Return the spec of a stage of the test module."""
    return f"""
        stage = "python:runs_stages:{name}"
        mutates = "all"
        resizes = true
        deterministic = true
        effects = []
    """


class Runs:
    """A manager's settings and directories for one test."""

    def __init__(self, **authority: Any) -> None:
        """Make directories; `authority` overrides what the daemon's configuration would say."""
        self.top = Path(tempfile.mkdtemp(prefix="byteor-t-", dir="/tmp"))
        self.regions = Path(tempfile.mkdtemp(prefix="byteor-test-", dir="/dev/shm"))
        (self.top / "code").mkdir()
        (self.top / "data").mkdir()
        (self.top / "code" / "runs_stages.py").write_text(STAGES_MODULE)
        self.authority = Authority(
            **{
                "code_dirs": (str(self.top / "code"),),
                "read_dirs": (str(self.top / "data"),),
                "write_dirs": (str(self.top / "data"),),
                **authority,
            }
        )
        self.rules = ApprovalRules()
        self.ahead_s = 0.0
        """How far the clock of governors is ahead of the real one."""
        self.governors: list[Governor] = []
        self.events: list[tuple[str, dict[str, object]]] = []

    def governor(self) -> Governor:
        """Return an open governor; an earlier one is closed, as that of a daemon that has ended."""
        for earlier in self.governors:
            earlier.close()
        state = str(self.top / "state")
        governor = Governor(
            self.authority, self.rules, state, now=lambda: time.time() + self.ahead_s
        )
        governor.open()
        assert not governor.audit.problem, governor.audit.problem
        self.governors.append(governor)
        return governor

    def manager(self, **settings: Any) -> RunManager:
        """Return a manager on these directories; another one stands for the next daemon."""
        return RunManager(
            RunSettings(
                authority=self.authority,
                regions_root=str(self.regions),
                state_dir=str(self.top / "state" / "runs"),
                **settings,
            ),
            governor=self.governor(),
            report=lambda event, data: self.events.append((event, dict(data))),
        )

    def admission(
        self,
        stages: Sequence[str] = ('stage = "identity"',),
        *,
        ingress: str = 'kind = "stdin"\nframing = "lines"',
        egress: str = 'kind = "stdout"\nframing = "lines"',
        client_input: bool = True,
        client_output: bool = True,
        more: str = "",
        **changes: Any,
    ) -> Admission:
        """Return an admission of these stages in a chain, as validation lets it in."""
        report = validate(
            Source("spec.toml", spec_text(stages).encode(), "toml"),
            Source("deployment.toml", self._deployment(ingress, egress, more), "toml"),
            authority=self.authority,
            stages=STAGES,
            adapters=ADAPTERS,
            host=read_host(),
            client_input=client_input,
            client_output=client_output,
        )
        assert report.ok, report.findings
        assert report.spec is not None
        assert report.deployment is not None
        return Admission(
            report.spec,
            report.deployment,
            client_input=client_input,
            client_output=client_output,
            **changes,
        )

    def _deployment(self, ingress: str, egress: str, more: str) -> bytes:
        text = deployment_text(ingress, egress, more)
        return text.replace('"dev"', f'"{self.authority.environment}"', 1).encode()

    def leftovers(self) -> list[str]:
        """Return what is still there: files in shared memory, and processes that name or map it."""
        files = [str(path) for path in self.regions.rglob("*")]
        return [*files, *(f"pid {pid}" for pid in self.processes())]

    def processes(self) -> list[int]:
        """Return the pids, but ours, whose arguments or mappings name the regions."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    seen = (entry / "cmdline").read_bytes() + (entry / "maps").read_bytes()
                    if os.fsencode(self.regions) in seen:
                        found.append(int(entry.name))
        return found

    def close(self) -> None:
        """End what is left and remove the directories."""
        for governor in self.governors:
            governor.close()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.regions, ignore_errors=True)
        shutil.rmtree(self.top, ignore_errors=True)


def spec_text(stages: Sequence[str]) -> str:
    """Return a spec of a chain; each stage is the TOML of its own keys."""
    text = 'version = 1\nname = "tested"\nmodel = "single_ring"\n[ring]\nslot_bytes = 256\n'
    for index, stage in enumerate(stages):
        after = f"depends_on = [{index - 1}]\n" if index else ""
        text += f'[[stages]]\nname = "s{index}"\n{after}{textwrap.dedent(stage)}\n'
    for name, kind in (("in", "ingress"), ("out", "egress")):
        text += f'[[endpoints]]\nname = "{name}"\nkind = "{kind}"\n'
    return text


def deployment_text(ingress: str, egress: str, more: str) -> str:
    """Return a deployment of both endpoints."""
    head = f'version = 1\nenvironment = "dev"\n{textwrap.dedent(more)}\n'
    return f"{head}[adapters.in]\n{ingress}\n[adapters.out]\n{egress}\n"


@contextlib.asynccontextmanager
async def managed(runs: Runs, **settings: Any) -> AsyncIterator[RunManager]:
    """Give a manager; on the way out abort what runs, close, and check that nothing is left."""
    manager = runs.manager(**settings)
    try:
        yield manager
        for view in manager.list():
            await manager.stop(view.id, "abort")
    finally:
        await manager.close()
    await until(lambda: not runs.leftovers(), f"nothing left, but: {runs.leftovers()}")


def run(work: Callable[[Runs], Coroutine[Any, Any, T]], **authority: Any) -> T:
    """Run a test on the daemon's kind of loop, with a deadline."""
    runs = Runs(**authority)

    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await work(runs)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(bounded())
    finally:
        runs.close()


async def until(predicate: Callable[[], T], what: str = "", timeout_s: float = 15.0) -> T:
    """Return the first true value of `predicate`; raise AssertionError after `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    pause = asyncio.Event()
    while not (value := predicate()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or predicate}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pause.wait(), 0.005)
    return value


async def input_of(data: bytes) -> AsyncIterator[InputChunk]:
    """Yield a whole input as a client does."""
    for offset in range(0, len(data), CHUNK_BYTES_MAX):
        yield InputChunk(data[offset : offset + CHUNK_BYTES_MAX], offset)
    yield InputChunk(b"", len(data), end=True, total_bytes=len(data), crc32c=crc32c(data, 0))


async def taken(manager: RunManager, run_id: str) -> bytes:
    """Take the whole output and check its end mark."""
    got, chunk = b"", None
    async for chunk in manager.take(run_id):
        assert chunk.offset == len(got)
        got += chunk.data
    assert chunk is not None
    assert (chunk.end, chunk.total_bytes, chunk.crc32c) == (True, len(got), crc32c(got, 0))
    return got


async def through(manager: RunManager, run_id: str, data: bytes) -> bytes:
    """Feed and take a run at the same time; return its output."""
    output, accepted = await asyncio.gather(
        taken(manager, run_id), manager.feed(run_id, input_of(data))
    )
    assert accepted == len(data)
    return output


ENDLESS = 'kind = "generator"\nsize = 48\nrate = 20000'
DISCARD = 'kind = "discard"'


def endless(runs: Runs, **changes: Any) -> Admission:
    """Return an admission of a run that goes on until it is stopped."""
    options = {
        "ingress": ENDLESS,
        "egress": DISCARD,
        "client_input": False,
        "client_output": False,
    }
    return runs.admission(**{**options, **changes})


async def ended(manager: RunManager, run_id: str) -> RunView:
    """Wait for the end of a run."""
    await until(lambda: manager.get(run_id).ended, f"end of {run_id}")
    return manager.get(run_id)
