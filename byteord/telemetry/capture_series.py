"""The series of recorded runs, one set per stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COUNTS = {
    "byteor_capture_messages_total": "seen",
    "byteor_capture_kept_total": "kept",
    "byteor_capture_bytes_total": "bytes",
    "byteor_capture_gaps_total": "gaps",
    "byteor_capture_lag_bytes": "lag_bytes",
}


def put_capture(page: dict[str, list[str]], run: str, streams: Sequence[Mapping[str, Any]]) -> None:
    """Add what the recorder of a run has kept, and what is missing; `run`: its labels."""
    for each in streams:
        labels = f'{run},role="{each["name"]}",stream="{each["stream"]}"'
        for name, key in _COUNTS.items():
            page[name].append(f"{name}{{{labels}}} {each[key]}")
        disk = each["lost_disk"]
        for reason, lost in (("disk", disk), ("behind", each["lost"] - disk)):
            name = "byteor_capture_lost_total"
            page[name].append(f'{name}{{{labels},reason="{reason}"}} {lost}')
        name = "byteor_capture_disk_full"
        page[name].append(f"{name}{{{labels}}} {int(each['state'] == 'disk_full')}")
