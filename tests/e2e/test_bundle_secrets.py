"""Secrets planted all over a real host and run: none is in a bundle, in any form it might take."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.e2e.test_auto_bundles import bundles
from tests.e2e.test_cli_bundle import ctl, state
from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon
from tests.support.poll import until
from tests.support.replayed import replay
from tests.support.tree import TOP

PLACES = (
    "variable",
    "argument",
    "adapter",
    "exception",
    "payload",
    "capture",
    "url",
    "secret",
    "keyset",
    "condition",
)
SPEC = """
version = 1
name = "gen"
model = "single_ring"
[[stages]]
name = "work"
stage = "python:leak:Leak"
effects = []
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "file"
path = "TOP/ADAPTER.log"
framing = "lines"
[adapters.out]
kind = "discard"
[actions]
url_prefixes = ["https://host.example/URL/"]
token = "secret:hook"
[capture]
directory = "TOP/CAPTURE"
[bundle]
PAYLOADS
"""
LEAK = """
class Leak:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        for payload in batch:
            if b"stop" in bytes(payload):
                raise ValueError("EXCEPTION " + bytes(payload).decode())
"""


def planted(place: str) -> str:
    """Return the secret of a place: long, and of letters that encodings leave alone."""
    return f"Zq7planted{place}X9w4"


def forms(text: str) -> list[bytes]:
    """Return a secret as it is, and as hex and base64 would carry it."""
    data = text.encode()
    shifted = [base64.b64encode(bytes(pad) + data)[4:-4] for pad in range(3)]
    return [data, data.hex().encode(), *shifted, data[::-1]]


def everything(directory: Path) -> bytes:
    """Return all names and contents of an unpacked bundle, decompressed where they can be."""
    parts: list[bytes] = []
    for path in sorted(directory.rglob("*")):
        parts.append(str(path.relative_to(directory)).encode())
        if path.is_file():
            data = path.read_bytes()
            parts.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return b"\n".join(parts)


def test_nothing_that_was_planted_leaves(tmp_path: Path) -> None:
    """Variables, arguments, options, exceptions, payloads, paths, URLs, keys: in no bundle at all.

    Not in one that the run made, one that was asked for, one without the daemon, nor in what people
    are shown of them.
    """
    top = tmp_path / planted("argument")
    top.mkdir()
    (top / "leak.py").write_text(LEAK.replace("EXCEPTION", planted("exception")))
    lines = [f"line {number} {planted('payload')}" for number in range(500)]
    feed = top / f"{planted('adapter')}.log"
    feed.write_text("\n".join([*lines, f"stop {planted('payload')}"]) + "\n")
    secrets = top / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "hook").write_text(planted("secret"))
    (secrets / "hook").chmod(0o600)
    config = {
        "paths.secrets": str(secrets),
        "allow.url_prefixes": [f"https://host.example/{planted('url')}/"],
        "approvals.key_set": str(tmp_path / planted("keyset")),
    }
    arguments = [f"--{what}-dir={top}" for what in ("code", "read", "write")]
    env = {"TOKEN": planted("variable"), planted("variable"): "x"}
    with running_daemon(config=config, arguments=arguments, env=env) as daemon:
        text = DEPLOYMENT.replace("TOP", str(top)).replace("PAYLOADS", "code = false")
        for place in ("adapter", "url", "capture"):
            text = text.replace(place.upper(), planted(place))
        (top / "spec.toml").write_text(SPEC)
        (top / "deployment.toml").write_text(text)
        done = ctl(daemon, "run", str(top / "spec.toml"), "--detach")
        assert done.returncode == 0, done.stderr
        run = done.stdout.decode().strip()
        (found,) = until(lambda: bundles(daemon, run), 60.0, "a bundle was made")
        auto, asked, offline = (tmp_path / name for name in ("auto", "asked", "offline"))
        ctl(daemon, "bundle", "get", found["bundle_id"], "--out", str(auto))
        ctl(daemon, "incident-bundle", run, "--out", str(asked))
        shown = byteorctl(
            "incident-bundle", run, "--offline", "--config", daemon.config, "--out", offline
        )
        assert shown.returncode == 0, shown.stderr
        key = (daemon.directory / "state" / "audit" / "host.key").read_bytes()
    words = [planted(place) for place in PLACES]
    key_lines = [line for line in key.splitlines() if b"-----" not in line and line]
    for directory in (auto, asked, offline):
        assert "payload" in str(json.loads((directory / "manifest.json").read_bytes())["left_out"])
        told = byteorctl("bundle", "inspect", directory).stdout
        for content in (everything(directory), told):
            for word in words:
                at = max(content.find(form) for form in forms(word))
                assert at < 0, (directory.name, word, content[max(0, at - 200) : at + 60])
            assert not any(line in content for line in key_lines), directory.name
            assert os.fsencode(top.name) not in content
    assert b"work" in everything(auto)


def test_a_password_in_a_url_never_gets_so_far(tmp_path: Path) -> None:
    """A URL with a password is refused before there is a run to make a bundle of."""
    with running_daemon() as daemon:
        (tmp_path / "spec.toml").write_text(
            SPEC.replace(
                "python:leak:Leak", f"http_post:https://me:{planted('url')}@host.example/x"
            )
        )
        done = ctl(daemon, "validate", str(tmp_path / "spec.toml"), "-o", "json")
        told = ctl(daemon, "validate", str(tmp_path / "spec.toml"))
        ends = ("--input", "/dev/null", "--output", str(tmp_path / "out"))
        refused = ctl(daemon, "run", str(tmp_path / "spec.toml"), *ends)
    assert "SECRET_IN_URL" in {each["code"] for each in json.loads(done.stdout)["findings"]}
    for each in (done, told, refused):
        said = (each.stdout + each.stderr).decode()
        assert each.returncode == 78
        assert "https://***@host.example/x" in said
        assert planted("url") not in said


@pytest.mark.parametrize("ruled_by", ["stage", "deployment"])
def test_a_field_under_a_rule_never_leaves(tmp_path: Path, ruled_by: str) -> None:
    """Captured messages leave through the rules; those that fit no schema are empty; counts say so.

    The slice replays, and its verdict says why it cannot be compared.
    """
    example = TOP / "deploy" / "examples" / "redact"
    spec, rules = (example / "spec.toml").read_text(), ""
    if ruled_by == "deployment":
        spec = spec.replace('"dataguard_fused"', '"identity"').partition("[stages.config]")[0]
        spec += '[[endpoints]]\nname = "events"\nkind = "ingress"\n'
        spec += '[[endpoints]]\nname = "clean"\nkind = "egress"\n'
        rules = '[bundle.redact]\nrules = ["user:mask=1:0:*", "password:drop"]\n'
    (tmp_path / "spec.toml").write_text(spec)
    (tmp_path / "schemas.toml").write_text((example / "schemas.toml").read_text())
    event = {"type": "login", "version": 2, "user": planted("payload"), "password": planted("url")}
    strange = {**event, "strange": planted("adapter")}
    lines = [json.dumps(event)] * 300 + [json.dumps(strange), planted("capture")]
    (tmp_path / "events").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "deployment.toml").write_text(
        f"""
version = 1
environment = "dev"
[adapters.events]
kind = "file"
path = "{tmp_path}/events"
framing = "lines"
[adapters.clean]
kind = "discard"
[dataguard]
schemas = ["{tmp_path}/schemas.toml"]
[capture]
directory = "{tmp_path}/captures"
outputs = "messages"
[bundle]
payload = true
{rules}
"""
    )
    with running_daemon(arguments=[f"--{what}-dir={tmp_path}" for what in ("read", "write")]) as d:
        done = ctl(d, "run", str(tmp_path / "spec.toml"), "--detach")
        assert done.returncode == 0, done.stderr
        run = done.stdout.decode().strip()
        until(lambda: state(d, run) == "completed", 30.0, "the run completed")
        out = tmp_path / "bundle"
        assert ctl(d, "incident-bundle", run, "--out", str(out)).returncode == 0
        given = () if ruled_by == "deployment" else ("--deployment", tmp_path / "deployment.toml")
        _, result, said = replay(d.address, out, *given)
    content = everything(out)
    for word in (planted("payload"), planted("url"), planted("adapter"), planted("capture")):
        assert not any(form in content for form in forms(word)), word
    digests = [hashlib.sha256(line.encode()).hexdigest() for line in lines]
    assert not any(digest.encode() in content for digest in digests)
    manifest = json.loads((out / "manifest.json").read_bytes())
    out_messages = 302 if ruled_by == "deployment" else 300
    redacted = manifest["redacted"]
    assert redacted["messages"] == 302 + out_messages
    assert redacted["withheld"] == 2 + out_messages - 300
    assert len(redacted["rules_sha256"]) == 64
    assert b'"user":"Z***' in content
    assert json.loads((out / "capture" / "out" / "clean.json").read_bytes())["count"] > 0
    assert "redacted" in {each["code"] for each in result["reasons"]}, (said, result)
