"""What runs is what was hashed: copies, restarts, changes on disk, packages that are allowed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from byteord.errors import StageError
from byteord.runs.manager import RunManager
from byteord.runs.view import RunView
from tests.support.runs import DISCARD, ENDLESS, Runs, ended, managed, run, through, until

MARKS = """
from pathlib import Path

class Marks:
    def __init__(self, ctx):
        self.text = {text}

    def process(self, batch):
        for index in range(len(batch)):
            batch.replace(index, self.text)
"""
STAGE = """
    stage = "python:{module}:Marks"
    mutates = "all"
    resizes = true
    effects = []
    state = "stateless"
"""


def write(runs: Runs, text: str, name: str = "marked.py") -> Path:
    """Write the module; `text` is an expression of bytes."""
    path = runs.top / "code" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(MARKS.format(text=text))
    return path


def conditions(manager: RunManager, run_id: str) -> dict[str, tuple[str, str]]:
    """Return status and message by type."""
    return {each.type: (each.status, each.message) for each in manager.get(run_id).conditions}


def worker_of(view: RunView, role: str) -> int:
    """Return the process of a role."""
    index = next(each.worker for each in view.roles if each.name == role)
    return next(each.pid for each in view.workers if each.index == index)


@pytest.mark.parametrize("module", ["marked", "package.inner"])
def test_a_restarted_worker_runs_what_was_admitted(module: str) -> None:
    """Code that changed on disk does not slip in by a crash; the change is told, and its end."""
    name = module.replace(".", "/") + ".py"

    async def work(runs: Runs) -> None:
        write(runs, 'b"admitted"', name)
        async with managed(runs) as manager:
            view = await manager.start(runs.admission([STAGE.format(module=module)]))
            path = write(runs, 'b"slipped in"', name)
            await manager.code.watch.round()
            status, message = conditions(manager, view.id)["CodeUnchanged"]
            assert (status, "s0 changed on disk" in message) == ("false", True)
            os.kill(worker_of(manager.get(view.id), "s0"), signal.SIGKILL)
            assert await through(manager, view.id, b"a\nb\n") == b"admitted\nadmitted\n"
            await ended(manager, view.id)
            [event] = [data for event, data in runs.events if event == "code.changed"]
            assert (event["stage"], event["run"]) == ("s0", view.id)
            assert event["admitted"] == view.code_digests["s0"] != event["now"]
            path.write_text(MARKS.format(text='b"slipped in"'))

    run(work)


def test_a_change_that_is_taken_back_is_told_too() -> None:
    """And one that removes the code says why there is none."""

    async def work(runs: Runs) -> None:
        path = write(runs, 'b"admitted"')
        was = path.read_bytes()
        async with managed(runs) as manager:
            view = await manager.start(_endless(runs))
            await manager.code.watch.round()
            assert "CodeUnchanged" not in conditions(manager, view.id)
            path.unlink()
            await manager.code.watch.round()
            assert conditions(manager, view.id)["CodeUnchanged"][0] == "false"
            path.write_bytes(was)
            await manager.code.watch.round()
            assert conditions(manager, view.id)["CodeUnchanged"][0] == "true"
            kinds = [data["now"] for event, data in runs.events if event == "code.changed"]
            assert str(kinds[0]).startswith("none: ")
            assert kinds[1] == view.code_digests["s0"]

    run(work)


def _endless(runs: Runs) -> Any:
    return runs.admission(
        [STAGE.format(module="marked")],
        ingress=ENDLESS,
        egress=DISCARD,
        client_input=False,
        client_output=False,
    )


def test_a_module_finds_what_lies_beside_it() -> None:
    """Its bytes are the copy's, its place is where it was written."""

    async def work(runs: Runs) -> None:
        write(runs, 'Path(__file__).with_name("mark.txt").read_bytes()')
        (runs.top / "code" / "mark.txt").write_bytes(b"beside")
        async with managed(runs) as manager:
            view = await manager.start(runs.admission([STAGE.format(module="marked")]))
            assert await through(manager, view.id, b"a\n") == b"beside\n"
            await ended(manager, view.id)

    run(work)


def test_a_damaged_copy_is_made_anew() -> None:
    """What a crash or a person left of a copy is never loaded."""

    async def work(runs: Runs) -> None:
        write(runs, 'b"admitted"')
        for _ in range(2):
            async with managed(runs) as manager:
                view = await manager.start(runs.admission([STAGE.format(module="marked")]))
                assert await through(manager, view.id, b"a\n") == b"admitted\n"
                await ended(manager, view.id)
                copy = Path(manager.code.store.path(view.code_digests["s0"]))
                (copy / "marked.py").write_text(MARKS.format(text='b"planted"'))

    run(work)


def test_code_of_an_installed_package_needs_its_name_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Allowed by name it runs, without being imported by the daemon; otherwise it is not found."""
    package = tmp_path / "site" / "installed_marks"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(MARKS.format(text='b"installed"'))
    monkeypatch.syspath_prepend(package.parent)
    stage = STAGE.format(module="installed_marks.inner")

    async def refused(runs: Runs) -> None:
        async with managed(runs) as manager:
            with pytest.raises(StageError) as caught:
                await manager.start(runs.admission([stage]))
            assert caught.value.reason == "STAGE_CODE_NOT_FOUND"

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(runs.admission([stage]))
            assert await through(manager, view.id, b"a\n") == b"installed\n"
            await ended(manager, view.id)
            assert "installed_marks" not in sys.modules

    run(refused, code_packages=("another",))
    run(work, code_packages=("installed_marks",))


def test_copies_that_no_run_needs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of others the newest few stay, for bundles and the next run."""
    from byteord.runs import code_store

    monkeypatch.setattr(code_store, "KEPT_MAX", 1)

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            last = ""
            for text in ('b"one"', 'b"two"', 'b"three"'):
                write(runs, text)
                view = await manager.start(runs.admission([STAGE.format(module="marked")]))
                await through(manager, view.id, b"a\n")
                await ended(manager, view.id)
                last = view.code_digests["s0"].removeprefix("sha256:")
            store = manager.code.store
            await until(lambda: len(os.listdir(store.directory)) == 1, "one copy")
            assert os.listdir(store.directory) == [last]

    run(work)
