"""LaneGraph runs as a person drives them: byteorctl as a process against the real daemon."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "fan"
model = "lane_graph"
[[lanes]]
name = "a"
[[lanes]]
name = "b"
kind = "fanout_broadcast"
capacity = 64
{lossy}
[[lanes]]
name = "c"
[[endpoints]]
name = "in"
kind = "ingress"
lane = "a"
[[endpoints]]
name = "out"
kind = "egress"
lane = "c"
[[endpoints]]
name = "side"
kind = "egress"
lane = "b"
[[roles]]
name = "pass"
kind = "stage"
rx = ["a"]
tx = ["b"]
stage = "identity"
[[roles]]
name = "move"
kind = "bridge"
rx = ["b"]
tx = ["c"]
"""
LINES = """
[adapters.in]
kind = "stdin"
[adapters.out]
kind = "stdout"
[adapters.side]
kind = "discard"
"""
ENDLESS = """
[adapters.in]
kind = "generator"
rate = 20000
[adapters.out]
kind = "discard"
[adapters.side]
kind = "discard"
[tuning]
fuse = "never"
"""


@dataclass(frozen=True)
class Cli:
    """Byteorctl with the daemon that it speaks to, and a directory for documents."""

    address: str
    directory: Path

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run byteorctl to its end; return exit code, standard output and standard error."""
        done = byteorctl("--address", self.address, *arguments)
        return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """Provide byteorctl with a daemon of its own."""
    with running_daemon() as daemon:
        yield Cli(daemon.address, tmp_path)


def _write(cli: Cli, deployment: str, lossy: str = "") -> str:
    (cli.directory / "spec.toml").write_text(SPEC.format(lossy=lossy))
    (cli.directory / "deployment.toml").write_text(f"version = 1\n{deployment}")
    return str(cli.directory / "spec.toml")


def _snapshot(cli: Cli, run: str) -> dict[str, Any]:
    code, out, err = cli.run("snapshot", run, "-o", "json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def _pid(cli: Cli, run: str, role: str) -> int:
    roles = _snapshot(cli, run)["regions"]["roles"]
    return int(next(each["pid"] for each in roles if each["name"] == role))


def _lane(cli: Cli, run: str, name: str) -> dict[str, Any]:
    lanes = _snapshot(cli, run)["regions"]["lanes"]
    return next(dict(each) for each in lanes if each["name"] == name)


@pytest.mark.parametrize("mode", [(), ("--sp",)])
def test_lines_go_through_a_graph_unchanged(cli: Cli, mode: tuple[str, ...]) -> None:
    """Ingress, stage, fan-out, bridge and two egresses: the bytes that went in, and the figures."""
    spec = _write(cli, LINES)
    source, target = cli.directory / "source", cli.directory / "out"
    source.write_text("".join(f"line {n}\n" for n in range(5000)))
    code, _, err = cli.run("run", *mode, spec, "--input", str(source), "--output", str(target))
    assert code == 0, err
    assert target.read_text() == source.read_text()
    assert "fanout_broadcast" in err
    assert "move, side" in err


def test_a_stopped_consumer_holds_its_producer_and_status_says_so(cli: Cli) -> None:
    """A lossless edge: who is held, by which lane, and whose lag fills it, as a fact."""
    code, out, err = cli.run("run", "--detach", _write(cli, ENDLESS))
    assert code == 0, err
    run = out.strip()
    pid = _pid(cli, run, "side")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: _lane(cli, run, "b")["full"], 20)
        shown = cli.run("status", run)[1]
        assert "`pass` is held by lane `b`, full because `side` is 64 behind" in shown
        held = _snapshot(cli, run)["regions"]["held"]
        assert held["pass"]["root"] == "side"
    finally:
        os.kill(pid, signal.SIGCONT)
    before = _lane(cli, run, "c")["consumed"]
    until(lambda: _lane(cli, run, "c")["consumed"] > before + 1000, 20)
    assert cli.run("stop", run)[0] == 0


def test_a_stopped_lossy_consumer_holds_nobody_and_tells_what_it_missed(cli: Cli) -> None:
    """A lossy edge: its sibling gets everything; missed and delivered add up exactly."""
    code, out, err = cli.run("run", "--detach", _write(cli, ENDLESS, 'lossy = ["side"]'))
    assert code == 0, err
    run = out.strip()
    pid = _pid(cli, run, "side")
    os.kill(pid, signal.SIGSTOP)
    try:
        before = _lane(cli, run, "c")["consumed"]
        until(lambda: _lane(cli, run, "c")["consumed"] > before + 5000, 20)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert cli.run("stop", run)[0] == 0
    lanes = {each["name"]: each for each in _snapshot(cli, run)["regions"]["lanes"]}
    assert lanes["c"]["consumed"] == lanes["b"]["published"]
    side = next(each for each in lanes["b"]["consumers"] if each["role"] == "side")
    assert side["missed"] >= 4000
    assert side["consumed"] + side["missed"] == lanes["b"]["published"]
    assert lanes["b"]["overruns"] == side["missed"]
