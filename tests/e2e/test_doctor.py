"""`byteorctl doctor` as a person runs it: against the real daemon, and without one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from byteorctl.commands import doctor as verb
from byteord.deployment.profiles import PROFILES
from byteord.doctor.emit import FORMS
from byteord.doctor.registry import CHECKS
from tests.support.cli import byteorctl, command_of
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "looked-at"
model = "single_ring"
[ring]
capacity = 1024
slot_bytes = 256
[[stages]]
name = "work"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
ENDLESS = '[adapters.in]\nkind = "generator"\nrate = 100\n[adapters.out]\nkind = "discard"\n'


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """A daemon that serves metrics on a free port."""
    with running_daemon(config={"metrics.address": "127.0.0.1:0"}) as running:
        yield running


def ask(daemon: DaemonProcess, *words: str) -> tuple[int, str, str]:
    """Return exit code, output and errors of one call."""
    command = command_of("--address", daemon.address, "doctor", *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def report(daemon: DaemonProcess, *words: str) -> dict[str, Any]:
    """Return the report as data."""
    _, out, err = ask(daemon, "-o", "json", *words)
    found: dict[str, Any] = json.loads(out) if out else {"error": err}
    return found


def test_the_report_is_an_object_whose_checks_are_the_list(daemon: DaemonProcess) -> None:
    """Every check of the catalogue is in it, with a state of five, and they took two seconds."""
    found = report(daemon, "--profile", "low-latency")
    assert [check["code"] for check in found["checks"]] == [check.code for check in CHECKS]
    states = {check["state"] for check in found["checks"]}
    assert states <= {"ok", "degraded", "failed", "skipped", "unknown"}
    assert sum(found["counts"].values()) == len(CHECKS)
    assert found["profile"] == "low-latency"
    assert found["seconds"] < 2.0
    for check in found["checks"]:
        if check["state"] in ("skipped", "unknown"):
            assert check["reason"], check["code"]
        if check["state"] in ("degraded", "failed"):
            assert check["fix"], check["code"]


def test_groups_and_codes_choose(daemon: DaemonProcess) -> None:
    """A group's checks and one more are those that come; a strange one is a usage error."""
    found = report(daemon, "--group", "t", "--code", "K01")
    assert [check["code"] for check in found["checks"]] == ["K01", *(f"T0{n}" for n in range(1, 9))]
    code, _, err = ask(daemon, "--group", "Q")
    assert code == 2
    assert "Q" in err
    assert ask(daemon, "--code", "K99")[0] == 2


def test_exit_codes_follow_fail_on(daemon: DaemonProcess) -> None:
    """1 where a check falls short by as much as `--fail-on` names, else 0."""
    swappiness = int(Path("/proc/sys/vm/swappiness").read_text())
    degraded = 1 if swappiness > 10 else 0
    words = ("--profile", "low-latency", "--code", "M08")
    assert ask(daemon, *words)[0] == 0
    assert ask(daemon, *words, "--fail-on", "degraded")[0] == degraded
    assert ask(daemon, "--profile", "default", "--code", "M08", "--fail-on", "degraded")[0] == 0


def test_formats_say_the_same(daemon: DaemonProcess) -> None:
    """YAML, JSON lines and jsonpath carry what JSON does; people get a table."""
    words = ("--code", "K01", "--code", "M08")
    wanted = report(daemon, *words)["checks"]
    assert yaml.safe_load(ask(daemon, "-o", "yaml", *words)[1])["checks"] == wanted
    lines = ask(daemon, "-o", "jsonl", *words)[1].splitlines()
    assert [json.loads(line) for line in lines] == wanted
    path = "jsonpath=$.checks[*].code"
    assert ask(daemon, "-o", path, *words)[1].split() == ["K01", "M08"]
    table = ask(daemon, *words)[1]
    assert "kernel release" in table
    assert "2 checks in" in table


def test_a_spec_says_what_it_would_take(daemon: DaemonProcess, tmp_path: Path) -> None:
    """With a spec the memory of its plan is looked at; one that is invalid is refused (78)."""
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    (tmp_path / "deployment.toml").write_text(ENDLESS)
    found = report(daemon, "--spec", str(spec), "--code", "M13", "--code", "N01", "--code", "X03")
    by_code = {check["code"]: check for check in found["checks"]}
    assert by_code["M13"]["state"] == "ok"
    assert by_code["N01"]["state"] == "skipped"
    assert by_code["X03"]["observed"] == "no approval is needed"
    assert "bytes are what the spec would take" in found["notes"][0]
    spec.write_text(SPEC.replace("1024", "1000"))
    assert ask(daemon, "--spec", str(spec))[0] == 78
    assert ask(daemon, "--spec", str(tmp_path / "none.toml"))[0] == 66
    assert ask(daemon, "--deployment", str(tmp_path / "deployment.toml"))[0] == 2


@pytest.mark.parametrize("form", FORMS)
def test_fixes_are_rendered_and_not_executed(daemon: DaemonProcess, form: str) -> None:
    """Each form prints what would be changed; the host is as it was."""
    before = Path("/proc/sys/vm/stat_interval").read_text()
    _, out, _ = ask(daemon, "--profile", "isolated-core", "--emit", form)
    assert Path("/proc/sys/vm/stat_interval").read_text() == before
    if form == "script":
        assert subprocess.run(["sh", "-n"], input=out, text=True, check=False).returncode == 0
    if before.strip() == "1" and form in ("sysctl", "tuned"):
        assert "vm.stat_interval" in out
    assert out.strip()


def test_changes_since_the_last_run_are_told(daemon: DaemonProcess) -> None:
    """The second run of a profile knows when the first was, and lists what differs: nothing."""
    words = ("--profile", "isolated-core", "--group", "K")
    ask(daemon, *words)
    found = report(daemon, *words)
    assert found["last_run_unix_s"] > 0
    assert found["changes"] == []


def test_the_latest_report_is_in_the_metrics(daemon: DaemonProcess) -> None:
    """After a run of all checks the scrape has each check's state and how many are in each."""
    found = report(daemon, "--profile", "low-latency")
    address = daemon.events("daemon.ready")[0]["metrics"]
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    for check in found["checks"]:
        state = check["state"]
        assert f'byteor_doctor_check{{code="{check["code"]}",state="{state}"}} 1' in page
    assert f'byteor_doctor_checks{{state="ok"}} {found["counts"]["ok"]}' in page
    assert "byteor_doctor_run_timestamp_seconds " in page


def test_measuring_prices_and_explains(daemon: DaemonProcess) -> None:
    """`--measure` measures on this host, within seconds: what it says adds up."""
    found = report(daemon, "--profile", "low-latency", "--measure", "--with", "oslat,cyclictest")
    measured = found["measured"]
    assert 1 < measured["clock"]["run_ns"] < 100_000
    assert measured["faults"]["first_ns"] > measured["faults"]["warm_ns"] > 0
    assert measured["fsync"]["p99_us"] >= measured["fsync"]["p50_us"] > 0
    for kind in ("backoff", "park", "timer"):
        assert measured["wake"][kind]["p99_ns"] >= measured["wake"][kind]["p50_ns"] > 0
    assert {each["cpu"] for each in measured["jitter"]} == set(found["cpus"])
    for each in measured["jitter"]:
        assert each["elapsed_ns"] >= 1_000_000_000
        assert sum(count for _, count in each["buckets"]) == each["count"]
    if len(found["cpus"]) > 1:
        assert measured["hand_over"][0]["count"] > 100
    budget = measured["budget"]
    assert budget["p999_ns"] == pytest.approx(sum(budget["parts_ns"].values()))
    assert found["budget"]
    by_code = {check["code"]: check for check in found["checks"]}
    for code in ("Z01", "Z02", "Z03", "Z05", "Z06", "Z08", "D09"):
        assert by_code[code]["state"] != "skipped", code
    for name in ("oslat", "cyclictest"):
        attached = measured["tools"][name]
        missing = shutil.which(name) is None
        assert attached if not missing else "not installed" in attached["error"]


def test_a_probe_keeps_off_the_cpus_of_a_live_run(tmp_path: Path) -> None:
    """On CPUs of a running worker nothing spins: that part is left out, and says for whose sake."""
    (tmp_path / "spec.toml").write_text(SPEC)
    pins = sorted(os.sched_getaffinity(0))[:1]
    tuning = f"[tuning]\npin = {pins}\nfuse = 'always'\n"
    (tmp_path / "deployment.toml").write_text(tuning + ENDLESS)
    with running_daemon() as daemon:
        started = subprocess.run(
            command_of("--address", daemon.address, "run", "--detach", tmp_path / "spec.toml"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert started.returncode == 0, started.stderr
        run = started.stdout.split()[0]
        found = report(daemon, "--profile", "default", "--measure")
        by_code = {check["code"]: check for check in found["checks"]}
        assert f"belong to run {run}" in found["measured"]["left_out"]["jitter"]
        assert by_code["Z02"]["state"] == "skipped"
        assert by_code["C13"]["state"] != "skipped"
        assert by_code["D04"]["observed"].startswith("0 of 1")
        assert by_code["D05"]["state"] == "ok"
        assert by_code["D03"]["state"] == "ok"
        byteorctl("--address", daemon.address, "stop", run)
        until(lambda: not daemon.run_directories(), 10.0, "the run to end")


def test_without_a_daemon_a_private_one_looks(tmp_path: Path) -> None:
    """With none running, the verb answers all the same, and leaves nothing behind."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "BYTEOR_SOCKET": ""}
    if os.path.exists("/run/byteor/byteord.sock"):
        pytest.skip("a daemon of this host listens on the default socket")
    done = byteorctl("doctor", "-o", "json", "--profile", "low-latency", env=env)
    found = json.loads(done.stdout)
    assert len(found["checks"]) == len(CHECKS)
    by_code = {check["code"]: check for check in found["checks"]}
    assert by_code["G08"]["state"] == "skipped"
    assert "private" in by_code["G08"]["reason"]


def test_the_client_knows_the_names() -> None:
    """Profiles and forms that the client offers are those that the daemon has."""
    assert tuple(PROFILES) == verb.PROFILES
    assert FORMS == verb.FORMS
