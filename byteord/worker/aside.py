"""What a recorder does beside recording: syncs and reports, which may take a disk a while.

Owns one thread and its one job at a time. It must not touch what the recorder is at work on: jobs
get descriptors and texts of their own. A sync that failed is told once and never tried again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue


class Aside:
    """A thread for what blocks."""

    def __init__(self) -> None:
        """Start it."""
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Tell whether the last job is done."""
        return self._idle.is_set()

    def do(self, job: Callable[[], None]) -> None:
        """Begin a job; only when idle."""
        self._idle.clear()
        self._jobs.put(job)

    def end(self) -> None:
        """Wait for the last job and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            finally:
                self._idle.set()


def sync(descriptors: Iterable[int]) -> int:
    """Put files on the disk, the last of them a directory; return the number of the error, or 0.

    Closes all of them. After the first failure nothing more is tried.
    """
    *files, directory = descriptors
    try:
        for descriptor in files:
            os.fdatasync(descriptor)
        os.fsync(directory)
    except OSError as error:
        return error.errno or 5
    finally:
        for descriptor in (*files, directory):
            os.close(descriptor)
    return 0
