"""What every verb shares: the options around it, its output, and its way to a daemon."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from byteorctl.output.formats import Format, parse_format

if TYPE_CHECKING:
    from byteorctl.client import Client
    from byteorctl.private import PrivateDaemon

    _FormatParameter = click.ParamType[Format]
else:
    _FormatParameter = click.ParamType  # generic only in recent versions of click

CALL_TIMEOUT_S = 30.0
ADDRESS_HELP = "unix:PATH, or tls:HOST:PORT of a remote byteord [env: BYTEOR_SOCKET]."
TLS_HELP = {
    "ca": "With tls: who signs the daemon's certificate [env: BYTEOR_TLS_CA].",
    "cert": "With tls: your certificate [env: BYTEOR_TLS_CERT].",
    "key": "With tls: its private key [env: BYTEOR_TLS_KEY].",
}
OFFLINE_HINT = "to read what it left on this host, add --offline and its --config"
START_HINT = "start byteord, or name another socket with --address"


@dataclass(slots=True)
class App:
    """Options that apply to any verb, given before or after it."""

    address: str | None = None
    format: Format = field(default_factory=Format)
    tls: dict[str, str] = field(default_factory=dict)
    """Files named by options: `ca`, `cert`, `key`."""

    @contextlib.contextmanager
    def connect(
        self,
        *,
        private: Sequence[str] | None = None,
        hint: str = START_HINT,
        allow_effects: bool = False,
        runs: int = 0,
        python: bool = False,
    ) -> Iterator[Client]:
        """Yield a client of the daemon.

        When none runs, `private` (not None) allows a private one, which may take code from and open
        paths in those directories, and whose side effects are dry unless `allow_effects`. It gets
        ready for so many `runs`, with `python` for stages in Python. Raises `CliError`: 69 when
        there is none (with `hint`), 77 when the socket may not be opened.
        """
        from byteorctl import address as addresses

        where = addresses.resolve(self.address, addresses.TlsFiles(**self.tls))
        answer = addresses.reach(where)
        if answer is addresses.Answer.LISTENS:
            from byteorctl.client import Client

            with Client(where) as client:
                yield client
            return
        if answer is addresses.Answer.DENIED or where.explicit or private is None:
            raise addresses.unreachable(where, answer, hint)
        from byteorctl.private import PrivateDaemon

        made = PrivateDaemon(private, allow_effects=allow_effects, runs=runs, python=python)
        with _serving(made) as client:
            yield client

    @contextlib.contextmanager
    def connect_or_look(self, *, offline: bool, config: str | None) -> Iterator[Client]:
        """Yield a client of the daemon, or of a private one that shows what it left on this host.

        The latter with `offline`, or when none runs at the default socket. `config` is the file of
        that daemon's configuration. Raises `CliError` as `connect`.
        """
        from byteorctl import address as addresses

        if not offline:
            where = addresses.resolve(self.address)
            answer = addresses.probe(where.path)
            silent = answer in (addresses.Answer.ABSENT, addresses.Answer.REFUSES)
            if where.explicit or not silent:
                with self.connect(hint=OFFLINE_HINT) as client:
                    yield client
                return
        from byteorctl.private import PrivateDaemon

        with _serving(PrivateDaemon([], look=config or "")) as client:
            yield client


@contextlib.contextmanager
def _serving(daemon: PrivateDaemon) -> Iterator[Client]:
    """Yield a client of a private daemon for as long as it is needed."""
    try:
        daemon.start()
        from byteorctl.client import Client

        daemon.wait_ready()
        with Client(daemon.address, last_words=daemon.last_words) as client:
            yield client
    finally:
        daemon.close()


class FormatType(_FormatParameter):
    """The value of `-o`."""

    name = "format"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Format:
        """Parse; a bad one is a usage error."""
        if isinstance(value, Format):
            return value
        try:
            return parse_format(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,
        incomplete: str,
    ) -> list[Any]:
        """Offer the names."""
        from click.shell_completion import CompletionItem

        names = ("table", "json", "yaml", "jsonl", "jsonpath=")
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def example(*lines: str) -> str:
    """Return the epilog of a verb's help, its lines kept apart."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--address`, the files of TLS and `-o` to a command; hand it the `App` first."""

    @click.option(
        "-o", "format_", type=FormatType(), help="table, json, yaml, jsonl or jsonpath=EXPR."
    )
    @click.option("--address", metavar="ADDRESS", help=ADDRESS_HELP)
    @click.option("--tls-ca", type=click.Path(), metavar="PATH", help=TLS_HELP["ca"])
    @click.option("--tls-cert", type=click.Path(), metavar="PATH", help=TLS_HELP["cert"])
    @click.option("--tls-key", type=click.Path(), metavar="PATH", help=TLS_HELP["key"])
    @click.pass_context
    @functools.wraps(function)
    def with_app(ctx: click.Context, *args: Any, **options: Any) -> Any:
        app = ctx.ensure_object(App)
        app.address = options.pop("address") or app.address
        app.format = options.pop("format_") or app.format
        given = {name: options.pop(f"tls_{name}") for name in TLS_HELP}
        app.tls |= {name: path for name, path in given.items() if path}
        return function(app, *args, **options)

    return with_app


def timeout_option(
    default_s: float | None, text: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--timeout SECONDS` as `timeout_s`."""
    shown = "" if default_s is None else f" [default: {default_s:g}]"
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=default_s,
        metavar="SECONDS",
        help=text + shown,
    )


call_timeout = timeout_option(CALL_TIMEOUT_S, "How long the call may take.")


def offline_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--offline` and `--config`: reading what a daemon left without asking it."""
    function = click.option(
        "--config",
        type=click.Path(),
        metavar="FILE",
        help="Without the daemon: its configuration, which says where it keeps its runs.",
    )(function)
    return click.option(
        "--offline",
        is_flag=True,
        help="Do not ask the daemon, which may be dead or stuck: read what it left on this host.",
    )(function)
