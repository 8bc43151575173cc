"""What a run came to: its first failure as the regions tell it, and the result it leaves."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from byteord._cext.control import Control
from byteord.deployment.plan import RunPlan


def read_failure(control: Control, plan: RunPlan) -> dict[str, Any]:
    """Return the first failure of a run."""
    run = control.run()
    index = run["failed_role"] if run["failed_role"] is not None else 0
    role = plan.roles[index]
    errors = control.role(index)["errors"]
    return {
        "reason": run["failure"] or "WORKER_DIED",
        "role": role.name,
        "stage": role.stage or role.adapter,
        "sequence": run["failed_sequence"],
        "message_sha256": run["failed_sha256"],
        "message": errors[-1]["text"] if errors else "it failed without saying why; see shim.log",
    }


def end_words(control: Control, roles: Sequence[int]) -> str:
    """Say which of a worker's roles failed, and of what; empty when none did."""
    shown = (control.role(index) for index in roles if control.state(index) == "failed")
    said = [(role["name"], role["errors"][-1]["text"]) for role in shown if role["errors"]]
    words = " and ".join(f"`{name}` failed ({text})" for name, text in said)
    return f"because {words}" if words else ""


def write_result(directory: str, status: Mapping[str, Any]) -> None:
    """Leave the last status in the run directory, whole or not at all."""
    path = os.path.join(directory, "result.json")
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(status, file)
        os.rename(f"{path}.new", path)
    except OSError as error:
        sys.stderr.write(f"result.json: {error}\n")
