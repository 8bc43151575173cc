"""Remote callers: mutual TLS 1.3, certificates as principals, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from byteord.deployment.model import Access
from byteord.errors import DeniedError, UnauthenticatedError
from byteord.rpc.door import LocalDoor
from byteord.rpc.identity import Grants, Identity, Role
from byteord.rpc.remote import principal_of
from tests.support.cli import byteorctl, command_of
from tests.support.daemon import DaemonProcess
from tests.support.poll import until

PEM = serialization.Encoding.PEM


@dataclass
class Authority:
    """An authority that signs certificates into a directory."""

    directory: Path
    name: str

    def __post_init__(self) -> None:
        """Make its own."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = _name(self.name)
        self.certificate = self._sign(self.subject, self.key, [], days=1, ca=True)
        self.path = self.directory / f"{self.name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(PEM))

    def issue(
        self, file: str, *, name: str = "", uri: str = "", ip: str = "", days: float = 1,
        into: Path | None = None,
    ) -> tuple[Path, Path]:  # fmt: skip
        """Write a certificate and its key; return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)] if uri else []
        names += [x509.IPAddress(ipaddress.ip_address(ip))] if ip else []
        made = self._sign(_name(name), key, names, days=days, ca=False)
        top = into or self.directory
        paths = top / f"{file}.crt", top / f"{file}.key"
        for path in paths:
            path.unlink(missing_ok=True)
        paths[1].touch(0o600)
        paths[1].write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        paths[0].write_bytes(made.public_bytes(PEM))
        return paths

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName],
        *, days: float, ca: bool,
    ) -> x509.Certificate:  # fmt: skip
        end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - dt.timedelta(days=30))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


class Site:
    """A daemon with a remote door, its authority, and people with certificates."""

    def __init__(self, top: Path) -> None:
        """Make everything and start the daemon."""
        self.top = top
        self.ca = Authority(top, "ca")
        self.server = self.ca.issue("server", name="daemon", ip="127.0.0.1")
        self.port = _free_port()
        self.config: dict[str, Any] = {
            "listen.tcp": f"127.0.0.1:{self.port}",
            "tls.certificate": str(self.server[0]),
            "tls.key": str(self.server[1]),
            "tls.client_ca": str(self.ca.path),
            "access.viewers": ["cert:watcher"],
            "access.operators": ["cert:spiffe://desk/ops/*"],
        }
        self.daemon = DaemonProcess(config=self.config).start()

    def call(self, *arguments: str | Path, cert: tuple[Path, Path], ca: Path | None = None) -> Any:
        """Run byteorctl with a certificate."""
        return byteorctl(*arguments, *self.options(cert, ca))

    def options(self, cert: tuple[Path, Path], ca: Path | None = None) -> list[str]:
        """Return the options that lead to the daemon."""
        return [
            "--address", f"tls:127.0.0.1:{self.port}", "--tls-ca", str(ca or self.ca.path),
            "--tls-cert", str(cert[0]), "--tls-key", str(cert[1]),
        ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Provide the site for this module."""
    made = Site(tmp_path_factory.mktemp("site"))
    try:
        yield made
    finally:
        made.daemon.close()


SPEC = (
    'version = 1\nname = "far"\nmodel = "single_ring"\n[[stages]]\nname = "same"\n'
    'stage = "identity"\n[[endpoints]]\nname = "in"\nkind = "ingress"\n'
    '[[endpoints]]\nname = "out"\nkind = "egress"\n'
)
DEPLOYMENT = (
    'version = 1\n[adapters.in]\nkind = "generator"\nrate = 100\n[adapters.out]\nkind = "discard"\n'
)


def test_a_certificate_is_a_principal_with_its_roles(site: Site) -> None:
    """An operator far away starts and stops a run under its own name; a viewer only looks."""
    (site.top / "spec.toml").write_text(SPEC)
    (site.top / "deployment.toml").write_text(DEPLOYMENT)
    jane = site.ca.issue("jane", name="whoever", uri="spiffe://desk/ops/jane")
    watcher = site.ca.issue("watcher", name="watcher")
    started = site.call("run", site.top / "spec.toml", "--detach", cert=jane)
    assert started.returncode == 0, started.stderr
    run = started.stdout.decode().strip()
    shown = json.loads(site.call("status", run, "-o", "json", cert=watcher).stdout)
    assert shown["principal"] == "cert:spiffe://desk/ops/jane"
    denied = site.call("stop", run, cert=watcher)
    assert denied.returncode == 77
    assert b"cert:watcher has viewer" in denied.stderr
    assert site.call("stop", run, "--abort", cert=jane).returncode == 0
    asked = site.call(
        "approve", "request", site.top / "spec.toml", "--capability", "http_post",
        "--out", site.top / "request", "-o", "json", cert=jane,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["requested_by"] == "cert:spiffe://desk/ops/jane"


def test_who_has_no_role_may_nothing(site: Site) -> None:
    """A good certificate is not enough, and each refusal is in the audit log."""
    stranger = site.ca.issue("stranger", uri="spiffe://desk/ops/deeper/jane")
    done = site.call("list", cert=stranger)
    assert done.returncode == 77, done.stderr
    local = byteorctl(
        "audit", "show", "--kind", "denied", "-o", "jsonl", "--address", site.daemon.address
    )
    last = json.loads(local.stdout.splitlines()[-1])
    assert (last["principal"], last["method"]) == ("cert:spiffe://desk/ops/deeper/jane", "ListRuns")
    assert last["address"].startswith("127.0.0.1:")


@pytest.mark.parametrize("fault", ["authority", "expired", "nameless", "none"])
def test_a_certificate_that_does_not_hold_gets_nowhere(site: Site, fault: str) -> None:
    """Of another authority, expired, without a name, or none at all: the connection ends."""
    other = Authority(site.top, "other")
    certificates = {
        "authority": lambda: other.issue("a", uri="spiffe://desk/ops/jane"),
        "expired": lambda: site.ca.issue("b", uri="spiffe://desk/ops/jane", days=-1),
        "nameless": lambda: site.ca.issue("c"),
    }
    if fault != "none":
        done = site.call("list", cert=certificates[fault]())
        assert done.returncode == 69, done.stderr
        return
    context = ssl.create_default_context(cafile=str(site.ca.path))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _talk(site.port, context)


def test_a_client_does_not_talk_to_another_server(site: Site) -> None:
    """Whose certificate comes from an authority that it does not trust."""
    jane = site.ca.issue("jane", uri="spiffe://desk/ops/jane")
    other = Authority(site.top, "other")
    assert site.call("list", cert=jane, ca=other.path).returncode == 69


def test_nothing_older_than_tls_1_3_is_spoken(site: Site) -> None:
    """And what is no TLS at all is no conversation."""
    jane = site.ca.issue("jane", uri="spiffe://desk/ops/jane")
    context = ssl.create_default_context(cafile=str(site.ca.path))
    context.load_cert_chain(*jane)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _talk(site.port, context)
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    assert _talk(site.port, context) == "TLSv1.3"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(4096)


def _talk(port: int, context: ssl.SSLContext) -> str | None:
    """Connect, and read until the server has said whether it takes us."""
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        if not secured.recv(4096):
            raise ConnectionError("closed")
        return secured.version()


def test_files_that_change_are_read_again(site: Site) -> None:
    """A new certificate of the server and a new authority count without a restart."""
    fresh = Authority(site.top, "fresh")
    jane = fresh.issue("jane2", uri="spiffe://desk/ops/jane")
    assert site.call("list", cert=jane).returncode == 69
    bundle = site.ca.path.read_bytes() + fresh.path.read_bytes()
    kept = site.ca.path.read_bytes()
    try:
        site.ca.path.write_bytes(bundle)
        until(lambda: site.call("list", cert=jane).returncode == 0, 30.0, "the new authority")
        site.server[1].write_bytes(b"no key")
        until(lambda: site.daemon.events("tls.unusable"), 30.0, "a file that cannot be used")
        assert site.call("list", cert=jane).returncode == 0
    finally:
        site.ca.path.write_bytes(kept)
        site.ca.issue("server", name="daemon", ip="127.0.0.1")
    old = site.ca.issue("jane", uri="spiffe://desk/ops/jane")
    until(lambda: site.call("list", cert=jane).returncode == 69, 30.0, "the authority to go")
    assert site.call("list", cert=old).returncode == 0


def test_a_watch_ends_when_the_grant_of_its_caller_goes(site: Site) -> None:
    """Roles are read from the configuration again; an open stream of who has none any more ends."""
    jane = site.ca.issue("jane", uri="spiffe://desk/ops/jane")
    (site.top / "spec.toml").write_text(SPEC)
    (site.top / "deployment.toml").write_text(DEPLOYMENT)
    started = site.call("run", site.top / "spec.toml", "--detach", cert=jane)
    assert started.returncode == 0, started.stderr
    before = site.daemon.config.read_text()
    command = command_of("watch", "-o", "json", *site.options(jane))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["kind"] == "snapshot"
        site.daemon.config.write_text(before.replace("spiffe://desk/ops/*", "spiffe://desk/none"))
        assert watching.wait(30) == 77
        assert watching.stderr is not None
        assert b"has no role" in watching.stderr.read()
    assert site.call("list", cert=jane).returncode == 77
    site.daemon.config.write_text("not toml [")
    until(lambda: site.daemon.events("access.unusable"), 30.0, "told")
    site.daemon.config.write_text(before)
    until(lambda: site.call("list", cert=jane).returncode == 0, 30.0, "the role to come back")
    run = started.stdout.decode().strip()
    assert site.call("stop", run, "--abort", cert=jane).returncode == 0


def test_a_certificate_that_ends_ends_its_connection() -> None:
    """Also one that was good when it connected."""
    door = LocalDoor(Grants(Access(viewers=("cert:bob",)), owner_uid=1), _Silent())
    door.identities.add("peer", Identity(-1, frozenset(), certificate="bob", expires_unix=1.0))

    async def enter() -> None:
        await door.enter("peer", "ListRuns")

    with pytest.raises(UnauthenticatedError, match="has expired"):
        asyncio.run(enter())


class _Silent:
    """Writes nothing down."""

    def denied(self, *_: Any) -> None:
        """Pass over it."""


def test_tcp_without_tls_is_no_configuration(tmp_path: Path) -> None:
    """Each missing file is named."""
    daemon = DaemonProcess(config={"listen.tcp": "127.0.0.1:0", "tls.key": str(tmp_path / "k")})
    try:
        daemon.start(wait=False)
        assert daemon.wait() == 78
        assert "tls.certificate" in daemon.stderr
        assert "tls.client_ca" in daemon.stderr
    finally:
        daemon.close()


def test_names_and_patterns_do_not_pass_for_each_other() -> None:
    """A star stays within a part; a common name is no URI; local callers match no pattern."""
    grants = Grants(Access(operators=("cert:spiffe://desk/ops/*", "cert:bob")), owner_uid=1)
    for name, roles in (
        ("spiffe://desk/ops/jane", {Role.OPERATOR, Role.VIEWER}),
        ("spiffe://desk/ops/", set()),
        ("spiffe://desk/ops/a/b", set()),
        ("spiffe://desk/opsx", set()),
        ("bob", {Role.OPERATOR, Role.VIEWER}),
        ("bobby", set()),
    ):
        who = Identity(-1, frozenset(), certificate=name)
        assert grants.roles(who) == roles, name
    with pytest.raises(DeniedError):
        grants.check(Identity(7, frozenset()), "ListRuns")
    common = (((("commonName", "spiffe://desk/ops/jane"),),),)
    assert principal_of({"subject": common[0]}) == ""
    assert principal_of({"subject": ((("commonName", "bob"),),)}) == "bob"
    two = (("URI", "spiffe://a/b"), ("URI", "spiffe://a/c"))
    assert principal_of({"subjectAltName": two}) == ""
