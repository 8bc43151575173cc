"""Entry of the shim.

`python -I -m byteord.shim PLACE CHANNEL_FD [MODULE...]`: imports everything that a run could need,
and the named modules, waits on the channel for its order, becomes the shim of that run, and speaks
with its daemon over the same channel. Ends without a word when the daemon goes before that.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import socket
import sys
from collections.abc import Iterable

from byteord.shim.order import Order, receive_order, show_directory
from byteord.shim.supervisor import Supervisor

PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
NEEDED = ("byteord.adapters.open", "byteord.stages.load")
"""What nearly every worker imports: once here costs less than once in each."""
COMMON = (
    "byteord.worker.python_stage",
    "byteord._cext.batch",
    "byteord.worker.confine",
    "byteord.stages.actions.open",
    "byteord.stages.guard.open",
)
"""What some workers import; left to them when the order is there already."""


def main(arguments: list[str]) -> int:
    """Wait for a run and supervise it to its end."""
    place, channel_fd, *modules = arguments
    channel = socket.socket(fileno=int(channel_fd))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NAME, b"byteor-shim", 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for name in NEEDED:
        importlib.import_module(name)
    import_while_idle(channel, (*COMMON, *modules))
    order = receive_order(channel)
    if order is None:
        return 0
    become(order, place)
    Supervisor(
        order.directory,
        control_fd=channel.detach(),
        input_fd=order.input_fd,
        output_fd=order.output_fd,
        bound=order.bound,
    ).run()
    return 0


def import_while_idle(channel: socket.socket, modules: Iterable[str]) -> None:
    """Import until the order comes; what is missing or broken is a worker's to report."""
    for name in modules:
        if select.select([channel], [], [], 0)[0]:
            return
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # workers share the pages of what is here: their collections leave it alone


def become(order: Order, place: str) -> None:
    """Work in the run's directory, print to its log, and be seen as its shim."""
    show_directory(place, order.directory)
    os.chdir(order.directory)
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor in (1, 2):
        os.dup2(order.log_fd, descriptor)
    os.close(order.log_fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
