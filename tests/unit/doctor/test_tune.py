"""byteor-tune on captured trees: nothing here touches the host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from byteord.doctor import tune
from byteord.doctor.tune_main import main
from byteord.tuning.root import HostRoot
from tests.support.host_trees import KINDS, asked_of, write_tree

RECORD = "var/lib/byteor-tune/record.json"


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """Return an untuned host with a boot id."""
    files, kernel = KINDS["untuned"]()
    files["proc/sys/kernel/random/boot_id"] = "one\n"
    return write_tree(tmp_path, files, kernel)


def _content(tree: str) -> dict[str, str]:
    """Return every file of a tree but the record."""
    top = Path(tree)
    return {
        str(path.relative_to(top)): path.read_text()
        for path in top.rglob("*")
        if path.is_file() and "byteor-tune" not in str(path)
    }


def _run(tree: str, *words: str) -> int:
    return main([*words, "--root", tree, "--profile", "low-latency", "--cpus", "2-3"])


def test_check_changes_nothing(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` names each file with what was found and what would be set, and writes none."""
    before = _content(tree)
    assert _run(tree, "check") == 1
    assert _content(tree) == before
    assert not Path(tree, RECORD).exists()
    assert "M08 /proc/sys/vm/swappiness: found 60, would set 10" in capsys.readouterr().out


def test_apply_then_roll_back_leaves_the_host_as_it_was(
    tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found is written down, set, seen by the second check, and put back to the letter."""
    before = _content(tree)
    assert _run(tree, "apply") == 0
    said = capsys.readouterr().out
    assert "applied M08 /proc/sys/vm/swappiness 10" in said
    assert Path(tree, "proc/sys/vm/swappiness").read_text() == "10\n"
    governor = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    assert Path(tree, governor.format(2)).read_text() == "performance\n"
    assert Path(tree, governor.format(1)).read_text() == "schedutil\n"
    counts = [line.split(", ")[1] for line in said.splitlines() if "degraded" in line]
    assert int(counts[0].split()[0]) > int(counts[1].split()[0])
    record = json.loads(Path(tree, RECORD).read_text())
    wanted = {"path": "/proc/sys/vm/swappiness", "found": "60", "set": "10", "code": "M08"}
    assert {**wanted, "back": ""} in record["settings"]
    assert _run(tree, "rollback") == 0
    after = _content(tree)
    for name, text in before.items():
        chosen = text.partition("[")[2].partition("]")[0]
        if "dirty" not in name:
            assert after[name] in (text, chosen + "\n"), name
    assert not Path(tree, RECORD).exists()


def test_bounds_in_bytes_go_back_through_their_ratio(tree: str) -> None:
    """Bytes cannot be set back to 0: the ratio that was found is written, which does it."""
    ratio = Path(tree, "proc/sys/vm/dirty_ratio")
    assert _run(tree, "apply") == 0
    ratio.write_text("0\n")  # as the kernel does when the bytes are written
    assert _run(tree, "rollback") == 0
    assert ratio.read_text() == "20\n"


def test_what_is_right_already_is_not_touched(
    tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the keys that one check names, only those that differ are on the list."""
    _run(tree, "check")
    said = capsys.readouterr().out
    assert "/proc/sys/net/core/netdev_max_backlog" in said
    assert "/proc/sys/net/core/somaxconn" not in said


def test_what_was_found_first_stays_on_record(tree: str) -> None:
    """A second apply does not take its own settings for what the host had."""
    assert _run(tree, "apply") == 0
    Path(tree, "proc/sys/vm/swappiness").write_text("40\n")
    assert _run(tree, "apply") == 0
    assert _run(tree, "rollback") == 0
    assert Path(tree, "proc/sys/vm/swappiness").read_text() == "60\n"


def test_what_somebody_else_changed_is_left_alone(
    tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is no longer the one that was set stays, and is said."""
    _run(tree, "apply")
    Path(tree, "proc/sys/vm/swappiness").write_text("1\n")
    assert _run(tree, "rollback") == 0
    assert Path(tree, "proc/sys/vm/swappiness").read_text() == "1\n"
    assert "changed_since M08" in capsys.readouterr().out


def test_another_boot_has_nothing_to_put_back(
    tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a reboot the kernel has its own values again: the record is dropped, nothing is set."""
    _run(tree, "apply")
    Path(tree, "proc/sys/kernel/random/boot_id").write_text("two\n")
    before = _content(tree)
    assert _run(tree, "rollback") == 0
    assert _content(tree) == before
    assert "gone M08" in capsys.readouterr().out
    assert _run(tree, "rollback") == 0
    assert "nothing is recorded" in capsys.readouterr().out


def test_a_kernel_that_refuses_is_reported(tree: str) -> None:
    """A file that cannot be written is `refused` with the reason; the others are applied."""
    root = HostRoot(tree)
    settings = tune.planned(tune.check(asked_of(tree), root), root)
    path = Path(tree, "proc/sys/vm/swappiness")
    path.unlink()
    path.mkdir()
    outcomes = {each.setting.path: each for each in tune.apply(settings, "x", root)}
    assert outcomes["/proc/sys/vm/swappiness"].state == "refused"
    assert outcomes["/proc/sys/vm/swappiness"].reason
    assert outcomes["/proc/sys/vm/stat_interval"].state == "applied"
    shutil.rmtree(path)


def test_a_damaged_record_stops_everything(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that cannot be understood is never overwritten: exit 65, nothing changed."""
    Path(tree, RECORD).parent.mkdir(parents=True)
    Path(tree, RECORD).write_text("{")
    before = _content(tree)
    assert _run(tree, "apply") == 65
    assert _run(tree, "rollback") == 65
    assert _content(tree) == before
    assert "record.json" in capsys.readouterr().err


def test_cpus_are_checked(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    """CPUs that are not there, or no list at all, are usage errors."""
    assert main(["check", "--root", tree, "--cpus", "2,99"]) == 2
    assert "CPUs 99 are not online" in capsys.readouterr().err
    assert main(["check", "--root", tree, "--cpus", "two"]) == 2
    assert main(["status", "--root", tree]) == 0
