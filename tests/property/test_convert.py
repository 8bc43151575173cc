"""Messages of the API and values of the domain: what goes there and back is what it was."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteor.v1 import documents_pb2, governance_pb2, runs_pb2
from byteord.errors import InvalidArgumentError
from byteord.rpc import convert_documents, convert_runs
from byteord.rpc.paging import page_of
from byteord.runs.state import RunState
from byteord.runs.view import (
    ConditionView,
    EffectsView,
    EffectView,
    ErrorView,
    FailureView,
    InputChunk,
    JitterView,
    OutputChunk,
    RoleView,
    RunView,
    WatchEvent,
    WatchKind,
    WorkerView,
)
from byteord.spec.diff import Change
from byteord.spec.document import Source
from byteord.spec.findings import Finding, Severity
from byteord.tuning.knobs import Knob

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
U64 = st.integers(0, (1 << 64) - 1)
U32 = st.integers(0, (1 << 32) - 1)
UNIX_NS = st.integers(0, 4_000_000_000 * 10**9)

CONDITIONS = st.builds(ConditionView, TEXT, TEXT, TEXT, TEXT, UNIX_NS)
FAILURES = st.builds(FailureView, TEXT, TEXT, TEXT, st.none() | U64, TEXT, TEXT)
ERRORS = st.builds(ErrorView, TEXT, U64, st.none() | U64, TEXT)
ROLES = st.builds(
    RoleView,
    name=TEXT,
    kind=TEXT,
    stage=TEXT,
    state=TEXT,
    worker=st.just(-1) | U32,
    rejected=st.dictionaries(TEXT, U64, max_size=3),
    errors=st.lists(ERRORS, max_size=2).map(tuple),
    **{
        field.name: U64
        for field in dataclasses.fields(RoleView)
        if field.type == "int" and field.name != "worker"
    },
)
KNOBS = st.builds(Knob, *[TEXT] * 7, UNIX_NS)
WORKERS = st.builds(
    WorkerView,
    U32,
    U32,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.lists(U32, max_size=3).map(tuple),
    U32,
    U64,
    U64,
    TEXT,
    U64,
    st.lists(KNOBS, max_size=2).map(tuple),
    st.none() | st.builds(JitterView, *[U64] * 7),
)
EFFECTS = st.builds(
    EffectsView,
    st.lists(st.builds(EffectView, TEXT, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    *[TEXT] * 5,
    st.lists(TEXT, max_size=2).map(tuple),
    TEXT,
    UNIX_NS,
)
RUNS = st.builds(
    RunView,
    id=TEXT,
    name=TEXT,
    state=st.sampled_from(RunState),
    conditions=st.lists(CONDITIONS, max_size=2).map(tuple),
    failure=st.none() | FAILURES,
    spec_sha256=TEXT,
    deployment_sha256=TEXT,
    created_unix_ns=UNIX_NS,
    ended_unix_ns=UNIX_NS,
    first_message_ns=U64,
    ready_ns=U64,
    single_process=st.booleans(),
    workers=st.lists(WORKERS, max_size=2).map(tuple),
    roles=st.lists(ROLES, max_size=2).map(tuple),
    shim_pid=U32,
    region_directory=TEXT,
    code_digests=st.dictionaries(TEXT, TEXT, max_size=2),
    revision=U64,
    principal=TEXT,
    effects=st.none() | EFFECTS,
)


def over_the_wire(message: Any) -> Any:
    """Return the message as the other side sees it."""
    return type(message).FromString(message.SerializeToString())


@given(RUNS)
def test_a_run_survives_the_wire(run: RunView) -> None:
    """Every field of a run arrives, absent ones as absent."""
    assert convert_runs.run_from_proto(over_the_wire(convert_runs.run_to_proto(run))) == run


def test_every_field_of_the_domain_has_one_in_the_api() -> None:
    """A field added to a run, role, worker or condition cannot be forgotten in the API."""
    pairs = (
        (RunView, runs_pb2.Run),
        (RoleView, runs_pb2.RoleStatus),
        (WorkerView, runs_pb2.WorkerStatus),
        (FailureView, runs_pb2.Failure),
        (ErrorView, runs_pb2.DistinctError),
        (ConditionView, runs_pb2.Condition),
        (EffectsView, governance_pb2.Effects),
        (EffectView, governance_pb2.Effect),
        (Knob, runs_pb2.TuningKnob),
        (JitterView, runs_pb2.Jitter),
    )
    times = {"created_unix_ns": "created_at", "ended_unix_ns": "ended_at", "since_unix_ns": "since"}
    times["covered_until_unix_ns"] = "covered_until"
    for mine, theirs in pairs:
        names = {times.get(field.name, field.name) for field in dataclasses.fields(mine)}
        assert names == set(theirs.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    ("mine", "theirs", "prefix"),
    [
        (RunState, runs_pb2.RunState, "RUN_STATE_"),
        (WatchKind, runs_pb2.WatchKind, "WATCH_KIND_"),
        (Severity, documents_pb2.Severity, "SEVERITY_"),
    ],
)
def test_enums_name_the_same(mine: type[enum.Enum], theirs: Any, prefix: str) -> None:
    """Each member has its counterpart, and there are no others but the unspecified one."""
    names = {f"{prefix}{member.name}" for member in mine} | {f"{prefix}UNSPECIFIED"}
    assert names == set(theirs.keys())


@given(
    st.builds(
        Finding,
        code=TEXT,
        severity=st.sampled_from(Severity),
        document=TEXT,
        path=TEXT,
        seen=TEXT,
        wanted=TEXT,
        fix=TEXT,
        line=U32,
        column=U32,
    )
)
def test_a_finding_survives_the_wire(finding: Finding) -> None:
    """Every field of a finding arrives."""
    message = over_the_wire(convert_documents.finding_to_proto(finding))
    assert convert_documents.finding_from_proto(message) == finding


@given(st.builds(Source, TEXT, st.binary(max_size=50), st.sampled_from(["", "toml", "kv"])))
def test_a_document_survives_the_wire(source: Source) -> None:
    """Name, bytes and format of a document arrive."""
    message = over_the_wire(convert_documents.source_to_proto(source))
    assert convert_documents.source_from_proto(message) == source


@given(TEXT, st.none() | TEXT, st.none() | TEXT)
def test_a_change_keeps_absent_sides_absent(path: str, old: str | None, new: str | None) -> None:
    """An empty value and no value stay different."""
    message = over_the_wire(convert_documents.change_to_proto(Change(path, old, new, "none")))
    assert (message.old if message.HasField("old") else None) == old
    assert (message.new if message.HasField("new") else None) == new


@given(st.binary(max_size=50), U64, st.booleans(), U64, U32)
def test_chunks_survive_the_wire(
    data: bytes, offset: int, is_end: bool, total: int, crc: int
) -> None:
    """Both directions carry the same fields."""
    sent = runs_pb2.FeedInputRequest(
        data=data, offset=offset, end=is_end, total_bytes=total, crc32c=crc
    )
    chunk = convert_runs.input_chunk_from_proto(over_the_wire(sent))
    assert chunk == InputChunk(data, offset, is_end, total, crc)
    out = convert_runs.output_chunk_to_proto(OutputChunk(data, offset, is_end, total, crc))
    assert over_the_wire(out) == runs_pb2.TakeOutputResponse(
        data=data, offset=offset, end=is_end, total_bytes=total, crc32c=crc
    )


@given(st.sampled_from(WatchKind), st.none() | RUNS, U64)
def test_events_survive_the_wire(kind: WatchKind, run: RunView | None, revision: int) -> None:
    """An event without a run has none on the other side."""
    event = WatchEvent(kind, run, revision)
    message = over_the_wire(convert_runs.watch_event_to_proto(event))
    assert message.HasField("run") == (run is not None)
    assert message.revision == revision


@given(st.integers())
def test_numbers_outside_an_enum_are_refused(number: int) -> None:
    """A value of a newer API is an error that names the field, not a guess."""
    if number not in convert_runs.STOP_MODES:
        with pytest.raises(InvalidArgumentError, match="mode"):
            convert_runs.stop_mode_from_proto(number)
    if number not in convert_documents.KINDS:
        with pytest.raises(InvalidArgumentError, match="kind"):
            convert_documents.diff_kind_from_proto(number)


def test_a_chunk_that_is_too_large_is_refused() -> None:
    """More than 1 MiB in one message is an error with both numbers."""
    with pytest.raises(InvalidArgumentError, match="1048577 bytes"):
        convert_runs.input_chunk_from_proto(runs_pb2.FeedInputRequest(data=bytes((1 << 20) + 1)))


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 10**6)),
        unique_by=lambda key: key[1],
        max_size=30,
    ),
    st.integers(1, 7),
    st.data(),
)
def test_pages_show_each_run_once_while_runs_come_and_go(
    keys: list[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    """Whatever starts or ends between two pages, no run that stays is shown twice or left out."""
    runs = sorted(
        (RunView(f"r{number}", "n", RunState.RUNNING, created_unix_ns=at) for at, number in keys),
        key=lambda run: (run.created_unix_ns, run.id),
        reverse=True,
    )
    seen: list[str] = []
    gone: set[str] = set()
    token = ""
    while True:
        left = [run for run in runs if run.id not in gone]
        page, token = page_of(left, size, token)
        seen += [run.id for run in page]
        assert len(page) <= size
        if not token:
            break
        if left:
            gone.add(data.draw(st.sampled_from(left)).id)
    assert len(seen) == len(set(seen))
    assert {run.id for run in runs} - gone <= set(seen)


@pytest.mark.parametrize("token", ["x", "1", "1/", "/a", "-1/a", "1/a b"])
def test_a_token_of_no_answer_is_refused(token: str) -> None:
    """A made-up token is an error, not the first page."""
    with pytest.raises(InvalidArgumentError):
        page_of([], 1, token)
