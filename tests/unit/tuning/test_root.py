"""The root that facts of a host are read from."""

from __future__ import annotations

from pathlib import Path

from byteord.tuning.root import HostRoot


def test_a_captured_tree_answers_under_the_names_of_the_host(tmp_path: Path) -> None:
    """Names are absolute as on the host, wherever the tree lies, and text is what lies there."""
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/sys/vm/swappiness").write_bytes(b"60\n\xff")
    root = HostRoot(str(tmp_path))
    assert root.text("/proc/sys/vm/swappiness") == "60\n�"
    assert root.names("/proc/sys/*/swap*") == ("/proc/sys/vm/swappiness",)
    assert root.exists("/proc/sys/vm")


def test_what_is_not_there_is_a_value(tmp_path: Path) -> None:
    """Absence, a directory and a dangling link are told apart from text without an exception."""
    root = HostRoot(str(tmp_path))
    assert root.text("/proc/version") is None
    assert root.missing("/proc/version") == "absent"
    assert root.missing("/") == "unreadable"
    assert root.link("/proc/self/exe") == ""
    assert not root.writable("/sys/kernel/x")


def test_the_live_root_reads_the_host() -> None:
    """Without a tree, a name is itself."""
    assert HostRoot().text("/proc/self/comm") == Path("/proc/self/comm").read_text()
