"""Every key of the daemon's configuration: its type, default, limits and meaning, as one table.

Owns the strict check of parsed tables against that table, independent of where they came from.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from byteord.deployment.bundling import BundleLimits
from byteord.deployment.model import ApprovalRules, Authority
from byteord.spec.findings import without_userinfo

SOCKET_PATH_BYTES_MAX = 107
SHOWN_MAX = 120
MODE_MAX = 0o770
PORT_MAX = 0xFFFF
_LIMITS, _RULES, _BUNDLES = Authority(), ApprovalRules(), BundleLimits()


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """What is wrong with one key of a configuration."""

    path: str
    seen: str
    wanted: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}seen {self.seen}; wanted {self.wanted}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Key:
    """One key; `check` returns what is wanted instead of a value, empty if it is acceptable."""

    path: str
    doc: str
    default: Any
    check: Callable[[Any], str]


def check_tables(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[KeyProblem]]:
    """Return the accepted values by dotted path, and every problem in document order."""
    values: dict[str, Any] = {}
    problems: list[KeyProblem] = []
    for path, value in _leaves(tables, ""):
        key = KEYS.get(path)
        wanted = key.check(value) if key else ""
        if key is None:
            problems.append(_unknown(path))
        elif wanted:
            problems.append(KeyProblem(path, _show(value), wanted, f"{key.doc}"))
        else:
            values[path] = value
    return values, problems


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        path = f"{prefix}{name}"
        is_table = isinstance(value, dict)
        if is_table and any(known.startswith(f"{path}.") for known in KEYS):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _unknown(path: str) -> KeyProblem:
    tables = sorted({known.rpartition(".")[0] for known in KEYS} - {""})
    near = difflib.get_close_matches(path, [*KEYS, *tables], n=1, cutoff=0.5)
    if not near:
        last = path.rpartition(".")[2]
        near = [known for known in KEYS if known.rpartition(".")[2] == last]
    fix = f"did you mean {near[0]}?" if near else "remove it"
    return KeyProblem(path, "an unknown key", "one of the documented keys", fix)


def _show(value: Any) -> str:
    text = without_userinfo(repr(value))
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


class OneOf:
    """Takes words of a closed list."""

    def __init__(self, *choices: str) -> None:
        """Keep the list."""
        self.choices = choices

    def __call__(self, value: Any) -> str:
        """Return what is wanted instead, empty if it is one of them."""
        return "" if value in self.choices else f"one of {', '.join(self.choices)}"


def _integer(low: int, high: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if right else f"an integer from {low} to {high}"

    return check


def _boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false"


def _directory(value: Any) -> str:
    right = isinstance(value, str) and value.startswith("/") and os.path.normpath(value) == value
    return "" if right and "\0" not in value else "an absolute path without '..' or a final '/'"


def _socket(value: Any) -> str:
    if wanted := _directory(value):
        return wanted
    size = len(os.fsencode(value))
    return "" if size <= SOCKET_PATH_BYTES_MAX else f"at most {SOCKET_PATH_BYTES_MAX} bytes"


def _mode(value: Any) -> str:
    right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MODE_MAX
    right = right and not value & 0o007
    return "" if right else "permissions for owner and group alone, in octal, for example 0o660"


def _group(value: Any) -> str:
    right = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{0,32}", value)
    return "" if right else "the name of a group"


def _host_port(value: str) -> bool:
    host, colon, port = value.rpartition(":")
    if not (colon and host) or any(char.isspace() or char == "/" for char in host):
        return False
    return port == "*" or (port.isascii() and port.isdigit() and int(port) <= PORT_MAX)


def _address(value: Any) -> str:
    right = isinstance(value, str) and (not value or (_host_port(value) and "*" not in value))
    return "" if right else "host:port, or empty for none"


def _pattern(value: Any) -> str:
    if isinstance(value, str) and value.startswith("unix:"):
        return _directory(value.removeprefix("unix:"))
    right = isinstance(value, str) and _host_port(value)
    return "" if right else "host:port, where either may be *, or unix:/directory"


def _file(value: Any) -> str:
    return "" if value == "" else _directory(value)


def _text(pattern: str, wanted: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        return "" if isinstance(value, str) and re.fullmatch(pattern, value) else wanted

    return check


def _url(value: Any) -> str:
    right = isinstance(value, str) and re.fullmatch(r"https?://[^\s?#@]+", value)
    return "" if right else "https://host/path without a query or a password"


def _program(value: Any) -> str:
    right = isinstance(value, str) and value.startswith("/") and value.isprintable()
    return "" if right else "/absolute/program|argument|..."


def _list_of(check: Callable[[Any], str]) -> Callable[[Any], str]:
    def check_all(value: Any) -> str:
        if not isinstance(value, list):
            return "a list of texts"
        wanted = [(index, check(item)) for index, item in enumerate(value)]
        return "; ".join(f"as item {index} {text}" for index, text in wanted if text)

    return check_all


_DIRECTORIES = _list_of(_directory)
_PATTERNS = _list_of(_pattern)
_PEOPLE = _list_of(
    _text(
        r"[ug]id:\d{1,10}|(user|group):[A-Za-z0-9_.-]{1,32}|cert:[\x21-\x7e]{1,256}",
        "uid:N, gid:N, user:NAME, group:NAME, cert:NAME with * for a part of it",
    )
)

KEYS: dict[str, Key] = {
    key.path: key
    for key in (
        Key("environment", "what a mistake costs here", "dev", OneOf("dev", "staging", "prod")),
        Key("on_stop", "what a stopping daemon does to runs", "leave", OneOf("leave", "drain")),
        Key("drain_timeout_s", "time for `on_stop = drain`", 30, _integer(1, 3600)),
        Key("listen.socket", "path of the Unix socket of the API", "", _socket),
        Key("listen.mode", "permissions of that socket", 0o660, _mode),
        Key("listen.group", "group that may use it", "", _group),
        Key("listen.reflection", "let clients ask for the API's description", None, _boolean),
        Key("listen.tcp", "host:port for remote callers, over mutual TLS", "", _address),
        Key("tls.certificate", "PEM file of the daemon's certificate, with its chain", "", _file),
        Key("tls.key", "PEM file of its private key, for the daemon's user alone", "", _file),
        Key("tls.client_ca", "PEM file of who signs certificates of callers", "", _file),
        Key("metrics.address", "where Prometheus scrapes", "127.0.0.1:9469", _address),
        Key("paths.runtime", "directory of lock and socket", "", _directory),
        Key("paths.state", "directory of what must survive a restart", "", _directory),
        Key("paths.secrets", "directory of secrets, a file for each `secret:NAME`", "", _directory),
        Key("paths.regions", "a tmpfs for regions", "/dev/shm", _directory),  # noqa: S108
        Key(
            "effects.side_effects",
            "what stages and adapters may do outside; a deployment may be stricter",
            "allow",
            OneOf("allow", "require_approval", "deny_all"),
        ),
        Key("effects.dry_run", "write side effects down instead of doing them", False, _boolean),
        Key(
            "replay.policy",
            "what replays may do: nothing, write effects down, or act where an approval covers it",
            "dry_run_only",
            OneOf("disabled", "dry_run_only", "execute"),
        ),
        Key(
            "replay.actions_max",
            "actions that one replay may attempt",
            _LIMITS.replay_actions_max,
            _integer(1, 1_000_000_000),
        ),
        Key(
            "replay.input_bytes_max",
            "bytes of messages that one replay may take",
            _LIMITS.replay_input_bytes_max,
            _integer(1, 1 << 50),
        ),
        Key("approvals.key_set", "file of the keys whose approvals count", "", _file),
        Key(
            "approvals.signers_staging",
            "different people who must sign",
            _RULES.signers_staging,
            _integer(1, 16),
        ),
        Key(
            "approvals.signers_prod",
            "different people who must sign",
            _RULES.signers_prod,
            _integer(1, 16),
        ),
        Key(
            "approvals.host",
            "name of this host in approvals",
            "",
            _text(r"[A-Za-z0-9._-]{0,253}", "a host name"),
        ),
        Key(
            "approvals.v1_scope",
            "dotted approvals that staging takes",
            "",
            _text(r"|[!-.0-~]{1,128}(/[!-.0-~]{1,128}){2}", "ORG/PROJECT/ENVIRONMENT_ID, or empty"),
        ),
        Key(
            "approvals.clock_skew_s",
            "how far the clock of a signer may be ahead",
            _RULES.clock_skew_s,
            _integer(0, 3600),
        ),
        Key(
            "approvals.validity_s_max",
            "longest validity of an approval",
            _RULES.validity_s_max,
            _integer(60, 10 * 366 * 86_400),
        ),
        Key("access.viewers", "who may look", [], _PEOPLE),
        Key("access.operators", "who may start and stop runs, and look", [], _PEOPLE),
        Key("access.approvers", "who may read the audit log, and look", [], _PEOPLE),
        Key("access.admins", "who may do everything", [], _PEOPLE),
        Key("access.payload", "who may see payloads, in taps, replays and bundles", [], _PEOPLE),
        Key("allow.code_dirs", "where code of stages may come from", [], _DIRECTORIES),
        Key(
            "allow.code_packages",
            "installed packages that code of stages may come from, by top-level name",
            [],
            _list_of(_text(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "the name of a top-level package")),
        ),
        Key("allow.read_dirs", "where adapters may read files", [], _DIRECTORIES),
        Key("allow.write_dirs", "where adapters may write files", [], _DIRECTORIES),
        Key("allow.url_prefixes", "where `http_post` may post", [], _list_of(_url)),
        Key("allow.exec", "programs that `exec` may run, to the letter", [], _list_of(_program)),
        Key("allow.listen", "addresses that adapters may bind", [], _PATTERNS),
        Key("allow.connect", "addresses that adapters may connect to", [], _PATTERNS),
        Key("ceilings.runs_max", "live runs", _LIMITS.runs_max, _integer(1, 4096)),
        Key("ceilings.workers_max", "live workers", _LIMITS.workers_max, _integer(1, 65_536)),
        Key(
            "ceilings.region_bytes_max",
            "bytes of all regions together",
            _LIMITS.region_bytes_max,
            _integer(1 << 20, 1 << 50),
        ),
        Key("ceilings.uploads_max", "inputs fed at once", _LIMITS.uploads_max, _integer(1, 4096)),
        Key("ceilings.watches_max", "watches at once", _LIMITS.watches_max, _integer(1, 65_536)),
        Key("ceilings.request_ids_max", "request ids kept", 10_000, _integer(16, 1_000_000)),
        Key("bundles.automatic", "let runs make incident bundles by themselves", True, _boolean),
        Key("bundles.count_max", "bundles kept", _BUNDLES.count, _integer(1, 10_000)),
        Key(
            "bundles.total_bytes_max",
            "bytes of all bundles together",
            _BUNDLES.total_bytes,
            _integer(1 << 20, 1 << 50),
        ),
        Key(
            "bundles.bundle_bytes_max",
            "bytes of one bundle",
            _BUNDLES.bundle_bytes,
            _integer(1 << 20, 1 << 50),
        ),
        Key(
            "shims.keep_ready",
            "have a shim wait for the next run, so that it starts sooner",
            True,
            _boolean,
        ),
        Key("log.format", "form of the log", "auto", OneOf("auto", "json", "console")),
        Key("log.level", "least level logged", "info", OneOf("debug", "info", "warning", "error")),
    )
}
"""By dotted path; an empty default of a path means: chosen for the calling user."""
