"""What a stage of a LaneGraph may do with a message: several of one, none, dead letters, skip.

Through byteorctl against the real daemon; expected lines are computed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon

STAGES = '''
class Words:
    """Makes a message of each word of a line; an empty line becomes none."""

    def __init__(self, ctx, upper=False):
        self.lines = 0

    def process(self, batch):
        for index in range(len(batch)):
            words = bytes(batch[index]).split()
            self.lines += 1
            if not words:
                batch.drop(index)
                continue
            batch.replace(index, words[0])
            for word in words[1:]:
                batch.emit(index, word)

    def end(self, batch):
        batch.emit(0, b"end")
        return b"lines %d" % self.lines


class Numbers:
    """Doubles a number; what is none it fails on. `seen` counts what it was shown."""

    def __init__(self, ctx, vague=False):
        self.ctx, self.vague = ctx, vague

    def process(self, batch):
        seen = self.ctx.state()
        count = int.from_bytes(seen[:8], "little")
        texts = [bytes(each) for each in batch] if self.vague else None
        doubled = [b"%d" % (2 * int(text)) for text in texts] if self.vague else None
        for index in range(len(batch)):
            text = doubled[index] if self.vague else b"%d" % (2 * int(bytes(batch[index])))
            count += 1
            batch.replace(index, text + b" %d" % count)
        seen[:8] = count.to_bytes(8, "little")
        del seen


class Private:
    def __init__(self, ctx, vague=False):
        pass

    def process(self, batch):
        for message in batch:
            int(bytes(message))
'''
WORDS = """
version = 1
name = "words"
model = "lane_graph"
[plan]
slot_bytes = 64
[[plan.stages]]
name = "words"
stage = "python:outcomes:Words"
mutates = "all"
resizes = true
drops = true
effects = []
outputs_max = MOST
[[plan.connections]]
from = "in"
to = "words"
[[plan.connections]]
from = "words"
to = "out"
capacity = 8
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
NUMBERS = """
version = 1
name = "numbers"
model = "lane_graph"
[plan]
slot_bytes = 64
capacity = 16
[[plan.stages]]
name = "double"
stage = "python:outcomes:Numbers"
mutates = "all"
resizes = true
effects = []
state = "state"
state_bytes = 8
DEAD
[plan.stages.config]
vague = VAGUE
[[plan.connections]]
from = "in"
to = "double"
[[plan.connections]]
from = "double"
to = "out"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
ENDS
"""
RING = """
version = 1
name = "ring"
model = "single_ring"
[ring]
slot_bytes = 64
[[stages]]
name = "double"
stage = "python:outcomes:Numbers"
mutates = "all"
resizes = true
effects = []
state = "state"
state_bytes = 8
[stages.config]
vague = VAGUE
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
LETTERS = '[[endpoints]]\nname = "bad"\nkind = "egress"\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Provide a daemon that allows the stages of this module."""
    directory = tmp_path_factory.mktemp("outcomes")
    (directory / "outcomes.py").write_text(STAGES)
    allowed = {"allow.code_dirs": [str(directory)], "allow.write_dirs": ["/tmp"]}
    with running_daemon(config=allowed) as process:
        yield process


def _run(
    daemon: DaemonProcess, place: Path, spec: str, deployment: str, lines: list[bytes], *more: str
) -> tuple[int, list[bytes], str, dict[str, Any]]:
    """Return exit code, lines that came out, what was said, and the run as data."""
    (place / "spec.toml").write_text(spec)
    (place / "deployment.toml").write_text(
        f'version = 1\n[adapters.out]\nkind = "stdout"\n{deployment}'
    )
    (place / "input").write_bytes(b"".join(line + b"\n" for line in lines))
    files = ["--input", str(place / "input"), "--output", str(place / "output")]
    command = ["--address", daemon.address, "run", str(place / "spec.toml"), *files, *more]
    done = byteorctl(*command, "-o", "json")
    output = (place / "output").read_bytes().splitlines() if (place / "output").exists() else []
    run = json.loads(done.stdout) if done.stdout.startswith(b"{") else {}
    return done.returncode, output, done.stderr.decode(), run


def _role(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in run["roles"] if each["name"] == name)


@pytest.mark.parametrize("mode", [(), ("--sp",)])
def test_a_python_stage_makes_several_messages_of_one(
    daemon: DaemonProcess, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    """In order, whatever the batches and however small the lane; none of an empty line; at the end.

    The lane has room for one line's words and the end only, so most batches are of one line.
    """
    lines = [b" ".join(b"%d.%d" % (n, k) for k in range(n % 7)) for n in range(700)]
    spec = WORDS.replace("MOST", "7")
    code, output, err, run = _run(daemon, tmp_path, spec, "", lines, *mode)
    assert code == 0, err
    words = [b"%d.%d" % (n, k) for n in range(700) for k in range(n % 7)]
    assert output == [*words, b"lines 700", b"end"]
    stage = _role(run, "words")
    assert (stage["received"], stage["dropped"], stage["published"]) == (700, 100, len(words) + 2)


@pytest.mark.parametrize(
    ("most", "line", "wanted"),
    [
        ("2", b"a b c", "raise `outputs_max` of the stage in the spec"),
        ("7", b"a " + b"b" * 49, "49 bytes do not fit a payload of 48: raise `slot_bytes`"),
    ],
)
def test_more_than_was_declared_fails_the_stage_by_name(
    daemon: DaemonProcess, tmp_path: Path, most: str, line: bytes, wanted: str
) -> None:
    """Too many of one, or one too long: the run stops and says which key to change."""
    spec = WORDS.replace("MOST", most).replace("slot_bytes = 64", "slot_bytes = 128", 1)
    spec = spec.replace("capacity = 8", "capacity = 8\nslot_bytes = 64")
    code, _, err, _ = _run(daemon, tmp_path, spec, "", [b"fine", line])
    assert code == 1
    assert "words" in err
    assert wanted in err


@pytest.mark.parametrize("vague", ["false", "true"])
@pytest.mark.parametrize("mode", [(), ("--sp",), ("--set", "tuning.fuse=always")])
def test_what_a_stage_fails_on_goes_to_the_dead_letters(
    daemon: DaemonProcess, tmp_path: Path, mode: tuple[str, ...], vague: str
) -> None:
    """Untouched and in order; the others are done once each, as the count in its state shows.

    Also when the stage does not say which message of its batch it failed on.
    """
    lines = [b"bad %d" % n if n % 10 == 3 else b"%d" % n for n in range(600)]
    bad = tmp_path / "bad"
    letters = (
        f'[adapters.bad]\nkind = "file"\npath = "{bad}"\nframing = "lines"\nmode = "truncate"\n'
    )
    spec = NUMBERS.replace("VAGUE", vague).replace("DEAD", 'dead_letter = "bad"')
    deployment = f'{letters}[failure]\npolicy = "dead_letter"\n'
    code, output, err, run = _run(
        daemon, tmp_path, spec.replace("ENDS", LETTERS), deployment, lines, *mode
    )
    assert code == 0, err
    good = [n for n in range(600) if n % 10 != 3]
    assert output == [b"%d %d" % (2 * n, count) for count, n in enumerate(good, 1)]
    assert bad.read_bytes().splitlines() == [line for line in lines if line.startswith(b"bad")]
    stage = _role(run, "double")
    assert (stage["received"], stage["skipped"], stage["dropped"]) == (600, 60, 0)
    assert sum(each["count"] for each in stage["errors"]) == 60


@pytest.mark.parametrize("vague", ["false", "true"])
@pytest.mark.parametrize("model", [NUMBERS, RING], ids=["graph", "ring"])
def test_skip_passes_over_what_a_stage_fails_on(
    daemon: DaemonProcess, tmp_path: Path, vague: str, model: str
) -> None:
    """Counted, each different error kept once; the rest is done once each."""
    lines = [b"bad" if n % 10 == 3 else b"%d" % n for n in range(600)]
    spec = model.replace("VAGUE", vague).replace("DEAD", "").replace("ENDS", "")
    code, output, err, run = _run(daemon, tmp_path, spec, '[failure]\npolicy = "skip"\n', lines)
    assert code == 0, err
    good = [n for n in range(600) if n % 10 != 3]
    assert output == [b"%d %d" % (2 * n, count) for count, n in enumerate(good, 1)]
    stage = _role(run, "double")
    assert (stage["received"], stage["skipped"]) == (600, 60)
    assert [each["count"] for each in stage["errors"]] == [60]


@pytest.mark.parametrize("private", [False, True])
def test_without_a_policy_the_first_bad_message_stops_the_run(
    daemon: DaemonProcess, tmp_path: Path, *, private: bool
) -> None:
    """Role, sequence and the error in its own words, also where the stage keeps private state."""
    spec = NUMBERS.replace("VAGUE", "false").replace("DEAD", "").replace("ENDS", "")
    if private:
        spec = spec.replace('state = "state"\nstate_bytes = 8\n', "")
        spec = spec.replace("Numbers", "Private")
    code, _, err, _ = _run(daemon, tmp_path, spec, "", [b"1", b"2", b"three", b"4"])
    assert code == 1
    assert "role double (python:outcomes:" in err
    assert "at sequence 2" in err
    assert "invalid literal" in err
