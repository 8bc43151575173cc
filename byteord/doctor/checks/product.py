"""X: byteor itself, and what protects it. T05: the clock against what was signed."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from byteor.trust import audit_log, keys
from byteor.trust.key_set import KEY_SET_BYTES_MAX, KeySet, parse_key_set
from byteor.trust.strict import TrustError, time_text
from byteord._cext.region import LAYOUT_VERSION
from byteord.doctor.look import Look
from byteord.doctor.model import (
    EVERY,
    Asked,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    failed,
    good,
    judge,
)
from byteord.doctor.register import check

TESTED = {
    "grpcio": ((1, 80), (2, 0)),
    "protobuf": ((6, 31), (8, 0)),
    "uvloop": ((0, 21), (1, 0)),
    "msgspec": ((0, 19), (1, 0)),
    "structlog": ((24, 0), (27, 0)),
    "prometheus-client": ((0, 21), (1, 0)),
}
"""At least the first, below the second: the ranges of the installation's own metadata."""
_CHANGING = ("GRPC_", "PYTHON", "MALLOC_", "LD_", "GLIBC_TUNABLES")
_EXPECTED = ("GRPC_ENABLE_FORK_SUPPORT", "PYTHONUNBUFFERED", "PYTHONHASHSEED", "PYTHON_VERSION")
_DAY_S = 86_400
_APPROVAL_MINUTES = 60
_LOOPBACK = ("127.", "localhost", "[::1]", "::1")


def _owned(look: Look, path: str) -> list[str]:
    """Return what is wrong with owner and mode of a file that decides; nothing if it is absent."""
    mode = look.kernel.mode(path)
    if mode is None:
        return []
    look.saw(path)
    wrong = []
    if mode.uid not in (0, look.kernel.uid()):
        wrong.append(f"{path} belongs to uid {mode.uid}")
    if mode.mode & 0o022:
        wrong.append(f"{path} may be written by others ({mode.mode:04o})")
    if mode.link:
        wrong.append(f"{path} is a symbolic link")
    return wrong


@check(
    "X01",
    "files that decide belong to the daemon",
    "owner and mode of the configuration and the key set",
    "root's or the daemon's, written by nobody else, no link",
    "chown root and chmod 0644 them",
    profiles=EVERY,
    reference="byteor: authority",
)
def _files(look: Look, asked: Asked) -> Verdict:
    paths = [path for path in (asked.daemon.config, asked.daemon.key_set) if path]
    if not paths:
        raise SkippedError("the daemon runs on defaults: no such file is configured")
    wrong = [each for path in paths for each in _owned(look, path)]
    return failed(wrong[0], "; ".join(wrong[1:])) if wrong else good(", ".join(paths))


def key_set_of(look: Look, asked: Asked) -> KeySet:
    """Return the key set; raises SkippedError without one, TrustError for a bad one."""
    if not asked.daemon.key_set:
        raise SkippedError("no key set is configured (approvals.key_set)")
    text = look.text(asked.daemon.key_set)
    return parse_key_set(text.encode()[:KEY_SET_BYTES_MAX])


@check(
    "X02",
    "the key set can be used",
    "the file of approvals.key_set",
    "two keys or more that are valid for a week",
    "add keys before the old ones end (byteorctl approve)",
    profiles=EVERY,
    reference="byteor: approvals",
)
def _keys(look: Look, asked: Asked) -> Verdict:
    try:
        found = key_set_of(look, asked)
    except TrustError as error:
        return failed("malformed", str(error))
    now = look.kernel.now()
    live = [
        key
        for key in found.keys.values()
        if not key.revoked_at and key.not_before <= now < key.not_after
    ]
    soon = [key.kid for key in live if key.not_after - now < 7 * _DAY_S]
    observed = f"version {found.version}, {len(live)} of {len(found.keys)} keys valid"
    if not live:
        return failed(observed, "nobody's approval counts")
    return judge(len(live) > 1 and not soon, observed, f"ending soon: {', '.join(soon) or 'none'}")


@check(
    "T05",
    "the wall clock agrees with what was signed",
    "the key set's times",
    "after the beginning of every key that is in force",
    "correct the clock",
    profiles=EVERY,
    reference="byteor: approvals",
)
def _clock(look: Look, asked: Asked) -> Verdict:
    try:
        found = key_set_of(look, asked)
    except TrustError as error:
        raise UnknownError(f"the key set cannot be read: {error}") from None
    now = look.kernel.now()
    begins = [key.not_before for key in found.keys.values() if not key.revoked_at]
    early = sum(begin > now for begin in begins)
    reason = f"{early} keys begin later: is the clock behind?"
    return judge(not early, f"now {time_text(int(now))}", reason)


@check(
    "X03",
    "the spec may run here",
    "the approval beside the spec; policy, key set and use count of the daemon",
    "no approval needed, or one that holds for this spec, host and caller for an hour",
    "byteorctl approve: have one made and signed for this spec and this host",
    profiles=EVERY,
    reference="byteor: approvals",
)
def _approval(look: Look, asked: Asked) -> Verdict:
    permission = asked.permission
    if permission is None:
        raise SkippedError("no spec was named")
    if not permission.granted:
        return failed("refused", permission.said)
    if not permission.until_unix:
        return good(permission.said)
    minutes = int((permission.until_unix - look.kernel.now()) // 60)
    return judge(minutes >= _APPROVAL_MINUTES, f"{permission.said}, {minutes} minutes left")


@check(
    "X04",
    "only its group reaches the socket",
    "owner and mode of the socket's directory",
    "the daemon's, nothing for others",
    "chmod 0750 the directory",
    profiles=EVERY,
    reference="byteor: control plane, who may call",
)
def _socket(look: Look, asked: Asked) -> Verdict:
    path = os.path.dirname(asked.daemon.socket)
    mode = look.kernel.mode(path) if path else None
    if mode is None:
        raise SkippedError("no daemon listens")
    observed = f"{path}: uid {mode.uid}, mode {mode.mode:04o}"
    right = mode.uid in (0, look.kernel.uid()) and not mode.mode & 0o007
    return good(observed) if right else failed(observed, "others may reach the socket")


@check(
    "X05",
    "one daemon holds the lock",
    "byteord.lock in the runtime directory",
    "the process id of a live daemon",
    "end the other daemon",
    profiles=EVERY,
    reference="byteor: control plane, the daemon",
)
def _lock(look: Look, asked: Asked) -> Verdict:
    pid = look.text(asked.daemon.runtime_dir + "/byteord.lock")
    if not pid.isdigit():
        return bad(repr(pid[:20]), "no process id")
    return judge(look.root.exists(f"/proc/{pid}"), pid, "that process is gone")


@check(
    "X06",
    "certificates are valid",
    "certificates of the listener",
    "not expired, with the names that clients use",
    "renew them",
    profiles=EVERY,
    reference="byteor: control plane, who may call",
)
def _certificates(_: Look, __: Asked) -> Verdict:
    raise SkippedError("the daemon listens on a Unix socket only: it has no certificate")


@check(
    "X07",
    "metrics are served to this host only",
    "metrics.address of the configuration",
    "a loopback address",
    "bind to 127.0.0.1 and let the scraper come through a proxy of yours",
    profiles=EVERY,
    reference="byteor: metrics",
)
def _metrics(_: Look, asked: Asked) -> Verdict:
    address = asked.daemon.metrics_address
    if not address:
        return good("not served")
    return judge(address.startswith(_LOOPBACK), address, "anybody who reaches it may read")


@check(
    "X08",
    "the audit log is whole",
    "audit-*.jsonl, head.json and the host's public key in the audit directory",
    "every record and checkpoint verifies",
    "byteorctl audit verify says where; keep what is there",
    profiles=EVERY,
    reference="byteor: audit log",
)
def _audit(look: Look, asked: Asked) -> Verdict:
    directory = asked.daemon.audit_dir
    here = look.root.path(directory)
    if not directory or not os.path.isdir(here) or not audit_log.segment_files(here):
        raise SkippedError("no audit log is here yet")
    public = look.quiet(f"{directory}/{audit_log.PUBLIC_KEY}")
    if public is None:
        raise UnknownError(f"needs {directory}/{audit_log.PUBLIC_KEY} to verify it")
    look.saw(f"{directory}/{audit_log.PUBLIC_KEY}")
    try:
        head = look.quiet(f"{directory}/{audit_log.HEAD}")
        kept = [audit_log.read_checkpoint(head.encode())] if head else []
        found = audit_log.verify_log(
            audit_log.read_log(here), keys.read_public(public.encode()), kept
        )
    except TrustError as error:
        return failed("unreadable", str(error))
    observed = f"{found.records} records, {found.tail} after the last checkpoint"
    if found.problems:
        return failed(observed, f"{found.problems[0].code}: {found.problems[0].message}")
    return good(observed)


@check(
    "X09",
    "client, daemon and regions are of one version",
    "versions of byteorctl, byteord and the region layout",
    "the same",
    "upgrade whichever is older",
    profiles=EVERY,
    reference="byteor: compatibility",
)
def _versions(_: Look, asked: Asked) -> Verdict:
    client, daemon = asked.daemon.client_version, asked.daemon.version
    observed = f"byteord {daemon or 'unknown'}, byteorctl {client or 'unknown'}"
    return judge(not client or client == daemon, f"{observed}, layout {LAYOUT_VERSION}")


def _number(version: str) -> tuple[int, int]:
    words = [word for word in version.split(".")[:2] if word.isdigit()]
    return (int(words[0]), int(words[1]) if len(words) > 1 else 0) if words else (0, 0)


@check(
    "X10",
    "libraries within the tested range",
    "installed distributions",
    "as byteor's own requirements say",
    "install byteor into an environment of its own",
    profiles=EVERY,
    reference="pyproject.toml",
)
def _libraries(_: Look, __: Asked) -> Verdict:
    found, outside = [], []
    for name, (low, high) in TESTED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            outside.append(f"{name} is absent")
            continue
        found.append(f"{name} {version}")
        if not low <= _number(version) < high:
            outside.append(f"{name} {version}")
    return judge(not outside, ", ".join(found), "; ".join(outside))


@check(
    "X11",
    "the extension fits this CPU",
    "/proc/cpuinfo flags",
    "the instructions that its fast paths use: sse4_2 on x86",
    "other hardware, or another CPU model of the virtual machine",
    profiles=EVERY,
    reference="byteor: CRC32C is a third as fast without it",
)
def _instructions(look: Look, _: Asked) -> Verdict:
    if "x86" not in look.kernel.uname()[1]:
        raise SkippedError("not an x86 machine: the portable paths are used")
    flags = look.field("/proc/cpuinfo", "flags").split()
    return judge("sse4_2" in flags, "sse4_2" if "sse4_2" in flags else "no sse4_2")


@check(
    "X12",
    "the interpreter runs at speed",
    "flags of the daemon's interpreter",
    "no development mode, no tracing, no debug build",
    "start byteord without -X dev, -d or a tracer",
    profiles=EVERY,
    reference="Python: development mode",
)
def _interpreter(_: Look, __: Asked) -> Verdict:
    slow = []
    if sys.flags.dev_mode:
        slow.append("development mode")
    if sys.gettrace() is not None:
        slow.append("a tracer")
    if hasattr(sys, "gettotalrefcount"):
        slow.append("a debug build")
    name = f"{platform.python_implementation()} {platform.python_version()}"
    return judge(not slow, name, ", ".join(slow))


@check(
    "X13",
    "no variable changes how it runs",
    "environment of the daemon",
    "none of GRPC_*, PYTHON*, MALLOC_*, LD_*",
    "remove them from the unit's environment",
    profiles=EVERY,
    reference="ld.so(8); mallopt(3)",
)
def _environment(look: Look, _: Asked) -> Verdict:
    names = sorted(
        name
        for name in look.kernel.environ()
        if name.startswith(_CHANGING) and name not in _EXPECTED
    )
    return judge(not names, ", ".join(names) or "none")
