"""The clients of runs: who feeds an ingress, who takes an egress, what happens when one leaves.

Owns the number of uploads, the outputs of ended runs that nobody took yet, and the rule that a run
fails by name with its client. The bytes are the business of `streams`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

from byteord.errors import ByteorError, UnavailableError, WrongStateError
from byteord.runs.ceilings import check_ceiling
from byteord.runs.failures import run_error
from byteord.runs.live import LiveRun
from byteord.runs.streams import OutputStream
from byteord.runs.view import FailureView, InputChunk, OutputChunk, RunView

GRACE_S = 3.0
"""How long a run may take to fail by itself once its client is gone, before it is aborted."""
OUTPUT_LINGER_S = 60.0
"""How long the output of an ended run waits to be taken."""
_END_S = 10.0
_ABORT_TIMEOUT_S = 10


class RunClients:
    """The clients of all runs of one daemon, on its event loop."""

    def __init__(
        self,
        *,
        uploads_max: int,
        attach_timeout_s: float,
        report: Callable[[str, Mapping[str, object]], None],
    ) -> None:
        """Start without clients. A run whose client has not come after `attach_timeout_s` fails."""
        self._uploads = 0
        self._uploads_max = uploads_max
        self._attach_timeout_s = attach_timeout_s
        self._report = report
        self._outputs: dict[str, OutputStream] = {}

    async def feed(self, run: LiveRun, chunks: AsyncIterator[InputChunk]) -> int:
        """Feed a run; return the bytes taken once the end is on its way, else the run fails."""
        if run.input is None:
            raise WrongStateError(
                f"the run {run.id} was not started with client_input", reason="NO_CLIENT_INPUT"
            )
        if run.input.attached:
            raise WrongStateError(
                f"the input of the run {run.id} is being fed, or was", reason="INPUT_TAKEN"
            )
        check_ceiling(
            "uploads_max", "uploads", seen=self._uploads, more=1, allowed=self._uploads_max
        )
        self._uploads += 1
        try:
            return await run.input.feed(chunks)
        except BaseException as error:
            self._went(run, f"input of the run: {_words(error)}")
            raise
        finally:
            self._uploads -= 1

    async def take(
        self, run_id: str, run: LiveRun | None, view: Callable[[], RunView]
    ) -> AsyncGenerator[OutputChunk, None]:
        """Yield a run's output to its end mark; whoever stops early makes the run fail."""
        output = self._output(run_id, run)
        try:
            async with contextlib.aclosing(output.take()) as chunks:
                async for chunk in chunks:
                    yield chunk
        except UnavailableError:
            raise await _why_short(run, view) from None
        except BaseException as error:
            if run is not None and not output.finished:
                self._went(run, f"output of the run: {_words(error)}")
            raise

    def expect(self, run: LiveRun) -> None:
        """A run whose client never comes must not wait for ever."""
        if run.input is not None or run.output is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._attach_timeout_s, self._check_attached, run)

    def run_ended(self, run: LiveRun, error: ByteorError | None) -> None:
        """Close the streams: a client that still feeds gets `error`; output waits to be taken."""
        if run.input is not None:
            run.input.over(error)
        if run.output is not None and not run.output.attached:
            self._outputs[run.id] = run.output
            asyncio.get_running_loop().call_later(OUTPUT_LINGER_S, self._drop, run.id)

    def drop(self, run: LiveRun, why: str) -> None:
        """A run that did not start, or is left to the next daemon, loses its clients."""
        if run.input is not None:
            run.input.over(UnavailableError(why))
        if run.output is not None:
            run.output.close()

    def close(self) -> None:
        """Let go of the outputs that nobody took."""
        for run_id in list(self._outputs):
            self._drop(run_id)

    def _output(self, run_id: str, run: LiveRun | None) -> OutputStream:
        output = run.output if run is not None else self._outputs.get(run_id)
        if output is None:
            raise WrongStateError(
                f"the run {run_id} has no output to take: it was not started with client_output, "
                "or ended too long ago",
                reason="NO_CLIENT_OUTPUT",
            )
        if output.attached:
            raise WrongStateError(
                f"the output of the run {run_id} is being taken, or was", reason="OUTPUT_TAKEN"
            )
        return output

    def _check_attached(self, run: LiveRun) -> None:
        waited = f"within {self._attach_timeout_s:g} s"
        if run.final is not None:
            return
        if run.input is not None and not run.input.attached:
            run.input.fail(f"the client's input ended before its end mark: no client came {waited}")
            self._went(run, f"input of the run: no client fed it {waited}")
        if run.output is not None and not run.output.attached:
            run.output.close()
            self._went(run, f"output of the run: no client took it {waited}")

    def _went(self, run: LiveRun, text: str) -> None:
        """The run is to fail by this name: by its endpoint if that notices in time, or aborted."""
        if run.final is not None or run.client_gone is not None:
            return
        run.client_gone = FailureView("CLIENT_GONE", message=text)
        self._report("client.gone", {"run": run.id, "what": text})
        asyncio.get_running_loop().call_later(GRACE_S, _abort_unattended, run)

    def _drop(self, run_id: str) -> None:
        output = self._outputs.pop(run_id, None)
        if output is not None and not output.attached:
            output.close()


def _abort_unattended(run: LiveRun) -> None:
    if run.final is None and run.channel is not None:
        run.channel.stop("abort", _ABORT_TIMEOUT_S)


async def _why_short(run: LiveRun | None, view: Callable[[], RunView]) -> ByteorError:
    if run is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.ended.wait(), _END_S)
    now = view()
    return run_error(now) or UnavailableError(
        f"the run {now.id} is {now.state} and its output ended before its end mark",
        reason="OUTPUT_SHORT",
    )


def _words(error: BaseException) -> str:
    if isinstance(error, ByteorError):
        return error.message
    return "the client went away before its end mark"
