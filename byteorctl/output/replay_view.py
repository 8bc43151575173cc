"""A replay as people see it: verdict, egresses, the first difference, steps, failure."""

from __future__ import annotations

from collections.abc import Sequence

from byteorctl.errors import Plain
from byteorctl.output.payload import Decoder
from byteorctl.output.quantities import count, duration, size
from byteorctl.output.screen import Screen

NS_PER_S = 1_000_000_000
_LIMIT = "and [replay] of the daemon's configuration)"
STOPPED = {
    "actions_limit": f"actions_limit: no more may be attempted (--max-actions, {_LIMIT}",
    "input_limit": f"input_limit: there is more input than that (--max-input, {_LIMIT}",
    "divergence": "divergence: the first difference, as --until-divergence wants it",
    "failure": "failure: it is told below",
}
NOT_SHOWN = "(not shown; sha256:{})"
WITHHELD = "(withheld; it fits no schema of the data protection rules)"


def show_replay(screen: Screen, result: Plain, decode: Decoder) -> None:
    """Draw what a replay came to."""
    screen.fields(
        [
            ("replay", ": ".join(filter(None, (result["replay_id"], words(result))))),
            ("mode", result["mode"]),
            ("input", _input(result)),
            ("speed", speed(result)),
            ("actions", count(result["actions"]) if result["actions"] else ""),
            ("stopped by", STOPPED.get(str(result["stopped_by"]), "")),
        ]
    )
    for reason in result["reasons"]:
        screen.line(f"  {reason['code']}: {reason['message']}")
    show_egresses(screen, result["egresses"])
    show_failed_otherwise(screen, result["failed_otherwise"])
    show_failure(screen, result.get("failure"))
    show_divergence(screen, result.get("divergence"), decode)
    show_steps(screen, result["steps"], decode)


def words(result: Plain) -> str:
    """Return the verdict in words."""
    return str(result["verdict"]).replace("_", " ") or "would be replayed"


def speed(result: Plain) -> str:
    """Return messages per second, of what reached an egress."""
    if not result["elapsed_ns"]:
        return ""
    rate = int(result["replayed"]) * NS_PER_S / int(result["elapsed_ns"])
    return f"{count(round(rate))} messages/s ({duration(int(result['elapsed_ns']))})"


def _input(result: Plain) -> str:
    replayed, selected = int(result["replayed"]), int(result["selected"])
    if not result["verdict"]:
        return f"{count(selected)} messages"
    of = "" if replayed == selected else f" of {count(selected)}"
    return f"{count(replayed)}{of} messages"


def show_egresses(screen: Screen, egresses: Sequence[Plain]) -> None:
    """Draw the table of egresses."""
    if not egresses:
        return
    rows = [
        [
            each["name"],
            each["verdict"].replace("_", " "),
            count(each["count"]),
            "-" if each["live_count"] is None else count(each["live_count"]),
            size(int(each["bytes"])),
            each["sha256"],
        ]
        for each in egresses
    ]
    screen.line()
    screen.table(["egress", "verdict", "#messages", "#live", "#bytes", "sha256"], rows)
    for each in egresses:
        if told := _beyond(each):
            screen.line(told)


def _beyond(egress: Plain) -> str:
    """Say what equal means where one side has more messages; empty where it has not."""
    live = egress["live_count"]
    if egress["verdict"] != "equal" or live is None or int(live) == int(egress["count"]):
        return ""
    now, then = int(egress["count"]), int(live)
    if now > then:
        more = f"{count(now - then)} more leave now than did before the run ended"
        return f"{egress['name']}: equal as far as the run came; {more}"
    return f"{egress['name']}: equal as far as it was replayed; {count(then - now)} followed live"


def show_failed_otherwise(screen: Screen, rows: Sequence[Plain]) -> None:
    """Draw which stages failed on other messages than live, where failures are passed over."""
    if rows:
        screen.line()
    for row in rows:
        where = f"{row['role']} ({row['stage']}): "
        number = int(row["count"])
        more = f"; {count(number)} such messages in all" if number > 1 else ""
        first = f"message {count(row['sequence'])}"
        if row["live"]:
            told = f"it failed on {first} live, and did not now"
        else:
            said = f" ({row['error']})" if row["error"] else ""
            told = f"it failed on {first} now{said}, and did not live"
        screen.line(f"failed otherwise  {where}{told}{more}")


def show_failure(screen: Screen, failure: Plain | None) -> None:
    """Draw why a replay failed, if it did."""
    if not failure:
        return
    sequence = failure["sequence"]
    screen.line()
    screen.fields(
        [
            ("failure", failure["reason"]),
            ("  role", failure["role"]),
            ("  stage", failure["stage"]),
            ("  sequence", "" if sequence is None else str(sequence)),
            ("  message sha256", failure["message_sha256"]),
            ("  said", failure["message"]),
        ]
    )


def show_divergence(screen: Screen, found: Plain | None, decode: Decoder) -> None:
    """Draw the first difference, if there is one."""
    if not found:
        return
    first = found["window_first"]
    where = f"message {count(found['index'])}"
    if first is not None:
        where = f"one of the messages {count(first)} to {count(found['index'])}"
    sequence = "" if found["sequence"] is None else count(found["sequence"])
    screen.line()
    screen.fields(
        [
            ("first difference", f"egress {found['egress']}, {where}"),
            ("  ingress", f"{found['ingress']}, sequence {sequence}" if sequence else ""),
            ("  stage", found["stage"]),
            ("  byte", "" if found["byte"] is None else count(found["byte"])),
            ("  field", found["field"]),
            ("  live", _payload(found["live"], decode)),
            ("  replayed", _payload(found["replayed"], decode)),
            ("  came in as", _payload(found["upstream"], decode)),
        ]
    )
    show_steps(screen, found["steps"], decode)


def show_steps(screen: Screen, steps: Sequence[Plain], decode: Decoder) -> None:
    """Draw a message before and after each stage."""
    for step in steps:
        screen.line()
        pairs = [
            (
                f"{step['role']}",
                f"{step['stage']}: {step['outcome']} (sequence {step['sequence']})",
            ),
            ("  before", _payload(step["before"], decode)),
            ("  after", _payload(step["after"], decode)),
        ]
        pairs += [("  made", _payload(each, decode)) for each in step["emitted"]]
        screen.fields(pairs)


def _payload(payload: Plain | None, decode: Decoder) -> str:
    if payload is None:
        return ""
    if payload["shown"] == "digest":
        return f"{count(payload['length'])} bytes {NOT_SHOWN.format(payload['sha256'])}"
    if payload["shown"] == "withheld":
        return WITHHELD
    text = decode(bytes.fromhex(payload["hex"]))
    return f"{text} (redacted)" if payload["shown"] == "redacted" else text or "(empty)"
