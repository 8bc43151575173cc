"""Where the daemon listens: an explicit address or the default one; and whether it answers.

A local daemon is a Unix socket, a remote one a host and port over mutual TLS.

Plain sockets only, so that "nothing runs here" is told in a millisecond and without gRPC.
"""

from __future__ import annotations

import enum
import os
import socket
from dataclasses import dataclass

from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit

SOCKET_PATH_BYTES_MAX = 107


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a caller: whom it trusts, its certificate, its key."""

    ca: str = ""
    cert: str = ""
    key: str = ""


NO_FILES = TlsFiles()


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket, or a host and port; and whether a person asked for it by name."""

    path: str
    explicit: bool
    host_port: str = ""
    """Of a remote daemon; then there is no path."""
    tls: TlsFiles = NO_FILES

    def __str__(self) -> str:
        """Return the form that `--address` takes."""
        return f"tls:{self.host_port}" if self.host_port else f"unix:{self.path}"


class Answer(enum.Enum):
    """What a socket does when one connects."""

    LISTENS = "listens"
    ABSENT = "does not exist"
    REFUSES = "refuses connections: nobody listens on it"
    DENIED = "may not be opened by you"


def resolve(option: str | None, tls: TlsFiles = NO_FILES) -> Address:
    """Return `--address`, else `BYTEOR_SOCKET`, else the default; raises `CliError` (exit 2).

    `tls`: files that options name; `BYTEOR_TLS_CA`, `_CERT` and `_KEY` name the others.
    """
    text = option or os.environ.get("BYTEOR_SOCKET")
    if not text:
        return Address(default_socket(), explicit=False)
    if text.startswith("tls:"):
        return _remote(text, tls)
    return Address(parse(text), explicit=True)


def _remote(text: str, given: TlsFiles) -> Address:
    host_port = text.removeprefix("tls:").removeprefix("//")
    host, _, port = host_port.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise CliError(f"address {text!r}: wanted tls:HOST:PORT", Exit.USAGE)
    environ = os.environ
    files = TlsFiles(
        given.ca or environ.get("BYTEOR_TLS_CA", ""),
        given.cert or environ.get("BYTEOR_TLS_CERT", ""),
        given.key or environ.get("BYTEOR_TLS_KEY", ""),
    )
    missing = [name for name in ("ca", "cert", "key") if not getattr(files, name)]
    if missing:
        wanted = ", ".join(f"--tls-{name} (or BYTEOR_TLS_{name.upper()})" for name in missing)
        raise CliError(f"address {text!r}: also wanted {wanted}", Exit.USAGE)
    return Address("", explicit=True, host_port=host_port, tls=files)


def parse(text: str) -> str:
    """Return the path in `unix:/path`, `unix:///path` or `/path`."""
    path = (
        text.removeprefix("unix://") if text.startswith("unix:///") else text.removeprefix("unix:")
    )
    if not path.startswith("/"):
        raise CliError(
            f"address {text!r}: wanted unix:/absolute/path, or tls:HOST:PORT",
            Exit.USAGE,
        )
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise CliError(
            f"address {text!r}: has {len(os.fsencode(path))} bytes, a Unix socket path at most "
            f"{SOCKET_PATH_BYTES_MAX}; use a shorter directory",
            Exit.USAGE,
        )
    return path


def default_socket() -> str:
    """Return where byteord listens by default: the system's socket for root, else the user's."""
    if os.geteuid() == 0:
        return "/run/byteor/byteord.sock"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return os.path.join(runtime, "byteor", "byteord.sock")


def probe(path: str) -> Answer:
    """Connect once and say what happened."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5.0)
        try:
            client.connect(path)
        except PermissionError:
            return Answer.DENIED
        except ConnectionRefusedError:
            return Answer.REFUSES
        except (FileNotFoundError, NotADirectoryError):
            return Answer.ABSENT
        except OSError:
            return Answer.REFUSES
    return Answer.LISTENS


def reach(address: Address) -> Answer:
    """Say whether somebody answers; of a remote one the call itself will tell."""
    return Answer.LISTENS if address.host_port else probe(address.path)


def unreachable(address: Address, answer: Answer, hint: str) -> CliError:
    """Return the error for a daemon that does not answer: 77 without permission, else 69."""
    if answer is Answer.DENIED:
        return CliError(
            f"byteord at {address}: the socket {answer.value}; "
            "wanted membership of the group that owns its directory",
            Exit.DENIED,
        )
    return CliError(f"byteord at {address}: the socket {answer.value}; {hint}", Exit.UNAVAILABLE)
