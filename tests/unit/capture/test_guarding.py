"""Data protection on the way out: what may be seen of a message, and of a slice of a capture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byteord._cext import journal
from byteord.capture.guarding import Guarding, guarding_of
from byteord.capture.slice import UNDIGESTED, Leaving, Slice, SliceWanted, slice_of
from byteord.capture.spec_view import SpecView
from byteord.stages.guard.rules import parse_rule
from tests.support.captures import capture, segment
from tests.support.guard import REGISTRY, config_of, redact_by

PLANTED = "Zq7planted9w4"
RULES = ("user:hash", "ip:mask=2:3:*", "note:truncate=5", "port:drop", "score:replace_with=0")
KEY = bytes(range(32))
Config = dict[str, Any]


def guarding(*configs: Config, rules: Config | None = None, slot_bytes: int = 1024) -> Guarding:
    """Return the rules of a run with one redacting stage for each configuration."""
    made = guarding_of(
        [("identity", {}), *(("dataguard_redact", config) for config in configs)],
        [REGISTRY.decode()],
        rules=rules or {},
        slot_bytes=slot_bytes,
        key=KEY,
    )
    assert made is not None
    return made


def view(payload: bytes, *configs: Config, **more: Any) -> bytes | None:
    """Return what may be seen of a payload."""
    guard = guarding(*configs, **more).open()
    assert guard is not None
    return guard.view(payload)


def own_key(made: Guarding) -> bytes:
    """Return the key of its hashes."""
    return bytes.fromhex(made.configs[0]["hash_key"])


def login(**fields: Any) -> bytes:
    """Return a message of the registry's type login."""
    return json.dumps({"type": "login", "version": 3, "user": PLANTED, **fields}).encode()


@settings(max_examples=60, deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {"user": st.text(max_size=20)},
        optional={
            "ip": st.text(max_size=12),
            "note": st.text(max_size=12),
            "port": st.integers(0, 65_535),
            "ok": st.booleans(),
        },
    ),
    parts=st.integers(1, 3),
)
def test_a_view_is_what_the_stages_would_leave(fields: dict[str, Any], parts: int) -> None:
    """Whether one stage has all rules or several share them, as written in plain Python."""
    configs = [config_of(RULES[first::parts]) for first in range(parts)]
    made = guarding(*configs)
    guard = made.open()
    assert guard is not None
    rules = [rule for text in RULES if (rule := parse_rule(text)) is not None]
    message = {"type": "login", "version": 3, **fields}
    seen = guard.view(json.dumps(message).encode())
    assert seen is not None
    assert json.loads(seen) == json.loads(redact_by(message, rules, key=own_key(made)))


@pytest.mark.parametrize(
    "payload",
    [
        b"no message",
        b"",
        PLANTED.encode(),
        login(strange=1),
        login(port="a text"),
        b'{"type":"unknown","version":3,"user":"x"}',
        b'{"version":3,"user":"x"}',
        login()[:-1],
        b'{"type":"login","version":9,"user":"x"}',
        b'{"type":"login","version":3,"user":"x","user":"y"}',
        login(note="x" * 2000),
    ],
)
def test_what_does_not_fit_is_not_seen(payload: bytes) -> None:
    """No message, no schema, a field too many, a type that is not the schema's: nothing at all."""
    assert view(payload, config_of(("user:hash",), on_reject="drop")) is None


def test_a_field_that_is_gone_or_changed_already_is_no_misfit() -> None:
    """What left a run has been through its rules: a required field may be away or another type."""
    gone = b'{"type":"login","version":3,"note":"0123456"}'
    assert view(gone, config_of(("user:drop", "note:truncate=5"))) is not None
    assert view(login(port="x"), config_of(("user:hash", "port:drop"))) is not None
    assert view(gone, config_of(("note:truncate=5",))) is None


def test_each_stage_has_the_messages_that_it_has_schemas_for() -> None:
    """A stage whose schemas do not name a message's type has nothing to say of it."""
    open_ = b'{"type":"open","version":1,"user":"x","note":"%s"}' % PLANTED.encode()
    first = config_of(("user:hash",), **{"schemas.0": "open"})
    second = config_of(("note:drop",), **{"schemas.0": "login"})
    assert PLANTED.encode() in (view(open_, first, second) or b"")
    assert json.loads(view(login(note=PLANTED), first, second) or b"") == json.loads(login())


def test_another_key_gives_another_digest_and_the_rules_have_one() -> None:
    """Hashes of one view do not correlate with those of another; `rules_sha256` names no key."""
    one = guarding(config_of(("user:hash",)))
    two = guarding_of(
        [("dataguard_fused", config_of(("user:hash",)))],
        [REGISTRY.decode()],
        rules={},
        slot_bytes=1024,
        key=bytes(32),
    )
    assert two is not None
    assert one.rules_sha256 == two.rules_sha256 != guarding(config_of(("ip:drop",))).rules_sha256
    assert own_key(one) != own_key(two)


def test_rules_of_the_deployment_count_besides() -> None:
    """Without a stage of the run, and with one; rules that do not fit let nothing through."""
    rules = config_of(("user:drop",))
    seen = view(login(), rules=rules)
    assert seen is not None
    assert PLANTED.encode() not in seen
    assert PLANTED.encode() not in (view(login(), config_of(("note:drop",)), rules=rules) or b"")
    broken = guarding(config_of(("nothing:drop",)))
    assert broken.open() is None
    assert "nothing" in broken.problem
    kinds: list[tuple[str, Config]] = [("filter", {}), ("dataguard_check", {})]
    assert guarding_of(kinds, [], rules={}, slot_bytes=64, key=KEY) is None


def taken(top: Path, wanted: SliceWanted, made: Guarding) -> tuple[Slice, dict[str, bytes]]:
    """Return a slice of a capture through the rules, and its files."""
    found = slice_of(str(top), wanted, Leaving(SpecView, payload=True, guarding=made))
    files = {}
    for entry in found.entries:
        files[entry.name] = b"".join(entry.pieces())
        assert len(files[entry.name]) == entry.size
    return found, files


def recorded(top: Path, count: int = 60, each: int = 20) -> Path:
    """Return a capture of messages with a secret in them, every tenth of them unreadable."""
    capture(top, messages=0)
    journal_dir = top / "in" / "in"
    for first in range(0, count, each):
        payloads = [
            b"broken " + PLANTED.encode() if n % 10 == 9 else login(port=n)
            for n in range(first, first + each)
        ]
        data = segment(first, payloads, segment_bytes=8192)
        (journal_dir / f"{first:020d}.seg").write_bytes(data)
    return top


def test_a_slice_goes_through_the_rules(tmp_path: Path) -> None:
    """Every message is there, redacted or empty; counts and the digest of the rules are told."""
    made = guarding(config_of(("user:drop",)))
    found, files = taken(recorded(tmp_path / "r"), SliceWanted(), made)
    assert not any(PLANTED.encode() in data for data in files.values())
    rows = [
        row
        for name, data in files.items()
        if name.startswith("capture/in/")
        for row in journal.entries(data)
    ]
    assert [row[0] for row in rows] == list(range(60)) == [row[1] for row in rows]
    wanted = [
        b"" if n % 10 == 9 else json.dumps({"type": "login", "version": 3, "port": n}).encode()
        for n in range(60)
    ]
    assert [row[4].replace(b" ", b"") for row in rows] == [
        each.replace(b" ", b"") for each in wanted
    ]
    counts = {"messages": 60, "changed": 54, "withheld": 6}
    assert found.redacted == {"rules_sha256": made.rules_sha256, **counts}
    assert json.loads(files["capture/slice.json"])["journals"]["in/in"]["redacted"] == counts
    assert json.loads(files["capture/capture.json"])["redacted"] == found.redacted
    assert json.loads(files["capture/out/out.json"]) == {"count": 0, "withheld": UNDIGESTED}


def test_a_part_of_a_slice_and_its_bound(tmp_path: Path) -> None:
    """The last so many begin within a segment; one that is too large loses its oldest segments."""
    top, made = recorded(tmp_path / "r"), guarding(config_of(("user:hash",)))
    _, files = taken(top, SliceWanted(last_messages=25), made)
    names = [name for name in files if name.startswith("capture/in/")]
    assert [Path(name).name for name in names] == [f"{n:020d}.seg" for n in (35, 40)]
    assert sum(len(journal.entries(files[name])) for name in names) == 25
    found, files = taken(top, SliceWanted(bytes_max=8192), made)
    (name,) = (name for name in files if name.startswith("capture/in/"))
    assert Path(name).name == f"{40:020d}.seg"
    assert "capture/in/in before frame 40" in found.left_out


def test_rules_that_cannot_be_applied_let_no_message_leave(tmp_path: Path) -> None:
    """The reason stands in what is left out."""
    found, files = taken(recorded(tmp_path / "r"), SliceWanted(), guarding(config_of(("no:drop",))))
    assert not any(name.startswith("capture/in/") for name in files)
    assert "no" in found.left_out["capture/in/in"]


def test_a_torn_end_and_a_damaged_middle(tmp_path: Path) -> None:
    """Only what is whole goes through; the damage is said."""
    top = recorded(tmp_path / "r")
    path = top / "in" / "in" / f"{40:020d}.seg"
    data = bytearray(path.read_bytes())
    data[64 + 200] ^= 1
    path.write_bytes(bytes(data))
    _, files = taken(top, SliceWanted(), guarding(config_of(("user:drop",))))
    rows = journal.entries(files[f"capture/in/in/{40:020d}.seg"])
    assert [row[0] for row in rows] == [40]
    said = json.loads(files["capture/slice.json"])["journals"]["in/in"]["damaged"]
    assert said[0]["segment"] == path.name
