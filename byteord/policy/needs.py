"""What a run would do to the outside world: from spec and effective deployment to a list of needs.

Pure. Owns the names of capabilities: `http_post`, `exec` (and whatever else a built-in stage
declares), what a user stage declares in `effects`, `undeclared` for one that declares nothing, and
`adapter:KIND` for an egress that writes outside the run's own directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from byteord.deployment.actions import ACTING_ADAPTERS
from byteord.deployment.model import Adapter, Deployment
from byteord.policy.decide import UNDECLARED
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import Spec, Stage

ACTION_STAGES = ("http_post", "exec")


@dataclass(frozen=True, slots=True)
class Need:
    """One capability that a run needs: who needs it, and what it would act on."""

    where: str
    """Name of the stage or endpoint."""
    capability: str
    target: str


AnySpec = Spec | LaneGraph


def needs(spec: AnySpec, deployment: Deployment) -> tuple[Need, ...]:
    """Return everything that the run would do outside, in the order of the spec."""
    return tuple(_needs(spec, deployment))


def _needs(spec: AnySpec, deployment: Deployment) -> Iterator[Need]:
    for stage in spec.stages:
        yield from _of_stage(stage)
    for endpoint in spec.egresses:
        adapter = deployment.adapters.get(endpoint.name)
        if adapter is not None:
            yield from _of_adapter(endpoint.name, adapter)


def _of_stage(stage: Stage) -> Iterator[Need]:
    kind, _, target = stage.stage.partition(":")
    if kind in ACTION_STAGES:
        yield Need(stage.name, kind, target)
    elif stage.effects is None:
        yield Need(stage.name, UNDECLARED, stage.stage)
    else:
        for capability in stage.effects:
            yield Need(stage.name, capability, stage.stage)


def _of_adapter(name: str, adapter: Adapter) -> Iterator[Need]:
    options = ACTING_ADAPTERS.get(adapter.kind)
    if options is None:
        return
    given = (str(adapter.options[key]) for key in options if adapter.options.get(key))
    yield Need(name, f"adapter:{adapter.kind}", next(given, ""))


def capabilities(wanted: Iterable[Need]) -> tuple[str, ...]:
    """Return the distinct capabilities, sorted."""
    return tuple(sorted({need.capability for need in wanted}))
