"""Every check there is, by code.

A new check stands in a module of `byteord.doctor.checks`; a new module is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable

from byteord.doctor.checks import (  # noqa: F401  importing registers
    cgroups,
    cpus,
    interrupts,
    kernel,
    limits,
    measured,
    memory,
    network,
    power,
    product,
    storage,
    tasks,
    time,
)
from byteord.doctor.model import GROUPS, Check
from byteord.doctor.register import FOUND
from byteord.errors import InvalidArgumentError

CHECKS: tuple[Check, ...] = tuple(
    FOUND[code] for code in sorted(FOUND, key=lambda code: (list(GROUPS).index(code[0]), code))
)
"""In the order of the report."""


def selected(groups: Iterable[str] = (), codes: Iterable[str] = ()) -> tuple[Check, ...]:
    """Return the checks of some groups or with some codes; all when neither is named.

    Raises InvalidArgumentError for a group or code that does not exist.
    """
    wanted_groups = {group.upper() for group in groups}
    wanted_codes = {code.upper() for code in codes}
    _refuse("group", wanted_groups - set(GROUPS), f"one of {', '.join(GROUPS)}")
    _refuse("code", wanted_codes - set(FOUND), "a code of the catalogue, such as K01")
    if not wanted_groups and not wanted_codes:
        return CHECKS
    return tuple(
        check for check in CHECKS if check.group in wanted_groups or check.code in wanted_codes
    )


def _refuse(what: str, strange: set[str], wanted: str) -> None:
    if strange:
        raise InvalidArgumentError(
            f"{what}: seen {', '.join(sorted(strange))}; wanted {wanted}",
            reason="CHECK_UNKNOWN",
        )
