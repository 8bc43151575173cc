"""Z: what `--measure` found, judged. The measuring itself is `byteord.doctor.measure`'s."""

from __future__ import annotations

from typing import Any

from byteord.doctor.look import Look
from byteord.doctor.model import EVERY, TUNED, Asked, SkippedError, Verdict, judge
from byteord.doctor.register import check

CLOCK_NS_MAX = 100
BUDGET_NS = 10_000
"""An interruption longer than this counts: the tick of an untuned kernel stays below it."""
HAND_OVER_P99_NS_MAX = 1000
WAKE_P99_US_MAX = 150
TOUCH_WARM_NS_MAX = 100
FSYNC_P99_US_MAX = 10_000
LAG_MS_MAX = 50


def part(asked: Asked, name: str) -> Any:
    """Return a part of the measurements; raises SkippedError with the reason for its absence."""
    if not asked.measured:
        raise SkippedError("only with --measure")
    found = asked.measured.get(name)
    if not found:
        why = asked.measured.get("left_out", {}).get(name, "it was not measured")
        raise SkippedError(str(why))
    return found


@check(
    "Z01",
    "cost of a clock read",
    "measured",
    f"at most {CLOCK_NS_MAX} ns",
    "choose the TSC as clock source (T01)",
    profiles=EVERY,
    reference="byteor: one clock read per batch",
    cost="measure",
)
def _clock(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "clock")
    observed = f"clock_gettime {found['clock_ns']:.0f} ns, run clock {found['run_ns']:.0f} ns"
    return judge(found["run_ns"] <= CLOCK_NS_MAX, observed)


@check(
    "Z02",
    "interruptions of a spinning worker",
    "measured on each of the workers' CPUs",
    f"none longer than {BUDGET_NS // 1000} us",
    "see I04, C05 and C12 for who interrupts; a hypervisor is not to be seen from inside",
    reference="rt-tests: oslat measures the same",
    cost="measure",
)
def _jitter(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "jitter")
    over = sum(each["over_budget"] for each in found)
    longest = max(each["longest_ns"] for each in found) / 1000
    observed = f"{over} over budget on {len(found)} CPUs, longest {longest:.0f} us"
    return judge(over == 0, observed)


@check(
    "Z03",
    "time to wake up a worker that waits",
    "measured for backoff and park",
    f"p99 at most {WAKE_P99_US_MAX} us",
    "hold cpu_dma_latency (P06), forbid deep idle states (P05), or spin",
    profiles=EVERY,
    reference="rt-tests: cyclictest measures the same",
    cost="measure",
)
def _wake(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "wake")
    observed = ", ".join(
        f"{name} p50 {each['p50_ns'] / 1000:.0f} us, p99 {each['p99_ns'] / 1000:.0f} us"
        for name, each in found.items()
    )
    worst = max(each["p99_ns"] for each in found.values())
    return judge(worst <= WAKE_P99_US_MAX * 1000, observed)


@check(
    "Z04",
    "hand-over between workers",
    "measured through a ring, for each pair of the plan",
    f"p99 at most {HAND_OVER_P99_NS_MAX} ns one way",
    "workers on one last-level cache (C10), siblings idle (C07)",
    reference="byteor: data plane, hand-over",
    cost="measure",
)
def _hand_over(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "hand_over")
    observed = ", ".join(
        f"{each['from']} to {each['to']}: p50 {each['p50_ns']:.0f} ns, p99 {each['p99_ns']:.0f} ns"
        for each in found[:3]
    )
    return judge(max(each["p99_ns"] for each in found) <= HAND_OVER_P99_NS_MAX, observed)


@check(
    "Z05",
    "touching memory",
    "measured on pages of the regions' directory",
    f"warm pages at most {TOUCH_WARM_NS_MAX} ns, no fault",
    "prefault = true and mlock = true",
    profiles=EVERY,
    reference="byteor: the first touch of a page costs microseconds",
    cost="measure",
)
def _touch(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "faults")
    observed = f"first touch {found['first_ns']:.0f} ns, warm {found['warm_ns']:.0f} ns, "
    observed += f"{found['warm_faults']} faults when warm"
    return judge(found["warm_ns"] <= TOUCH_WARM_NS_MAX and not found["warm_faults"], observed)


@check(
    "Z06",
    "writing through to the disk",
    "measured: 100 writes of 4 KiB with fdatasync in the state directory",
    f"p99 at most {FSYNC_P99_US_MAX // 1000} ms",
    "a disk with power-loss protection; journals on a disk of their own",
    profiles=EVERY,
    reference="fdatasync(2)",
    cost="measure",
)
def _fsync(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "fsync")
    observed = f"p50 {found['p50_us']:.0f} us, p99 {found['p99_us']:.0f} us of {found['count']}"
    return judge(found["p99_us"] <= FSYNC_P99_US_MAX, observed)


@check(
    "Z07",
    "latency of the hardware",
    "hwlat or hwnoise tracer",
    "none over 10 us",
    "rtla hwnoise, as root: it turns interrupts off while it looks",
    profiles=TUNED,
    reference="rtla-hwnoise(1)",
    cost="measure",
)
def _hardware(_: Look, asked: Asked) -> Verdict:
    part(asked, "clock")
    raise SkippedError(
        "the kernel's tracer would have to be switched on, and doctor changes nothing"
    )


@check(
    "Z08",
    "lag of the daemon's loop",
    "measured while the rest is",
    f"at most {LAG_MS_MAX} ms",
    "leave the daemon a CPU (C04)",
    profiles=EVERY,
    reference="byteor: control plane, the daemon",
    cost="measure",
)
def _lag(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "loop")
    observed = f"p99 {found['p99_ms']:.1f} ms, longest {found['max_ms']:.1f} ms"
    return judge(found["max_ms"] <= LAG_MS_MAX, observed)
