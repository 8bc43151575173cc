"""Staying with a run: feeds its input, takes its output, watches it, stops it when asked to.

Three threads (feed, take, watch) and the signal handlers post events to one queue; the main thread
alone decides. The run is over when the daemon says that it ended and both streams are done.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

from byteorctl.checksum import Running
from byteorctl.client import Client, Stream, Upload
from byteorctl.client_values import OutputChunk
from byteorctl.errors import CallError, CliError, Plain
from byteorctl.exit_codes import BY_RUN_STATE, Exit
from byteorctl.feed import Feeder
from byteorctl.files import OutputFile
from byteorctl.interrupt import interrupt

ENDED_STATES = frozenset(BY_RUN_STATE)
BROKEN_FEED_GRACE_S = 5.0
ABORT_GRACE_S = 30.0
STOP_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a thread or a signal has to say; `error` ends what it was about."""

    what: str
    error: CliError | OSError | None = None
    run: Plain | None = None


@dataclass(slots=True)
class Outcome:
    """How it ended: the run as last seen, what the verb's exit code is, and why if it is not 0."""

    run: Plain
    exit_code: Exit
    error: CliError | None = None


class Interrupts:
    """SIGINT and SIGTERM as events of a queue, from before the run starts to the verb's end.

    Use as a context manager in the main thread. The third one raises KeyboardInterrupt wherever the
    main thread is.
    """

    LEAVE = 3

    def __init__(self) -> None:
        """Prepare; nothing is caught yet."""
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._count = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begin to catch."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore what was there."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _caught(self, _: int, __: FrameType | None) -> None:
        self._count += 1
        if self._count >= self.LEAVE:
            interrupt()
        self.events.put(Event("interrupt"))


class Attached:
    """One attached run. Use once: `follow`."""

    def __init__(
        self,
        client: Client,
        run: Plain,
        *,
        feeder: Feeder | None,
        output: OutputFile | None,
        interrupts: Interrupts,
        say: Callable[[str], None],
        timeout_s: float | None = None,
    ) -> None:
        """Take a started run and the ends that this client serves; `say` gets lines of progress."""
        self._client = client
        self._run = run
        self._feeder = feeder
        self._output = output
        self._say = say
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._events = interrupts.events
        self._pending = {"watch"}
        self._streams: dict[str, Stream[Any] | Upload] = {}
        self._output_whole = output is None
        self._interrupts = 0
        self._timed_out = False
        self._abort_at: float | None = None
        self._first_error: CliError | None = None

    def follow(self) -> Outcome:
        """Stay until the run has ended and its output is taken; never raises for it."""
        try:
            self._start_threads()
            while self._pending:
                self._step()
        finally:
            self._cancel_all()
        return self._outcome()

    def _start_threads(self) -> None:
        run_id = str(self._run["id"])
        if self._output is not None:
            self._spawn("take", self._take, self._client.take_output(run_id), self._output)
        if self._feeder is not None:
            self._spawn("feed", self._feed, self._client.feed_input(run_id, self._feeder))
        self._spawn("watch", self._watch, self._client.watch_runs(run_id))

    def _spawn(self, what: str, body: Callable[..., None], stream: Any, *more: Any) -> None:
        self._streams[what] = stream
        self._pending.add(what)
        threading.Thread(
            target=self._guarded,
            args=(what, body, stream, *more),
            name=f"byteorctl-{what}",
            daemon=True,
        ).start()

    def _guarded(self, what: str, body: Callable[..., None], *arguments: Any) -> None:
        """Run a thread's body and post how it went."""
        error: CliError | OSError | None = None
        try:
            body(*arguments)
        except (CliError, OSError) as caught:
            error = caught
        self._events.put(Event(what, error))

    def _feed(self, upload: Upload) -> None:
        upload.result()

    def _watch(self, stream: Stream[Plain]) -> None:
        for event in stream:
            if event["run"] is not None:
                self._events.put(Event("run", run=event["run"]))
            if event["kind"] == "ended":
                return
            if event["kind"] == "going_down":
                break
        raise CallError(
            f"byteord at {self._client.address}: is going down; the run may go on "
            f"without this client: byteorctl status {self._run['id']}",
            Exit.UNAVAILABLE,
            status="UNAVAILABLE",
        )

    def _take(self, stream: Stream[OutputChunk], output: OutputFile) -> None:
        running = Running()
        for chunk in stream:
            if chunk.offset != running.total_bytes:
                raise _damaged(f"offset {chunk.offset}", f"offset {running.total_bytes}")
            running.add(chunk.data)
            output.write(chunk.data)
            if chunk.end:
                _check_end(chunk, running)
                self._output_whole = True
                return

    def _step(self) -> None:
        """Wait for one event, or for a limit, and act on it."""
        try:
            event = self._events.get(timeout=self._wait_s())
        except queue.Empty:
            self._limit_reached()
            return
        if event.what == "run":
            self._seen(event.run or {})
        elif event.what == "interrupt":
            self._interrupted()
        elif event.what == "stop":
            self._stop_answered(event.error)
        else:
            self._stream_over(event)

    def _wait_s(self) -> float | None:
        limits = [limit for limit in (self._deadline, self._abort_at) if limit is not None]
        return max(0.0, min(limits) - time.monotonic()) if limits else None

    def _limit_reached(self) -> None:
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            if self._timed_out:
                self._pending.clear()
                return
            self._deadline = now + ABORT_GRACE_S
            self._timed_out = True
            self._say("the time allowed is over: aborting the run")
            self._stop(abort=True)
        if self._abort_at is not None and now >= self._abort_at:
            self._abort_at = None
            self._stop(abort=True)

    def _seen(self, run: Plain) -> None:
        if run.get("state") != self._run.get("state"):
            self._say(f"run {run['id']}: {run['state']}")
        self._run = run
        if run["state"] in ENDED_STATES and self._feeder is not None:
            self._feeder.cancel()
            self._streams["feed"].cancel()

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._say("draining the run; interrupt again to abort it")
            self._stop(abort=False)
        else:
            self._say("aborting the run; interrupt again to leave at once")
            self._stop(abort=True)

    def _stop(self, *, abort: bool) -> None:
        threading.Thread(
            target=self._call_stop, args=(abort,), name="byteorctl-stop", daemon=True
        ).start()

    def _call_stop(self, abort: bool) -> None:  # noqa: FBT001  a thread's argument
        try:
            self._client.stop_run(
                str(self._run["id"]), abort=abort, drain_timeout_s=0, timeout_s=STOP_TIMEOUT_S
            )
        except CliError as error:
            self._events.put(Event("stop", error))

    def _stop_answered(self, error: CliError | OSError | None) -> None:
        if error is not None and self._run.get("state") not in ENDED_STATES:
            self._say(f"stopping the run: {error}")

    def _stream_over(self, event: Event) -> None:
        self._pending.discard(event.what)
        error = event.error
        if event.what == "feed" and self._feeder is not None and self._feeder.error is not None:
            error = CliError(
                f"input: reading failed after {self._feeder.bytes_read:,} bytes "
                f"({self._feeder.error.strerror})",
                Exit.DATA,
            )
        if error is None:
            return
        if isinstance(error, OSError):
            error = CliError(
                "output: its reader has gone (broken pipe); the run was aborted", Exit.FAILED
            )
        self._stream_broke(event.what, error)

    def _stream_broke(self, what: str, error: CliError) -> None:
        """Decide what a broken stream means: without a watch nothing more can be known."""
        ended = self._run.get("state") in ENDED_STATES
        if not isinstance(error, CallError) or not ended:
            self._keep(what, error)
        if ended:
            return
        if what == "watch":
            self._pending.clear()
        elif not isinstance(error, CallError):
            self._stop(abort=True)
        elif self._abort_at is None:
            self._abort_at = time.monotonic() + BROKEN_FEED_GRACE_S

    def _keep(self, what: str, error: CliError) -> None:
        """Remember the first error, unless it is only the feed of a run that is being stopped."""
        if not (what == "feed" and self._stopping()):
            self._first_error = self._first_error or error

    def _stopping(self) -> bool:
        return self._interrupts > 0 or self._run.get("state") in {"draining", "stopping"}

    def _cancel_all(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
        for stream in self._streams.values():
            stream.cancel()

    def _outcome(self) -> Outcome:
        state = str(self._run.get("state"))
        error = self._first_error
        if error is not None and not isinstance(error, CallError):
            return Outcome(self._run, error.exit_code, error)
        if self._interrupts:
            return Outcome(self._run, Exit.INTERRUPTED, None if state in ENDED_STATES else error)
        if self._timed_out:
            return Outcome(
                self._run,
                Exit.DEADLINE,
                CliError("run: did not end in the time allowed", Exit.DEADLINE),
            )
        if state == "failed":
            return Outcome(self._run, Exit.FAILED, _failure_error(self._run))
        if error is not None:
            return Outcome(self._run, error.exit_code, error)
        return self._good_outcome(state)

    def _good_outcome(self, state: str) -> Outcome:
        if not self._output_whole:
            text = (
                f"output: ended without its end mark although the run is {state}; it is incomplete"
            )
            return Outcome(self._run, Exit.DATA, CliError(text, Exit.DATA))
        if state == "stopped" and self._feeder is not None and not self._feeder.ended:
            text = "run: was stopped before all of its input was fed"
            return Outcome(self._run, Exit.FAILED, CliError(text, Exit.FAILED))
        return Outcome(self._run, BY_RUN_STATE.get(state, Exit.INTERNAL))

    @property
    def output_whole(self) -> bool:
        """The end mark of the output was seen and its length and CRC32C were right."""
        return self._output_whole


def _failure_error(run: Plain) -> CliError:
    """Say which role failed, at which message, and what it said."""
    failure = run.get("failure") or {}
    where = f"role {failure['role']}" if failure.get("role") else "the run"
    if failure.get("stage"):
        where += f" ({failure['stage']})"
    if failure.get("sequence") is not None:
        where += f" at sequence {failure['sequence']}"
    if failure.get("message_sha256"):
        where += f", message sha256 {failure['message_sha256']}"
    reason, said = failure.get("reason") or "unknown", failure.get("message") or "-"
    return CliError(f"run {run['id']} failed: {reason}: {where}: {said}", Exit.FAILED)


def _check_end(chunk: OutputChunk, running: Running) -> None:
    if chunk.total_bytes != running.total_bytes:
        raise _damaged(f"{running.total_bytes} bytes", f"{chunk.total_bytes} bytes")
    if chunk.crc32c != running.crc32c:
        raise _damaged(f"CRC32C {running.crc32c:08x}", f"{chunk.crc32c:08x}")


def _damaged(seen: str, wanted: str) -> CliError:
    return CliError(
        f"output: damaged on its way: seen {seen}, wanted {wanted}; run again", Exit.DATA
    )
