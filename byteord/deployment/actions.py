"""Actions: what a URL or a program must look like, which are allowed, which adapters act too.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

KINDS = ("http_post", "exec")
ACTING_ADAPTERS = {
    "udp": ("connect",),
    "tcp": ("connect", "listen"),
    "unix_stream": ("connect", "listen"),
    "unix_dgram": ("path",),
    "file": ("path",),
}
"""Kinds whose egress acts on the outside, with the options that say where, first one given wins."""
COUNTERS = (
    "acted",
    "retried",
    "gave_up",
    "held",
    "dead_lettered",
    "would_have_acted",
    "done_before",
)
"""Names of the report, in order. `held`: messages that had to wait for the lease."""


def is_action(stage: str) -> bool:
    """Tell whether a stage key is that of an action."""
    return stage.partition(":")[0] in KINDS


def action_of(stage: str) -> tuple[str, str]:
    """Return the kind and the target of an action's key."""
    kind, _, target = stage.partition(":")
    return kind, target


def url_allowed(url: str, prefixes: Iterable[str]) -> bool:
    """Tell whether a URL lies under a prefix: same scheme, host and port, path below its path."""
    wanted = _parts(url)
    return wanted is not None and any(_under(wanted, _parts(prefix)) for prefix in prefixes)


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    path = unquote(parts.path)
    odd = "\\" in path or any(part in (".", "..") for part in path.split("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or odd or port == 0:
        return None
    if parts.username is not None or parts.password is not None or parts.fragment:
        return None
    return parts


def _under(url: SplitResult, prefix: SplitResult | None) -> bool:
    if prefix is None or prefix.query:
        return False
    default = {"http": 80, "https": 443}
    if (url.scheme, url.hostname) != (prefix.scheme, prefix.hostname):
        return False
    if (url.port or default[url.scheme]) != (prefix.port or default[prefix.scheme]):
        return False
    base = prefix.path.rstrip("/")
    return url.path == base or url.path.startswith(f"{base}/") or not base


def exec_allowed(target: str, allowed: Iterable[str]) -> bool:
    """Tell whether program and arguments are, to the letter, those of an entry."""
    return target in tuple(allowed)
