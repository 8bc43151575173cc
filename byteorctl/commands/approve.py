"""`byteorctl approve`: make, sign, inspect and verify approvals; make keys and key sets."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import find_deployment, read_document
from byteorctl.output.formats import emit

if TYPE_CHECKING:
    from byteor.trust.approval import Credential
    from byteor.trust.key_set import KeySet

ENVIRONMENTS = ("dev", "staging", "prod")


@click.group(
    "approve",
    epilog=example(
        "byteorctl approve request spec.toml --reason 'release 7' --out approval.request",
        "byteorctl approve sign approval.request --key alice.key",
        "byteorctl run spec.toml --approval approval.cred",
    ),
)
def command() -> None:
    """Make, sign and check approvals of side effects.

    An approval says which spec, deployment and code may do what, where, until when and how often,
    and is signed by people other than its requester. Keys never leave this client or the program
    that holds them.
    """


def _duration(_: click.Context, __: click.Parameter, value: str) -> int:
    from byteorctl.approve.files import seconds_of

    try:
        return seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{text!r}: wanted NAME=VALUE")
        pairs[key] = value
    return pairs


@command.command("keygen", epilog=example("byteorctl approve keygen --out alice.key"))
@click.option(
    "--out", required=True, type=click.Path(), metavar="PATH", help="Private key to make."
)
@shared_options
def keygen(app: App, out: str) -> None:
    """Make an Ed25519 key.

    Writes the private key for its owner alone, and the public one beside it as PATH.pub.
    """
    from byteor.trust import keys
    from byteorctl.approve.files import write_file, write_private

    private = keys.new_private_key()
    public = keys.public_of(private)
    write_private(out, private)
    write_file("public key", f"{out}.pub", keys.public_pem(public))
    made: Plain = {"kid": keys.key_id(public), "private": out, "public": f"{out}.pub"}
    emit(app.format, made, lambda screen: screen.line(made["kid"]))


@command.command(
    "request", epilog=example("byteorctl approve request spec.toml --reason 'release 7'")
)
@click.argument("spec", type=click.Path(), metavar="[SPEC]", required=False)
@click.option("--deployment", type=click.Path(), metavar="PATH",
              help="Deployment [default: deployment.toml beside SPEC].")  # fmt: skip
@click.option("--input", "input_", is_flag=True, help="As `run --input`: the client feeds it.")
@click.option("--output", is_flag=True, help="As `run --output`: the client takes it.")
@click.option("--set", "overrides", multiple=True, callback=_pairs, metavar="KEY=VALUE",
              help="As `run --set`.")  # fmt: skip
@click.option("--capability", "capabilities", multiple=True, metavar="NAME",
              help="Cover this too, for example replay_execute; may be repeated.")  # fmt: skip
@click.option("--reason", default="", metavar="TEXT", help="What it is for.")
@click.option("--valid-for", "valid_s", default="8h", callback=_duration, metavar="TIME",
              help="How long, as 30m, 8h, 7d [default: 8h].")  # fmt: skip
@click.option("--uses", default=1, type=click.IntRange(0, 1_000_000), metavar="N",
              help="How many run starts; 0: not counted [default: 1].")  # fmt: skip
@click.option("--any-host", is_flag=True, help="Hold on any host; needs --uses 0.")
@click.option("--out", default="approval.request", type=click.Path(), metavar="PATH",
              help="Where to write it [default: approval.request].")  # fmt: skip
@click.option("--spec-hash", metavar="sha256:HEX", help="Offline, with the other facts below.")
@click.option("--deployment-hash", metavar="sha256:HEX", help="Offline.")
@click.option("--code", multiple=True, callback=_pairs, metavar="STAGE=sha256:HEX", help="Offline.")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Offline.")
@click.option("--host", default="", metavar="NAME", help="Offline.")
@click.option("--requested-by", metavar="uid:N", help="Offline: who will start the run.")
@call_timeout
@shared_options
def request(app: App, spec: str | None, **options: Any) -> None:
    """Ask for an approval of a run.

    Asks the daemon for the hashes of spec, effective deployment and code, what the run needs, and
    who calls; only that caller can use the approval. With --spec-hash and the other facts nothing
    is asked of anyone.
    """
    from byteorctl.approve.files import write_file
    from byteorctl.approve.request import make_request

    if options["any_host"] and options["uses"]:
        raise click.UsageError("--any-host: uses are counted by a named host; give --uses 0")
    facts = _offline_facts(options) if spec is None else _asked_facts(app, spec, options)
    if not facts.capabilities:
        raise CliError(
            "nothing of this run needs an approval; name what it shall cover with --capability",
            Exit.USAGE,
        )
    content = make_request(
        facts, valid_s=options["valid_s"], max_uses=options["uses"], reason=options["reason"]
    )
    write_file("request", options["out"], content)
    _show(app, content, f"wrote {options['out']}: sign it with `byteorctl approve sign`")


def _asked_facts(app: App, spec: str, options: Plain) -> Any:
    from byteorctl.approve.request import facts_of
    from byteorctl.endpoints import client_ends

    spec_file = read_document("spec", spec)
    deployment = find_deployment(spec_file, options["deployment"])
    ends = client_ends(spec_file, deployment, options["overrides"])
    with app.connect() as client:
        draft = client.prepare_approval(
            spec_file,
            deployment,
            client_input=options["input_"] or ends.input,
            client_output=options["output"] or ends.output,
            overrides=options["overrides"],
            timeout_s=options["timeout_s"],
        )
    return facts_of(draft, any_host=options["any_host"], more=options["capabilities"])


def _offline_facts(options: Plain) -> Any:
    from byteorctl.approve.request import Facts

    wanted = ("spec_hash", "deployment_hash", "environment", "requested_by")
    missing = [f"--{name.replace('_', '-')}" for name in wanted if not options[name]]
    if missing:
        raise click.UsageError(f"without SPEC, {', '.join(missing)} must be given")
    if options["uses"] and not options["host"]:
        raise click.UsageError("--uses: uses are counted by a named host; give --host, or --uses 0")
    return Facts(
        spec_hash=options["spec_hash"],
        deployment_hash=options["deployment_hash"],
        code=options["code"],
        environment=options["environment"],
        host=options["host"],
        principal=options["requested_by"],
        capabilities=sorted(set(options["capabilities"])),
    )


@command.command("sign", epilog=example("byteorctl approve sign approval.request --key alice.key"))
@click.argument("path", type=click.Path(), metavar="FILE")
@click.option("--key", type=click.Path(), metavar="PATH", help="Private key of the signer.")
@click.option("--signer", metavar="COMMAND",
              help="Program that signs its standard input; with --public-key.")  # fmt: skip
@click.option("--public-key", type=click.Path(), metavar="PATH", help="Public key of --signer.")
@click.option("--kid", metavar="ID", help="Id of the key in the key set [default: its own].")
@click.option("--out", type=click.Path(), metavar="PATH",
              help="Where to [default: approval.cred beside a request, else FILE].")  # fmt: skip
@shared_options
def sign(app: App, path: str, *, out: str | None, **signing: str | None) -> None:
    """Sign a request, or an approval that others have signed.

    Shows what is signed. Needs no daemon.
    """
    from byteor.trust.approval import parse_credential, render_credential
    from byteorctl.approve.files import APPROVAL_NAME, read_file, trusted, write_file
    from byteorctl.approve.signer import sign as sign_message

    if (signing["key"] is None) == (signing["signer"] is None):
        raise click.UsageError("wanted --key, or --signer with --public-key")
    if signing["signer"] is not None and signing["public_key"] is None:
        raise click.UsageError("--signer: also give the --public-key of what it signs with")
    with trusted():
        credential = parse_credential(read_file("request", path))
    if credential.form != "dsse":
        raise CliError(f"{path}: the dotted form has room for one signature only", Exit.DATA)
    made = sign_message(credential.message, **signing)
    if made.kid in {each.kid for each in credential.signatures}:
        raise CliError(f"{path}: {made.kid} has signed it already", Exit.DATA)
    content = render_credential(credential.payload, (*credential.signatures, made))
    if out is None:
        beside = os.path.join(os.path.dirname(path), APPROVAL_NAME)
        out = path if credential.signatures else beside
    write_file("approval", out, content)
    _show(app, content, f"wrote {out}")


@command.command("inspect", epilog=example("byteorctl approve inspect approval.cred"))
@click.argument("path", type=click.Path(), metavar="FILE")
@shared_options
def inspect(app: App, path: str) -> None:
    """Show what a request or an approval says, of either form.

    Verifies nothing; needs no daemon.
    """
    from byteorctl.approve.files import read_file

    _show(app, read_file("approval", path), "")


def _show(app: App, content: bytes, said: str) -> None:
    from byteor.trust.approval import parse_credential
    from byteorctl.approve.files import trusted
    from byteorctl.approve.show import credential_fields, credential_plain

    with trusted():
        shown = credential_plain(parse_credential(content))
    if said:
        click.echo(f"byteorctl: {said}", err=True)
    emit(app.format, shown, lambda screen: screen.fields(credential_fields(shown)))


@command.command(
    "verify", epilog=example("byteorctl approve verify approval.cred --keys key_set.json")
)
@click.argument("path", type=click.Path(), metavar="FILE")
@click.option("--keys", type=click.Path(), metavar="PATH",
              help="Key set [default: signing_keys.json beside FILE].")  # fmt: skip
@click.option("--signers", default=1, type=click.IntRange(1, 16), metavar="N",
              help="Different people who must have signed [default: 1].")  # fmt: skip
@click.option("--spec-hash", metavar="sha256:HEX", help="It must be for this spec.")
@click.option("--deployment-hash", metavar="sha256:HEX", help="It must be for this deployment.")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="It must be for this.")
@click.option("--host", metavar="NAME", help="It must hold on this host.")
@click.option("--principal", metavar="uid:N", help="This caller must be able to use it.")
@click.option("--capability", "capabilities", multiple=True, metavar="NAME",
              help="It must cover this; may be repeated.")  # fmt: skip
@shared_options
def verify(app: App, path: str, *, keys: str | None, signers: int, **wanted: Any) -> int:
    """Check an approval against a key set, as a daemon would.

    What is not given as an option is taken as the approval has it. Exit 77 with the reason if it
    does not hold. Needs no daemon; a daemon uses the key set of its own configuration alone.
    """
    from byteor.trust.approval import parse_credential
    from byteor.trust.key_set import parse_key_set
    from byteor.trust.verdict import Rules, check
    from byteorctl.approve.files import KEYS_NAME, read_file, trusted

    key_path = keys or os.path.join(os.path.dirname(path), KEYS_NAME)
    with trusted():
        key_set = parse_key_set(read_file("key set", key_path))
    with trusted(Exit.DENIED):
        credential = parse_credential(read_file("approval", path))
        held = check(
            credential,
            key_set,
            wanted=_wanted(credential, wanted),
            rules=Rules(signers, credential.approval.scope, validity_max_s=1 << 40),
            now=time.time(),
            uses=0,
        )
    answer: Plain = {
        "ok": True,
        "approval_id": held.approval.approval_id,
        "signers": list(held.signers),
        "assurance": held.assurance,
    }
    text = f"{path}: holds, signed by {', '.join(held.signers)}, assurance {held.assurance}"
    emit(app.format, answer, lambda screen: screen.line(text))
    return Exit.OK


def _wanted(credential: Credential, given: Plain) -> Any:
    from byteor.trust.verdict import Wanted

    approval = credential.approval
    return Wanted(
        spec_hash=given["spec_hash"] or approval.spec_hash,
        deployment_hash=given["deployment_hash"] or approval.deployment_hash,
        code=approval.code,
        environment=given["environment"] or approval.environment,
        host=given["host"] or approval.host,
        capabilities=given["capabilities"] or approval.capabilities,
        principal=given["principal"] or approval.requested_by,
    )


@command.command(
    "keyset",
    epilog=example("byteorctl approve keyset key_set.json --add alice.key.pub --owner alice"),
)
@click.argument("path", type=click.Path(), metavar="KEYSET")
@click.option("--add", type=click.Path(), metavar="PATH", help="Public key to add.")
@click.option("--owner", metavar="NAME", help="Whose it is; two keys of one owner are one signer.")
@click.option("--principal", "principals", multiple=True, metavar="uid:N",
              help="As whom its owner calls daemons; may be repeated.")  # fmt: skip
@click.option("--kid", metavar="ID", help="Id of the key [default: its own].")
@click.option("--valid-for", "valid_s", default="365d", callback=_duration, metavar="TIME",
              help="How long the key counts [default: 365d].")  # fmt: skip
@shared_options
def keyset(app: App, path: str, *, add: str | None, owner: str | None, **key: Any) -> None:
    """Show a key set, or add a key to it; a file that is not there is begun.

    Each change raises the version: a daemon never goes back one.
    """
    from byteor.trust import keys
    from byteor.trust.key_set import Key
    from byteorctl.approve.files import read_file, trusted

    if add is None:
        _show_key_set(app, _read_key_set(path))
        return
    if not owner:
        raise click.UsageError("--add: also say whose key it is, with --owner")
    with trusted(Exit.USAGE):
        public = keys.read_public(read_file("public key", add))
    now = int(time.time())
    kid = key["kid"] or keys.key_id(public)
    row = Key(kid, public, owner, key["principals"], now - 60, now + key["valid_s"])
    before = _read_key_set(path, begin=True)
    if kid in before.keys:
        raise CliError(f"key set {path}: has the key {kid} already", Exit.USAGE)
    _write_key_set(app, path, replace(before, keys={**before.keys, kid: row}))


@command.command(
    "revoke", epilog=example("byteorctl approve revoke key_set.json --approval apr-20260131-0a1b2c")
)
@click.argument("path", type=click.Path(), metavar="KEYSET")
@click.option("--key", "kid", metavar="ID", help="Key that counts no more.")
@click.option("--approval", metavar="ID", help="Approval that holds no more.")
@shared_options
def revoke(app: App, path: str, *, kid: str | None, approval: str | None) -> None:
    """Revoke a key, or one approval, in a key set.

    A daemon that uses the key set takes the leases of runs that depended on it within seconds.
    """
    before = _read_key_set(path)
    if (kid is None) == (approval is None):
        raise click.UsageError("wanted --key or --approval")
    if approval is not None:
        changed = replace(before, revoked_approvals=before.revoked_approvals | {approval})
    elif str(kid) not in before.keys:
        known = ", ".join(before.keys) or "none"
        raise CliError(f"key set {path}: has no key {kid}; it has {known}", Exit.NO_INPUT)
    else:
        row = replace(before.keys[str(kid)], revoked_at=int(time.time()))
        changed = replace(before, keys={**before.keys, row.kid: row})
    _write_key_set(app, path, changed)


def _read_key_set(path: str, *, begin: bool = False) -> KeySet:
    from byteor.trust.key_set import KeySet, parse_key_set
    from byteorctl.approve.files import read_file, trusted

    if begin and not os.path.exists(path):
        return KeySet(0, {}, frozenset())
    with trusted():
        return parse_key_set(read_file("key set", path))


def _write_key_set(app: App, path: str, changed: KeySet) -> None:
    from byteor.trust.key_set import parse_key_set, render_key_set
    from byteorctl.approve.files import trusted, write_file

    content = render_key_set(replace(changed, version=changed.version + 1))
    with trusted(Exit.USAGE):
        key_set = parse_key_set(content)
    write_file("key set", path, content)
    click.echo(f"byteorctl: wrote {path}, version {key_set.version}", err=True)
    _show_key_set(app, key_set)


def _show_key_set(app: App, key_set: KeySet) -> None:
    from byteor.trust.strict import time_text

    rows = [
        {
            "kid": key.kid,
            "owner": key.owner,
            "principals": list(key.principals),
            "not_before": time_text(key.not_before),
            "not_after": time_text(key.not_after),
            "revoked_at": time_text(key.revoked_at) if key.revoked_at else "",
        }
        for key in key_set.keys.values()
    ]
    revoked = sorted(key_set.revoked_approvals)
    answer: Plain = {"version": key_set.version, "keys": rows, "revoked_approvals": revoked}

    def show(screen: Any) -> None:
        screen.line(f"version {key_set.version}")
        columns = ["kid", "owner", "principals", "from", "to", "revoked"]
        screen.table(columns, [[*_cells(row)] for row in rows])
        for approval in revoked:
            screen.line(f"revoked approval {approval}")

    emit(app.format, answer, show, items="keys")


def _cells(row: Plain) -> list[str]:
    who = ", ".join(row["principals"])
    return [row["kid"], row["owner"], who, row["not_before"], row["not_after"], row["revoked_at"]]
