"""Runs checks side by side and makes their report.

Owns the one place where whatever a judge raises becomes a state: a host that shows little, or
nonsense, is reported, never an error. It must not change the host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from byteord.doctor.emit import shell_lines
from byteord.doctor.kernel import CapturedKernel, Kernel, LiveKernel
from byteord.doctor.look import Look
from byteord.doctor.model import (
    Asked,
    Check,
    Report,
    Result,
    SkippedError,
    State,
    UnknownError,
    Verdict,
)
from byteord.tuning.root import HostRoot

PROBE_S = 0.4
DEADLINE_S = 1.8
THREADS = 8
REPORTED = "not asked for"


def run_checks(
    checks: Sequence[Check],
    asked: Asked,
    root: HostRoot,
    *,
    later: HostRoot | None = None,
    kernel: Kernel | None = None,
    pause: Callable[[float], None] = time.sleep,
    deadline_s: float = DEADLINE_S,
) -> Report:
    """Return the report of some checks.

    Args:
        checks: which.
        asked: what the host is to be ready for.
        root: the host, or a captured tree.
        later: the tree that checks which look twice see the second time; None: `root` again.
        kernel: answers what no file does; None: the one that belongs to `root`.
        pause: waits between the two looks.
        deadline_s: a check that has not answered by then is `unknown`.
    """
    started, unix = time.monotonic(), time.time()
    kernel = kernel or kernel_of(root)
    probing = [check for check in checks if check.cost == "probe"]
    first = {check.code: _first_look(check, asked, root, kernel) for check in probing}
    begun = time.monotonic()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="doctor")
    answers: dict[str, Future[Result]] = {
        check.code: pool.submit(answer, check, asked, Look(root, kernel))
        for check in checks
        if check.cost != "probe"
    }
    if probing:
        pause(max(0.0, PROBE_S - (time.monotonic() - begun)))
    second = later or root
    for check in probing:
        look = Look(second, kernel, first[check.code].keep())
        look.elapsed_s = time.monotonic() - begun
        answers[check.code] = pool.submit(answer, check, asked, look)
    wait(answers.values(), timeout=max(0.0, deadline_s - (time.monotonic() - started)))
    pool.shutdown(wait=False, cancel_futures=True)
    return Report(
        profile=asked.profile,
        cpus=asked.cpus,
        checks=tuple(_collect(check, asked, answers[check.code]) for check in checks),
        seconds=time.monotonic() - started,
        host=host_facts(root, kernel),
        started_unix_s=unix,
    )


def kernel_of(root: HostRoot) -> Kernel:
    """Return the kernel that belongs to a root."""
    return LiveKernel() if root.live else CapturedKernel.of(root)


def host_facts(root: HostRoot, kernel: Kernel) -> dict[str, str]:
    """Return what the report says of the host."""
    release, machine = kernel.uname()
    model = (root.text("/proc/cpuinfo") or "").partition("model name")[2].partition("\n")[0]
    name = (root.text("/proc/sys/kernel/hostname") or "").strip()
    return {"name": name, "kernel": release, "machine": machine, "cpu": model.strip("\t: ")}


def answer(check: Check, asked: Asked, look: Look) -> Result:
    """Return what one check says; never raises for what the host shows."""
    try:
        verdict = check.judge(look, asked)
    except SkippedError as error:
        verdict = Verdict(State.SKIPPED, "", str(error))
    except UnknownError as error:
        verdict = Verdict(State.UNKNOWN, "", str(error))
    except (ValueError, LookupError, OSError, ArithmeticError, TypeError) as error:
        said = f"what the host shows cannot be understood ({type(error).__name__}: {error})"
        verdict = Verdict(State.UNKNOWN, "", said[:200])
    return _result(check, asked, verdict, look)


def _result(check: Check, asked: Asked, verdict: Verdict, look: Look | None) -> Result:
    state, reason = verdict.state, verdict.reason
    wished = asked.profile in check.profiles
    if not wished and state in (State.DEGRADED, State.FAILED):
        state, reason = State.OK, f"{REPORTED}: {reason}" if reason else REPORTED
    broken = state in (State.DEGRADED, State.FAILED)
    remedies = check.remedies(asked) if broken else ()
    return Result(
        code=check.code,
        title=check.title,
        group=check.group,
        cost=check.cost,
        state=state,
        observed=verdict.observed,
        wanted=(verdict.wanted or check.wanted) if wished or not check.profiles else "",
        reason=reason,
        evidence=tuple(look.evidence) if look else (),
        fix=check.fix if broken else "",
        command="\n".join(shell_lines(remedies)),
        reference=check.reference,
        remedies=remedies,
    )


def _first_look(check: Check, asked: Asked, root: HostRoot, kernel: Kernel) -> Look:
    look = Look(root, kernel)
    answer(check, asked, look)
    return look


def _collect(check: Check, asked: Asked, future: Future[Result]) -> Result:
    if future.done() and not future.cancelled():
        return future.result()
    verdict = Verdict(State.UNKNOWN, "", "it did not answer in time")
    return _result(check, asked, verdict, None)
