"""An attached run against a peer that misbehaves: what it says, its exit code, what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteor.v1 import runs_pb2
from tests.support.poll import until
from tests.support.scripted_api import ScriptedApi, serving

SPEC = (
    '[[endpoints]]\nname = "in"\nkind = "ingress"\n[[endpoints]]\nname = "out"\nkind = "egress"\n'
)
CONTENT = os.urandom(3_000_000)


class Peer:
    """A scripted API and a directory with a spec, an input and room for an output."""

    def __init__(self, api: ScriptedApi, address: str, directory: Path) -> None:
        """Write the files."""
        self.api = api
        self.directory = directory
        self.output = directory / "work" / "out"
        self.output.parent.mkdir()
        self.address = address
        (directory / "spec.toml").write_text(SPEC)
        (directory / "in").write_bytes(CONTENT)

    def start(self, *more: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start `run`, from the input file to the output file unless `more` says else."""
        ends = ["--input", str(self.directory / "in"), "--output", str(self.output)]
        command = [sys.executable, "-m", "byteorctl", "--address", self.address, "run"]
        return subprocess.Popen(
            [*command, str(self.directory / "spec.toml"), *(more or ends)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *more: str) -> tuple[int, bytes, str]:
        """Run to the end and return exit code, standard output and standard error."""
        return finish(self.start(*more))

    def left(self) -> list[str]:
        """Return the names beside the output."""
        return os.listdir(self.output.parent)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    """Wait and return exit code, standard output and standard error."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.decode()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Provide a peer that behaves until its `api` is told otherwise."""
    api = ScriptedApi()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED
    with serving(api, tmp_path) as address:
        yield Peer(api, address, tmp_path)


def test_files_go_in_and_come_out_whole(peer: Peer) -> None:
    """The input is streamed with its checksum, the output gets its name, figures go to stderr."""
    code, out, err = peer.run()
    assert (code, out) == (0, b""), err
    assert peer.output.read_bytes() == CONTENT
    assert peer.left() == ["out"]
    assert "run-1 echo: completed" in err
    assert "3,000,000 bytes" in err
    request = peer.api.started[0]
    assert (request.client_input, request.client_output) == (True, True)


def test_standard_input_and_output_are_the_ends_by_default(peer: Peer) -> None:
    """Without a deployment and without paths, the run is a filter between stdin and stdout."""
    with (peer.directory / "in").open("rb") as file:
        code, out, err = finish(peer.start("--sp", stdin=file.fileno()))
    assert (code, out) == (0, CONTENT), err


def test_a_failed_run_exits_1_and_names_role_stage_and_sequence(peer: Peer) -> None:
    """The failure is said in one line and no output gets its name."""
    peer.api.final_state = runs_pb2.RUN_STATE_FAILED
    code, _, err = peer.run()
    assert code == 1
    wanted = "run run-1 failed: STAGE_RAISED: role parse (python:parse:Parse) at sequence 41"
    assert f"{wanted}: ValueError: not a line" in err
    assert peer.left() == []


@pytest.mark.parametrize("damage", ["crc", "end mark"])
def test_damaged_output_exits_65_and_is_removed(peer: Peer, damage: str) -> None:
    """An output whose checksum is wrong, or that has no end mark, is never taken for whole."""
    peer.api.crc_flip = int(damage == "crc")
    peer.api.end_mark = damage == "crc"
    code, _, err = peer.run()
    assert code == 65, err
    assert "output: " in err
    assert peer.left() == []


def test_a_daemon_that_dies_exits_69_and_leaves_no_output(peer: Peer) -> None:
    """The client says what went away during which call; nothing stands under the final name."""
    peer.api.die_when_fed = True
    code, _, err = peer.run()
    assert code == 69, err
    assert "went away during" in err
    assert peer.left() == []


def test_a_daemon_that_goes_down_exits_69(peer: Peer) -> None:
    """An orderly stop of the daemon is told as such, with how to look after the run."""
    peer.api.watch_kind = runs_pb2.WATCH_KIND_GOING_DOWN
    code, _, err = peer.run()
    assert code == 69
    assert "byteorctl status run-1" in err


def test_one_interrupt_drains_and_keeps_the_output(peer: Peer) -> None:
    """Ctrl-C drains: what was in comes out, gets its name, and the exit code says interrupted."""
    read, write = os.pipe()
    process = peer.start("--input", "-", "--output", str(peer.output), stdin=read)
    os.close(read)
    os.write(write, b"some")
    until(lambda: bytes(peer.api.fed) == b"some", 30, "fed")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    os.close(write)
    assert code == 130, err
    assert peer.api.stops == [runs_pb2.STOP_MODE_DRAIN]
    assert peer.output.read_bytes() == b"some"


def test_the_second_interrupt_aborts(peer: Peer) -> None:
    """A drain that hangs is ended by a second Ctrl-C."""
    peer.api.hold_open = True
    process = peer.start()
    until(lambda: len(peer.api.fed) == len(CONTENT), 30, "fed")
    process.send_signal(signal.SIGINT)
    until(lambda: peer.api.stops == [runs_pb2.STOP_MODE_DRAIN], 30, "drain asked for")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    assert peer.api.stops == [runs_pb2.STOP_MODE_DRAIN, runs_pb2.STOP_MODE_ABORT]


def test_a_run_over_its_time_is_aborted_with_124(peer: Peer) -> None:
    """`--timeout` bounds the whole run."""
    peer.api.hold_open = True
    ends = ["--input", str(peer.directory / "in"), "--output", str(peer.output)]
    code, _, err = peer.run(*ends, "--timeout", "0.5")
    assert code == 124, err
    assert peer.api.stops == [runs_pb2.STOP_MODE_ABORT]
    assert "did not end in the time allowed" in err


def test_a_full_disk_aborts_the_run_and_exits_75(peer: Peer) -> None:
    """An output that cannot be written ends the run instead of dropping bytes."""
    code, _, err = peer.run("--input", str(peer.directory / "in"), "--output", "/dev/full")
    assert code == 75, err
    assert "No space left" in err


def test_a_reader_that_goes_away_ends_the_run(peer: Peer) -> None:
    """`byteorctl run ... | head` does not run on for nobody."""
    process = peer.start("--input", str(peer.directory / "in"), "--output", "-")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 1, err
    assert "reader has gone" in err


def test_machine_formats_keep_figures_on_stdout(peer: Peer) -> None:
    """With `-o`, standard output carries the run as data and nothing else."""
    ends = ["--input", str(peer.directory / "in"), "--output", str(peer.output)]
    code, out, _ = peer.run(*ends, "-o", "jsonpath={.id} {.state}")
    assert (code, out) == (0, b"run-1 completed\n")


def test_machine_formats_need_an_output_elsewhere(peer: Peer) -> None:
    """Data and figures are never mixed on standard output."""
    code, _, err = peer.run("--input", str(peer.directory / "in"), "-o", "json")
    assert code == 2
    assert "give --output PATH" in err


def test_an_interrupted_watch_exits_130(peer: Peer) -> None:
    """Ctrl-C ends a watch and stops nothing."""
    peer.api.hold_open = True
    command = [sys.executable, "-m", "byteorctl", "--address", peer.address, "watch", "run-1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert b"running" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert (code, peer.api.stops) == (130, [])
    assert err.strip() == "byteorctl: interrupted"


def test_detach_prints_the_id_alone(peer: Peer) -> None:
    """The id can be captured by a shell."""
    deployment = peer.directory / "deployment.toml"
    deployment.write_text('[adapters.in]\nkind = "udp"\n[adapters.out]\nkind = "udp"\n')
    code, out, err = peer.run("--detach")
    assert (code, out) == (0, b"run-1\n"), err
    assert not peer.api.started[0].client_input
