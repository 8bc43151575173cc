"""A run as people see it: heading, conditions, failure, roles, workers."""

from __future__ import annotations

from datetime import datetime

from byteorctl.errors import Plain
from byteorctl.output.quantities import count, duration, size
from byteorctl.output.screen import Screen

NS_PER_S = 1_000_000_000


def show_run(screen: Screen, run: Plain) -> None:
    """Draw all that `status` shows."""
    screen.fields(_heading(run))
    show_failure(screen, run)
    show_conditions(screen, run)
    show_effects(screen, run)
    show_capture(screen, run)
    show_roles(screen, run)
    show_lanes(screen, run)
    show_reports(screen, run)
    show_workers(screen, run)
    show_tuning(screen, run)


def show_figures(
    screen: Screen, run: Plain, *, input_bytes: int | None, output_bytes: int | None
) -> None:
    """Draw what a run came to: times, throughput, what it did outside or would have, roles."""
    screen.fields(
        [
            ("run", f"{run['id']} {run['name']}: {run['state']}"),
            ("time", _times(run)),
            ("input", "" if input_bytes is None else f"{count(input_bytes)} bytes"),
            ("output", "" if output_bytes is None else f"{count(output_bytes)} bytes"),
            ("throughput", throughput(run)),
        ]
    )
    show_effects(screen, run)
    show_roles(screen, run)
    show_lanes(screen, run)
    show_reports(screen, run)


def show_failure(screen: Screen, run: Plain) -> None:
    """Draw why a run failed, if it did."""
    failure = run.get("failure")
    if not failure:
        return
    sequence = failure.get("sequence")
    screen.line()
    screen.fields(
        [
            ("failure", failure["reason"]),
            ("  role", failure["role"]),
            ("  stage", failure["stage"]),
            ("  sequence", "" if sequence is None else str(sequence)),
            ("  message sha256", failure["message_sha256"]),
            ("  said", failure["message"]),
        ]
    )


def show_conditions(screen: Screen, run: Plain) -> None:
    """Draw the table of conditions."""
    rows = [
        [each["type"], each["status"], each["reason"], short_time(each["since"]), each["message"]]
        for each in run["conditions"]
    ]
    _table(screen, ["condition", "status", "reason", "since", "message"], rows)


def show_effects(screen: Screen, run: Plain) -> None:
    """Draw what a run does outside, and until when that is covered."""
    effects = run.get("effects")
    if not effects:
        return
    rows = [
        [
            each["role"],
            each["capability"],
            each["target"],
            each["mode"],
            *(count(each[name]) for name in ("done", "would", "held", "dead_letters")),
        ]
        for each in effects["effects"]
    ]
    columns = ["role", "does", "to", "mode", "#done", "#would", "#held", "#dead letters"]
    _table(screen, columns, rows)
    said = [effects["lease"], effects["message"]]
    screen.fields(
        [
            ("effects", ": ".join(text for text in said if text)),
            ("approval", effects["approval_id"]),
            ("covered until", short_time(effects["covered_until"])),
            ("without it", effects["policy"]),
        ]
    )


def show_capture(screen: Screen, run: Plain) -> None:
    """Draw how a run is recorded: what is kept of each stream, and what is missing."""
    capture = run.get("capture")
    if not capture:
        return
    rows = [
        [
            f"{each['stream']}/{each['name']}",
            each["state"],
            *(count(each[name]) for name in ("seen", "kept")),
            size(int(each["bytes"])),
            *(count(each[name]) for name in ("lost", "gaps")),
            size(int(each["lag_bytes"])),
        ]
        for each in capture["streams"]
    ]
    columns = ["capture", "state", "#seen", "#kept", "#bytes", "#lost", "#gaps", "#lag"]
    _table(screen, columns, rows)
    screen.fields([("capture", capture["directory"])])


def show_roles(screen: Screen, run: Plain) -> None:
    """Draw the table of roles and, below it, their distinct errors."""
    rows = [_role_row(role) for role in run["roles"]]
    columns = ["role", "stage", "state", "#received", "#published", "#dropped", "#lag", "rejected"]
    columns += ["#service p50", "#p99", "#latency p50", "#p99"]
    _table(screen, columns, rows)
    errors = [
        [
            role["name"],
            each["code"],
            count(each["count"]),
            _sequence(each["first_sequence"]),
            each["text"],
        ]
        for role in run["roles"]
        for each in role["errors"]
    ]
    _table(screen, ["role", "error", "#count", "#first sequence", "text"], errors)


def show_lanes(screen: Screen, run: Plain) -> None:
    """Draw the table of lanes, and who holds whom back."""
    rows = [_lane_row(lane) for lane in run["lanes"]]
    columns = ["lane", "kind", "#depth", "#capacity", "#published", "#consumed", "lost", "readers"]
    _table(screen, columns, rows)
    _table(screen, ["held"], [[hold["message"]] for hold in run["holds"]])


def show_reports(screen: Screen, run: Plain) -> None:
    """Draw what stages count themselves: data protection, actions."""
    rows = [
        [role["name"], each["name"], count(each["value"])]
        for role in run["roles"]
        for each in role["report"]
    ]
    _table(screen, ["role", "counter", "#count"], rows)


def show_workers(screen: Screen, run: Plain) -> None:
    """Draw the table of workers."""
    rows = [
        [
            str(worker["index"]),
            str(worker["pid"] or "-"),
            worker["state"],
            ",".join(worker["roles"]),
            ",".join(map(str, worker["cpus"])) or "any",
            str(worker["restarts"]),
            duration(worker["heartbeat_age_ns"]),
            duration(worker["cycle_ns_max"]),
            *_gaps(worker["jitter"]),
            size(worker["rss_bytes"]) if worker["rss_bytes"] else "-",
            worker["exit"],
            worker["confinement"],
        ]
        for worker in run["workers"]
    ]
    columns = [
        "#worker",
        "#pid",
        "state",
        "roles",
        "cpus",
        "#restarts",
        "#heartbeat",
        "#longest cycle",
        "#gaps",
        "#longest gap",
    ]
    _table(screen, [*columns, "#memory", "exit", "confined by"], rows)


def show_tuning(screen: Screen, run: Plain) -> None:
    """Draw what workers asked of the kernel, and below it what falls short and what mends it.

    Knobs that nothing was asked of are left out.
    """
    knobs = [(worker["index"], knob) for worker in run["workers"] for knob in worker["tuning"]]
    shown = [
        [str(index), knob["knob"], knob["requested"], knob["applied"], knob["state"],
         short_time(knob["since"])]
        for index, knob in knobs
        if knob["requested"] not in _NOT_ASKED or knob["state"] != "applied"
    ]  # fmt: skip
    _table(screen, ["#worker", "knob", "requested", "applied", "state", "since"], shown)
    short = [
        [str(index), knob["knob"], knob["reason"], knob["fix"]]
        for index, knob in knobs
        if knob["state"] != "applied"
    ]
    _table(screen, ["#worker", "falls short", "reason", "fix"], short)


_NOT_ASKED = ("none", "any", "other", "nice 0")


def _gaps(jitter: Plain | None) -> list[str]:
    if not jitter:
        return ["-", "-"]
    return [count(jitter["gaps"]), duration(jitter["gap_ns_max"]) if jitter["gaps"] else "-"]


def throughput(run: Plain) -> str:
    """Return messages and bytes a second at the ingress, from ready to end; empty if unknown."""
    elapsed_s = elapsed_ns(run) / NS_PER_S - run["ready_ns"] / NS_PER_S
    ingress = [role for role in run["roles"] if role["kind"] == "ingress"]
    if elapsed_s <= 0 or not ingress:
        return ""
    messages = sum(role["published"] for role in ingress)
    taken = sum(role["bytes"] for role in ingress)
    text = f"{messages / elapsed_s:,.0f} messages/s"
    return f"{text}, {taken / elapsed_s / 1e6:,.1f} MB/s" if taken else text


def elapsed_ns(run: Plain) -> int:
    """Return the time from admission to the end, 0 while it runs."""
    if not run["created_at"] or not run["ended_at"]:
        return 0
    lasted = datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["created_at"])
    return int(lasted.total_seconds() * NS_PER_S)


def short_time(text: str | None) -> str:
    """Return an RFC 3339 time without the fraction of its second."""
    return "" if not text else text.partition(".")[0].rstrip("Z") + "Z"


def _heading(run: Plain) -> list[tuple[str, str]]:
    return [
        ("run", run["id"]),
        ("name", run["name"]),
        ("state", run["state"]),
        ("created", short_time(run["created_at"])),
        ("ended", short_time(run["ended_at"])),
        ("start", _times(run)),
        ("mode", "single process" if run["single_process"] else "separate workers"),
        ("shim", f"pid {run['shim_pid']}" if run["shim_pid"] else ""),
        ("spec sha256", run["spec_sha256"]),
        ("deployment sha256", run["deployment_sha256"]),
        ("regions", run["region_directory"]),
        *((f"code of {stage}", digest) for stage, digest in run["code_digests"].items()),
    ]


def _times(run: Plain) -> str:
    parts = [
        (f"took {duration(elapsed_ns(run))}", elapsed_ns(run)),
        (f"ready after {duration(run['ready_ns'])}", run["ready_ns"]),
        (f"first message out after {duration(run['first_message_ns'])}", run["first_message_ns"]),
    ]
    return ", ".join(text for text, known in parts if known)


def _role_row(role: Plain) -> list[str]:
    lost = {**role["rejected"], "skipped": role["skipped"]}
    rejected = ", ".join(f"{reason} {count(number)}" for reason, number in lost.items() if number)
    return [
        role["name"],
        role["stage"],
        role["state"],
        count(role["received"]),
        count(role["published"]),
        count(role["dropped"]),
        count(role["lag_slots"]),
        rejected or "-",
        duration(role["service_ns_p50"]),
        duration(role["service_ns_p99"]),
        duration(role["latency_ns_p50"]),
        duration(role["latency_ns_p99"]),
    ]


def _lane_row(lane: Plain) -> list[str]:
    lost = {**lane["dropped"], "missed": lane["overruns"]}
    shown = ", ".join(f"{reason} {count(number)}" for reason, number in lost.items() if number)
    readers = [
        each["role"]
        + (f" {count(each['lag_slots'])} behind" if each["lag_slots"] else "")
        + (" (lossy)" if each["lossy"] else "")
        for each in lane["consumers"]
    ]
    return [
        lane["name"],
        lane["kind"],
        count(lane["depth"]),
        count(lane["capacity"] * lane["stripes"]) if lane["capacity"] else "-",
        count(lane["published"]),
        count(lane["consumed"]) if lane["consumers"] else "-",
        shown or "-",
        ", ".join(readers),
    ]


def _sequence(number: int | None) -> str:
    return "-" if number is None else str(number)


def _table(screen: Screen, columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        screen.line()
        screen.table(columns, rows)
