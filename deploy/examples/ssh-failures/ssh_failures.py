"""Turns lines of an sshd log about failed passwords into JSON objects."""

from __future__ import annotations

import json
import re
from typing import Any

LINE = re.compile(
    r"(?P<time>\w{3} [ \d]\d [\d:]{8}) (?P<host>\S+) .*?"
    r"Failed password for (?:invalid user )?(?P<user>.*) from (?P<address>\S+) port (?P<port>\d+)"
)


class ToJson:
    """Replaces each line by an object with `time`, `host`, `user`, `address` and `port`.

    A line of another shape becomes an object with the key `line`, so that nothing is lost.
    """

    def __init__(self, ctx: Any) -> None:
        """Keep nothing: each line stands alone."""

    def process(self, batch: Any) -> None:
        """Rewrite every message of the batch in place."""
        for index, payload in enumerate(batch):
            line = bytes(payload).decode("utf-8", "replace")
            batch.replace(index, json.dumps(self.parse(line)).encode())

    def parse(self, line: str) -> dict[str, str | int]:
        """Return what the line says."""
        found = LINE.match(line)
        if found is None:
            return {"line": line}
        return {**found.groupdict(), "port": int(found["port"])}
