"""The documents that provoke the codes of a deployment's `[capture]`."""

from __future__ import annotations

from byteord.spec.findings import Severity
from tests.unit.spec.case import Case, deployed, ring

_HERE = '[capture]\ndirectory = "/data/captures"\n'
_CLIENT_IN = '[adapters.in]\nkind = "client"\n[adapters.out]\nkind = "box"\npath = "/data/out"\n'
_CLIENT_OUT = '[adapters.in]\nkind = "box"\npath = "/data/in"\n[adapters.out]\nkind = "client"\n'

CAPTURES = (
    Case(
        "DEPLOYMENT_CAPTURE_DIRECTORY",
        "capture.directory",
        "keep",
        deployment=deployed('[capture]\nkeep = "last"'),
    ),
    Case(
        "DEPLOYMENT_CAPTURE_BOUND_MISSING",
        "capture.last_messages",
        "last_messages or last_time_s",
        deployment=deployed(f'{_HERE}keep = "last"'),
    ),
    Case(
        "DEPLOYMENT_CAPTURE_BOUND_MISSING",
        "capture.sample_every",
        "sample_every",
        deployment=deployed(f'{_HERE}keep = "sample"'),
    ),
    Case(
        "DEPLOYMENT_CAPTURE_BOUND_UNUSED",
        "capture.last_time_s",
        'keep = "last"',
        deployment=deployed(f"{_HERE}last_time_s = 10"),
    ),
    Case(
        "DEPLOYMENT_CAPTURE_RETENTION_TOO_SMALL",
        "capture.retention_bytes",
        "two segments",
        deployment=deployed(f"{_HERE}segment_bytes = 1048576\nretention_bytes = 1048577"),
    ),
    Case(
        "DEPLOYMENT_CAPTURE_CLIENT",
        "adapters.in.kind",
        "bind another adapter",
        ring('shards = 2\nordering = "per_key"\nshard_key = { offset = 0, length = 4 }'),
        _CLIENT_IN + _HERE,
    ),
    Case(
        "DEPLOYMENT_CAPTURE_CLIENT",
        "adapters.out.kind",
        "what leaves there",
        ring('shards = 2\nordering = "per_key"\nshard_key = { offset = 0, length = 4 }'),
        _CLIENT_OUT + _HERE,
        severity=Severity.NOTE,
    ),
    Case(
        "POLICY_PATH_DENIED",
        "capture.directory",
        "write_dirs",
        deployment=deployed('[capture]\ndirectory = "/elsewhere/captures"'),
    ),
)
