"""A way to a daemon that breaks: a socket that passes bytes on and cuts connections at a point."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path


class CuttingProxy:
    """Passes connections on to `target`; the n-th is cut once `cuts[n]` bytes came back from it."""

    def __init__(self, path: Path, target: str, cuts: Sequence[int], *, holds: bool) -> None:
        """Listen at `path`. `holds`: nothing more comes then, instead of a cut."""
        self.cut = 0
        """Connections that were cut so far."""
        self.passed = 0
        """Bytes that came back from the target."""
        self._released = threading.Event() if holds else None
        self._target = target
        self._cuts = list(cuts)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._flows: list[threading.Thread] = []
        self._taker = threading.Thread(target=self._accept)
        self._taker.start()

    def close(self) -> None:
        """End everything, and wait until it has."""
        if self._released is not None:
            self._released.set()
        _end(self._listener)
        self._taker.join()
        for end in self._open:
            _end(end)
        for flow in self._flows:
            flow.join()
        for end in (self._listener, *self._open):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            daemon.connect(self._target)
            self._open += [client, daemon]
            for source, sink, counts in ((client, daemon, False), (daemon, client, True)):
                flow = threading.Thread(target=self._pass, args=(source, sink, counts))
                self._flows.append(flow)
                flow.start()

    def _pass(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
                passed += len(data)
                if counts and self._is_over(passed, len(data)):
                    if self._released is not None:
                        self._released.wait()
                    break
        _end(source)
        _end(sink)

    def _is_over(self, passed: int, more: int) -> bool:
        with self._lock:
            self.passed += more
            if self._cuts and passed >= self._cuts[0]:
                self._cuts.pop(0)
                self.cut += 1
                return True
            return False


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cutting(
    path: Path, target: str, cuts: Sequence[int], *, holds: bool = False
) -> Iterator[CuttingProxy]:
    """Provide such a way."""
    proxy = CuttingProxy(path, target, cuts, holds=holds)
    try:
        yield proxy
    finally:
        proxy.close()
