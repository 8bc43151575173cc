"""What of a host and its configuration may leave it: default deny.

Only values known to be harmless are kept; everything else becomes a token, the same for equal
values within one bundle, not to be guessed without the bundle's key, which stays on the host. Pure,
apart from the map of tokens that it collects. It must not know where values come from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from byteord.deployment.bundling import is_condition, is_permission
from byteord.deployment.config_flat import words_of
from byteord.deployment.keys import DEPLOYMENT_KEYS
from byteord.deployment.model import AdapterCatalogue
from byteord.spec.model import Scalar
from byteord.spec.schema import key_of

TOKEN_HEX = 24
KEY_BYTES = 32

_LOCALE = re.compile(r"[A-Za-z]{1,8}(?:_[A-Z]{2})?(?:\.[A-Za-z0-9-]{1,12})?\Z")
_DIGITS = re.compile(r"[0-9]{1,10}\Z")
_SAFE_VARIABLES = {
    "LANG": _LOCALE,
    "LC_ALL": _LOCALE,
    "LC_CTYPE": _LOCALE,
    "PYTHONHASHSEED": re.compile(r"(?:random|[0-9]{1,10})\Z"),
    "WATCHDOG_USEC": _DIGITS,
    "WATCHDOG_PID": _DIGITS,
    "SYSTEMD_EXEC_PID": _DIGITS,
    "GRPC_ENABLE_FORK_SUPPORT": _DIGITS,
}
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")
_OPTIONS = frozenset(
    ["--private", "--parent-fd", "--code-dir", "--read-dir", "--write-dir", "--config", "-P", "-m"]
)
_SAFE_ARGUMENTS = frozenset(["byteord", "byteord.__main__"])
_SAFE_PATHS = ("/", "/etc/byteor", "/run/byteor", "/var/lib/byteor")
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)? ?(?:ns|us|ms|s|m|h|B|KiB|MiB|GiB|kB|MB|GB)?\Z")


class Redactor:
    """Redacts for one bundle; `tokens` maps what it gave out to what stood there."""

    def __init__(self, key: bytes, adapters: AdapterCatalogue) -> None:
        """Keep the key; `adapters` tells which options have a closed list of values."""
        self.key = key
        self._adapters = adapters
        self.tokens: dict[str, str] = {}

    def token(self, value: str) -> str:
        """Return the token of a value."""
        digest = hmac.new(self.key, value.encode("utf-8", "surrogateescape"), hashlib.sha256)
        token = f"redacted:{digest.hexdigest()[:TOKEN_HEX]}"
        self.tokens[token] = value
        return token

    def environment(self, variables: Mapping[str, str]) -> list[list[str]]:
        """Return sorted pairs of name and value."""
        return sorted(self._variable(name, value) for name, value in variables.items())

    def _variable(self, name: str, value: str) -> list[str]:
        pattern = _SAFE_VARIABLES.get(name)
        kept = pattern is not None and pattern.match(value)
        shown = name if _VARIABLE.match(name) else self.token(name)
        return [shown, value if kept else self.token(value)]

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """Return a command line: our own options by name, everything else as tokens."""
        return [self._argument(each) for each in arguments]

    def _argument(self, argument: str) -> str:
        if argument in _OPTIONS or argument in _SAFE_ARGUMENTS or _DIGITS.match(argument):
            return argument
        return self.path(argument)

    def path(self, path: str) -> str:
        """Return a path if it is one that the product itself chose, else its token."""
        return path if path in _SAFE_PATHS else self.token(path)

    def config(self, flat: Mapping[str, Any]) -> dict[str, Scalar | None]:
        """Return a daemon's flat configuration, a key for each item of a list; as `deployment`."""
        made: dict[str, Scalar | None] = {}
        for path, value in flat.items():
            if isinstance(value, list | tuple):
                made |= {f"{path}.{at}": self.token(str(each)) for at, each in enumerate(value)}
            elif isinstance(value, str) and value and value not in words_of(path):
                made[path] = self.token(value)
            else:
                made[path] = str(value) if isinstance(value, str) else value
        return made

    def deployment(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return a flat deployment: numbers, truth values and words of closed lists are kept."""
        kinds = {
            key.split(".")[1]: str(value)
            for key, value in flat.items()
            if key.startswith("adapters.") and key.endswith(".kind") and key.count(".") == 2  # noqa: PLR2004  adapters.NAME.kind
        }
        return {key: self._setting(key, value, kinds) for key, value in flat.items()}

    def _setting(self, key: str, value: Scalar, kinds: Mapping[str, str]) -> Scalar:
        if not isinstance(value, str) or self._closed(key, value, kinds):
            return value
        return self.token(value)

    def _closed(self, key: str, value: str, kinds: Mapping[str, str]) -> bool:
        """Tell whether a text is a word of a closed list, a quantity, or a secret's reference."""
        if value.startswith("secret:"):
            return True
        parts = key.split(".")
        if parts[0] == "adapters" and len(parts) > 2:  # noqa: PLR2004  adapters.NAME.OPTION
            return self._closed_option(".".join(parts[2:]), value, kinds.get(parts[1], ""))
        if key.startswith("bundle.when."):
            return is_condition(value)
        if key.startswith("bundle.config."):
            return is_permission(value)
        row = key_of(DEPLOYMENT_KEYS, key)
        return row is not None and (value in row.choices or bool(_QUANTITY.match(value)))

    def _closed_option(self, option: str, value: str, kind: str) -> bool:
        if option == "kind":
            return value in self._adapters.kinds()
        info = self._adapters.info(kind)
        known = next((row for row in info.keys if row.name == option), None) if info else None
        if known is None:
            return False
        return value in known.choices or (
            known.type in ("duration", "size") and bool(_QUANTITY.match(value))
        )
