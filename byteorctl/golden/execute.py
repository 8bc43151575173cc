"""Runs one case through the daemon, input and output in temporary files of the client."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace

from byteorctl.attached import Attached, Interrupts
from byteorctl.client import Client
from byteorctl.client_values import StartRequest
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.feed import Feeder
from byteorctl.files import DocumentFile, OutputFile, open_input, write_whole
from byteorctl.golden.cases import Case
from byteorctl.golden.verdict import Verdict, problems_of
from byteorctl.output.findings import finding_line

START_TIMEOUT_S = 60.0
DRY = {"effects.dry_run": "true"}
"""Whatever the deployment says: a test acts on nothing, and appends to no journal."""
ENDS_THE_SUITE = frozenset({Exit.UNAVAILABLE, Exit.INTERRUPTED, Exit.INTERNAL})


class Suite:
    """The cases of one spec against one daemon."""

    def __init__(
        self,
        client: Client,
        spec: DocumentFile,
        deployment: DocumentFile | None,
        *,
        interrupts: Interrupts,
        processes: bool,
        timeout_s: float,
    ) -> None:
        """Keep what all cases share; `processes` gives each role a worker of its own."""
        self._client = client
        self._spec = spec
        self._deployment = deployment
        self._interrupts = interrupts
        self._processes = processes
        self._timeout_s = timeout_s

    def run(self, case: Case, *, update: bool) -> Verdict:
        """Run one case and judge it; with `update` what was seen becomes what is expected.

        Raises CliError when the daemon is gone or the person at the terminal has had enough.
        """
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="byteor-case-") as directory:
            given, taken = os.path.join(directory, "input"), os.path.join(directory, "output")
            write_whole(given, [case.input])
            try:
                run, error = self._run(case, given, taken)
            except CliError as refused:
                if refused.exit_code in ENDS_THE_SUITE:
                    raise
                lines = [refused.message, *map(finding_line, refused.findings), *refused.notes]
                run, error = {}, "\n".join(lines)
            output = _content(taken)
        updated = bool(update and case.output_path and not error and output != case.output)
        if updated:
            write_whole(case.output_path, [output], "expected output")
            case = replace(case, output=output)
        problems = problems_of(case, run, output, error)
        took = time.monotonic() - begin
        return Verdict(case, problems, str(run.get("id", "")), took, updated)

    def _run(self, case: Case, given: str, taken: str) -> tuple[dict[str, object], str]:
        """Return the run as it ended, and why it did not end well."""
        feeder = Feeder(open_input(given))
        sink = OutputFile(taken)
        try:
            answer = self._client.start_run(self._request(case), timeout_s=START_TIMEOUT_S)
            attached = Attached(
                self._client,
                answer["run"],
                feeder=feeder,
                output=sink,
                interrupts=self._interrupts,
                say=lambda _: None,
                timeout_s=self._timeout_s,
            )
            outcome = attached.follow()
            sink.commit()
        finally:
            sink.discard()
            feeder.cancel()
        if outcome.exit_code in ENDS_THE_SUITE:
            raise outcome.error or CliError("test: interrupted", outcome.exit_code)
        return outcome.run, outcome.error.message if outcome.error is not None else ""

    def _request(self, case: Case) -> StartRequest:
        return StartRequest(
            spec=self._spec,
            deployment=self._deployment,
            client_input=True,
            client_output=True,
            single_process=not self._processes,
            overrides={**case.overrides, **DRY},
        )


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
