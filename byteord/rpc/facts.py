"""What this build is and can do: `version`, `compatibility` and `capabilities`."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util

from byteord._cext.region import LAYOUT_VERSION
from byteord._cext.stages import STAGE_ABI
from byteord.deployment.model import AdapterCatalogue, AdapterInfo, Environment, HostFacts, Wait
from byteord.deployment.plan import PLAN_VERSION
from byteord.spec.model import ConfigKey, StageCatalogue, StageInfo

SPEC_VERSIONS = (1,)
API_PACKAGES = ("byteor.v1",)
MODELS = {
    "single_ring": "native loop over one sequenced ring, 1 to 4 stages; a process for each role, "
    "or one for all",
    "lane_graph": "native loops over lanes, any acyclic graph of roles; a process for each role, "
    "for groups of roles, or one for all",
}
LANES = {
    "events": "native rings, one for each producer, read in turn by one consumer; by a process, a "
    "client, or a unit of fused roles at each end",
    "fanout_broadcast": "one native ring without copies, each consumer with its own place in it; "
    "lossy ones read and look again",
    "sequenced_slots": "one native ring whose slots stages change in place, as in a single_ring; "
    "outside dev a spec names it in allow_lanes",
    "journal": "segments of checksummed frames, in a directory of the disk or in shared memory, "
    "written by the unit of its producer, mapped by its readers; outside dev a spec names it in "
    "allow_lanes",
}
"""What serves each kind of lane."""
_LIBRARIES = (
    "grpcio",
    "protobuf",
    "uvloop",
    "structlog",
    "msgspec",
    "prometheus-client",
    "numpy",
    "numba",
)


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is running here."""

    version: str
    python: str
    environment: str
    libraries: Mapping[str, str]
    pid: int


@dataclass(frozen=True, slots=True)
class CompatibilityFacts:
    """Versions that work together."""

    spec_versions: Sequence[int]
    region_layout_versions: Sequence[int]
    api_packages: Sequence[str]
    stage_abi_versions: Sequence[int]
    plan_versions: Sequence[int]


@dataclass(frozen=True, slots=True)
class StageFacts:
    """A stage, or a kind of stages that load code."""

    name: str
    kind: str
    summary: str
    available: str = "yes"
    effects: Sequence[str] = ()
    deterministic: bool = False
    state: str = "stateless"
    keys: Sequence[ConfigKey] = ()


@dataclass(frozen=True, slots=True)
class CapabilityFacts:
    """What a daemon can do."""

    models: Mapping[str, str]
    lanes: Mapping[str, str]
    stages: Sequence[StageFacts]
    adapters: Sequence[AdapterInfo]
    waits: Sequence[str]
    host: Mapping[str, str]


@cache
def byteor_version() -> str:
    """Return the version of the installed distribution."""
    return _version_of("byteor") or "0+unknown"


def version_facts(environment: Environment) -> VersionFacts:
    """Return the versions of byteor, its interpreter and the libraries that matter."""
    found = {name: _version_of(name) for name in _LIBRARIES}
    return VersionFacts(
        version=byteor_version(),
        python=platform.python_version(),
        environment=environment.value,
        libraries={name: version for name, version in found.items() if version},
        pid=os.getpid(),
    )


def compatibility_facts() -> CompatibilityFacts:
    """Return the versions of every format and interface that this build reads and writes."""
    return CompatibilityFacts(
        spec_versions=SPEC_VERSIONS,
        region_layout_versions=(LAYOUT_VERSION,),
        api_packages=API_PACKAGES,
        stage_abi_versions=(STAGE_ABI,),
        plan_versions=(PLAN_VERSION,),
    )


def capability_facts(
    stages: StageCatalogue, adapters: AdapterCatalogue, host: HostFacts
) -> CapabilityFacts:
    """Return the catalogues with what this host adds or lacks."""
    builtin = [_builtin(name, info) for name in stages.names() if (info := stages.info(name))]
    bound = [known for kind in adapters.kinds() if (known := adapters.info(kind))]
    return CapabilityFacts(
        models=MODELS,
        lanes=LANES,
        stages=[*builtin, *_code_kinds()],
        adapters=bound,
        waits=[wait.value for wait in Wait],
        host={
            "clock": host.clock,
            "membarrier": "global_expedited" if host.membarrier else "none",
            "cpus_online": str(len(host.cpus_online)),
            "cpus_allowed": str(len(host.cpus_allowed)),
            "shm_free_bytes": str(host.shm_free_bytes),
        },
    )


def _builtin(name: str, info: StageInfo) -> StageFacts:
    return StageFacts(
        name=name,
        kind="native",
        summary=info.summary,
        effects=info.effects,
        deterministic=info.deterministic,
        state=info.state.value,
        keys=info.keys,
    )


def _code_kinds() -> list[StageFacts]:
    declared = "effects, state and mutation as the spec declares them"
    return [
        *_action_kinds(),
        StageFacts("python:module:Class", "python", f"a Python class over batches; {declared}"),
        StageFacts(
            "cabi:library.so:symbol", "cabi", f"a library behind byteor_stage.h; {declared}"
        ),
        StageFacts(
            "numba:module:function",
            "numba",
            f"a function compiled to native code; {declared}",
            available="yes" if _has("numba") else "no: install byteor[numba]",
        ),
    ]


def _action_kinds() -> list[StageFacts]:
    """Stages that act; what they may reach is the daemon's configuration's to say."""
    return [
        StageFacts(
            "http_post:URL",
            "action",
            "posts each message over verified TLS and passes it on; below allow.url_prefixes",
            effects=("http_post",),
        ),
        StageFacts(
            "exec:PROGRAM|ARGUMENT|...",
            "action",
            "runs a program for each message and passes it on; as allow.exec has it, to the letter",
            effects=("exec",),
        ),
    ]


def _has(module: str) -> bool:
    return util.find_spec(module) is not None


@cache
def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
