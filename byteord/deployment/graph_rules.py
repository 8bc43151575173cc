"""What a deployment says of its spec's lanes and roles: journals, groups, dead letters, clients.

Pure. What the daemon allows of it is `authority_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byteord.deployment.adapter_rules import STDIO, client_ends
from byteord.deployment.model import CLIENT, Adapter, FailurePolicy
from byteord.spec.findings import Collector, Severity, shown
from byteord.spec.lane_model import LaneKind, RoleKind
from byteord.spec.lanegraph.draft import Draft
from byteord.spec.model import EndpointKind
from byteord.spec.nearest import did_you_mean

_CLIENT_LANES = (LaneKind.EVENTS, LaneKind.FANOUT_BROADCAST)


def check_ring(typed: Mapping[str, Any], found: Collector) -> None:
    """Report what a SingleRing does not have: groups, journals, dead letters."""
    groups = typed["groups"]
    if groups:
        found.add(
            "DEPLOYMENT_GROUPS_UNSUPPORTED",
            ("groups",),
            seen=f"{len(groups)} groups for a single_ring",
            wanted="groups of roles of a lane_graph; a single_ring has tuning.fuse",
            fix='delete them, or write tuning.fuse = "always"',
        )
    for name in typed["journals"]:
        _journal_unknown(name, [], found)
    if typed["failure"]["policy"] == FailurePolicy.DEAD_LETTER:
        found.add(
            "DEPLOYMENT_POLICY_UNSUPPORTED",
            ("failure", "policy"),
            seen="dead_letter for a single_ring",
            wanted="one of stop_pipeline, skip, restart: a single_ring has no lane for dead "
            "letters",
            fix='write policy = "stop_pipeline", or use model = "lane_graph" in the spec',
        )


def check_graph(
    graph: Draft, typed: Mapping[str, Any], adapters: Mapping[str, Adapter], found: Collector
) -> None:
    """Report what does not fit the lanes and roles of a LaneGraph."""
    _check_journals(graph, typed["journals"], found)
    _check_groups(graph, typed["groups"], adapters, found)
    _check_letters(graph, typed["failure"]["policy"], found)
    _check_client_lanes(graph, adapters, found)


def check_clients(
    endpoints: Mapping[str, EndpointKind],
    client: Mapping[EndpointKind, bool],
    rows: Mapping[str, Mapping[str, Any]],
    found: Collector,
) -> None:
    """Report streams of the client that could be any of several endpoints, and stdio used twice."""
    streams = client_ends(endpoints, client, rows)
    for kind, flag in ((EndpointKind.INGRESS, "--input"), (EndpointKind.EGRESS, "--output")):
        names = [name for name, each in endpoints.items() if each is kind]
        if client[kind] and names and not streams & set(names):
            found.add(
                "DEPLOYMENT_CLIENT_ENDPOINT",
                ("adapters",),
                seen=f"{flag} with {len(names)} endpoints of kind {kind}: {', '.join(names)}",
                wanted="one of them without an adapter, or with stdin or stdout: that is the one "
                "that it stands for",
                fix="bind adapters to the others, and none to that one",
            )
    taken: dict[str, str] = {}
    for name, row in rows.items():
        kind = row["kind"]
        if kind not in STDIO or name in streams:
            continue
        if kind in taken:
            found.add(
                "DEPLOYMENT_STDIO_TWICE",
                ("adapters", name, "kind"),
                seen=f"{kind} again",
                wanted=f"one endpoint with {kind}; {taken[kind]} has it",
                fix="bind another adapter to one of the two",
            )
        taken.setdefault(kind, name)


def _check_journals(graph: Draft, rows: Mapping[str, Mapping[str, Any]], found: Collector) -> None:
    durable = [
        lane.name
        for lane in graph.lanes.values()
        if lane.journal is not None and lane.journal.durable
    ]
    for name in durable:
        if name not in rows:
            found.add(
                "DEPLOYMENT_JOURNAL_UNBOUND",
                ("journals", name),
                seen="nothing",
                wanted=f"a directory for the durable journal {shown(name)}",
                fix=f"add [journals.{name}] with directory",
            )
    taken: dict[str, str] = {}
    for name, row in rows.items():
        if name not in durable:
            _journal_unknown(name, durable, found)
        directory = str(row["directory"]).rstrip("/")
        if directory in taken:
            found.add(
                "DEPLOYMENT_JOURNAL_SHARED",
                ("journals", name, "directory"),
                seen=shown(row["directory"]),
                wanted=f"a directory for each journal; {taken[directory]} has this one",
                fix="choose another directory",
            )
        taken.setdefault(directory, name)


def _journal_unknown(name: str, durable: list[str], found: Collector) -> None:
    found.add(
        "DEPLOYMENT_JOURNAL_UNKNOWN",
        ("journals", name),
        seen=shown(name),
        wanted=f"a durable journal lane of the spec: {', '.join(durable)}"
        if durable
        else "nothing: the spec has no durable journal",
        fix=did_you_mean(name, durable, otherwise="delete the table"),
    )


def _check_groups(
    graph: Draft,
    groups: list[Mapping[str, Any]],
    adapters: Mapping[str, Adapter],
    found: Collector,
) -> None:
    known = [*(role.name for role in graph.roles), *(end.name for end in graph.endpoints)]
    names: set[str] = set()
    grouped: dict[str, str] = {}
    for index, row in enumerate(groups):
        path = ("groups", str(index))
        if row["name"] in names:
            found.add(
                "DEPLOYMENT_GROUP_DUPLICATE",
                (*path, "name"),
                seen=f"{shown(row['name'])} again",
                wanted="groups with names of their own",
                fix="rename one, or put the roles of both into one",
            )
        names.add(row["name"])
        for place, role in enumerate(row["roles"]):
            at = (*path, "roles", str(place))
            if role not in known:
                found.add(
                    "DEPLOYMENT_GROUP_ROLE_UNKNOWN",
                    at,
                    seen=shown(role),
                    wanted=f"a role or endpoint of the spec: {', '.join(known)}",
                    fix=did_you_mean(role, known, otherwise="delete it"),
                )
            elif role in grouped:
                found.add(
                    "DEPLOYMENT_GROUP_DUPLICATE",
                    at,
                    seen=f"{shown(role)} again",
                    wanted=f"each role in one worker; the group {grouped[role]} has it",
                    fix="delete one of the two",
                )
            elif role in adapters and adapters[role].kind == CLIENT:
                found.add(
                    "DEPLOYMENT_GROUP_CLIENT",
                    at,
                    seen=f"{shown(role)}, whose adapter is client",
                    wanted="roles that run in workers; a client is a process of its own",
                    fix="delete it",
                )
            grouped.setdefault(role, row["name"])


def _check_letters(graph: Draft, policy: str, found: Collector) -> None:
    stages = [role for role in graph.roles if role.kind is RoleKind.STAGE]
    without = [role.name for role in stages if not role.dead_letter]
    named = [role.name for role in stages if role.dead_letter]
    if policy == FailurePolicy.DEAD_LETTER and without:
        found.add(
            "DEPLOYMENT_DEAD_LETTER_MISSING",
            ("failure", "policy"),
            seen=f"dead_letter, and no dead_letter on {', '.join(without)}",
            wanted="a lane for dead letters on every stage of the spec",
            fix="add dead_letter to them, or choose another policy",
        )
    if policy != FailurePolicy.DEAD_LETTER and named:
        found.add(
            "DEPLOYMENT_DEAD_LETTER_UNUSED",
            ("failure", "policy"),
            seen=f"{policy}, and dead_letter on {', '.join(named)}",
            wanted="dead_letter, or nothing ever arrives there",
            fix='write failure.policy = "dead_letter" to keep what stages fail on',
            severity=Severity.NOTE,
        )


def _check_client_lanes(graph: Draft, adapters: Mapping[str, Adapter], found: Collector) -> None:
    for end in graph.endpoints:
        lane, adapter = graph.lanes.get(end.lane), adapters.get(end.name)
        if lane is None or adapter is None or adapter.kind != CLIENT:
            continue
        if lane.kind not in _CLIENT_LANES:
            found.add(
                "DEPLOYMENT_CLIENT_LANE",
                ("adapters", end.name, "kind"),
                seen=f"client at {shown(lane.name)}, a lane of kind {lane.kind}",
                wanted=f"a lane of kind {' or '.join(_CLIENT_LANES)}: clients attach to rings",
                fix="put a role of kind bridge between, or choose another adapter; a journal is "
                "read without an endpoint, by byteord.client.attach_journal",
            )
