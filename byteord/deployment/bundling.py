"""The `[bundle]` table of a deployment: what may leave in an incident bundle, and when one is made.

Owns its keys, its values and its conditions. Pure. Gathering is the business of `byteord.capture`.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byteord.spec.canonical import FlatDocument, put_array
from byteord.spec.config import inferred
from byteord.spec.findings import Collector, shown
from byteord.spec.model import Scalar
from byteord.spec.schema import Key

TRIGGERS = ("failure", "stall", "watchdog")
ROLE_FIGURES = [
    "received",
    "published",
    "dropped",
    "skipped",
    "lag_slots",
    "errors",
    "rejected",
    "latency_ns_p99",
    "service_ns_p99",
]
LANE_FIGURES = ["depth", "published", "consumed", "dropped", "overruns"]
WORKER_FIGURES = ["restarts", "heartbeat_age_ns", "cycle_ns_max", "rss_bytes"]
FIGURES = {"role": ROLE_FIGURES, "lane": LANE_FIGURES, "worker": WORKER_FIGURES}
CONDITIONS_MAX = 16
PERMISSIONS_MAX = 256
_CONDITION = re.compile(
    r"(role|lane|worker)\.([A-Za-z0-9_*#-]{1,64})\.([a-z0-9_]+) *(>=|>|<=|<) *([0-9]{1,18})\Z"
)
_PERMISSION = re.compile(
    r"(?:\*|stages\.[A-Za-z0-9_*-]{1,64}\.(?:\*|target|config\.[A-Za-z0-9_.*-]{1,512}))\Z"
)
_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class Bundling:
    """What a run's bundles may hold, and what makes one by itself."""

    code: bool = False
    payload: bool = False
    config: tuple[str, ...] = ()
    redact: tuple[tuple[str, Scalar], ...] = ()
    """Rules for messages, as `dataguard_redact` is configured."""
    on: tuple[str, ...] = ("failure",)
    when: tuple[str, ...] = ()
    stall_s: int = 30
    run_max: int = 3
    last_messages: int = 0
    """Of the capture, in a bundle that is made by itself; 0: as much as fits."""


@dataclass(frozen=True, slots=True)
class BundleLimits:
    """How many bundles a daemon keeps, and how large they may be."""

    automatic: bool = True
    """Whether runs may make bundles by themselves."""
    count: int = 16
    total_bytes: int = 4 << 30
    bundle_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class Condition:
    """One figure of a run compared with a bound."""

    text: str
    what: str
    name: str
    figure: str
    compare: str
    bound: int

    def holds(self, value: int) -> bool:
        """Tell whether a value meets it."""
        return _COMPARE[self.compare](value, self.bound)


_DEFAULT = Bundling()

BUNDLE_KEYS: tuple[Key, ...] = (
    Key(
        "bundle.code",
        "boolean",
        "Whether incident bundles carry the code of `python`, `numba` and `cabi` stages, so that "
        "the run can be replayed elsewhere.",
        default=_DEFAULT.code,
    ),
    Key(
        "bundle.payload",
        "boolean",
        "Whether incident bundles carry captured messages; without it their counts and digests "
        "alone leave the host.",
        default=_DEFAULT.payload,
    ),
    Key(
        "bundle.config",
        "strings",
        "Which free values of the spec incident bundles carry, by name: `stages.NAME.config.KEY` "
        "of a stage of your own, `stages.NAME.target` for the arguments of `exec` or the path of "
        "`http_post`; `*` stands for anything. Tokens stand for the others, and then the bundle is "
        "replayed with the spec beside it (`--spec`).",
        default=_DEFAULT.config,
    ),
    Key(
        "bundle.redact",
        "config",
        "Data protection for what is shown and taken of messages (bundles, `tap`, replays): rules "
        "as `dataguard_redact` is configured, with the schemas of `[dataguard]`; besides those of "
        "the run's own `dataguard_redact` and `dataguard_fused` stages, which always count.",
        default_text="empty",
    ),
    Key(
        "bundle.on",
        "strings",
        "What makes a bundle by itself: `failure` (the run fails), `stall` (messages wait and "
        "nothing moves for `stall_s`), `watchdog` (a worker was killed or died and was restarted).",
        default=_DEFAULT.on,
        choices=TRIGGERS,
    ),
    Key(
        "bundle.when",
        "strings",
        "Conditions that make a bundle by itself, once each: `role.NAME.FIGURE > N`, "
        "`lane.NAME.FIGURE >= N`, `worker.INDEX.FIGURE > N` (`*`: any), with figures as `status` "
        "shows them.",
        default=_DEFAULT.when,
    ),
    Key(
        "bundle.stall_s",
        "integer",
        "Seconds without a message moving, while some wait, that count as a stall.",
        default=_DEFAULT.stall_s,
        minimum=1,
        maximum=86_400,
    ),
    Key(
        "bundle.run_max",
        "integer",
        "Bundles that one run makes by itself.",
        default=_DEFAULT.run_max,
        minimum=0,
        maximum=100,
    ),
    Key(
        "bundle.last_messages",
        "integer",
        "How many of the last captured messages a bundle that is made by itself holds, of each "
        "ingress; 0: as many as fit.",
        default=_DEFAULT.last_messages,
        minimum=0,
        maximum=1 << 40,
    ),
)


def bundling_of(typed: Mapping[str, Any]) -> Bundling:
    """Return the table of a valid typed document."""
    arrays = {key: tuple(typed[key] or ()) for key in ("config", "on", "when")}
    redact = tuple(sorted(inferred(typed["redact"] or {}).items()))
    return Bundling(**{**typed, **arrays, "redact": redact})


def check_bundling(typed: Mapping[str, Any], found: Collector) -> None:
    """Report triggers and conditions that do not exist."""
    for index, name in enumerate(typed["on"] or ()):
        if name not in TRIGGERS:
            found.add(
                "VALUE_CHOICE",
                ("bundle", "on", str(index)),
                seen=shown(name),
                wanted=f"one of {', '.join(TRIGGERS)}",
                fix="correct or delete it",
            )
    _check_permissions(typed["config"] or (), found)
    conditions = typed["when"] or ()
    for index, text in enumerate(conditions):
        if problem := _problem(text):
            found.add(
                "VALUE_MALFORMED",
                ("bundle", "when", str(index)),
                seen=shown(text),
                wanted=problem,
                fix='for example "lane.*.dropped > 0"',
            )
    if len(conditions) > CONDITIONS_MAX:
        found.add(
            "VALUE_MALFORMED",
            ("bundle", "when"),
            seen=f"{len(conditions)} conditions",
            wanted=f"at most {CONDITIONS_MAX}",
            fix="keep those that matter",
        )


def _check_permissions(permissions: Sequence[str], found: Collector) -> None:
    for index, text in enumerate(permissions):
        if not is_permission(text):
            found.add(
                "VALUE_MALFORMED",
                ("bundle", "config", str(index)),
                seen=shown(text),
                wanted="*, stages.NAME.config.KEY or stages.NAME.target; * stands for anything",
                fix='for example "stages.detect.config.limit"',
            )
    if len(permissions) > PERMISSIONS_MAX:
        found.add(
            "VALUE_MALFORMED",
            ("bundle", "config"),
            seen=f"{len(permissions)} names",
            wanted=f"at most {PERMISSIONS_MAX}",
            fix="use * for names that begin alike",
        )


def is_permission(text: str) -> bool:
    """Tell whether a text names what may leave, and so is made of names of the spec."""
    return bool(_PERMISSION.match(text))


def lets_leave(permissions: Iterable[str], name: str) -> bool:
    """Tell whether one of the patterns names a free value of the spec."""
    return any(fnmatch.fnmatchcase(name, each) for each in permissions if is_permission(each))


def _problem(text: str) -> str:
    made = _CONDITION.match(text)
    if made is None:
        return "role|lane|worker.NAME.FIGURE, one of > >= < <=, and a number"
    figures = FIGURES[made[1]]
    return "" if made[3] in figures else f"a figure of a {made[1]}: {', '.join(figures)}"


def is_condition(text: str) -> bool:
    """Tell whether a text is a condition, and so made of known words and names of the spec."""
    return not _problem(text)


def parse_condition(text: str) -> Condition:
    """Return a condition that was validated; ValueError for another."""
    made = _CONDITION.match(text)
    if made is None or _problem(text):
        raise ValueError(text)
    return Condition(text, made[1], made[2], made[3], made[4], int(made[5]))


def put_bundling(flat: FlatDocument, bundling: Bundling) -> None:
    """Add the table to a canonical document; one that says nothing new adds nothing."""
    if bundling == _DEFAULT:
        return
    for key in Bundling.__slots__:
        value = getattr(bundling, key)
        if key == "redact":
            flat.update({f"bundle.redact.{name}": each for name, each in bundling.redact})
        elif isinstance(value, tuple):
            put_array(flat, f"bundle.{key}", value)
        else:
            flat[f"bundle.{key}"] = value


def bundling_from_flat(flat: Mapping[str, Any]) -> Bundling:
    """Return the table of a canonical document that was valid when it was frozen."""
    values: dict[str, Any] = {}
    for key in Bundling.__slots__:
        default = getattr(_DEFAULT, key)
        if key == "redact":
            values[key] = tuple(sorted(_below(flat, "bundle.redact.").items()))
        elif isinstance(default, tuple):
            rows = [value for path, value in flat.items() if path.startswith(f"bundle.{key}.")]
            there = rows or f"bundle.{key}" in flat or "bundle.code" in flat
            values[key] = tuple(map(str, rows)) if there else default
        else:
            values[key] = flat.get(f"bundle.{key}", default)
    return Bundling(**values)


def _below(flat: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in flat.items() if key.startswith(prefix)
    }
