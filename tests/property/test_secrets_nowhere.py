"""Secrets planted all over a real host, its runs and their messages: nothing that is shown has one.

Where: variables and arguments of the daemon, secret files and key material, configuration of users'
stages, arguments of programs, URLs, fields under a rule, messages that fit no schema, words of an
exception. Shown: bundles in each form, taps, status, errors, replays with differences and steps,
the audit log, the daemon's log.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.test_auto_bundles import bundles
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.planted import archive_of, files_of, leaks
from tests.support.poll import until

BUNDLES = re.compile(r"(live|auto|open)[-/]")
SPEC = """
version = 1
name = "planted"
model = "single_ring"
[ring]
slot_bytes = 1024
[[stages]]
name = "mine"
stage = "python:planted:Mine"
mutates = "all"
resizes = true
drops = true
deterministic = true
effects = []
[stages.config]
plain = {plain}
more = {more}
inside = {inside}
mode = "{mode}"
nested = [{{ deep = {{ token = {nested} }} }}]
{guard}
[[stages]]
name = "call"
stage = {exec}
depends_on = [{last}]
[[stages]]
name = "post"
stage = {post}
depends_on = [{after}]
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
GUARD = """
[[stages]]
name = "guard"
stage = "dataguard_redact"
depends_on = [0]
[stages.config]
on_reject = "drop"
rules = ["password:drop", "user:hash"]
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "file"
path = "{top}/feed"
framing = "lines"
follow = {follow}
[adapters.out]
kind = "discard"
[effects]
dry_run = true
[actions]
token = "secret:hook"
[dataguard]
schemas = ["{top}/schemas.toml"]
hash_key = "secret:hash"
[capture]
directory = "{top}/captures"
outputs = "messages"
[bundle]
payload = true
{bundle}
"""
SCHEMAS = """
[[schemas]]
id = "event"
version = 1
fields = [
  { name = "user", type = "string", required = true },
  { name = "password", type = "string", required = true },
  { name = "note", type = "string" },
]
"""
CODE = """
import os

class Mine:
    def __init__(self, ctx, plain="", inside="", nested=None, mode="", **rest):
        self.mode = mode
        self.said = [plain, inside, str(rest), os.environ.get("PLANTED_TOKEN", "")]

    def process(self, batch):
        for index, payload in enumerate(batch):
            data = bytes(payload)
            if b"stop" in data and self.mode == "raises":
                raise ValueError(f"cannot do {data!r} with {self.said}")
            if self.mode == "changes":
                batch.replace(index, data.replace(b"noted", b"NOTED"))
"""
FIXED = {
    "environment": "Zq7environment/X9w4+k",
    "argument": "Zq7argumentX9w4k",
    "secret file": "Zq7secretfile==X9w4k",
    "hash key": "Zq7hashkey X9w4k",
    "program argument": "Zq7program+argument%X9w4k",
}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-"


def texts(letters: str, count: int) -> st.SearchStrategy[list[str]]:
    """Return so many texts of these letters, none of them plain."""
    text = st.text(letters, min_size=10, max_size=16).filter(lambda each: len(set(each)) > 4)
    return st.lists(text, min_size=count, max_size=count)


FREE, SAFE = texts(f"{LETTERS}+/=\"'\\ é%&", 3), texts(f"{LETTERS}.~%=+", 1)
DRAWN = {
    "plain value": FREE,
    "inner value": FREE,
    "nested value": FREE,
    "url path": SAFE,
    "url query": SAFE,
    "field under a rule": FREE,
    "hashed field": FREE,
    "message of no schema": FREE,
    "field of no schema": FREE,
}


class Host:
    """A daemon with what was planted before it began, and all that was seen of it."""

    def __init__(self, daemon: DaemonProcess, top: Path, key_lines: list[str]) -> None:
        """See nothing yet."""
        self.daemon, self.top, self.key_lines = daemon, top, key_lines
        self.seen: dict[str, bytes] = {}

    def __repr__(self) -> str:
        """Leave out what was seen: it is much."""
        return "Host()"

    def ctl(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run byteorctl, and keep what it says under a name."""
        done = byteorctl("--address", self.daemon.address, *arguments)
        self.seen[f"{name} (stdout)"], self.seen[f"{name} (stderr)"] = done.stdout, done.stderr
        return done


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Provide the daemon."""
    top = tmp_path_factory.mktemp("planted")
    (top / FIXED["argument"]).mkdir()
    (top / "planted.py").write_text(CODE)
    (top / "schemas.toml").write_text(SCHEMAS)
    secrets = tmp_path_factory.mktemp("kept")
    secrets.chmod(0o700)
    for name, kind in (("hook", "secret file"), ("hash", "hash key")):
        (secrets / name).write_text(FIXED[kind])
        (secrets / name).chmod(0o600)
    config = {
        "paths.secrets": str(secrets),
        "allow.url_prefixes": ["https://host.example/"],
        "allow.exec": [f"/bin/true|--token={FIXED['program argument']}"],
        "allow.code_dirs": [str(top)],
        "allow.read_dirs": [str(top)],
        "allow.write_dirs": [str(top)],
    }
    env = {"PLANTED_TOKEN": FIXED["environment"]}
    arguments = [f"--read-dir={top}/{FIXED['argument']}"]
    with running_daemon(config=config, arguments=arguments, env=env) as daemon:
        key = (daemon.directory / "state" / "audit" / "host.key").read_text()
        yield Host(daemon, top, [line for line in key.splitlines() if line and "-----" not in line])


@dataclass(frozen=True)
class Wanted:
    """One pipeline to be planted in."""

    secrets: dict[str, list[str]]
    mode: str = ""
    guarded: bool = True
    follow: bool = False
    bundle: str = ""

    def write(self, top: Path) -> tuple[Path, Path]:
        """Write spec and deployment, and the feed; return the first two."""
        given = self.secrets
        url = f"https://host.example/{given['url path'][0]}?key={given['url query'][0]}"
        spec = SPEC.format(
            plain=json.dumps(given["plain value"][0]),
            more=json.dumps(given["plain value"]),
            inside=json.dumps([f"before {each} after" for each in given["inner value"]]),
            nested=json.dumps(given["nested value"]),
            mode=self.mode,
            guard=GUARD if self.guarded else "",
            exec=json.dumps(f"exec:/bin/true|--token={FIXED['program argument']}"),
            post=json.dumps(f"http_post:{url}"),
            last=int(self.guarded),
            after=int(self.guarded) + 1,
        )
        deployment = DEPLOYMENT.format(top=top, follow=str(self.follow).lower(), bundle=self.bundle)
        (top / "spec.toml").write_text(spec)
        (top / "deployment.toml").write_text(deployment)
        (top / "feed").write_bytes(b"" if self.follow else b"".join(self.lines()))
        return top / "spec.toml", top / "deployment.toml"

    def lines(self) -> Iterator[bytes]:
        """Yield messages; the last one is what a stage stops at."""
        notes = ("noted", "more", "strange", "noted", "stop")
        for note, place in zip(notes, (0, 1, 2, 0, 1), strict=True):
            given = {kind: values[place % len(values)] for kind, values in self.secrets.items()}
            event = {
                "type": "event",
                "version": 1,
                "user": given["hashed field"],
                "password": given["field under a rule"],
                "note": note,
            }
            if note == "strange":
                event["strange"] = given["field of no schema"]
                yield json.dumps(given["message of no schema"]).encode() + b"\n"
            yield json.dumps(event).encode() + b"\n"


def started(host: Host, wanted: Wanted) -> str:
    """Start a run; return its id."""
    spec, _ = wanted.write(host.top)
    done = host.ctl("run --detach", "run", spec, "--detach")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def ended(host: Host, run: str) -> bool:
    """Tell whether a run has ended; all that its status says is kept."""
    done = host.ctl(f"status of {run}", "status", run, "-o", "json")
    return json.loads(done.stdout)["state"] in ("completed", "failed", "stopped")


def taken(host: Host, run: str, name: str) -> Path:
    """Take a bundle; keep it as it is, unpacked, and what people are told of it."""
    archive = host.top / f"{name}-{run}.tar.gz"
    done = host.ctl(f"incident-bundle {name}", "incident-bundle", run, "--out", archive)
    assert done.returncode == 0, done.stderr
    host.ctl(f"inspect {name}", "bundle", "inspect", archive)
    host.seen |= archive_of(archive)
    return archive


def look_on(host: Host, wanted: Wanted) -> str:
    """Run live: tapped, looked at, taken a bundle of, stopped; return its id."""
    run = started(host, wanted)
    command = [sys.executable, "-m", "byteorctl", "--address", host.daemon.address, "tap", run]
    tap = subprocess.Popen(
        [*command, "ring-0", "--limit", "3", "-o", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    feed = host.top / "feed"

    def fed() -> bool:
        with feed.open("ab") as file:
            file.writelines(wanted.lines())
        return tap.poll() is not None

    until(fed, 60.0, "the tap has seen messages")
    host.seen["tap (stdout)"], host.seen["tap (stderr)"] = tap.communicate()
    assert host.seen["tap (stdout)"].count(b"\n") == 3
    ended(host, run)
    host.ctl("status for people", "status", run)
    host.ctl("list", "list", "-o", "json")
    host.ctl("snapshot", "snapshot", run)
    taken(host, run, "live")
    host.ctl("stop", "stop", run)
    until(lambda: ended(host, run), 30.0, "the run has ended")
    return run


def fail(host: Host, wanted: Wanted) -> str:
    """Run into an exception that quotes everything, and wait for the bundle that appears."""
    spec, _ = wanted.write(host.top)
    done = host.ctl("attached run", "run", spec)
    assert done.returncode == 1, done.stderr
    listed = json.loads(host.ctl("list", "list", "--all", "-o", "json").stdout)["runs"]
    run = max(str(each["id"]) for each in listed if each["state"] == "failed")
    assert ended(host, run)
    (found,) = until(lambda: bundles(host.daemon, run), 60.0, "a bundle was made")
    out = host.top / f"auto-{run}"
    host.ctl("bundle get", "bundle", "get", found["bundle_id"], "--out", out)
    host.seen |= files_of(out, "auto")
    return run


def replay_all(host: Host, wanted: Wanted, live: str, failed: str) -> list[dict[str, Any]]:
    """Replay runs and bundles, into differences, failures and steps; return what it came to."""
    changed = Wanted(wanted.secrets, mode="changes", guarded=wanted.guarded)
    spec, deployment = changed.write(host.top)
    archive = host.top / f"live-{live}.tar.gz"
    results = []
    for name, arguments in (
        ("difference", (live, "--spec", spec)),
        ("step", (live, "--step", "1")),
        ("failure", (failed,)),
        ("step of the failed", (failed, "--step", "5")),
        ("step of no message", (live, "--step", "2")),
        ("withheld", (archive,)),
        ("bundle", (archive, "--spec", spec, "--deployment", deployment)),
        ("output", (live, "--output", host.top / "output")),
    ):
        done = host.ctl(f"replay: {name}", "-o", "json", "replay", *arguments)
        results.append(json.loads(done.stdout) if done.stdout.strip() else {})
    host.ctl("difference for people", "replay", live, "--spec", spec)
    return results


def told(host: Host) -> None:
    """Keep what the daemon wrote down: audit log, audits of replays, its own log."""
    host.ctl("audit", "audit", "log", "-o", "jsonl")
    state = host.daemon.directory / "state"
    host.seen |= files_of(state / "audit", "state/audit") | files_of(
        state / "replays", "state/replays"
    )
    for name in [name for name in host.seen if name.endswith("host.key")]:
        del host.seen[name]
    host.seen["log"] = host.daemon.stderr.encode() + host.daemon.stdout.encode()


def planted_in(drawn: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return secrets that no other text has by chance: each says in its middle where it stands."""
    return {
        kind: [f"Zq7{text[:5]}k{number}Jv{place}{text[5:]}9w4" for place, text in enumerate(values)]
        for number, (kind, values) in enumerate(drawn.items())
    }


def each_of(secrets: dict[str, list[str]]) -> dict[str, str]:
    """Return secrets one by one, each with a name of its own."""
    return {
        f"{kind} {n}": each for kind, values in secrets.items() for n, each in enumerate(values)
    }


@pytest.mark.timeout(300)
@settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(drawn=st.fixed_dictionaries(DRAWN))
def test_a_planted_secret_is_nowhere(host: Host, drawn: dict[str, list[str]]) -> None:
    """Of a run under data protection rules: no secret, in no form, in nothing that is shown.

    What is done takes seconds, so that several values are planted at once instead of one by one.
    """
    host.seen.clear()
    secrets = planted_in(drawn)
    wanted = Wanted(secrets, follow=True)
    live = look_on(host, wanted)
    failed = fail(host, Wanted(secrets, mode="raises"))
    results = replay_all(host, wanted, live, failed)
    told(host)
    assert results[0]["divergence"]["stage"], results[0]
    assert results[1]["steps"], results[1]
    assert found_on(host, each_of(secrets))[:20] == []


def found_on(host: Host, secrets: dict[str, str]) -> list[str]:
    """Return every secret that stands in what was seen of a host.

    People of the host see the path of a URL: where effects go is theirs to know.
    """
    keys = {f"key {n}": line for n, line in enumerate(host.key_lines)}
    left = {name: data for name, data in host.seen.items() if BUNDLES.match(name)}
    path = {"url path 0": secrets["url path 0"]}
    inside = {kind: secret for kind, secret in secrets.items() if kind not in path}
    return leaks(host.seen, {**FIXED, **inside, **keys}) + leaks(left, path)


def test_the_search_finds_what_does_leave(host: Host) -> None:
    """Where a deployment lets everything leave, the same search finds it, packed as it is.

    In `dev` and without rules the words of an exception are told, but for values of the spec and
    of the environment.
    """
    host.seen.clear()
    drawn = planted_in({kind: ["0123456789"] for kind in DRAWN})
    secrets = {kind: values[0] for kind, values in drawn.items()}
    everything = Wanted(drawn, mode="raises", guarded=False, bundle='config = ["*"]')
    run = fail(host, everything)
    taken(host, run, "open")
    archive = f"open-{run}.tar.gz"
    kinds = ("plain value", "inner value", "nested value", "url path", "url query", "hashed field")
    for kind in kinds:
        found = leaks(host.seen, {kind: secrets[kind]})
        assert any(f" in {archive} unpacked: " in each for each in found), kind
        assert any(f" in {archive}/" in each for each in found), kind
    shown = {name: host.seen[name] for name in host.seen if name.startswith(("status", "attached"))}
    assert leaks(shown, {"payload": secrets["field under a rule"]})
    free = {kind: secrets[kind] for kind in ("plain value", "inner value", "nested value")}
    assert leaks(shown, {**free, "environment": FIXED["environment"]}) == []


@pytest.mark.parametrize("secret", [*FIXED.values(), 'Zq7 "quoted\\" é%+/=&X9w4'])
def test_the_search_finds_every_form(secret: str) -> None:
    """As it is, in JSON, in hex, in base64 at any place, percent-encoded, within more."""
    data = secret.encode()
    for made in (
        data,
        json.dumps({"a": [f"x{secret}y"]}).encode(),
        repr([secret]).encode(),
        (b"ab" + data).hex().encode(),
        *(base64.b64encode(bytes(pad) + data + b"tail") for pad in range(3)),
        urllib.parse.urlencode({"q": f"1{secret}"}).encode(),
        secret[2:].encode(),
    ):
        assert leaks({"it": b"before " + made + b" after"}, {"secret": secret}), made
    assert leaks({"it": b"another text" * 100}, {"secret": secret}) == []
