"""The error that ends a verb: what people read on standard error, and the exit code.

Imports nothing heavy; only `byteorctl.cli` turns it into output.
"""

from __future__ import annotations

from typing import Any

from byteorctl.exit_codes import Exit

Plain = dict[str, Any]
"""A message of the API as plain data: proto field names, enums in lower case without prefix."""


class CliError(Exception):
    """Ends the verb with `exit_code`.

    `message` names the thing, the value seen, the value wanted and the next step; `findings` are
    the daemon's, printed one a line; `notes` are further lines, such as a dead daemon's last words.
    """

    def __init__(
        self,
        message: str,
        exit_code: Exit,
        *,
        findings: list[Plain] | None = None,
        notes: list[str] | None = None,
    ) -> None:
        """Keep the parts."""
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.findings = findings or []
        self.notes = notes or []


class CallError(CliError):
    """A call that the daemon, or the way to it, refused or broke off."""

    def __init__(
        self,
        message: str,
        exit_code: Exit,
        *,
        status: str,
        reason: str = "",
        findings: list[Plain] | None = None,
        notes: list[str] | None = None,
    ) -> None:
        """Keep the gRPC `status` and the `reason` of its ErrorInfo (empty: the transport's own)."""
        super().__init__(message, exit_code, findings=findings, notes=notes)
        self.status = status
        self.reason = reason
