"""Run inside a mount namespace of its own: a live run whose ring loses pages to a full tmpfs.

Prints the run's failure as JSON. The directory given is a small tmpfs of nobody else's.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

from tests.crash.test_lost_region import DEPLOYMENT, RING, STAGE
from tests.support.poll import until
from tests.support.run import make_test_plan, running, spec_text

PUNCH_HOLE_KEEP_SIZE = 3
PAGE = 4096


def main(directory: str) -> None:
    """Let it run, take the ring's pages out, fill the filesystem, print what the run says."""
    with running(make_test_plan(spec_text(STAGE, ring=RING), DEPLOYMENT), root=directory) as run:
        until(lambda: run.role("out")["received"] > 100, 30, run.log())
        filler = os.open(Path(directory, "filler"), os.O_WRONLY | os.O_CREAT)
        page = bytes(PAGE)
        _fill(filler, page)
        ring = os.open(Path(run.directory, "ring-0"), os.O_RDWR)
        total = os.fstat(ring).st_size
        libc = ctypes.CDLL(None, use_errno=True)
        for at in range(2 * PAGE, total, PAGE):
            span = (ctypes.c_long(at), ctypes.c_long(PAGE))
            if libc.fallocate(ring, PUNCH_HOLE_KEEP_SIZE, *span) != 0:
                raise OSError(ctypes.get_errno(), "fallocate")
            _fill(filler, page)
        failure = run.until_state("failed")["failure"]
        run.shim.wait(10)
    sys.stdout.write(json.dumps(failure))


def _fill(descriptor: int, page: bytes) -> None:
    try:
        while True:
            os.write(descriptor, page)
    except OSError:
        return


if __name__ == "__main__":
    main(sys.argv[1])
