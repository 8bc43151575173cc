"""`byteord`: the command line of the daemon.

Parses, reads the configuration, takes the lock, hands over to `byteord.app`. Imports of gRPC wait
until the lock is held, so that a second daemon is refused in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from byteord.deployment import config as configuration
from byteord.errors import (
    AlreadyExistsError,
    ByteorError,
    DataError,
    DeniedError,
    InvalidArgumentError,
    InvalidDocumentError,
    NotFoundError,
    RegionError,
    ResourceError,
    UnavailableError,
    WrongStateError,
)

EXIT_CODES: tuple[tuple[type[ByteorError], int], ...] = (
    (InvalidDocumentError, 78),
    (InvalidArgumentError, 2),
    (NotFoundError, 66),
    (DataError, 65),
    (RegionError, 65),
    (DeniedError, 77),
    (ResourceError, 75),
    (AlreadyExistsError, 75),
    (UnavailableError, 69),
    (WrongStateError, 1),
    (ByteorError, 70),
)
"""First match wins.

A second daemon (`ResourceError`) and a port in use (`AlreadyExistsError`) are 75, try again:
both end by themselves when their holder does.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; return its exit code."""
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except ByteorError as error:
        sys.stderr.write(f"byteord: {error.message}\n")
        return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def _run(arguments: argparse.Namespace) -> int:
    from byteord.private import make_private

    if arguments.version:
        sys.stdout.write(f"byteord {metadata.version('byteor')}\n")
        return 0
    if arguments.private:
        with make_private(arguments) as config:
            return _serve(
                config,
                starts=arguments.expect_runs,
                numpy=arguments.expect_python,
                parent_fd=arguments.parent_fd,
            )
    config = configuration.load(arguments.config)
    config = configuration.with_directories(
        config,
        code_dirs=arguments.code_dir,
        read_dirs=arguments.read_dir,
        write_dirs=arguments.write_dir,
    )
    if arguments.check:
        sys.stdout.write(f"{config.source or 'defaults'}: ok\n")
        return 0
    return _serve(config, starts=-1 if config.keep_shim_ready else 0)


def _serve(
    config: configuration.Config, *, starts: int, numpy: bool = False, parent_fd: int = -1
) -> int:
    from byteord.lock import DaemonLocks
    from byteord.rpc.socket_path import group_id, make_directory
    from byteord.runs.shims import ShimReserve

    group = group_id(config.listen.group)
    make_directory(os.path.dirname(config.listen.socket), group)
    make_directory(config.paths.runtime, group)
    make_directory(config.paths.state)
    with DaemonLocks(configuration.lock_paths(config)):
        shims = ShimReserve(config.paths.regions, starts=starts, numpy=numpy)
        with contextlib.closing(shims):
            shims.fill()  # it imports what it needs while this process does
            from byteord import app

            return app.run(config, shims=shims, parent_fd=parent_fd)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="byteord", description="The byteor daemon: governed real-time pipelines on one host."
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"configuration (default: {configuration.SYSTEM_FILE} if it exists)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the configuration and exit: 0, or 78 with every problem",
    )
    for what in ("code", "read", "write"):
        parser.add_argument(
            f"--{what}-dir",
            metavar="DIR",
            action="append",
            default=[],
            help=f"in dev: one more directory for allow.{what}_dirs (may be repeated)",
        )
    private = parser.add_argument_group("private daemon, started by byteorctl for one call")
    private.add_argument(
        "--private", metavar="DIR", help="serve on DIR/byteord.sock with DIR for everything"
    )
    private.add_argument(
        "--parent-fd",
        metavar="N",
        type=int,
        default=-1,
        help="abort and exit when this descriptor reads its end",
    )
    private.add_argument(
        "--allow-effects", action="store_true", help="do side effects instead of writing them down"
    )
    private.add_argument(
        "--look",
        action="store_true",
        help="show the runs that the daemon of --config left on this host, touching nothing",
    )
    private.add_argument(
        "--expect-runs",
        metavar="N",
        type=int,
        default=0,
        help="have a shim ready for each of so many runs",
    )
    private.add_argument(
        "--expect-python", action="store_true", help="their stages are written in Python"
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
