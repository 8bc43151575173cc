"""A durable journal that cannot be written on, as a person meets it: exit code and words."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon

SPEC = """
version = 1
name = "kept"
model = "lane_graph"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
[[plan.stages]]
name = "pass"
stage = "identity"
[[plan.connections]]
from = "in"
to = "pass"
[[plan.connections]]
from = "pass"
to = "out"
intent = "broadcast"
[[plan.connections]]
from = "pass"
intent = "journal"
name = "everything"
durable = true
segment_bytes = 65536
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "stdin"
[adapters.out]
kind = "stdout"
[journals.everything]
directory = "DIRECTORY"
"""
FRAME = 48 + 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, Path]]:
    """Provide a daemon and a directory beneath which it may write."""
    directory = tmp_path_factory.mktemp("kept")
    with running_daemon(config={"allow.write_dirs": [str(directory)]}) as daemon:
        yield daemon, directory


def _run(daemon: DaemonProcess, directory: Path, journal: Path, *more: str) -> tuple[int, str]:
    (directory / "spec.toml").write_text(SPEC)
    (directory / "deployment.toml").write_text(DEPLOYMENT.replace("DIRECTORY", str(journal)))
    (directory / "in").write_text("".join(f"{n:07}\n" for n in range(100)))
    files = ["--input", str(directory / "in"), "--output", str(directory / "out")]
    spec = str(directory / "spec.toml")
    done = byteorctl("--address", daemon.address, "run", *more, spec, *files)
    return done.returncode, done.stderr.decode()


def _flip(at: int) -> Callable[[Path], None]:
    def damage(journal: Path) -> None:
        (segment,) = journal.glob("*.seg")
        data = bytearray(segment.read_bytes())
        data[at] ^= 3
        segment.write_bytes(data)

    return damage


def _gap(journal: Path) -> None:
    (segment,) = journal.glob("*.seg")
    shutil.copy(segment, journal / f"{7000:020d}.seg")


def _no_directory(journal: Path) -> None:
    shutil.rmtree(journal)
    journal.write_text("")


def _link(journal: Path) -> None:
    shutil.move(journal, journal.with_name("elsewhere"))
    journal.symlink_to(journal.with_name("elsewhere"))


@pytest.mark.parametrize("mode", [(), ("--sp",)])
@pytest.mark.parametrize(
    "case",
    [
        (_flip(64 + 5 * FRAME + 50), 1, f"no whole frame at offset {64 + 5 * FRAME}: a whole one"),
        (_flip(8), 1, "journal version 2: this byteor reads version 1"),
        (_flip(0), 1, "it does not begin with the mark of a journal"),
        (_gap, 1, "it begins at 7000, the one before ends at 100"),
        (_no_directory, 77, "a link, or no directory, stands in the way"),
        (_link, 77, "links are not followed: write the real path"),
    ],
    ids=["bad-frame", "version", "foreign", "gap", "file", "link"],
)
def test_a_journal_that_cannot_be_written_on_is_refused_before_anything_flows(
    place: tuple[DaemonProcess, Path],
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[Callable[[Path], None], int, str],
    mode: tuple[str, ...],
) -> None:
    """By file and offset, by the role that writes it; what lies there stays as it is."""
    (damage, code, wanted), (daemon, directory) = case, place
    journal = directory / tmp_path_factory.mktemp("j").name
    assert _run(daemon, directory, journal, *mode)[0] == 0, "the directory is made"
    damage(journal)
    before = sorted((path.name, path.read_bytes()) for path in journal.glob("*.seg"))
    seen, said = _run(daemon, directory, journal, *mode)
    assert (seen, wanted in said) == (code, True), said
    assert str(journal) in said
    assert code != 1 or "everything-bridge" in said
    assert sorted((path.name, path.read_bytes()) for path in journal.glob("*.seg")) == before
