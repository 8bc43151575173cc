"""The daemon's log: structlog on standard error, JSON for machines, readable on a terminal.

Event names are constant `noun.verb` words, data goes into keys. Nothing on a hot path logs. The
logger is a value that is made once and passed on; nothing here is global except the bridge for
libraries that use the standard `logging`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def make_logger(
    *,
    form: str,
    level: str,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> FilteringBoundLogger:
    """Return a logger that writes one event a line to `stream` (standard error).

    `form` is `json`, `console` or `auto`: readable on a terminal, JSON elsewhere and under systemd.
    `level` is the least level written.
    """
    out = stream or sys.stderr
    json_wanted = form == "json" or (form == "auto" and not _for_people(out, environ or os.environ))
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=_processors(json_wanted=json_wanted, colors=out.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


def bridge_library_logs(log: FilteringBoundLogger) -> None:
    """Send what libraries log with the standard `logging`, from warnings up, to `log`."""
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _for_people(out: TextIO, environ: Mapping[str, str]) -> bool:
    return out.isatty() and "JOURNAL_STREAM" not in environ


def _processors(*, json_wanted: bool, colors: bool) -> list[Processor]:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Processor] = [structlog.processors.add_log_level, stamp]
    if json_wanted:
        return [*shared, _tracebacks(), structlog.processors.JSONRenderer()]
    use_colors = colors and not os.environ.get("NO_COLOR")
    return [*shared, structlog.dev.ConsoleRenderer(colors=use_colors)]


def _tracebacks() -> Processor:
    """Return what turns exceptions into data: frames without locals, which would hold payloads."""
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    return structlog.processors.ExceptionRenderer(transform)


class _Bridge(logging.Handler):
    """Turns a record of the standard library into one event."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as `library.logged`."""
        data: dict[str, Any] = {"library": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            data["exc_info"] = record.exc_info
        self._log.log(record.levelno, "library.logged", **data)
