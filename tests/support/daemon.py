"""A real daemon as a process for a test: started, waited for, stopped, checked for leftovers.

Everything it touches is below one short temporary directory, and its regions below one directory of
/dev/shm, so that tests run side by side. `running_daemon` is the whole of it for most tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.poll import until

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class DaemonProcess:
    """One byteord. `start` may follow `kill` or `stop`: state and regions stay until `close`."""

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare directories and a configuration; `config` overrides keys by dotted path."""
        self.directory = Path(tempfile.mkdtemp(prefix="byteor-t-", dir="/tmp"))
        self.regions = Path(tempfile.mkdtemp(prefix="byteor-test-", dir="/dev/shm"))
        self.socket = self.directory / "run" / "byteord.sock"
        self.config = self.directory / "byteord.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments = list(arguments)
        self._env = dict(env or {})
        self._stdout = self.directory / "stdout"
        self._stderr = self.directory / "stderr"
        defaults: dict[str, Any] = {
            "paths.runtime": str(self.directory / "run"),
            "paths.state": str(self.directory / "state"),
            "paths.regions": str(self.regions),
            "metrics.address": "127.0.0.1:0",
            "log.format": "json",
            "log.level": "debug",
        }
        self.config.write_text(toml_of({**defaults, **(config or {})}))

    @property
    def address(self) -> str:
        """What clients take as an address."""
        return f"unix:{self.socket}"

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        assert self.process is not None
        return self.process.pid

    @property
    def stdout(self) -> str:
        """Everything it wrote to standard output."""
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        """Everything it wrote to standard error, by all processes started here."""
        return self._stderr.read_text()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the log, or the events called `name`."""
        events = [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]
        return [event for event in events if name in ("", event["event"])]

    def start(self, *, wait: bool = True) -> DaemonProcess:
        """Start the process, and wait until it serves."""
        command = [sys.executable, "-m", "byteord", "--config", str(self.config), *self._arguments]
        with self._stdout.open("wb") as out, self._stderr.open("ab") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.directory,
                env={**os.environ, **self._env},
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Return when it serves; fail with its own words when it ended instead."""
        process = self.process
        assert process is not None

        def ready() -> bool:
            assert process.poll() is None, f"byteord ended with {process.returncode}: {self.stderr}"
            return "byteord ready" in self.stdout

        until(ready, READY_TIMEOUT_S, "byteord ready")

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Return the exit code once it has ended."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, wait, return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it without a word, as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def run_directories(self) -> list[Path]:
        """Return the directories of runs that exist now."""
        return sorted(path for path in self.regions.glob("byteor-*/*") if path.is_dir())

    def leftovers(self) -> list[str]:
        """Return what is left of its runs: files in shared memory, and processes naming them."""
        files = [str(path) for path in self.regions.rglob("*") if not path.is_dir()]
        runs = [str(path) for path in self.run_directories()]
        return [*runs, *files, *processes_naming(str(self.regions))]

    def close(self) -> None:
        """End it if it runs, end what is left of its runs, remove its directories."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait(STOP_TIMEOUT_S)
            for line in processes_naming(str(self.regions)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)
            until(lambda: not processes_naming(str(self.regions)), 10.0, "all of it has ended")
        finally:  # once nobody writes there any more
            shutil.rmtree(self.regions, ignore_errors=True)
            shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def running_daemon(
    *,
    config: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Iterator[DaemonProcess]:
    """Provide a daemon that serves; then stop it, check its exit code and that nothing is left.

    Runs must have ended by then: a daemon that stops leaves live ones to the next.
    """
    daemon = DaemonProcess(config=config, arguments=arguments, env=env)
    try:
        daemon.start()
        yield daemon
        if check:
            assert daemon.stop() == 0, daemon.stderr
            until(lambda: not daemon.leftovers(), 10.0, f"nothing left, but: {daemon.leftovers()}")
    finally:
        daemon.close()


def toml_of(values: Mapping[str, Any]) -> str:
    """Return TOML with these values by dotted path."""
    return "".join(f"{path} = {_toml_value(value)}\n" for path, value in values.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(str(value))


def processes_naming(text: str) -> list[str]:
    """Return `PID command` of every process whose arguments contain `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            arguments = (
                (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            if text in arguments:
                found.append(f"{entry.name} {arguments.strip()}")
    return found
