"""Recording as a user meets it: the example, `describe`, `status`, and what the daemon allows."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from byteord.regions.captures import read_stream
from byteord.regions.captures_check import check_capture
from byteord.samples import sshd_lines
from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon
from tests.support.poll import until
from tests.support.tree import EXAMPLES

SPEC = EXAMPLES / "feed-tap" / "spec.toml"
RECORDED = ["--deployment", str(EXAMPLES / "feed-tap" / "recorded.toml")]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_example_is_recorded_and_status_says_how_it_goes(tmp_path: Path) -> None:
    """Datagrams go through a detached run; `status` counts them; the capture is whole."""
    payloads = [b"datagram %d" % number for number in range(100)]
    config = {"allow.listen": ["127.0.0.1:*"], "allow.write_dirs": [str(tmp_path)]}
    with running_daemon(config=config) as daemon:
        at, port = ["--address", daemon.address], _free_port()
        bound = ["--set", f"adapters.feed.bind=127.0.0.1:{port}"]
        started = byteorctl(*at, "run", *RECORDED, *bound, "--detach", SPEC)
        assert started.returncode == 0, started.stderr

        def status() -> dict[str, object]:
            shown = byteorctl(*at, "status", "feed-tap", "-o", "json")
            assert shown.returncode == 0, shown.stderr
            capture: dict[str, object] = json.loads(shown.stdout)["capture"]
            return capture

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for payload in payloads:
                sender.sendto(payload, ("127.0.0.1", port))

        def seen() -> bool:
            rows = status()["streams"]
            return isinstance(rows, list) and all(int(row["seen"]) == 100 for row in rows)

        until(seen, 20, "all datagrams in the capture")
        table = byteorctl(*at, "status", "feed-tap").stdout.decode()
        assert "in/feed" in table
        assert str(tmp_path / "captures") in table
        assert "Recording" in table
        stopped = byteorctl(*at, "stop", "feed-tap")
        assert stopped.returncode == 0, stopped.stderr
    (kept,) = (tmp_path / "captures").iterdir()
    assert [entry[4] for entry in read_stream(kept / "in" / "feed")] == payloads
    assert check_capture(kept) == []
    assert json.loads((kept / "out" / "copy.json").read_text())["count"] == 100


def test_describe_shows_the_capture_and_a_daemon_that_allows_no_writing_refuses(
    tmp_path: Path,
) -> None:
    """The table stands in the description with its defaults; 78 names key and fix."""
    config = {"allow.listen": ["127.0.0.1:*"], "allow.write_dirs": [str(tmp_path)]}
    with running_daemon(config=config) as daemon:
        shown = byteorctl("--address", daemon.address, "describe", SPEC, *RECORDED, "-o", "json")
        capture = json.loads(shown.stdout)["capture"]
        assert (capture["keep"], capture["last_time_s"], capture["outputs"]) == (
            "last",
            3600,
            "digest",
        )
    with running_daemon(config={"allow.listen": ["127.0.0.1:*"]}) as daemon:
        refused = byteorctl("--address", daemon.address, "validate", SPEC, *RECORDED)
        assert refused.returncode == 78
        assert b"capture.directory" in refused.stdout + refused.stderr
        assert b"write_dirs" in refused.stdout + refused.stderr


def test_a_run_of_four_shards_is_recorded_and_replayed(tmp_path: Path) -> None:
    """Whatever shard a message took: the capture has the input in order, and a replay agrees."""
    example, output = EXAMPLES / "ssh-failures", tmp_path / "failures.jsonl"
    source = tmp_path / "auth.log"
    source.write_bytes(sshd_lines(500))
    config = {"allow.code_dirs": [str(example)], "allow.write_dirs": [str(tmp_path)]}
    with running_daemon(config=config) as daemon:
        at = ["--address", daemon.address]
        captures = ["--set", f"capture.directory={tmp_path / 'captures'}"]
        ends = ["--input", str(source), "--output", str(output)]
        done = byteorctl(*at, "run", *captures, *ends, example / "sharded.toml")
        assert done.returncode == 0, done.stderr
        (kept,) = (tmp_path / "captures").iterdir()
        entered = [entry[4] for entry in read_stream(kept / "in" / "log")]
        assert entered == source.read_bytes().splitlines()
        assert check_capture(kept) == []
        left = json.loads((kept / "out" / "failures.json").read_text())
        assert left["count"] == len(output.read_bytes().splitlines())
        again = byteorctl(*at, "replay", str(kept), "-o", "json")
        result = json.loads(again.stdout)
        assert (again.returncode, result["verdict"]) == (0, "equal"), again.stdout
