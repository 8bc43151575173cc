"""Entry of `byteorctl` and of `python -m byteorctl`."""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> None:
    """Run the command line and exit with its code.

    Everything that a verb owns is closed when it returns. The interpreter's own shutdown is left
    out: it joins threads of gRPC, which now and then never end once their peer has died.
    """
    from byteorctl.cli import run

    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
