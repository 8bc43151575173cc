"""The shipped examples through the real daemon and the real client, in every way of running them.

Expected figures are computed here, with nothing of the product.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import struct
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byteord import samples
from tests.support.cli import byteorctl, command_of
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.pcap import udp_payloads
from tests.support.poll import until
from tests.support.shared import shared_data
from tests.support.tree import EXAMPLES

WAYS = {
    "sp": ["--sp"],
    "workers": [],
    "fused": ["--set", "tuning.fuse=always"],
    "unfused": ["--set", "tuning.fuse=never"],
    "sp-unfused": ["--sp", "--set", "tuning.fuse=never"],
}
ORIGINS = ["generated", "shared"]
every_way = pytest.mark.parametrize("way", WAYS)
every_origin = pytest.mark.parametrize("origin", ORIGINS)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Provide one daemon that allows the examples' code and loopback."""
    config = {
        "allow.code_dirs": [str(EXAMPLES / name) for name in ("es-trades", "ssh-failures")],
        "allow.listen": ["127.0.0.1:*"],
    }
    with running_daemon(config=config) as process:
        yield process


def _run(
    daemon: DaemonProcess | None, spec: str, way: list[str], data: bytes, directory: Path
) -> bytes:
    """Run an example on a file as a user would; return what it wrote."""
    source, target = directory / "input", directory / "output"
    source.write_bytes(data)
    where = ["--address", daemon.address] if daemon else []
    files = ["--input", str(source), "--output", str(target)]
    result = byteorctl(*where, "run", *way, EXAMPLES / spec, *files)
    assert result.returncode == 0, result.stderr.decode()
    return target.read_bytes()


def _market(origin: str) -> bytes:
    if origin == "shared":
        return shared_data("market/esh4-mbo-20k.bin").read_bytes()
    return samples.market_records(5_000, seed=3)


def _log(origin: str) -> bytes:
    if origin == "shared":
        return shared_data("logs/OpenSSH_2k.log").read_bytes()
    return samples.sshd_lines(1_000, seed=3)


def _trades(data: bytes) -> dict[str, Any]:
    """Return count, size and average price of the trades."""
    fields = [struct.unpack_from("<qI2xc", data, at + 24) for at in range(0, len(data), 56)]
    trades = [(price / 1e9, size) for price, size, action in fields if action == b"T"]
    size = sum(size for _, size in trades)
    vwap = round(sum(price * size for price, size in trades) / size, 4)
    return {"trades": len(trades), "size": size, "vwap": vwap}


def _failures(data: bytes) -> list[dict[str, Any]]:
    """Return an object for each failed password, in order."""
    found = []
    for line in data.decode().split("\n"):
        if "Failed password" in line:
            time, host = line[:15], line[16:].split(" ", 1)[0]
            rest = line.split("Failed password for ", 1)[1].removeprefix("invalid user ")
            user, rest = rest.rsplit(" from ", 1)
            address, _, port = rest.split(" ")[:3]
            login = {"user": user, "address": address, "port": int(port)}
            found.append({"time": time, "host": host, **login})
    return found


@every_origin
@every_way
def test_es_trades(daemon: DaemonProcess, way: str, origin: str, tmp_path: Path) -> None:
    """One line with count, size and average price of the trades, however it is run."""
    data = _market(origin)
    wanted = _trades(data)
    if origin == "shared":
        assert (wanted["trades"], wanted["size"]) == (537, 1_284)
    output = _run(daemon, "es-trades/spec.toml", WAYS[way], data, tmp_path)
    assert output.count(b"\n") == 1
    assert json.loads(output) == wanted


@every_origin
@every_way
def test_ssh_failures(daemon: DaemonProcess, way: str, origin: str, tmp_path: Path) -> None:
    """One object a failure, in the order of the log; the last line, without newline, is there."""
    data = _log(origin)
    wanted = _failures(data)
    assert not data.endswith(b"\n")
    assert origin != "shared" or len(wanted) == 520
    output = _run(daemon, "ssh-failures/spec.toml", WAYS[way], data, tmp_path)
    assert [json.loads(line) for line in output.splitlines()] == wanted


@every_origin
@every_way
def test_ssh_failures_in_four_shards(
    daemon: DaemonProcess, way: str, origin: str, tmp_path: Path
) -> None:
    """The same objects from four shards; those of one second are in the order of the log."""
    data = _log(origin)
    wanted = _failures(data)
    output = _run(daemon, "ssh-failures/sharded.toml", WAYS[way], data, tmp_path)
    assert _by_second(json.loads(line) for line in output.splitlines()) == _by_second(wanted)


def _by_second(found: Any) -> dict[str, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for item in found:
        groups[item["time"]].append(item)
    return dict(groups)


@pytest.mark.parametrize("example", ["es-trades", "ssh-failures"])
def test_with_no_daemon_running(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run --sp` brings a daemon of its own, which is gone afterwards."""
    monkeypatch.delenv("BYTEOR_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    data = _market("generated") if example == "es-trades" else _log("generated")
    wanted = [_trades(data)] if example == "es-trades" else _failures(data)
    output = _run(None, f"{example}/spec.toml", ["--sp"], data, tmp_path)
    assert [json.loads(line) for line in output.splitlines()] == wanted


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listening(port: int) -> bool:
    return f":{port:04X} " in Path("/proc/net/udp").read_text()


def _payloads(origin: str) -> list[bytes]:
    if origin == "generated":
        return udp_payloads(samples.pcap_file(samples.feed_payloads(150, seed=3)))
    captures = sorted(shared_data("packets").glob("*.pcap"))
    return list(itertools.chain(*(udp_payloads(path.read_bytes()) for path in captures)))


def _received(daemon: DaemonProcess, run: str) -> int:
    """Return how many messages the egress has written."""
    result = byteorctl("--address", daemon.address, "snapshot", "-o", "json", run)
    regions = json.loads(result.stdout)["regions"] if result.returncode == 0 else None
    roles = regions["roles"] if regions else []
    return sum(role["published"] for role in roles if role["kind"] == "egress")


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a client; whatever happens, it has ended on the way out."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as client:
        try:
            yield client
        finally:
            client.kill()


@every_origin
@every_way
def test_feed_tap(daemon: DaemonProcess, way: str, origin: str, tmp_path: Path) -> None:
    """Datagrams to the port come out byte-identical and in order; a drain ends the run well."""
    payloads = _payloads(origin)
    assert len(payloads) > 20
    port, target = _free_port(), tmp_path / "output"
    command = command_of(
        "--address", daemon.address, "run", *WAYS[way], EXAMPLES / "feed-tap" / "spec.toml",
        "--output", target, "--set", f"adapters.feed.bind=127.0.0.1:{port}",
    )  # fmt: skip
    with _process(command) as client:
        until(lambda: _listening(port) or client.poll() is not None, 20.0, "the port is bound")
        assert client.poll() is None, client.stderr and client.stderr.read().decode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for payload in payloads:
                sender.sendto(payload, ("127.0.0.1", port))
        until(lambda: _received(daemon, "feed-tap") == len(payloads), 20.0, "all are written")
        stopped = byteorctl("--address", daemon.address, "stop", "feed-tap")
        assert stopped.returncode == 0, stopped.stderr.decode()
        assert client.wait(20.0) == 0
    assert target.read_bytes() == b"".join(payloads)


def test_samples_are_what_they_say() -> None:
    """The same arguments give the same bytes; another seed gives others."""
    assert samples.market_records(100) == samples.market_records(100)
    assert samples.market_records(100) != samples.market_records(100, seed=2)
    assert len(samples.market_records(100)) == 5_600
    lines = samples.sshd_lines(50).decode().split("\n")
    assert len(lines) == 50
    assert re.search(r"Failed password for .* from \S+ port \d+ ssh2", lines[-1])
