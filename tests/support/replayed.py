"""A small pipeline whose captures are replayed, and what it makes of its input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byteord.deployment.model import Authority
from tests.support.cli import byteorctl
from tests.support.recordings import Capture, Frame, frames, write_capture

SPEC = """
version = 1
name = "replayed"
model = "single_ring"

[ring]
capacity = 256
slot_bytes = 256

[[stages]]
name = "keep"
stage = "filter"
config = {{ contains = "keep" }}

[[stages]]
name = "mark"
stage = "python:replay_stages:{stage}"
depends_on = [0]
mutates = "all"
resizes = true
deterministic = true
effects = []
{more}
[[endpoints]]
name = "in"
kind = "ingress"

[[endpoints]]
name = "out"
kind = "egress"
"""

DEPLOYMENT = """
version = 1
environment = "{environment}"
{more}
[adapters.in]
kind = "stdin"
framing = "lines"

[adapters.out]
kind = "stdout"
framing = "lines"
"""

CODE = '''
class Mark:
    """Put a mark before each message."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, b"<" + bytes(payload))

class Other(Mark):
    """As Mark, but wrong on one message."""
    def process(self, batch):
        for index, payload in enumerate(batch):
            data = bytes(payload)
            batch.replace(index, b"<" + (data.upper() if b"number 120 " in data else data))

class Boom(Mark):
    """As Mark, but it cannot do one message."""
    def process(self, batch):
        for index, payload in enumerate(batch):
            data = bytes(payload)
            if b"number 120 " in data:
                raise ValueError("no boom please: " + data.decode())
            batch.replace(index, b"<" + data)
'''


def payloads(count: int = 200) -> list[bytes]:
    """Return input, of which two of three messages are kept."""
    return [
        f"number {number} {'drop' if number % 3 == 1 else 'keep'}".encode()
        for number in range(count)
    ]


def left(given: Sequence[Frame]) -> list[Frame]:
    """Return what the pipeline makes of its input."""
    return [
        Frame(b"<" + frame.payload, index, frame.time_ns)
        for index, frame in enumerate(each for each in given if b"keep" in each.payload)
    ]


class Pipeline:
    """Documents and code in a directory, and captures of them."""

    def __init__(self, place: Path) -> None:
        """Write the code."""
        self.place = place
        self.code = place / "code"
        self.code.mkdir(parents=True)
        (self.code / "replay_stages.py").write_text(CODE)

    def spec(self, stage: str = "Mark", more: str = "", name: str = "spec") -> Path:
        """Return a spec with that stage."""
        path = self.place / f"{name}.toml"
        path.write_text(SPEC.format(stage=stage, more=more))
        return path

    def deployment(self, environment: str = "dev", more: str = "") -> Path:
        """Return a deployment."""
        path = self.place / "deployment.toml"
        path.write_text(DEPLOYMENT.format(environment=environment, more=more))
        return path

    def capture(
        self,
        given: Sequence[Frame] | None = None,
        *,
        spec: Path | None = None,
        environment: str = "dev",
        outputs: Sequence[Frame] | None = None,
        name: str = "capture",
        more: str = "",
        **changes: Any,
    ) -> Path:
        """Return the capture of a run of the pipeline."""
        inputs = frames(payloads()) if given is None else given
        authority = Authority(
            code_dirs=(str(self.code),), url_prefixes=("https://localhost/", "https://127.0.0.1/")
        )
        capture = Capture(
            {"in": inputs}, {"out": left(inputs) if outputs is None else outputs}, **changes
        )
        return write_capture(
            self.place / name,
            spec or self.spec(),
            self.deployment(environment, more),
            capture,
            authority,
        )


def replay(address: str, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Run `byteorctl replay`; return exit code, result, standard error."""
    done: subprocess.CompletedProcess[bytes] = byteorctl(
        "--address", address, "-o", "json", "replay", *arguments
    )
    result = json.loads(done.stdout) if done.stdout.strip() else {}
    return done.returncode, result, done.stderr.decode()


def shown(payload: Mapping[str, Any]) -> bytes:
    """Return the bytes of a payload that is shown."""
    assert payload["shown"] in ("", "redacted"), payload
    return bytes.fromhex(payload["hex"])
