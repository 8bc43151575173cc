"""The metrics as text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import byteord.telemetry
from byteord.doctor.model import Asked, Report
from byteord.doctor.registry import selected
from byteord.doctor.run import run_checks
from byteord.runs.state import RunState
from byteord.telemetry.calls import METHODS_MAX, GrpcCalls
from byteord.telemetry.metric_table import METRICS, reference
from byteord.telemetry.metrics import BOUNDS_NS, Histogram, RunSample, Sample, render
from byteord.telemetry.process import ProcessStats, process_stats
from byteord.tuning.knobs import DEGRADED, Knob
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_topology

SAMPLE_LINE = re.compile(r'^([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$')
REASONS = ("oversize", "malformed", "truncated", "filtered", "corrupt", "kernel")


def role_read(index: int, kind: str, **changes: Any) -> dict[str, Any]:
    """Return a role as `RunReader.read` gives it."""
    return {
        "index": index,
        "name": f"role{index}",
        "kind": kind,
        "stage": "filter",
        "shard": 0,
        "worker": index,
        "pid": 100 + index,
        "heartbeat_age_ns": 1_500_000,
        "received": 10,
        "published": 8,
        "dropped": 1,
        "skipped": 1,
        "rejected": dict.fromkeys(REASONS, 0),
        "bytes": 640,
        "batches": 3,
        "gathered": 0,
        "cycle_ns_max": 2_000,
        "restarts": 1,
        "errors": [{"code": "E", "count": 2, "first_sequence": 1, "text": "t"}],
        **changes,
    }


def run_read(roles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a run as `RunReader.read` gives it."""
    cells = [
        {"cell": each["index"], "role": each["name"], "sequence": 8, "lag_slots": 2}
        for each in roles
        if each["kind"] == "stage" and each["shard"] == 0
    ]
    ring = {
        "index": 0,
        "capacity": 1024,
        "cursor": 10,
        "minimum_gating_sequence": 8,
        "cells": cells,
    }
    return {
        "created_ns": 1_000,
        "ready_ns": 41_001_000,
        "first_message_ns": 50_001_000,
        "rings": [ring],
        "roles": list(roles),
        "gaps": {each["worker"]: {} for each in roles},
        "capture": [
            {
                "stream": "in",
                "name": "in",
                "state": "disk_full",
                "seen": 1_000,
                "kept": 900,
                "bytes": 43_200,
                "lost": 100,
                "lost_disk": 60,
                "gaps": 2,
                "lag_bytes": 4_096,
            }
        ],
    }


def graph_read() -> dict[str, Any]:
    """Return a LaneGraph's reading: a full lane with a lossy consumer."""
    lane = {
        "name": "b",
        "capacity": 64,
        "stripes": 2,
        "depth": 64,
        "published": 200,
        "dropped": {"full": 3, "oversize": 0},
        "consumers": [
            {"role": "side", "lossy": True, "consumed": 90, "lag_slots": 64, "missed": 46}
            | {"nonsense": 0}
        ],
    }
    return {**run_read([]), "lanes": [lane]}


def histogram(_role: int, _which: str) -> Histogram:
    """Return a histogram of three values, one beyond the grid."""
    counts = [0] * 5 + [1] * 5 + [2] * (len(BOUNDS_NS) - 10)
    return counts, 2_000_012_345, 3


def doctor_report() -> Report:
    """Return a report of one check."""
    asked = Asked(topology=read_topology())
    return run_checks(selected(codes=["K01"]), asked, HostRoot())


def full_sample(run: str = "r1", pipeline: str = "es-trades", stages: int = 2) -> Sample:
    """Return a sample in which every metric has a series."""
    kinds = ["ingress", *["stage"] * stages, "egress"]
    roles = [role_read(index, kind) for index, kind in enumerate(kinds)]
    processes = {each["pid"]: ProcessStats(1.25, 4096, 8192, 1, 2, 3) for each in roles}
    calls = GrpcCalls()
    calls.started("StartRun")
    calls.finished("StartRun", "OK", 0.003)
    calls.finished("StartRun", "INTERNAL", 100.0)
    return Sample(
        version="1.2",
        python="3.11",
        runs=[
            RunSample(
                run,
                pipeline,
                RunState.RUNNING,
                run_read(roles),
                histogram,
                processes,
                {0: (Knob("affinity", "1", "0-1", DEGRADED, "changed"),)},
                lambda worker: histogram(worker, "gaps"),
            ),
            RunSample(f"{run}-starting", pipeline, RunState.STARTING),
        ],
        calls=calls.snapshot(),
        watches=1,
        doctor=doctor_report(),
        daemon=process_stats(1),
        scrape_s=0.004,
    )


def families(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Parse a page strictly: heads before samples, each family once; return samples by name."""
    types: dict[str, str] = {}
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    seen: set[str] = set()
    current = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, current, types[current] = line.split(" ")
            continue
        if line.startswith("# HELP "):
            assert line.split(" ")[2] not in types
            continue
        matched = SAMPLE_LINE.match(line)
        assert matched, line
        name, labels, value = matched.groups()
        assert name == current or (
            types[current] == "histogram" and re.fullmatch(f"{current}_(bucket|sum|count)", name)
        )
        assert f"{name}{{{labels}}}" not in seen
        seen.add(f"{name}{{{labels}}}")
        pairs = dict(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or ""))
        found.setdefault(name, []).append((pairs, float(value)))
    return found


def test_every_metric_of_the_table_is_rendered_and_no_other() -> None:
    """The table is complete both ways, with type and labels of each."""
    sample = full_sample()
    graph = RunSample("r1-graph", "graph", RunState.RUNNING, graph_read())
    text = render(replace(sample, runs=[*sample.runs, graph]))
    heads: dict[str, str] = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    assert heads == {metric.name: metric.type for metric in METRICS}
    samples = families(text)
    for metric in METRICS:
        suffix = "_count" if metric.type == "histogram" else ""
        for labels, _ in samples[metric.name + suffix]:
            assert set(labels) == set(metric.labels)


def test_what_holds_a_role_is_a_figure() -> None:
    """Of the one that is held, how far the one to blame is behind; 0 of all others."""
    roles = [role_read(0, "ingress"), role_read(1, "stage")]
    held = {"role0": {"lane": "b", "by": "role1", "lag_slots": 64, "root": "role1"}}
    read = {**graph_read(), "roles": roles, "held": held}
    graph = RunSample("r1", "graph", RunState.RUNNING, read)
    samples = families(render(replace(full_sample(), runs=[graph])))["byteor_role_held_slots"]
    assert {labels["role"]: value for labels, value in samples} == {"role0": 64, "role1": 0}


def test_the_reference_names_every_metric() -> None:
    """The published reference has one line for each metric, with its meaning."""
    lines = reference().splitlines()[2:]
    assert len(lines) == len(METRICS)
    for metric, line in zip(METRICS, lines, strict=True):
        assert line.startswith(f"| `{metric.name}` | {metric.type} |")
        assert metric.help in line
    published = Path(byteord.telemetry.__file__).with_name("METRICS.md").read_text()
    assert published.endswith(reference())


def test_names_and_units_follow_the_conventions() -> None:
    """Prefix, `_total` for counters alone, base units, a sentence of help, labels of the house."""
    identity = ["run", "pipeline", "lane", "role", "worker", "shard"]
    enumerations = ["state", "reason", "method", "code", "version", "python", "knob", "stream"]
    for metric in METRICS:
        assert metric.name.startswith(("byteor_", "process_"))
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert not re.search(r"_(ns|us|ms|kb|mb|kib|mib)(_|$)", metric.name)
        assert metric.help.endswith(".")
        assert set(metric.labels) <= {*identity, *enumerations}
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_page() -> None:
    """`promtool check metrics` finds nothing to say."""
    page = render(full_sample(pipeline='a"b\\c\nd'))
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=page,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_recorded_stream_says_what_is_kept_and_what_is_missing() -> None:
    """What is lost is told by its reason, and both together are all that is lost."""
    samples: dict[str, list[Any]] = dict(families(render(full_sample())))
    labels = {"run": "r1", "pipeline": "es-trades", "role": "in", "stream": "in"}
    assert samples["byteor_capture_kept_total"] == [(labels, 900)]
    assert samples["byteor_capture_lost_total"] == [
        ({**labels, "reason": "disk"}, 60),
        ({**labels, "reason": "behind"}, 40),
    ]
    assert samples["byteor_capture_disk_full"] == [(labels, 1)]


def test_values_are_what_was_read() -> None:
    """Figures of a run arrive in base units under the labels of their role."""
    samples: dict[str, list[Any]] = dict(families(render(full_sample())))
    labels = {"run": "r1", "pipeline": "es-trades"}
    assert samples["byteor_run_ready_seconds"] == [(labels, 0.041)]
    assert samples["byteor_run_first_message_seconds"] == [(labels, 0.05)]
    states = {pairs["state"]: value for pairs, value in samples["byteor_run_state"][:7]}
    assert states == {str(each): float(each is RunState.RUNNING) for each in RunState}
    ring = {**labels, "lane": "ring", "shard": "0"}
    assert samples["byteor_lane_depth_slots"] == [(ring, 2)]
    first = {**labels, "role": "role0", "worker": "0", "shard": "0"}
    assert (first, 640.0) in samples["byteor_role_bytes_total"]
    assert (first, 2.0) in samples["byteor_role_errors_total"]
    assert samples["byteor_worker_up"][0] == ({**labels, "worker": "0"}, 1.0)
    assert samples["byteor_worker_heartbeat_age_seconds"][0][1] == pytest.approx(0.0015)
    call = {"method": "StartRun", "code": "INTERNAL"}
    assert (call, 1) in samples["byteor_grpc_server_handled_total"]


def test_histograms_are_cumulative_to_infinity() -> None:
    """Buckets never fall, the last equals the count, bounds are the grid in seconds."""
    samples = families(render(full_sample()))
    for name in ("byteor_stage_latency_seconds", "byteor_grpc_server_handling_seconds"):
        first = samples[f"{name}_bucket"][0][0]
        key = {label: value for label, value in first.items() if label != "le"}
        buckets = [
            (float(pairs["le"]), value)
            for pairs, value in samples[f"{name}_bucket"]
            if {label: each for label, each in pairs.items() if label != "le"} == key
        ]
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1] == (float("inf"), dict_of(samples[f"{name}_count"], key))
    bounds = [float(pairs["le"]) for pairs, _ in samples["byteor_stage_latency_seconds_bucket"]]
    assert bounds[: len(BOUNDS_NS)] == [bound / 1e9 for bound in BOUNDS_NS]
    assert (bounds[0], bounds[len(BOUNDS_NS) - 1]) == (1e-7, 1.0)


def dict_of(samples: list[tuple[dict[str, str], float]], key: dict[str, str]) -> float:
    """Return the value of the series with these labels."""
    return next(value for pairs, value in samples if pairs == key)


def test_a_worker_without_a_process_is_down() -> None:
    """A dead worker says 0 and has no process figures; its counters stay."""
    roles = [role_read(0, "stage", pid=5)]
    run = RunSample("r", "p", RunState.RUNNING, run_read(roles), histogram, {})
    samples = families(render(Sample("1", "3", runs=[run])))
    assert samples["byteor_worker_up"] == [({"run": "r", "pipeline": "p", "worker": "0"}, 0)]
    assert "byteor_worker_resident_memory_bytes" not in samples
    assert "byteor_worker_restarts_total" in samples


def test_labels_are_escaped() -> None:
    """Quotes, backslashes and line ends in names cannot break the page or forge a series."""
    evil = 'x"} 1\nbyteor_fake 1\\'
    samples = families(render(full_sample(pipeline=evil)))
    assert "byteor_fake" not in samples
    shown = {pairs["pipeline"] for pairs, _ in samples["byteor_run_state"]}
    assert shown == {'x\\"} 1\\nbyteor_fake 1\\\\'}


def test_shards_are_labels_not_names() -> None:
    """Roles of several shards share their name and differ by `shard`; an egress of all says so."""
    roles = [
        role_read(0, "stage", name="parse#0"),
        role_read(1, "stage", name="parse#1", shard=1),
        role_read(2, "egress", name="out", shard=-1),
    ]
    run = RunSample("r", "p", RunState.RUNNING, run_read(roles), histogram, {})
    samples = families(render(Sample("1", "3", runs=[run])))
    shown = [(pairs["role"], pairs["shard"]) for pairs, _ in samples["byteor_role_received_total"]]
    assert shown == [("parse", "0"), ("parse", "1"), ("out", "all")]


def test_two_hundred_roles_render_in_milliseconds() -> None:
    """A page of 200 roles, histograms included, takes less than 5 ms of processor time.

    On a host that is slow just then, no more than ten times what formatting as many numbers takes.
    """
    sample = full_sample(stages=198)
    lines = range(render(sample).count("\n"))
    times, anchors = [], []
    for _ in range(20):
        begun = time.thread_time()
        render(sample)
        times.append(time.thread_time() - begun)
        begun = time.thread_time()
        "\n".join([f"name {value}" for value in lines])
        anchors.append(time.thread_time() - begun)
    assert min(times) < max(0.005, 10 * min(anchors))


def test_calls_are_bounded_by_method() -> None:
    """Callers cannot grow the page by inventing methods."""
    calls = GrpcCalls()
    for index in range(METHODS_MAX * 2):
        calls.started(f"Method{index}")
        calls.finished(f"Method{index}", "OK", 0.1)
    found = calls.snapshot()
    assert len(found) == METHODS_MAX + 1
    assert found["other"].started == METHODS_MAX
    assert sum(each.handled["OK"] for each in found.values()) == METHODS_MAX * 2


def test_process_figures_are_the_kernels() -> None:
    """Our own process has memory, threads, files and a start; a pid of nobody has nothing."""
    own = process_stats(os.getpid(), own=True)
    assert own is not None
    assert own.resident_bytes > 1 << 20
    assert own.virtual_bytes > own.resident_bytes
    assert own.threads >= 1
    assert 0 < own.open_fds < own.max_fds
    assert abs(own.start_unix_s - time.time()) < 86_400
    assert process_stats(2**22 + 7) is None
