"""A host that is governed: its daemon, who may approve, and byteorctl as people use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess


class GovernedHost:
    """A daemon that trusts the keys of alice and bob; documents lie in `top`."""

    def __init__(
        self,
        top: Path,
        *,
        spec: str,
        deployment: str,
        environment: str = "prod",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Make keys and documents, and start the daemon."""
        self.top, self.config = top, dict(config or {})
        self.key_set = top / "key_set.json"
        for name in ("alice", "bob"):
            self.ok("approve", "keygen", "--out", top / f"{name}.key")
            self.ok(
                "approve", "keyset", self.key_set, "--add", top / f"{name}.key.pub",
                "--owner", name, "--principal", f"cert:{name}",
            )  # fmt: skip
        self.key_set.chmod(0o644)
        self.spec, self.deployment = top / "spec.toml", top / "deployment.toml"
        self.spec.write_text(spec)
        self.deployment.write_text(deployment)
        self.daemon = self.start(environment)

    def start(self, environment: str) -> DaemonProcess:
        """Start a daemon that trusts the key set."""
        config = {
            "environment": environment,
            "approvals.key_set": str(self.key_set),
            "approvals.host": "host-1",
            **self.config,
        }
        daemon = DaemonProcess(config=config)
        try:
            return daemon.start()
        except BaseException:
            daemon.close()
            raise

    def call(self, *arguments: str | Path, daemon: DaemonProcess | None = None) -> Any:
        """Run byteorctl against a daemon."""
        address = (daemon or self.daemon).address
        return byteorctl(*arguments, "--address", address)

    def ok(self, *arguments: str | Path) -> str:
        """Run byteorctl, which must succeed; no daemon is meant."""
        done = byteorctl(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout.decode())

    def request(self, *options: str) -> None:
        """Ask for an approval with the daemon's hashes."""
        done = self.call("approve", "request", self.spec, "--out", self.top / "request", *options)
        assert done.returncode == 0, done.stderr

    def sign(self, *names: str) -> Path:
        """Sign the request, one after the other; return the credential."""
        path = self.top / "approval.cred"
        path.unlink(missing_ok=True)
        source = self.top / "request"
        for name in names:
            self.ok("approve", "sign", source, "--key", self.top / f"{name}.key", "--out", path)
            source = path
        return path

    def run(self, *options: str | Path, daemon: DaemonProcess | None = None) -> Any:
        """Start the run and leave it."""
        return self.call("run", self.spec, "--detach", *options, daemon=daemon)

    def started(self, *options: str | Path) -> str:
        """Start the run, which must succeed; return its id."""
        done = self.run(*options)
        assert done.returncode == 0, done.stderr
        return str(done.stdout.decode().strip())

    def refused(self, reason: str, *options: str | Path, daemon: Any = None) -> str:
        """Expect that a run is refused for a reason: exit 77, and in the audit log."""
        done = self.run(*options, daemon=daemon)
        said = str(done.stderr.decode())
        assert done.returncode == 77, said
        last = self.audit("--kind", "denied", daemon=daemon)[-1]
        assert (last["reason"], last["principal"]) == (reason, "uid:0")
        assert last["spec_hash"].startswith("sha256:")
        assert last["request_id"]
        return said

    def audit(self, *options: str, daemon: Any = None) -> list[dict[str, Any]]:
        """Return the records of the audit log."""
        shown = self.call("audit", "show", "--last", "0", "-o", "jsonl", *options, daemon=daemon)
        assert shown.returncode == 0, shown.stderr
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def status(self, run: str) -> dict[str, Any]:
        """Return what status says about a run."""
        found: dict[str, Any] = json.loads(self.call("status", run, "-o", "json").stdout)
        return found

    def effects(self, run: str) -> Any:
        """Return what status says about a run's effects."""
        return self.status(run)["effects"]

    def expired(self) -> Path:
        """Return an approval whose time is over."""
        from tests.support.poll import until

        self.request("--uses", "1", "--valid-for", "1s")
        path = self.sign("alice", "bob")

        def over() -> bool:
            shown = byteorctl("approve", "verify", path, "--keys", self.key_set, "--signers", "2")
            return b"APPROVAL_EXPIRED" in shown.stderr

        until(over, 20.0, "the end of the approval")
        return path

    def close(self) -> None:
        """End everything."""
        self.daemon.close()
