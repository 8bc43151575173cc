"""One HTTP POST: verified TLS, a connection kept per host, no redirects, no proxies.

Retrying and waiting are the stage's (`act`). RFC 9110 says which results may be tried again.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from byteord.deployment.model import ActionLimits
from byteord.stages.actions.result import Attempt, retry_after_s

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_ANSWER_BYTES_MAX = 64 << 10
_LOOK_S = 0.01


class _Deadlines:
    """Shuts the sockets of requests that take too long as a whole, however slowly they go on.

    A timeout of a socket is for one read: a server that sends a byte now and then meets it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until: dict[int, float] = {}
        """By thread that has a request."""
        self._sockets: dict[int, socket.socket] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound what the calling thread asks inside."""
        me = threading.get_ident()
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            self._until[me] = time.monotonic() + seconds
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._until.pop(me, None)
                self._sockets.pop(me, None)

    def uses(self, used: socket.socket | None) -> None:
        """Tell over which socket the calling thread asks."""
        with self._changed:
            if used is not None and threading.get_ident() in self._until:
                self._sockets[threading.get_ident()] = used

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for thread in [each for each, until in self._until.items() if until <= now]:
                    used = self._sockets.get(thread)
                    if used is not None:
                        with contextlib.suppress(OSError):
                            # That of the class: the one of TLS sockets would drop their layer.
                            socket.socket.shutdown(used, socket.SHUT_RDWR)
                        del self._until[thread]
                left = min((until - now for until in self._until.values()), default=None)
                self._changed.wait(None if left is None else max(left, _LOOK_S))


def _tracked(kind: type[Any], deadlines: _Deadlines) -> type[Any]:
    """Return a class of connections that tell over which socket they ask."""

    class Tracked(kind):  # type: ignore[misc]  # the class is an argument
        def request(self, *arguments: Any, **options: Any) -> None:
            deadlines.uses(self.sock)
            super().request(*arguments, **options)

        def getresponse(self) -> Any:
            deadlines.uses(self.sock)
            return super().getresponse()

    return Tracked


class HttpPost:
    """Posts messages to one URL."""

    def __init__(self, url: str, limits: ActionLimits, *, ca_text: str, token: str) -> None:
        """Prepare; nothing is connected. `ca_text`: PEM of the only trusted authorities."""
        self.url = url
        context = ssl.create_default_context(cadata=ca_text or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._pool: Any = urllib3.PoolManager(
            num_pools=1,
            maxsize=limits.concurrency,
            ssl_context=context,
            retries=False,
            timeout=urllib3.Timeout(total=limits.timeout_ms / 1000),
        )
        self._deadlines, self._timeout_s = _Deadlines(), limits.timeout_ms / 1000
        self._pool.pool_classes_by_scheme = {
            "http": _pool_of(urllib3.HTTPConnectionPool, HTTPConnection, self._deadlines),
            "https": _pool_of(urllib3.HTTPSConnectionPool, HTTPSConnection, self._deadlines),
        }
        self._headers = {"Content-Type": limits.content_type, "User-Agent": "byteor"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    @property
    def target(self) -> str:
        """What it acts on, without a query, which might say more than it should."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    def act(self, payload: bytes, key: str) -> Attempt:
        """Post once. Never raises for what the other side does."""
        headers = {**self._headers, "Idempotency-Key": key}
        try:
            with self._deadlines.within(self._timeout_s):
                answer = self._pool.request(
                    "POST", self.url, body=payload, headers=headers, redirect=False,
                    preload_content=False,
                )  # fmt: skip
                _pass_over(answer)
        except urllib3.exceptions.SSLError as error:
            return Attempt(False, f"TLS: {_words(error)}", retryable=_is_closing(error))
        except urllib3.exceptions.HTTPError as error:
            return Attempt(False, _words(error), retryable=True)
        status = int(answer.status)
        if 200 <= status < 300:  # noqa: PLR2004 - successful, RFC 9110 section 15.3
            return Attempt(True, f"status {status}")
        wait = retry_after_s(answer.headers.get("Retry-After"), time.time())
        return Attempt(False, f"status {status}", retryable=status in RETRYABLE, retry_after_s=wait)

    def close(self) -> None:
        """Close its connections."""
        self._pool.clear()


def _pool_of(kind: type[Any], connection: type[Any], deadlines: _Deadlines) -> type[Any]:
    return type(kind.__name__, (kind,), {"ConnectionCls": _tracked(connection, deadlines)})


def _pass_over(answer: Any) -> None:
    """Read the rest of an answer, whose status is all that counts; give up a long or slow one."""
    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
        rest = answer.read(_ANSWER_BYTES_MAX + 1, decode_content=False)
        if len(rest) <= _ANSWER_BYTES_MAX:
            answer.release_conn()
            return
    answer.close()


def _is_closing(error: Exception) -> bool:
    """A peer that closes in the middle of TLS may be asked again; a wrong certificate may not."""
    text = str(error)
    return "CERTIFICATE" not in text.upper() and ("EOF" in text or "closed" in text.lower())


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
