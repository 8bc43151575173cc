"""The daemon's own configuration: TOML to a frozen `Config`, which no call can change.

Owns the keys of `byteord.toml`, their types, defaults and limits. Reading is strict: an unknown key
is an error with the nearest known one, and all problems are reported at once. It must not create,
open or check anything but the file itself.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from byteord.deployment.bundling import BundleLimits
from byteord.deployment.config_keys import KEYS, KeyProblem, check_tables
from byteord.deployment.model import Access, ApprovalRules, Authority, Environment, SideEffects
from byteord.errors import InvalidDocumentError, NotFoundError

SYSTEM_FILE = "/etc/byteor/byteord.toml"
CONFIG_BYTES_MAX = 1 << 20
LOOPBACK = ("127.0.0.1:*", "localhost:*")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the remote door, PEM; they are read again when they change."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where and for whom the API is served."""

    socket: str
    mode: int = 0o660
    group: str = ""
    """Group that owns the socket and its directory; empty: the daemon's own."""
    reflection: bool = True
    tcp: str = ""
    """`host:port` for remote callers; empty: none."""
    tls: Tls = field(default_factory=Tls)


@dataclass(frozen=True, slots=True)
class Paths:
    """Directories of the daemon, each absolute."""

    runtime: str
    """Lock and socket; may vanish with a reboot."""
    state: str
    """What must survive a restart: request ids."""
    regions: str = "/dev/shm"  # noqa: S108  shared memory lives there
    """A tmpfs; runs live in `byteor-UID/` below it."""


@dataclass(frozen=True, slots=True)
class Log:
    """How the daemon logs, on standard error."""

    format: str = "auto"
    """`auto` (readable on a terminal, else JSON), `json` or `console`."""
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the daemon was told by whoever runs it."""

    listen: Listen
    paths: Paths
    authority: Authority = field(default_factory=Authority)
    approvals: ApprovalRules = field(default_factory=ApprovalRules)
    access: Access = field(default_factory=Access)
    metrics_address: str = ""
    """`host:port`; port 0: any free one; empty: none."""
    log: Log = field(default_factory=Log)
    bundles: BundleLimits = field(default_factory=BundleLimits)
    look: Config | None = None
    """Of another daemon, whose runs this one only looks at."""
    on_stop: str = "leave"
    """`leave`: runs go on and the next daemon adopts them; `drain`: they are drained first."""
    drain_timeout_s: int = 30
    request_ids_max: int = 10_000
    keep_shim_ready: bool = True
    source: str = ""
    """File it was read from; empty: defaults."""


class ConfigError(InvalidDocumentError):
    """A configuration that cannot be used; `problems` lists everything that is wrong with it."""

    reason = "INVALID_CONFIG"

    def __init__(self, source: str, problems: Sequence[KeyProblem]) -> None:
        lines = [f"{source}: {len(problems)} problem{'s' if len(problems) != 1 else ''}"]
        lines += [str(problem) for problem in problems]
        super().__init__("\n  ".join(lines), details={"file": source})
        self.problems = tuple(problems)


def load(path: str | None) -> Config:
    """Return the configuration of `path`, else of the system's file if there is one, else defaults.

    Raises:
        NotFoundError: `path` was named and cannot be read.
        ConfigError: it is not what a configuration must be; names every problem.
    """
    if path is None and not os.path.exists(SYSTEM_FILE):
        return default_config()
    source = path or SYSTEM_FILE
    try:
        with open(source, "rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(
            f"configuration {source}: {error.strerror}; name a readable file with --config",
            reason="CONFIG_NOT_READABLE",
        ) from error
    return parse(content, source)


def parse(content: bytes, source: str) -> Config:
    """Return the configuration in `content`; raise `ConfigError` with every problem."""
    values, problems = check_tables(_read_toml(content, source))
    problems += _check_tls(values)
    if problems:
        raise ConfigError(source, problems)
    return _build(values, source)


def _check_tls(values: Mapping[str, Any]) -> list[KeyProblem]:
    """Report what is missing for a TCP port: it speaks mutual TLS or there is none."""
    if not values.get("listen.tcp"):
        return []
    fix = "name the file, or remove listen.tcp"
    return [
        KeyProblem(f"tls.{name}", "nothing", "a file, since listen.tcp is set", fix)
        for name in _TLS
        if not values.get(f"tls.{name}")
    ]


def default_config() -> Config:
    """Return what applies without a file: `dev`, no further than the working directory."""
    here = os.getcwd()
    beneath = () if here == "/" else (here,)
    authority = Authority(
        code_dirs=beneath, read_dirs=beneath, write_dirs=beneath, listen=LOOPBACK, connect=LOOPBACK
    )
    return replace(_build({}, ""), authority=authority)


def private_config(
    directory: str,
    *,
    regions: str,
    code_dirs: Sequence[str],
    read_dirs: Sequence[str],
    write_dirs: Sequence[str],
    allow_effects: bool = False,
) -> Config:
    """Return the configuration of a private daemon that owns `directory`; its effects are dry."""
    authority = Authority(
        dry_run=not allow_effects,
        code_dirs=tuple(code_dirs),
        read_dirs=tuple(read_dirs),
        write_dirs=tuple(write_dirs),
        listen=LOOPBACK,
        connect=LOOPBACK,
        secrets_dir=default_secrets(),
    )
    return Config(
        listen=Listen(os.path.join(directory, "byteord.sock"), mode=0o600, reflection=False),
        paths=Paths(directory, os.path.join(directory, "state"), regions),
        authority=authority,
        log=Log(level="warning"),
    )


def with_directories(
    config: Config,
    *,
    code_dirs: Sequence[str],
    read_dirs: Sequence[str],
    write_dirs: Sequence[str],
) -> Config:
    """Return `config` with more directories; raises `ConfigError` outside `dev`."""
    more = {"code_dirs": code_dirs, "read_dirs": read_dirs, "write_dirs": write_dirs}
    given = [f"--{name[:-5]}-dir" for name, directories in more.items() if directories]
    environment = config.authority.environment
    if given and environment is not Environment.DEV:
        problems = [
            KeyProblem(option, f"the environment {environment}", "dev", "use the file's [allow]")
            for option in given
        ]
        raise ConfigError(config.source or "command line", problems)
    every: dict[str, Any] = {
        name: tuple(dict.fromkeys([*getattr(config.authority, name), *map(os.path.abspath, extra)]))
        for name, extra in more.items()
    }
    return replace(config, authority=replace(config.authority, **every))


def lock_paths(config: Config) -> tuple[str, ...]:
    """Return the files that such a daemon must hold alone, in the order of taking them.

    One for each thing that two daemons would corrupt: the socket, the state, and the regions of
    this user.
    """
    regions = os.path.join(config.paths.regions, f"byteor-{os.geteuid()}.lock")
    places = (
        os.path.join(config.paths.runtime, "byteord.lock"),
        f"{config.listen.socket}.lock",
        os.path.join(config.paths.state, "byteord.lock"),
        regions,
    )
    return tuple(dict.fromkeys(places))


def default_runtime() -> str:
    """Return where lock and socket of this user's daemon are unless told otherwise."""
    if os.geteuid() == 0:
        return "/run/byteor"
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}", "byteor")


def default_state() -> str:
    """Return where the state of this user's daemon is unless told otherwise."""
    if os.geteuid() == 0:
        return "/var/lib/byteor"
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "byteor")


def default_secrets() -> str:
    """Return where secrets of this user's runs are unless told otherwise."""
    if os.geteuid() == 0:
        return "/etc/byteor/secrets"
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(home, "byteor", "secrets")


def _read_toml(content: bytes, source: str) -> Mapping[str, Any]:
    if len(content) > CONFIG_BYTES_MAX:
        seen, wanted = f"more than {CONFIG_BYTES_MAX} bytes", f"at most {CONFIG_BYTES_MAX} bytes"
        raise ConfigError(source, [KeyProblem("", seen, wanted, "is this the right file?")])
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        seen = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        problem = KeyProblem("", seen, "UTF-8 text", "save the file as UTF-8")
        raise ConfigError(source, [problem]) from error
    except tomllib.TOMLDecodeError as error:
        problem = KeyProblem("", str(error), "TOML", "correct the syntax there")
        raise ConfigError(source, [problem]) from error
    except RecursionError as error:
        problem = KeyProblem("", "absurd nesting", "tables of scalars", "is this the right file?")
        raise ConfigError(source, [problem]) from error


def _build(values: Mapping[str, Any], source: str) -> Config:
    def get(path: str) -> Any:
        return values.get(path, KEYS[path].default)

    environment = Environment(get("environment"))
    runtime = get("paths.runtime") or default_runtime()
    reflection = values.get("listen.reflection", environment is not Environment.PROD)
    allowed: dict[str, Any] = {name: tuple(get(f"allow.{name}")) for name in _LISTS}
    allowed["exec_allowed"] = tuple(get("allow.exec"))
    allowed |= {name: get(f"ceilings.{name}") for name in _CEILINGS}
    return Config(
        listen=Listen(
            socket=get("listen.socket") or os.path.join(runtime, "byteord.sock"),
            mode=get("listen.mode"),
            group=get("listen.group"),
            reflection=reflection,
            tcp=get("listen.tcp"),
            tls=Tls(*(get(f"tls.{name}") for name in _TLS)),
        ),
        paths=Paths(runtime, get("paths.state") or default_state(), get("paths.regions")),
        authority=Authority(
            environment=environment,
            side_effects=SideEffects(get("effects.side_effects")),
            dry_run=get("effects.dry_run"),
            secrets_dir=get("paths.secrets") or default_secrets(),
            replay_policy=get("replay.policy"),
            replay_actions_max=get("replay.actions_max"),
            replay_input_bytes_max=get("replay.input_bytes_max"),
            **allowed,
        ),
        approvals=ApprovalRules(**{name: get(f"approvals.{name}") for name in _APPROVALS}),
        access=Access(**{name: tuple(get(f"access.{name}")) for name in _ACCESS}),
        metrics_address=get("metrics.address"),
        log=Log(get("log.format"), get("log.level")),
        bundles=BundleLimits(
            automatic=get("bundles.automatic"),
            count=get("bundles.count_max"),
            total_bytes=get("bundles.total_bytes_max"),
            bundle_bytes=get("bundles.bundle_bytes_max"),
        ),
        on_stop=get("on_stop"),
        drain_timeout_s=get("drain_timeout_s"),
        request_ids_max=get("ceilings.request_ids_max"),
        keep_shim_ready=get("shims.keep_ready"),
        source=source,
    )


_TLS = tuple(each.name for each in fields(Tls))
_LISTS = (
    "url_prefixes",
    "code_dirs",
    "code_packages",
    "read_dirs",
    "write_dirs",
    "listen",
    "connect",
)
_CEILINGS = ("runs_max", "workers_max", "region_bytes_max", "uploads_max", "watches_max")
_APPROVALS = tuple(each.name for each in fields(ApprovalRules))
_ACCESS = tuple(each.name for each in fields(Access))
