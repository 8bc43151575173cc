"""Graphs admitted to a manager of a test, and replays of its runs, without a daemon."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.validate import validate
from byteord.rpc.control import Catalogues, Control
from byteord.rpc.replay_wanted import ReplayDone, ReplayWanted
from byteord.rpc.replays import Replays
from byteord.runs.host import read_host
from byteord.runs.manager import RunManager
from byteord.runs.view import Admission
from byteord.spec.document import Source
from byteord.stages.catalogue import CATALOGUE as STAGES
from tests.property.documents import toml_text
from tests.support.runs import Runs


def graph_admission(
    runs: Runs, tree: Mapping[str, Any], deployment: str, *, client_input: bool = False
) -> Admission:
    """Return a graph that a manager of the test may run."""
    report = validate(
        Source("spec.toml", toml_text(dict(tree)).encode(), "toml"),
        Source("deployment.toml", deployment.encode(), "toml"),
        authority=runs.authority,
        stages=STAGES,
        adapters=ADAPTERS,
        host=read_host(),
        client_input=client_input,
    )
    assert report.ok, report.findings
    assert report.spec is not None
    assert report.deployment is not None
    return Admission(report.spec, report.deployment, client_input=client_input)


async def replayed(runs: Runs, manager: RunManager, run_id: str) -> Mapping[str, Any]:
    """Replay a run of the manager; return the result."""
    control = Control(runs.authority, manager, Catalogues(STAGES, ADAPTERS), read_host)
    replays = Replays(control, str(runs.top / "replays"))
    wanted = ReplayWanted(str(uuid.uuid4()), run_id=run_id)
    async for event in replays.replay(wanted, "uid:0", sees=True):
        if isinstance(event, ReplayDone):
            return event.fields
    raise AssertionError("it ended without a result")
