"""Facts about this build to messages of the API. Pure."""

from __future__ import annotations

from byteor.v1 import control_service_pb2 as pb
from byteord.deployment.model import AdapterInfo
from byteord.rpc.facts import CapabilityFacts, CompatibilityFacts, StageFacts, VersionFacts
from byteord.spec.model import ConfigKey, Scalar


def version_to_proto(facts: VersionFacts) -> pb.GetVersionResponse:
    """Return the answer to GetVersion."""
    return pb.GetVersionResponse(
        version=facts.version,
        python=facts.python,
        environment=facts.environment,
        libraries=facts.libraries,
        pid=facts.pid,
    )


def compatibility_to_proto(facts: CompatibilityFacts) -> pb.GetCompatibilityResponse:
    """Return the answer to GetCompatibility."""
    return pb.GetCompatibilityResponse(
        spec_versions=facts.spec_versions,
        region_layout_versions=facts.region_layout_versions,
        api_packages=facts.api_packages,
        stage_abi_versions=facts.stage_abi_versions,
        plan_versions=facts.plan_versions,
    )


def capabilities_to_proto(facts: CapabilityFacts) -> pb.GetCapabilitiesResponse:
    """Return the answer to GetCapabilities."""
    return pb.GetCapabilitiesResponse(
        models=facts.models,
        lanes=facts.lanes,
        stages=[_stage(stage) for stage in facts.stages],
        adapters=[_adapter(adapter) for adapter in facts.adapters],
        waits=facts.waits,
        host=facts.host,
    )


def canonical_text(value: Scalar) -> str:
    """Return a default as canonical KV writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _stage(stage: StageFacts) -> pb.StageCapability:
    return pb.StageCapability(
        name=stage.name,
        kind=stage.kind,
        summary=stage.summary,
        available=stage.available,
        effects=stage.effects,
        deterministic=stage.deterministic,
        state=stage.state,
        keys=[_key(key) for key in stage.keys],
    )


def _adapter(adapter: AdapterInfo) -> pb.AdapterCapability:
    return pb.AdapterCapability(
        kind=adapter.kind,
        summary=adapter.summary,
        ingress=adapter.ingress,
        egress=adapter.egress,
        resumable=adapter.resumable,
        keys=[_key(key) for key in adapter.keys],
    )


def _key(key: ConfigKey) -> pb.KeyInfo:
    return pb.KeyInfo(
        name=key.name,
        type=key.type,
        doc=key.doc,
        default_value=None if key.default is None else canonical_text(key.default),
        required=key.required,
        choices=key.choices,
    )
