"""Who calls: identities by connection, roles by identity, and which role each method needs.

Owns the static table of methods, default deny. An identity is looked up by the name that the accept
gate gave its connection, never parsed from anything that a client could choose. Who may call is
decided here; what may happen is policy, and both must agree.
"""

from __future__ import annotations

import enum
import grp
import math
import pwd
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from byteord.deployment.model import Access
from byteord.errors import DeniedError, UnauthenticatedError


class Role(enum.StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


IMPLIES = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.VIEWER}),
    Role.APPROVER: frozenset({Role.APPROVER, Role.VIEWER}),
    Role.ADMIN: frozenset(Role),
}

ROLE_OF_METHOD = {
    "Validate": Role.VIEWER,
    "Describe": Role.VIEWER,
    "Dot": Role.VIEWER,
    "Diff": Role.VIEWER,
    "TapLane": Role.OPERATOR,
    "StartRun": Role.OPERATOR,
    "FeedInput": Role.OPERATOR,
    "TakeOutput": Role.OPERATOR,
    "StopRun": Role.OPERATOR,
    "ListRuns": Role.VIEWER,
    "GetRun": Role.VIEWER,
    "WatchRuns": Role.VIEWER,
    "SnapshotRun": Role.VIEWER,
    "CreateBundle": Role.OPERATOR,
    "ListBundles": Role.OPERATOR,
    "ReadBundle": Role.OPERATOR,
    "UploadSource": Role.OPERATOR,
    "Replay": Role.OPERATOR,
    "Doctor": Role.VIEWER,
    "PrepareApproval": Role.VIEWER,
    "ReadAudit": Role.APPROVER,
    "ReadDeadLetters": Role.OPERATOR,
    "GetCapabilities": Role.VIEWER,
    "GetCompatibility": Role.VIEWER,
    "GetVersion": Role.VIEWER,
}
"""Every method of the API; one that is not here is for nobody."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end of a connection: as the kernel says, or as a certificate does."""

    uid: int
    gids: frozenset[int]
    pid: int = 0
    certificate: str = ""
    """Name that its certificate gives a remote caller; then the numbers mean nothing."""
    expires_unix: float = math.inf
    """End of the certificate."""
    address: str = ""

    @property
    def principal(self) -> str:
        """Return the name under which it is known in requests, approvals and the audit log."""
        return f"cert:{self.certificate}" if self.certificate else f"uid:{self.uid}"

    @property
    def facts(self) -> dict[str, Any]:
        """Return what else the audit log says of it."""
        return {"address": self.address} if self.certificate else {"pid": self.pid}


@dataclass(frozen=True, slots=True)
class _Members:
    uids: frozenset[int]
    gids: frozenset[int]
    names: tuple[re.Pattern[str], ...]

    def has(self, who: Identity) -> bool:
        """Tell whether somebody is one of them."""
        if who.certificate:
            return any(pattern.fullmatch(who.certificate) for pattern in self.names)
        return who.uid in self.uids or bool(who.gids & self.gids)


class Grants:
    """The roles of identities, from the daemon's configuration."""

    def __init__(self, access: Access, owner_uid: int) -> None:
        """Resolve names; root and the daemon's own user are admins. `unknown` lists the others."""
        self.unknown: list[str] = []
        given = {
            Role.VIEWER: access.viewers,
            Role.OPERATOR: access.operators,
            Role.APPROVER: access.approvers,
            Role.ADMIN: (*access.admins, "uid:0", f"uid:{owner_uid}"),
        }
        self._members = {role: self._resolve(names) for role, names in given.items()}
        self._payload = self._resolve(access.payload)

    def roles(self, who: Identity) -> frozenset[Role]:
        """Return every role that an identity has."""
        found: set[Role] = set()
        for role, members in self._members.items():
            if members.has(who):
                found |= IMPLIES[role]
        return frozenset(found)

    def sees_payloads(self, who: Identity) -> bool:
        """Tell whether an identity may see what messages say."""
        return self._payload.has(who) or Role.ADMIN in self.roles(who)

    def check(self, who: Identity, method: str) -> None:
        """Raise DeniedError (ROLE_MISSING) unless an identity may call a method."""
        needed = ROLE_OF_METHOD.get(method)
        have = self.roles(who)
        if needed is not None and needed in have:
            return
        wanted = f"the role {needed}" if needed else "a method that some role may call"
        said = ", ".join(sorted(have)) or "no role"
        raise DeniedError(
            f"{method}: {who.principal} has {said}; wanted {wanted}, which [access] in the "
            "daemon's configuration grants",
            reason="ROLE_MISSING",
            details={"principal": who.principal, "method": method, "role": str(needed or "")},
        )

    def _resolve(self, names: Iterable[str]) -> _Members:
        uids: set[int] = set()
        gids: set[int] = set()
        patterns: list[re.Pattern[str]] = []
        for name in names:
            kind, _, value = name.partition(":")
            if kind == "cert":
                parts = map(re.escape, value.split("*"))
                patterns.append(re.compile("[^/]+".join(parts)))
                continue
            if kind in ("uid", "gid"):
                (uids if kind == "uid" else gids).add(int(value))
                continue
            with suppress(KeyError):
                if kind == "user":
                    uids.add(pwd.getpwnam(value).pw_uid)
                else:
                    gids.add(grp.getgrnam(value).gr_gid)
                continue
            self.unknown.append(name)
        return _Members(frozenset(uids), frozenset(gids), tuple(patterns))


class Identities:
    """Identities by the name of their connection's inner end."""

    def __init__(self) -> None:
        """Know nobody."""
        self._by_peer: dict[str, Identity] = {}

    def add(self, peer: str, who: Identity) -> None:
        """Remember who is behind a connection."""
        self._by_peer[peer] = who

    def forget(self, peer: str) -> None:
        """Forget a connection that has ended."""
        self._by_peer.pop(peer, None)

    def __len__(self) -> int:
        return len(self._by_peer)

    def of(self, peer: str) -> Identity:
        """Return who calls; raise UnauthenticatedError for a connection past the gate."""
        who = self._by_peer.get(peer)
        if who is None:
            raise UnauthenticatedError(
                "this connection did not come through the daemon's socket; wanted one that did",
                reason="IDENTITY_UNKNOWN",
            )
        return who
