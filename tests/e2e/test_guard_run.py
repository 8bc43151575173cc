"""Data protection in a real run: schemas and key of the deployment, the report, no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from byteord.deployment.plan import RunPlan
from tests.support.guard import KEY, REGISTRY, RULES, redact_plainly
from tests.support.run import make_test_plan, run_to_end, running, spec_text

STAGE = (
    '[[stages]]\nname = "guard"\nstage = "dataguard_fused"\n[stages.config]\n'
    f'on_reject = "drop"\nrules = {json.dumps(RULES)}\n'
)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Provide a directory of secrets with the key of hashes."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    (directory / "guard").write_bytes(KEY + b"\n")
    (directory / "guard").chmod(0o400)
    return directory


def _plan(tmp_path: Path, secrets: Path, lines: list[bytes]) -> RunPlan:
    (tmp_path / "registry.toml").write_bytes(REGISTRY)
    (tmp_path / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    deployment = (
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.jsonl"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.jsonl"\nmode = "truncate"\n'
        f'[dataguard]\nschemas = ["{tmp_path}/registry.toml"]\nhash_key = "secret:guard"\n'
    )
    return make_test_plan(
        spec_text(STAGE), deployment, directories=(str(tmp_path),), secrets_dir=str(secrets)
    )


def test_a_run_redacts_reports_and_keeps_its_secret(tmp_path: Path, secrets: Path) -> None:
    """Every message comes out redacted, the report adds up, no file of the run has the key."""
    messages = [
        {"type": "login", "version": 3, "user": f"u{n}", "ip": "10.0.0.123", "port": n}
        for n in range(300)
    ]
    lines = [json.dumps(message).encode() for message in messages]
    plan = _plan(tmp_path, secrets, [*lines, b"no message"])
    with running(plan) as run:
        run.until_state("completed", "failed")
        role = run.role("guard")
        files = [path.read_bytes() for path in Path(run.directory).rglob("*") if path.is_file()]
    wanted = [redact_plainly(message, RULES) for message in messages]
    assert (tmp_path / "out.jsonl").read_bytes().splitlines() == wanted
    assert role["report"]["accepted"] == role["report"]["redacted.user.hash"] == 300
    assert (role["report"]["decode_errors"], role["report"]["dropped"]) == (1, 1)
    assert all(KEY not in content and KEY.hex().encode() not in content for content in files)


@pytest.mark.parametrize(("mode", "words"), [(0o604, "no access for others"), (0, "put it there")])
def test_a_secret_that_cannot_be_trusted_stops_the_start(
    tmp_path: Path, secrets: Path, mode: int, words: str
) -> None:
    """A missing secret, or one that others may read, is named without its content."""
    if mode:
        (secrets / "guard").chmod(mode)
    else:
        os.unlink(secrets / "guard")
    status, _ = run_to_end(_plan(tmp_path, secrets, [b"{}"]))
    assert status["state"] == "failed"
    assert words in status["failure"]["message"]
    assert "secret guard" in status["failure"]["message"]


def test_the_deployment_hash_covers_the_schema_files(tmp_path: Path, secrets: Path) -> None:
    """Another content of a schema file is another deployment; the plan has what was read."""
    first = _plan(tmp_path, secrets, [b"{}"])
    (tmp_path / "registry.toml").write_bytes(REGISTRY + b"# a word\n")
    text = (tmp_path / "registry.toml").read_text()
    assert first.schemas == (REGISTRY.decode(),)
    (tmp_path / "in.jsonl").write_bytes(b"")
    second = make_test_plan(
        spec_text(STAGE),
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.jsonl"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.jsonl"\nmode = "truncate"\n'
        f'[dataguard]\nschemas = ["{tmp_path}/registry.toml"]\nhash_key = "secret:guard"\n',
        directories=(str(tmp_path),),
        secrets_dir=str(secrets),
    )
    assert second.schemas == (text,)
    assert first.deployment_sha256 != second.deployment_sha256
