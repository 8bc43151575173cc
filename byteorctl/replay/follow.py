"""Staying with a replay: says how far it is, takes its output, ends with its result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import Exit

if TYPE_CHECKING:
    from byteorctl.client import Client, Stream
    from byteorctl.client_values import ReplayEvent
    from byteorctl.files import OutputFile

TAKE_GRACE_S = 30.0


def follow(
    client: Client,
    stream: Stream[ReplayEvent],
    *,
    sink: OutputFile | None,
    say: Callable[[Plain], None],
) -> Plain:
    """Return the result of a replay; `say` is told each progress. Raises CliError."""
    taker: Taker | None = None
    for event in stream:
        if event.result is not None:
            if taker is not None:
                taker.finish()
            return event.result
        if event.progress is not None:
            say(event.progress)
            run_id = event.progress["run_id"]
            if sink is not None and taker is None and run_id:
                taker = Taker(client, run_id, sink)
                taker.start()
    raise CliError("replay: the daemon ended it without a result", Exit.INTERNAL)


class Taker(threading.Thread):
    """Takes the output of the replay's run."""

    def __init__(self, client: Client, run_id: str, sink: OutputFile) -> None:
        """Prepare."""
        super().__init__(daemon=True)
        self._client, self._run_id, self._sink = client, run_id, sink
        self._error: CliError | None = None

    def run(self) -> None:
        """Write what comes."""
        try:
            for chunk in self._client.take_output(self._run_id):
                self._sink.write(chunk.data)
        except CliError as error:
            self._error = error

    def finish(self) -> None:
        """Wait for the last of it; raises what went wrong."""
        self.join(TAKE_GRACE_S)
        if self._error is not None:
            raise self._error
        if self.is_alive():
            raise CliError("output: the rest of it did not come", Exit.DEADLINE)
        self._sink.commit()
