"""One HTTP POST: verified TLS, a connection kept per host, no redirects, no proxies.

Retrying and waiting are the stage's (`act`). RFC 9110 says which results may be tried again.
"""

from __future__ import annotations

import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import urllib3

from byteord.deployment.model import ActionLimits
from byteord.stages.actions.result import Attempt, retry_after_s

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_ANSWER_BYTES_MAX = 64 << 10


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
            answer = self._pool.request(
                "POST", self.url, body=payload, headers=headers, redirect=False,
                preload_content=False,
            )  # fmt: skip
            answer.read(_ANSWER_BYTES_MAX)
            answer.drain_conn() if not answer.closed else None
            answer.release_conn()
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


def _is_closing(error: Exception) -> bool:
    """A peer that closes in the middle of TLS may be asked again; a wrong certificate may not."""
    text = str(error)
    return "CERTIFICATE" not in text.upper() and ("EOF" in text or "closed" in text.lower())


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
