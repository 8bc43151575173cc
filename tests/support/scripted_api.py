"""A peer that speaks the API and misbehaves on request: a client must survive it.

Serves on a Unix socket in threads of the test process. Runs that go well are tested against the
real daemon.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import google_crc32c
import grpc

from byteor.v1 import control_service_pb2_grpc, runs_pb2

RUN_ID = "run-1"


class ScriptedApi(control_service_pb2_grpc.ControlServiceServicer):
    """One run that echoes its input. Attributes say what goes wrong, and what the client did."""

    def __init__(self) -> None:
        """Behave, until told otherwise."""
        self.final_state = runs_pb2.RUN_STATE_COMPLETED
        self.end_mark = True
        self.crc_flip = 0
        self.hold_open = False
        self.die_when_fed = False
        self.watch_kind = runs_pb2.WATCH_KIND_ENDED
        self.findings: list[Any] = []
        self.stops: list[int] = []
        self.started: list[runs_pb2.StartRunRequest] = []
        self.fed = bytearray()
        self.taken = threading.Event()
        self._feed_done = threading.Event()
        self._stopped = threading.Event()
        self._over = threading.Event()
        self.die: Any = None
        self.replies: dict[str, Callable[[Any, Any], Any]] = {}

    def StartRun(self, request: Any, context: Any) -> Any:  # noqa: N802  name of the API
        """Start the run."""
        if "StartRun" in self.replies:
            return self.replies["StartRun"](request, context)
        self.started.append(request)
        return runs_pb2.StartRunResponse(run=self._run(runs_pb2.RUN_STATE_RUNNING))

    def FeedInput(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802  name of the API
        """Keep the input, check its end mark."""
        for request in request_iterator:
            assert request.offset == len(self.fed)
            self.fed += request.data
            if self.die_when_fed:
                self.die()
            if request.end:
                assert request.crc32c == google_crc32c.value(bytes(self.fed))
                self._feed_done.set()
                return runs_pb2.FeedInputResponse(accepted_bytes=len(self.fed))
        context.abort(grpc.StatusCode.ABORTED, "the input ended before its end mark")
        raise AssertionError

    def TakeOutput(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802, ARG002  name of the API
        """Give the input back once it is whole, or what there is when the run was stopped."""
        self._wait_for_end(context)
        data = bytes(self.fed)
        yield runs_pb2.TakeOutputResponse(data=data, offset=0)
        if self.end_mark:
            crc32c = google_crc32c.value(data) ^ self.crc_flip
            yield runs_pb2.TakeOutputResponse(
                offset=len(data), end=True, total_bytes=len(data), crc32c=crc32c
            )
        self.taken.set()

    def WatchRuns(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802, ARG002  name of the API
        """Say that it runs, then that it ended."""
        running = self._run(runs_pb2.RUN_STATE_RUNNING)
        yield runs_pb2.WatchRunsResponse(kind=runs_pb2.WATCH_KIND_SNAPSHOT, run=running, revision=1)
        self._wait_for_end(context)
        state = runs_pb2.RUN_STATE_STOPPED if self._stopped.is_set() else self.final_state
        if self.watch_kind == runs_pb2.WATCH_KIND_GOING_DOWN:
            state = runs_pb2.RUN_STATE_RUNNING
        run = self._run(state)
        if state == runs_pb2.RUN_STATE_FAILED:
            run.failure.reason = "STAGE_RAISED"
            run.failure.role = "parse"
            run.failure.stage = "python:parse:Parse"
            run.failure.sequence = 41
            run.failure.message = "ValueError: not a line"
        yield runs_pb2.WatchRunsResponse(kind=self.watch_kind, run=run, revision=2)

    def StopRun(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002  name of the API
        """Stop at once, except that a drain does not help a run that holds on."""
        self.stops.append(request.mode)
        if not self.hold_open or request.mode == runs_pb2.STOP_MODE_ABORT:
            self._stopped.set()
        return runs_pb2.StopRunResponse(run=self._run(runs_pb2.RUN_STATE_STOPPED))

    def GetRun(self, request: Any, context: Any) -> Any:  # noqa: N802  name of the API
        """Answer as the test says."""
        return self.replies["GetRun"](request, context)

    def ListRuns(self, request: Any, context: Any) -> Any:  # noqa: N802  name of the API
        """Answer as the test says."""
        return self.replies["ListRuns"](request, context)

    def close(self) -> None:
        """Let every handler go."""
        self._over.set()

    def _run(self, state: Any) -> Any:
        return runs_pb2.Run(id=RUN_ID, name="echo", state=state)

    def _wait_for_end(self, context: Any) -> None:
        pause = threading.Event()
        while context.is_active() and not self._over.is_set():
            if self._stopped.is_set() or (self._feed_done.is_set() and not self.hold_open):
                return
            pause.wait(0.01)


@contextlib.contextmanager
def serving(api: ScriptedApi, directory: Path) -> Iterator[str]:
    """Serve `api` on a socket in `directory`; yield its address."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    control_service_pb2_grpc.add_ControlServiceServicer_to_server(api, server)
    address = f"unix:{directory}/api.sock"
    server.add_insecure_port(address)
    server.start()
    api.die = lambda: server.stop(None)
    try:
        yield address
    finally:
        api.close()
        server.stop(None).wait(10)
