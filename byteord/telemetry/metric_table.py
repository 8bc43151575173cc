"""The table of metrics: what each is called and means.

Names begin with `byteor_` (those of the daemon's process have the names every exporter gives them),
units are base units. Labels that tell series apart are run, pipeline, lane, role, worker and shard;
`state`, `reason`, `stream`, `method`, `code` and `knob` have a few fixed values each. A counter of
a run begins at zero with the run and goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

_RUN = ("run", "pipeline")
_LANE = (*_RUN, "lane", "shard")
_ROLE = (*_RUN, "role", "worker", "shard")
_WORKER = (*_RUN, "worker")
_STREAM = (*_RUN, "role", "stream")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family."""

    name: str
    type: str
    """`counter`, `gauge` or `histogram`."""
    help: str
    labels: tuple[str, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric(
        "byteor_build_info",
        "gauge",
        "Always 1; its labels tell what is running.",
        ("version", "python"),
    ),
    Metric(
        "byteor_run_state",
        "gauge",
        "1 for the state that the run is in, 0 for the others.",
        (*_RUN, "state"),
    ),
    Metric(
        "byteor_run_ready_seconds",
        "gauge",
        "Time from the call that started the run until all its roles ran; absent before.",
        _RUN,
    ),
    Metric(
        "byteor_run_first_message_seconds",
        "gauge",
        "Time from the call that started the run to its first message out; absent before.",
        _RUN,
    ),
    Metric("byteor_lane_published_total", "counter", "Messages published to the lane.", _LANE),
    Metric(
        "byteor_lane_consumed_total",
        "counter",
        "Messages that a consumer of the lane is done with.",
        (*_RUN, "lane", "role", "shard"),
    ),
    Metric(
        "byteor_lane_depth_slots",
        "gauge",
        "Messages in the lane that its slowest consumer is not done with.",
        _LANE,
    ),
    Metric("byteor_lane_capacity_slots", "gauge", "Slots of the lane.", _LANE),
    Metric(
        "byteor_lane_dropped_total",
        "counter",
        "Messages that the lane could not take: it was full and drops, or they were too long.",
        (*_LANE, "reason"),
    ),
    Metric(
        "byteor_lane_overruns_total",
        "counter",
        "Messages that a lossy consumer of the lane missed.",
        (*_RUN, "lane", "role", "shard"),
    ),
    Metric(
        "byteor_lane_nonsense_total",
        "counter",
        "Slots of the lane that held no message, passed over by a consumer.",
        (*_RUN, "lane", "role", "shard"),
    ),
    Metric(
        "byteor_lane_lag_slots",
        "gauge",
        "Messages published to the lane that a consumer is not done with.",
        (*_RUN, "lane", "role", "shard"),
    ),
    Metric("byteor_role_received_total", "counter", "Messages that a role took.", _ROLE),
    Metric(
        "byteor_role_held_slots",
        "gauge",
        "Messages for which a role is held: so far behind is who leaves its output no room, or so "
        "many wait in a merge for a silent input. 0: nothing holds it; `status` names who does.",
        _ROLE,
    ),
    Metric("byteor_role_published_total", "counter", "Messages that a role passed on.", _ROLE),
    Metric(
        "byteor_role_dropped_total",
        "counter",
        "Messages that a role did not pass on: dropped by its stage, or skipped after an error.",
        (*_ROLE, "reason"),
    ),
    Metric(
        "byteor_role_rejected_total",
        "counter",
        "Input that an ingress or egress did not take, or repaired, by reason.",
        (*_ROLE, "reason"),
    ),
    Metric(
        "byteor_role_bytes_total",
        "counter",
        "Bytes that an ingress read or an egress wrote.",
        _ROLE,
    ),
    Metric("byteor_role_batches_total", "counter", "Batches that a role committed.", _ROLE),
    Metric(
        "byteor_role_gathered_total",
        "counter",
        "Batches that a Python stage saw as a gathered copy, not in place.",
        _ROLE,
    ),
    Metric("byteor_role_errors_total", "counter", "Errors of a role.", _ROLE),
    Metric(
        "byteor_stage_service_seconds",
        "histogram",
        "Time that a stage took for a batch; of small batches in a row one in 16 is timed.",
        _ROLE,
    ),
    Metric(
        "byteor_stage_latency_seconds",
        "histogram",
        "Age of a message, from its ingress, when a stage was done with it.",
        _ROLE,
    ),
    Metric(
        "byteor_adapter_service_seconds",
        "histogram",
        "Time of a batch in an ingress or egress; of small batches in a row one in 16 is timed.",
        _ROLE,
    ),
    Metric(
        "byteor_end_to_end_seconds",
        "histogram",
        "Age of a message, from its ingress, when the egress was done with it.",
        _ROLE,
    ),
    Metric(
        "byteor_capture_messages_total",
        "counter",
        "Messages of a recorded stream that the recorder has dealt with.",
        _STREAM,
    ),
    Metric(
        "byteor_capture_kept_total", "counter", "Frames that the capture of a stream has.", _STREAM
    ),
    Metric("byteor_capture_bytes_total", "counter", "Bytes of their payloads.", _STREAM),
    Metric(
        "byteor_capture_lost_total",
        "counter",
        "Messages that should be in the capture and are not: the disk had no room (`disk`), or the "
        "recorder was behind (`behind`).",
        (*_STREAM, "reason"),
    ),
    Metric("byteor_capture_gaps_total", "counter", "Runs of lost messages.", _STREAM),
    Metric(
        "byteor_capture_lag_bytes",
        "gauge",
        "Bytes handed over to the recorder that it has not dealt with.",
        _STREAM,
    ),
    Metric(
        "byteor_capture_disk_full",
        "gauge",
        "1 while the disk has no room for the next segment of a stream.",
        _STREAM,
    ),
    Metric("byteor_worker_up", "gauge", "1 while the worker's process exists.", _WORKER),
    Metric(
        "byteor_worker_heartbeat_age_seconds",
        "gauge",
        "Time since the loop of the worker last turned; the oldest of its roles.",
        _WORKER,
    ),
    Metric(
        "byteor_worker_cycle_max_seconds",
        "gauge",
        "Longest turn of the worker's loop so far.",
        _WORKER,
    ),
    Metric("byteor_worker_restarts_total", "counter", "Restarts of the worker.", _WORKER),
    Metric(
        "byteor_worker_resident_memory_bytes", "gauge", "Resident memory of the worker.", _WORKER
    ),
    Metric(
        "byteor_worker_cpu_seconds_total",
        "counter",
        "Processor time of the worker's process, since that process began.",
        _WORKER,
    ),
    Metric(
        "byteor_worker_major_faults_total",
        "counter",
        "Page faults of the worker's process that had to read a disk.",
        _WORKER,
    ),
    Metric(
        "byteor_worker_involuntary_switches_total",
        "counter",
        "Times the kernel took the processor from the worker's process.",
        _WORKER,
    ),
    Metric(
        "byteor_worker_tuning_state",
        "gauge",
        "State of one tuning knob of the worker as last read back: 0 applied, 1 degraded, 2 it "
        "cannot be read.",
        (*_WORKER, "knob"),
    ),
    Metric(
        "byteor_worker_gap_seconds",
        "histogram",
        "Stretches in which the worker's loop neither worked nor waited on purpose: somebody else "
        "had its CPU.",
        _WORKER,
    ),
    Metric(
        "byteor_doctor_check",
        "gauge",
        "1 for the state that a check of doctor had when all were last run through this daemon.",
        ("code", "state"),
    ),
    Metric(
        "byteor_doctor_checks",
        "gauge",
        "Checks of doctor in each state, when all were last run through this daemon.",
        ("state",),
    ),
    Metric(
        "byteor_doctor_run_timestamp_seconds",
        "gauge",
        "When all checks of doctor were last run through this daemon.",
    ),
    Metric(
        "byteor_policy_decisions_total",
        "counter",
        "Decisions about capabilities of runs, by verdict.",
        ("state",),
    ),
    Metric(
        "byteor_effects_without_lease",
        "gauge",
        "Live runs with side effects that may not happen now.",
    ),
    Metric(
        "byteor_approval_expiry_timestamp_seconds",
        "gauge",
        "End of the approval that ends first of those that live runs depend on; 0 without one.",
    ),
    Metric(
        "byteor_audit_records_total", "counter", "Records written to the audit log by this daemon."
    ),
    Metric(
        "byteor_audit_checkpoint_timestamp_seconds",
        "gauge",
        "When the audit log was last covered by a signed checkpoint; 0 before the first.",
    ),
    Metric(
        "byteor_audit_writable",
        "gauge",
        "1 while the audit log can be written; without it side effects stop.",
    ),
    Metric(
        "byteor_bundles_written_total",
        "counter",
        "Incident bundles that this daemon wrote, by what they were made for: `asked`, `failure`, "
        "`stall`, `watchdog` or `condition`.",
        ("reason",),
    ),
    Metric(
        "byteor_bundles_failed_total",
        "counter",
        "Incident bundles that were to be made and could not be written.",
    ),
    Metric("byteor_watches", "gauge", "Open watches of runs."),
    Metric("byteor_grpc_server_started_total", "counter", "Calls that the API began.", ("method",)),
    Metric(
        "byteor_grpc_server_handled_total",
        "counter",
        "Calls that the API finished, by status.",
        ("method", "code"),
    ),
    Metric(
        "byteor_grpc_server_handling_seconds",
        "histogram",
        "Time that the API took for a call, to the end of its stream.",
        ("method",),
    ),
    Metric(
        "byteor_scrape_seconds", "gauge", "Time that the last complete answer like this one took."
    ),
    Metric(
        "byteor_scrape_errors_total",
        "counter",
        "Runs that could not be read, each counted once a scrape.",
    ),
    Metric("process_cpu_seconds_total", "counter", "Processor time of the daemon."),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory of the daemon."),
    Metric("process_virtual_memory_bytes", "gauge", "Virtual memory of the daemon."),
    Metric("process_open_fds", "gauge", "Open file descriptors of the daemon."),
    Metric("process_max_fds", "gauge", "File descriptors that the daemon may open."),
    Metric("process_threads", "gauge", "Threads of the daemon."),
    Metric("process_start_time_seconds", "gauge", "When the daemon began, since the epoch."),
)


def reference() -> str:
    """Return the reference of all metrics as a Markdown table."""
    lines = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"
