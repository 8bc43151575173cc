"""Secrets belong in neither document: what looks like one is refused, a reference is not.

Owns the known forms. A finding never repeats what it found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from byteord.spec.findings import Collector, Path

REFERENCE = re.compile(r"secret:[A-Za-z][A-Za-z0-9_.-]{0,126}\Z")

_URL_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s@:]*:[^/?#\s@]+@")
_KNOWN_FORMS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "a cloud access key"),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}"), "an access token"),
    (re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"), "an access token"),
    (re.compile(r"\bBearer [A-Za-z0-9._~+/-]{16,}"), "a bearer token"),
)
_KEY_NAMES = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "secret_key",
        "api_key",
        "apikey",
        "access_key",
        "private_key",
        "auth_token",
        "access_token",
    ]
)


def check_secrets(tree: object, found: Collector) -> None:
    """Report every value of a tree that holds a secret, or a reference that is not well formed."""
    for path, text in _strings(tree, ()):
        if text.startswith("secret:"):
            if not REFERENCE.match(text):
                found.add(
                    "SECRET_REFERENCE_INVALID",
                    path,
                    seen="a malformed secret reference",
                    wanted="secret:NAME, the name a letter and then letters, digits, _ . or -",
                    fix="correct the name",
                )
        elif _URL_PASSWORD.search(text):
            found.add(
                "SECRET_IN_URL",
                path,
                seen="a URL with a password in it",
                wanted="a URL without a password",
                fix="take it out; give the password as secret:NAME in a key of its own",
            )
        else:
            _check_form(path, text, found)


def _check_form(path: Path, text: str, found: Collector) -> None:
    form = next((words for pattern, words in _KNOWN_FORMS if pattern.search(text)), "")
    if not form and text and path[-1].lower().replace("-", "_") in _KEY_NAMES:
        form = f"a value in the clear under the key {path[-1]}"
    if form:
        found.add(
            "SECRET_IN_CLEAR",
            path,
            seen=form,
            wanted="a reference, secret:NAME",
            fix="store it where the daemon finds its secrets and write secret:NAME here",
        )


def _strings(node: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(node, str):
        yield path, str(node)
    elif isinstance(node, dict):
        for name, child in node.items():
            yield from _strings(child, (*path, name))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _strings(child, (*path, str(index)))
