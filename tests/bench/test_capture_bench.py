"""The bench of recording works: both sides are measured, and its line says so."""

from __future__ import annotations

from pathlib import Path

from tests.bench.capture_bench import Shape, compare, disk_mib_s, measure, shapes


def test_a_recorded_run_is_measured_beside_a_plain_one(tmp_path: Path) -> None:
    """Messages flow on both sides, and what is kept is part of what flowed."""
    shape = Shape(64, "always", 20_000, "degrade")
    figure = measure(shape, tmp_path, 0.3)
    assert figure.rate > 0
    assert 0 < figure.kept_share < 2
    line = compare(shape, tmp_path, 1, 0.2)
    assert "ratio" in line
    assert "kept" in line


def test_shapes_cover_full_rate_and_what_the_disk_keeps_up_with(tmp_path: Path) -> None:
    """Both message sizes, both policies; the rates follow the disk's own speed."""
    disk = disk_mib_s(tmp_path, 4 << 20)
    assert disk > 0
    found = shapes(100.0)
    assert {each.slot_bytes for each in found} == {64, 1024}
    assert {each.on_full for each in found} == {"degrade", "wait"}
    assert {each.rate for each in found if each.rate} == {273_066, 49_648}
