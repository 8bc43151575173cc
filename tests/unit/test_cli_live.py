"""What `top`, `tap` and `dot --live` make of what they see."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from byteorctl.output.live_dot import HELD, HOLDER, live_dot
from byteorctl.output.payload import decoder
from byteorctl.output.top_view import Rates, bar, fitted


def run(received: int, *, full: bool = False) -> dict[str, Any]:
    """Return a run with one lane between two roles."""
    role = {"stage": "s", "kind": "stage", "state": "running", "skipped": 0, "rejected": {}}
    held = "`a` is held by lane `l`, full because `b` is 8 behind" if full else ""
    return {
        "id": "1",
        "name": "n",
        "roles": [
            {"name": "a", "received": received, "published": received, "dropped": 0} | role,
            {"name": "b", "received": 1, "published": 1, "dropped": 0} | role,
        ],
        "holds": [{"role": "a", "by": "b", "message": held}] if full else [],
        "lanes": [
            {
                "name": 'l"',
                "kind": "events",
                "depth": 8 if full else 0,
                "capacity": 8,
                "stripes": 1,
                "published": received,
                "dropped": {},
                "overruns": 0,
                "full": full,
                "held_by": "b" if full else "",
                "producers": ["a"],
                "consumers": [{"role": "b", "lossy": True, "lag_slots": 8 if full else 0}],
            }
        ],
    }


def test_rates_are_differences_over_time() -> None:
    """The first look has no rates; the second those of the interval between."""
    rates = Rates()
    rates.look([run(1_000)], 0.0)
    assert rates.text("1", "role", "a", "in") == "-"
    rates.look([run(4_000)], 2.0)
    assert rates.text("1", "role", "a", "in") == "1.5 k"
    assert rates.text("1", "lane", 'l"', "published") == "1.5 k"
    assert rates.text("1", "role", "b", "in") == "0"
    rates.look([], 1.0)
    assert rates.text("1", "role", "new", "in") == "-"


def test_what_has_no_room_is_said_below_what_has() -> None:
    """From the first line on, and never more lines than there are rows."""
    text = "".join(f"line {n}\n" for n in range(10))
    assert fitted(text, 10) == text
    cut = fitted(text, 4).splitlines()
    assert cut[:3] == ["line 0", "line 1", "line 2"]
    assert cut[3:] == ["... 7 more lines: a higher terminal has room, or name one run"]
    assert len(fitted(text, 0).splitlines()) == 2


def test_a_bar_fills_with_depth() -> None:
    """Empty, half and full look it; no room is no division."""
    assert bar(0, 8) == ".......... 0/8"
    assert bar(4, 8) == "#####..... 4/8"
    assert bar(9, 8) == "########## 9/8"
    assert bar(0, 0).endswith("0/0")


def test_a_full_lane_colours_whom_it_holds_and_who_holds_it() -> None:
    """The held role is red, the holder dark red; names are quoted; lossy edges are dashed."""
    calm, jammed = live_dot(run(1)), live_dot(run(1, full=True))
    assert HELD not in calm
    assert HOLDER not in calm
    assert f'"a" [shape=box, fillcolor="{HELD}"' in jammed
    assert f'"b" [shape=box, fillcolor="{HOLDER}"' in jammed
    assert '"lane l\\"" -> "b" [label="8", style=dashed' in jammed


@pytest.mark.parametrize(
    ("form", "payload", "shown"),
    [
        ("text", b"caf\xc3\xa9\x1b[2J", "café"),
        ("text", b"\xff", "\\xff"),
        ("hex", b"\x00\xff", "00 ff"),
        ("struct:<Hf2s", struct.pack("<Hf2s", 7, 0.5, b"T\0") + b"more", "7 0.5 T"),
        ("struct:<Q", b"\x01", "01 (short: 1 of 8 bytes)"),
    ],
)
def test_payloads_are_decoded_without_harm(form: str, payload: bytes, shown: str) -> None:
    """Text, bytes and fields; nothing that a terminal would obey comes through."""
    text = decoder(form)(payload)
    assert text.startswith(shown)
    assert "\x1b" not in text


@pytest.mark.parametrize("form", ["", "json", "struct", "struct:", "struct:?!"])
def test_a_form_that_does_not_exist_says_what_does(form: str) -> None:
    """The message names the form and what was wanted."""
    with pytest.raises(ValueError, match="wanted"):
        decoder(form)
