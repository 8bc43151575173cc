"""Stage keys: `name` or `kind:target`, where the target is the stage's identity.

Pure: no stage code is imported and no file looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

USER_KINDS = ("python", "cabi", "numba")
ACTION_KINDS = ("http_post", "exec")
BUILTIN = "builtin"
WITHHELD = "[withheld]"
"""Stands where a value is not shown."""

_FORMS = {
    "python": "python:module:Class",
    "cabi": "cabi:library.so:symbol",
    "numba": "numba:module:function",
    "http_post": "http_post:https://host/path",
    "exec": "exec:/absolute/program|argument|...",
}
_URL = re.compile(r"https?://[!-~]{1,1000}\Z")
_PROGRAM = re.compile(r"/[^\s|][^\x00-\x1f\x7f]{0,1000}\Z")
_SHOWN_URL = re.compile(r"(https?://[^/?#]*)([^?#]*)(.*)\Z", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}(?:\.[A-Za-z_][A-Za-z0-9_]{0,254}){0,15}\Z")
_LIBRARY = re.compile(
    r"(?:[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,254}/){0,15}[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,250}\.so(?:\.[0-9]+)*\Z"
)


@dataclass(frozen=True, slots=True)
class StageKey:
    """A parsed stage key."""

    kind: str
    """`builtin`, `python`, `cabi`, `numba`, `http_post` or `exec`."""
    name: str
    """Name of a built-in stage; empty for the others."""
    module: str = ""
    """Module of `python` and `numba`, library (a relative path) of `cabi`, target of an action."""
    symbol: str = ""
    """Class, function or C symbol."""

    @property
    def is_builtin(self) -> bool:
        """Tell whether the catalogue, not the spec, declares what it does."""
        return self.kind == BUILTIN

    @property
    def is_action(self) -> bool:
        """Tell whether it acts on the outside world and is part of byteor."""
        return self.kind in ACTION_KINDS

    @property
    def top_package(self) -> str:
        """Return what its code digest covers: the top-level package or module, or the library."""
        return self.module if self.kind == "cabi" else self.module.partition(".")[0]


class StageKeyError(ValueError):
    """A text that is not a stage key; `wanted` says what it would have to look like."""

    def __init__(self, key: str, wanted: str) -> None:
        """Keep both."""
        super().__init__(f"{key!r} is not a stage key; wanted {wanted}")
        self.key, self.wanted = key, wanted


def parse_key(key: str) -> StageKey:
    """Return the parts of a stage key; raise StageKeyError when it is not one.

    A built-in name need not exist.
    """
    kind, colon, target = key.partition(":")
    if not colon:
        if not _NAME.match(key):
            raise StageKeyError(key, "a built-in name or kind:target")
        return StageKey(BUILTIN, key)
    form = _FORMS.get(kind)
    if form is None:
        raise StageKeyError(
            key, f"a built-in name without a target, or one of {', '.join(_FORMS.values())}"
        )
    if kind in ACTION_KINDS:
        if not (_URL if kind == "http_post" else _PROGRAM).match(target):
            raise StageKeyError(key, form)
        return StageKey(kind, "", target)
    module, _, symbol = target.partition(":")
    module_form = _LIBRARY if kind == "cabi" else _MODULE
    if not module_form.match(module) or not _IDENTIFIER.match(symbol):
        raise StageKeyError(key, form)
    return StageKey(kind, "", module, symbol)


def shown_key(key: str) -> str:
    """Return a stage's key as people on the host see it, without what may be a credential in it.

    That is the arguments of a program, and of a URL a user, the query and the fragment.
    """
    return _acting(key, lambda _: WITHHELD, _split_behind_path)


def shown_target(kind: str, target: str) -> str:
    """Return where an action goes as people on the host see it; anything else as it is."""
    return shown_key(f"{kind}:{target}").partition(":")[2] if kind in ACTION_KINDS else target


def tokened_key(key: str, token: Callable[[str], str]) -> str:
    """Return a stage's key as it may leave the host, with tokens in place of credentials.

    Of a URL also the path is one: of a hook it may be all that keeps strangers out.
    """
    return _acting(key, token, _split_behind_host)


def _acting(key: str, token: Callable[[str], str], split: Callable[[str, str], int]) -> str:
    kind, _, target = key.partition(":")
    if kind not in ACTION_KINDS:
        return key
    try:
        parse_key(key)
    except StageKeyError:
        return f"{kind}:{token(target)}"
    if kind == "exec":
        program, *arguments = target.split("|")
        return f"{kind}:{'|'.join([program, *map(token, arguments)])}"
    found = _SHOWN_URL.match(target)
    if found is None or "@" in found[1]:
        return f"{kind}:{token(target)}"
    at = len(found[1]) + split(found[2], found[3])
    return f"{kind}:{target[:at]}{token(target[at:]) if target[at:] else ''}"


def _split_behind_path(path: str, rest: str) -> int:
    return len(path) + bool(rest)


def _split_behind_host(path: str, _: str) -> int:
    return bool(path)
