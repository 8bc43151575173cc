"""What a Python stage raised: how it is told, and how it is let go of.

Must not import anything but the standard library: `cext/batch.pyx` uses it.
"""

from __future__ import annotations

import contextlib
from os.path import basename


def describe(error: BaseException) -> str:
    """Say what was raised and where in the stage's own code, in one line."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.endswith(".pyx"):
            where = f" ({basename(name)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{where}"


def forget(error: BaseException) -> None:
    """Let go of what an error's frames hold: views of the batch, else left to a collection."""
    trace, error.__traceback__ = error.__traceback__, None
    while trace is not None:
        with contextlib.suppress(RuntimeError):  # it still runs
            trace.tb_frame.clear()
        trace = trace.tb_next
