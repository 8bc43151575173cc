"""The `[access]` of the daemon's configuration, read again when the file changes.

Nothing else of the file counts before the daemon is restarted. A file that cannot be read, or is
none, changes nothing and is told once.
"""

from __future__ import annotations

import os

from structlog.typing import FilteringBoundLogger

from byteord.deployment import config
from byteord.deployment.config import Config
from byteord.errors import ByteorError
from byteord.rpc.identity import Grants


class AccessFile:
    """Who has which role, as the file says now."""

    def __init__(self, used: Config, log: FilteringBoundLogger) -> None:
        """`used`: the configuration that the daemon was started with."""
        self._access, self._source, self._log = used.access, used.source, log
        self._mark = self._look()

    def grants(self) -> Grants:
        """Return the roles; names that this host does not know are told."""
        grants = Grants(self._access, os.geteuid())
        if grants.unknown:
            self._log.warning("access.unknown", names=grants.unknown)
        return grants

    def renewed(self) -> Grants | None:
        """Return the roles if the file says others than before; blocks on a small file."""
        mark = self._look()
        if mark == self._mark:
            return None
        self._mark = mark
        try:
            access = config.load(self._source).access
        except ByteorError as error:
            self._log.error("access.unusable", problem=error.message)
            return None
        if access == self._access:
            return None
        self._access = access
        self._log.info("access.renewed", source=self._source)
        return self.grants()

    def _look(self) -> tuple[int, ...]:
        if not self._source:
            return ()
        try:
            seen = os.stat(self._source)
        except OSError:
            return (0,)
        return (seen.st_ino, seen.st_size, seen.st_mtime_ns)
