"""Entry of the shim.

`python -I -m byteord.shim RUN_DIR [--control-fd N] [--input-fd N] [--output-fd N] [--bound]`.
"""

from __future__ import annotations

import ctypes
import sys

from byteord.shim.supervisor import Supervisor

PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36


def main(arguments: list[str]) -> int:
    """Supervise the run in the directory that is the first argument, to its end."""
    options = {"--control-fd": -1, "--input-fd": -1, "--output-fd": -1}
    directory, rest = arguments[0], arguments[1:]
    bound = "--bound" in rest
    rest = [word for word in rest if word != "--bound"]
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        options[name] = int(value)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NAME, b"byteor-shim", 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Supervisor(
        directory,
        control_fd=options["--control-fd"],
        input_fd=options["--input-fd"],
        output_fd=options["--output-fd"],
        bound=bound,
    ).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
