"""Code, lines and captures of a daemon that records what a test runs, from stdin to stdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon

_DEPLOYMENT = """
version = 1
[adapters.in]
kind = "stdin"
framing = "lines"
[adapters.out]
kind = "stdout"
framing = "lines"
[capture]
directory = "{top}/data/captures"
outputs = "messages"
"""


class RecordingHost:
    """A daemon's directories, and lines for its runs."""

    def __init__(self, top: Path, code: Mapping[str, str], messages: int) -> None:
        """Write code and input: lines of six digits, counted from 0."""
        self.top = top
        for name in ("code", "data"):
            (top / name).mkdir()
        for name, text in code.items():
            (top / "code" / name).write_text(text)
        (top / "code" / "deployment.toml").write_text(_DEPLOYMENT.format(top=top))
        self.lines, self.output = top / "lines", top / "output"
        self.lines.write_bytes(b"".join(b"%06d\n" % number for number in range(messages)))

    @contextmanager
    def daemon(self) -> Iterator[DaemonProcess]:
        """Provide a daemon that may use them."""
        config = {
            "allow.code_dirs": [str(self.top / "code")],
            "allow.write_dirs": [str(self.top / "data")],
        }
        with running_daemon(config=config) as started:
            yield started

    def record(self, daemon: DaemonProcess, text: str, *more: str) -> Path:
        """Run a spec, with `more` arguments; return its capture. What left is in `output`."""
        spec = self.top / "code" / "spec.toml"
        spec.write_text(text)
        done = byteorctl(
            "--address", daemon.address, "-o", "json", "run", *more, spec, "--input", self.lines,
            "--output", self.output,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return max((self.top / "data" / "captures").iterdir(), key=lambda each: each.name)
