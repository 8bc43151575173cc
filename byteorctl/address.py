"""Where the daemon listens: an explicit address or the default one; and whether it answers.

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
class Address:
    """A Unix socket, and whether a person asked for it by name."""

    path: str
    explicit: bool

    def __str__(self) -> str:
        """Return the form that `--address` takes."""
        return f"unix:{self.path}"


class Answer(enum.Enum):
    """What a socket does when one connects."""

    LISTENS = "listens"
    ABSENT = "does not exist"
    REFUSES = "refuses connections: nobody listens on it"
    DENIED = "may not be opened by you"


def resolve(option: str | None) -> Address:
    """Return `--address`, else `BYTEOR_SOCKET`, else the default; raises `CliError` (exit 2)."""
    if option:
        return Address(parse(option), explicit=True)
    variable = os.environ.get("BYTEOR_SOCKET")
    if variable:
        return Address(parse(variable), explicit=True)
    return Address(default_socket(), explicit=False)


def parse(text: str) -> str:
    """Return the path in `unix:/path`, `unix:///path` or `/path`."""
    path = (
        text.removeprefix("unix://") if text.startswith("unix:///") else text.removeprefix("unix:")
    )
    if not path.startswith("/"):
        raise CliError(
            f"address {text!r}: wanted unix:/absolute/path; "
            "remote daemons are not served by this version",
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


def unreachable(address: Address, answer: Answer, hint: str) -> CliError:
    """Return the error for a daemon that does not answer: 77 without permission, else 69."""
    if answer is Answer.DENIED:
        return CliError(
            f"byteord at {address}: the socket {answer.value}; "
            "wanted membership of the group that owns its directory",
            Exit.DENIED,
        )
    return CliError(f"byteord at {address}: the socket {answer.value}; {hint}", Exit.UNAVAILABLE)
