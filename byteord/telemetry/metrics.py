"""How metrics become text. Pure.

The text is put together here, not through library objects: 200 roles are rendered in milliseconds.
What each metric is called and means stands in `metric_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from byteord.doctor.model import Report as DoctorReport
from byteord.policy.decide import Verdict
from byteord.runs.state import RunState
from byteord.runs.view import GovernanceSample
from byteord.telemetry.calls import CALL_BOUNDS_S, CallStats
from byteord.telemetry.capture_series import put_capture
from byteord.telemetry.doctor_series import put_doctor
from byteord.telemetry.metric_table import METRICS
from byteord.telemetry.process import ProcessStats
from byteord.tuning.knobs import STATES
from byteord.tuning.monitor import Report

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_NS = (*(digit * 10**power for power in range(2, 9) for digit in (1, 2, 5)), 10**9)
"""Upper bounds of every histogram of a run: 1-2-5 from 100 ns to 1 s."""

Histogram = tuple[Sequence[int], int, int]
"""Cumulative counts at or below each bound, sum in ns, count."""


@dataclass(frozen=True, slots=True)
class RunSample:
    """One run at one moment: what `RunReader.read` said, and how to ask for its histograms."""

    run: str
    pipeline: str
    state: RunState
    read: Mapping[str, Any] | None = None
    histogram: Callable[[int, str], Histogram] | None = None
    """Of a role's index and `service` or `latency`."""
    processes: Mapping[int, ProcessStats] | None = None
    """By pid; a worker that is not in it is gone."""
    tuning: Report | None = None
    gaps: Callable[[int], Histogram] | None = None
    """Of a worker's index."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything of one scrape."""

    version: str
    python: str
    runs: Sequence[RunSample] = ()
    calls: Mapping[str, CallStats] | None = None
    watches: int = 0
    doctor: DoctorReport | None = None
    """Of the latest run of all checks."""
    bundles: Mapping[str, int] = field(default_factory=dict)
    """Bundles written, by cause."""
    bundles_failed: int = 0
    governance: GovernanceSample = field(default_factory=GovernanceSample)
    daemon: ProcessStats | None = None
    scrape_s: float = 0.0
    scrape_errors: int = 0


def render(sample: Sample) -> str:
    """Return the Prometheus text of a sample: every family that has a series, in table order."""
    page: dict[str, list[str]] = {metric.name: [] for metric in METRICS}
    build = _labels(version=sample.version, python=sample.python)
    page["byteor_build_info"].append(f"byteor_build_info{{{build}}} 1")
    for run in sample.runs:
        _run(page, run)
    _calls(page, sample.calls or {})
    _governance(page, sample.governance)
    _daemon(page, sample)
    if sample.doctor is not None:
        put_doctor(page, sample.doctor)
    lines: list[str] = []
    for metric in METRICS:
        if page[metric.name]:
            lines += _heads()[metric.name]
            lines += page[metric.name]
    lines.append("")
    return "\n".join(lines)


Page = dict[str, list[str]]


def _run(page: Page, run: RunSample) -> None:
    labels = _labels(run=run.run, pipeline=run.pipeline)
    for state in RunState:
        _put(page, "byteor_run_state", f'{labels},state="{state}"', int(state is run.state))
    if run.read is None:
        return
    created = run.read["created_ns"]
    for name, key in (
        ("byteor_run_ready_seconds", "ready_ns"),
        ("byteor_run_first_message_seconds", "first_message_ns"),
    ):
        if run.read[key]:
            _put(page, name, labels, _seconds(run.read[key] - created))
    lanes = run.read.get("lanes")
    for lane in lanes or ():
        _graph_lane(page, labels, lane)
    for ring in () if lanes else run.read["rings"]:
        _lane(page, labels, ring)
    for role in run.read["roles"]:
        held = (run.read.get("held") or {}).get(role["name"], {})
        _role(page, labels, role, run.histogram, held.get("lag_slots", 0))
    put_capture(page, labels, run.read.get("capture", ()))
    _workers(page, labels, run.read["roles"], run.processes or {})
    _tuning(page, labels, run)


def _lane(page: Page, run: str, ring: Mapping[str, Any]) -> None:
    shard = f'shard="{ring["index"]}"'
    lane = f'{run},lane="ring",{shard}'
    _put(page, "byteor_lane_published_total", lane, ring["cursor"])
    _put(page, "byteor_lane_capacity_slots", lane, ring["capacity"])
    depth = max(0, ring["cursor"] - ring["minimum_gating_sequence"])
    _put(page, "byteor_lane_depth_slots", lane, depth)
    _put(page, "byteor_lane_dropped_total", f'{lane},reason="full"', 0)  # it holds its producer
    for cell in ring["cells"]:
        role = _escape(_base(cell["role"]) or f"cell-{cell['cell']}")
        consumer = f'{run},lane="ring",role="{role}",{shard}'
        _put(page, "byteor_lane_consumed_total", consumer, cell["sequence"])
        _put(page, "byteor_lane_lag_slots", consumer, cell["lag_slots"])
        for name in ("byteor_lane_overruns_total", "byteor_lane_nonsense_total"):
            _put(page, name, consumer, 0)  # as every cell holds the ring


def _graph_lane(page: Page, run: str, row: Mapping[str, Any]) -> None:
    """One lane of a LaneGraph, all of its stripes together."""
    lane = f'{run},lane="{_escape(row["name"])}",shard="all"'
    _put(page, "byteor_lane_published_total", lane, row["published"])
    _put(page, "byteor_lane_capacity_slots", lane, row["capacity"] * row["stripes"])
    _put(page, "byteor_lane_depth_slots", lane, row["depth"])
    for reason, count in row["dropped"].items():
        _put(page, "byteor_lane_dropped_total", f'{lane},reason="{reason}"', count)
    for each in row["consumers"]:
        consumer = f'{run},lane="{_escape(row["name"])}",role="{_escape(each["role"])}",shard="all"'
        _put(page, "byteor_lane_consumed_total", consumer, each["consumed"])
        _put(page, "byteor_lane_lag_slots", consumer, each["lag_slots"])
        if each["lossy"]:
            _put(page, "byteor_lane_overruns_total", consumer, each["missed"])
        _put(page, "byteor_lane_nonsense_total", consumer, each["nonsense"])


def _role(
    page: Page,
    run: str,
    role: Mapping[str, Any],
    histogram: Callable[[int, str], Histogram] | None,
    held_slots: int,
) -> None:
    kind = role["kind"] if role["kind"] in {"ingress", "egress"} else "stage"
    reasons = ("stage", "skipped") if kind == "stage" else tuple(role["rejected"])
    labels = _role_labels(run, role["name"], role["worker"], role["shard"])
    _put(page, "byteor_role_held_slots", labels, held_slots)
    errors = role["errors"]
    values = [role["received"], role["published"], role["batches"]]
    values.append(sum(each["count"] for each in errors) if errors else 0)
    if kind == "stage":
        values += (role["gathered"], role["dropped"], role["skipped"])
    else:
        values.append(role["bytes"])
        values += role["rejected"].values()
    for (name, prefix), value in zip(_role_series(labels, kind, reasons), values, strict=True):
        page[name].append(f"{prefix}{value}")
    if histogram is None:
        return
    service, latency = _STAGE_TIMES if kind == "stage" else _ADAPTER_TIMES
    _histogram(page, service, labels, histogram(role["index"], "service"))
    if kind != "ingress":
        _histogram(page, latency, labels, histogram(role["index"], "latency"))


_STAGE_TIMES = ("byteor_stage_service_seconds", "byteor_stage_latency_seconds")
_ADAPTER_TIMES = ("byteor_adapter_service_seconds", "byteor_end_to_end_seconds")


@lru_cache(maxsize=4096)
def _role_labels(run: str, name: str, worker: int, shard: int) -> str:
    place = "all" if shard < 0 else shard
    return f'{run},role="{_escape(_base(name))}",worker="{worker}",shard="{place}"'


@lru_cache(maxsize=4096)
def _role_series(labels: str, kind: str, reasons: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return family and fixed part of each series of a role, in the order of its values."""
    names = [f"byteor_role_{key}_total" for key in ("received", "published", "batches", "errors")]
    if kind == "stage":
        names.append("byteor_role_gathered_total")
        by_reason = "byteor_role_dropped_total"
    else:
        names.append("byteor_role_bytes_total")
        by_reason = "byteor_role_rejected_total"
    series = [(name, f"{name}{{{labels}}} ") for name in names]
    series += [(by_reason, f'{by_reason}{{{labels},reason="{each}"}} ') for each in reasons]
    return tuple(series)


def _workers(
    page: Page,
    run: str,
    roles: Sequence[Mapping[str, Any]],
    processes: Mapping[int, ProcessStats],
) -> None:
    hosted: dict[int, list[Mapping[str, Any]]] = {}
    for role in roles:
        if role["worker"] >= 0:
            hosted.setdefault(role["worker"], []).append(role)
    for index, mine in hosted.items():
        process = processes.get(mine[0]["pid"])
        values: list[object] = [
            int(process is not None),
            _seconds(max([role["heartbeat_age_ns"] for role in mine])),
            _seconds(max([role["cycle_ns_max"] for role in mine])),
            max([role["restarts"] for role in mine]),
        ]
        if process is not None:
            values += (
                process.resident_bytes,
                _number(process.cpu_s),
                process.major_faults,
                process.involuntary_switches,
            )
        series = _worker_series(run, index)
        for (name, prefix), value in zip(series, values, strict=False):
            page[name].append(f"{prefix}{value}")


def _tuning(page: Page, labels: str, run: RunSample) -> None:
    """Knobs as the shim read them back, and gaps as the regions hold them."""
    for worker, knobs in (run.tuning or {}).items():
        mine = f'{labels},worker="{worker}"'
        for knob in knobs:
            value = STATES.index(knob.state) if knob.state in STATES else len(STATES) - 1
            _put(page, "byteor_worker_tuning_state", f'{mine},knob="{knob.knob}"', value)
    workers = run.read["gaps"] if run.read and run.gaps else ()
    for worker in workers:
        if run.gaps is not None:
            mine = f'{labels},worker="{worker}"'
            _histogram(page, "byteor_worker_gap_seconds", mine, run.gaps(worker))


@lru_cache(maxsize=4096)
def _worker_series(run: str, index: int) -> tuple[tuple[str, str], ...]:
    """Return family and fixed part of each series of a worker; the last four need its process."""
    names = (
        "up",
        "heartbeat_age_seconds",
        "cycle_max_seconds",
        "restarts_total",
        "resident_memory_bytes",
        "cpu_seconds_total",
        "major_faults_total",
        "involuntary_switches_total",
    )
    return tuple(
        (f"byteor_worker_{name}", f'byteor_worker_{name}{{{run},worker="{index}"}} ')
        for name in names
    )


def _calls(page: Page, calls: Mapping[str, CallStats]) -> None:
    for method, stats in calls.items():
        labels = _labels(method=method)
        _put(page, "byteor_grpc_server_started_total", labels, stats.started)
        for code, count in stats.handled.items():
            _put(page, "byteor_grpc_server_handled_total", f'{labels},code="{code}"', count)
        if stats.handled:
            _call_seconds(page["byteor_grpc_server_handling_seconds"], labels, stats)


def _call_seconds(lines: list[str], labels: str, stats: CallStats) -> None:
    name = "byteor_grpc_server_handling_seconds"
    running = 0
    for bound, count in zip(CALL_BOUNDS_S, stats.buckets, strict=True):
        running += count
        lines.append(f'{name}_bucket{{{labels},le="{_number(bound)}"}} {running}')
    total = sum(stats.handled.values())
    lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {total}')
    lines.append(f"{name}_sum{{{labels}}} {_number(stats.sum_s)}")
    lines.append(f"{name}_count{{{labels}}} {total}")


def _governance(page: Page, sample: GovernanceSample) -> None:
    for verdict in Verdict:
        count = sample.decisions.get(str(verdict), 0)
        _put(page, "byteor_policy_decisions_total", f'state="{verdict}"', count)
    for name, value in {
        "byteor_effects_without_lease": sample.without_lease,
        "byteor_approval_expiry_timestamp_seconds": _number(sample.expiry_unix),
        "byteor_audit_records_total": sample.audit_records,
        "byteor_audit_checkpoint_timestamp_seconds": _number(sample.audit_checkpoint_unix),
        "byteor_audit_writable": int(sample.audit_writable),
    }.items():
        page[name].append(f"{name} {value}")


def _daemon(page: Page, sample: Sample) -> None:
    for why in ("asked", "failure", "stall", "watchdog", "condition"):
        _put(page, "byteor_bundles_written_total", f'reason="{why}"', sample.bundles.get(why, 0))
    alone: dict[str, object] = {
        "byteor_bundles_failed_total": sample.bundles_failed,
        "byteor_watches": sample.watches,
        "byteor_scrape_seconds": _number(sample.scrape_s),
        "byteor_scrape_errors_total": sample.scrape_errors,
    }
    process = sample.daemon
    if process is not None:
        alone |= {
            "process_cpu_seconds_total": _number(process.cpu_s),
            "process_resident_memory_bytes": process.resident_bytes,
            "process_virtual_memory_bytes": process.virtual_bytes,
            "process_open_fds": process.open_fds,
            "process_max_fds": process.max_fds,
            "process_threads": process.threads,
            "process_start_time_seconds": _number(process.start_unix_s),
        }
    for name, value in alone.items():
        page[name].append(f"{name} {value}")


def _histogram(page: Page, name: str, labels: str, values: Histogram) -> None:
    counts, sum_ns, count = values
    page[name].append(_template(name, labels) % (*counts, count, _seconds(sum_ns), count))


@lru_cache(maxsize=4096)
def _template(name: str, labels: str) -> str:
    """Return the lines of a histogram with `%` places for its values: all but them is constant."""
    fixed = labels.replace("%", "%%")
    lines = [f'{name}_bucket{{{fixed},le="{bound}"}} %d' for bound in _BOUNDS_TEXT]
    lines.append(f'{name}_bucket{{{fixed},le="+Inf"}} %d')
    lines.append(f"{name}_sum{{{fixed}}} %s")
    lines.append(f"{name}_count{{{fixed}}} %d")
    return "\n".join(lines)


@lru_cache(maxsize=1)
def _heads() -> dict[str, list[str]]:
    return {
        metric.name: [
            f"# HELP {metric.name} {metric.help}",
            f"# TYPE {metric.name} {metric.type}",
        ]
        for metric in METRICS
    }


def _put(page: Page, name: str, labels: str, value: object) -> None:
    page[name].append(f"{name}{{{labels}}} {value}")


def _labels(**values: str) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in values.items())


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return value


def _base(name: str) -> str:
    """Return a role's name without its shard, which is a label of its own."""
    return name.partition("#")[0]


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.12g}"


def _number(value: float) -> str:
    return f"{value:.12g}"


def _texts(bounds: Iterable[int]) -> tuple[str, ...]:
    return tuple(_seconds(bound) for bound in bounds)


_BOUNDS_TEXT = _texts(BOUNDS_NS)
