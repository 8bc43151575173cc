"""The page of checks, against the registry."""

from __future__ import annotations

from pathlib import Path

import byteord.doctor
from byteord.doctor import reference
from byteord.doctor.model import GROUPS
from byteord.doctor.registry import CHECKS

PAGE = Path(byteord.doctor.__file__).with_name("CHECKS.md")


def test_the_page_is_what_the_registry_says() -> None:
    """The committed page is current.

    If not: `python -m byteord.doctor.reference > byteord/doctor/CHECKS.md`.
    """
    assert PAGE.read_text() == reference.render()


def test_every_check_is_on_the_page_and_explained() -> None:
    """Each has a row; each names where it looks, what it wants, what to do, and whence the wish."""
    page = PAGE.read_text()
    for check in CHECKS:
        assert f"| `{check.code}` | {check.title} |" in page
        assert check.evidence, check.code
        assert check.wanted, check.code
        assert check.fix, check.code
        assert check.reference, check.code
    assert {check.group for check in CHECKS} == set(GROUPS)


def test_the_catalogue_is_whole() -> None:
    """Codes are stable: every group has its numbers without a gap."""
    sizes = dict.fromkeys(GROUPS, 0)
    for check in CHECKS:
        sizes[check.group] += 1
    wanted = {"K": 13, "C": 17, "P": 11, "T": 8, "M": 21, "I": 10, "S": 10, "G": 12, "N": 10}
    assert sizes == wanted | {"D": 14, "V": 4, "X": 13, "Z": 8}
    for group, size in sizes.items():
        for number in range(1, size + 1):
            assert any(check.code == f"{group}{number:02d}" for check in CHECKS)
