# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""What a host takes from a spinning thread: interruptions, hand-over, waking up, clock, memory.

For doctor, in a process of its own; never for a run. The threads are `probe_threads.c`'s. Every function takes
the TSC's `mult` (0: CLOCK_MONOTONIC), blocks for a bounded time without the GIL, and raises OSError for
what the kernel refused.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from layout cimport (
    BYTEOR_HISTOGRAM_BUCKETS,
    BYTEOR_REGION_RING,
    byteor_clock,
    byteor_clock_anchor,
    byteor_histogram,
    byteor_map,
    byteor_region_open,
    byteor_region_unmap,
    byteor_ring,
    byteor_ring_view,
)

import os

WAITS = {"backoff": 1, "park": 2}


cdef extern from "histogram.h" nogil:
    uint64_t byteor_histogram_low(uint32_t)


cdef extern from "probe.h" nogil:
    ctypedef struct byteor_jitter:
        int32_t cpu
        int32_t error
        uint64_t turns
        uint64_t elapsed_ns
        uint64_t over_budget
        uint64_t switches
        byteor_histogram gaps

    int byteor_probe_jitter(byteor_jitter *, uint32_t, uint64_t, uint64_t, uint64_t, const byteor_clock *) noexcept
    int byteor_probe_hand_over(const byteor_ring *, const byteor_ring *, int, int, uint64_t, const byteor_clock *,
                               byteor_histogram *) noexcept
    int byteor_probe_wake(uint32_t, uint64_t, int, int, uint32_t, uint64_t, const byteor_clock *,
                          byteor_histogram *) noexcept
    int byteor_probe_timer(int, uint64_t, uint32_t, const byteor_clock *, byteor_histogram *) noexcept
    void byteor_probe_clock(const byteor_clock *, double *, double *) noexcept
    int byteor_probe_touch(int, uint64_t, const byteor_clock *, double *, double *, uint64_t *, uint64_t *) noexcept


cdef _check(int status):
    if status:
        raise OSError(-status, os.strerror(-status))


cdef _read(const byteor_histogram *histogram):
    """Return count, sum, longest and the buckets that are not empty, each with its smallest value."""
    cdef uint32_t index
    buckets = []
    for index in range(BYTEOR_HISTOGRAM_BUCKETS):
        if histogram.bucket[index]:
            buckets.append((byteor_histogram_low(index), histogram.bucket[index]))
    return {
        "count": histogram.count,
        "sum_ns": histogram.sum_ns,
        "longest_ns": histogram.max_ns,
        "buckets": buckets,
    }


def jitter(cpus, *, window_ns, threshold_ns, budget_ns, mult):
    """Return the interruptions of a spinning thread on each of `cpus`, all at once."""
    cdef uint32_t count = len(cpus)
    cdef uint64_t window = window_ns, threshold = threshold_ns, budget = budget_ns
    cdef byteor_clock clock
    cdef int status
    cdef byteor_jitter *results = <byteor_jitter *> calloc(max(count, 1), sizeof(byteor_jitter))
    if results == NULL:
        raise MemoryError("no memory for results")
    try:
        for index, cpu in enumerate(cpus):
            results[<size_t> index].cpu = cpu
        byteor_clock_anchor(&clock, mult)
        with nogil:
            status = byteor_probe_jitter(results, count, window, threshold, budget, &clock)
        _check(status)
        return [_jitter(&results[i]) for i in range(count)]
    finally:
        free(results)


cdef _jitter(const byteor_jitter *result):
    return {
        "cpu": result.cpu,
        "error": os.strerror(result.error) if result.error else "",
        "turns": result.turns,
        "elapsed_ns": result.elapsed_ns,
        "over_budget": result.over_budget,
        "switches": result.switches,
        **_read(&result.gaps),
    }


def hand_over(int there_fd, int back_fd, int left_cpu, int right_cpu, *, window_ns, mult):
    """Return one-way times between two CPUs through two empty ring regions, for about `window_ns`."""
    cdef byteor_map there_map, back_map
    cdef byteor_ring there, back
    cdef char text[256]
    cdef uint64_t window = window_ns
    cdef byteor_clock clock
    cdef int status
    if byteor_region_open(there_fd, BYTEOR_REGION_RING, 1, 0, &there_map, text, sizeof(text)):
        raise ValueError(text.decode("utf-8", "replace"))
    if byteor_region_open(back_fd, BYTEOR_REGION_RING, 1, 0, &back_map, text, sizeof(text)):
        byteor_region_unmap(&there_map)
        raise ValueError(text.decode("utf-8", "replace"))
    cdef byteor_histogram *times = <byteor_histogram *> calloc(1, sizeof(byteor_histogram))
    try:
        if times == NULL:
            raise MemoryError("no memory for results")
        byteor_ring_view(&there_map, &there)
        byteor_ring_view(&back_map, &back)
        byteor_clock_anchor(&clock, mult)
        with nogil:
            status = byteor_probe_hand_over(&there, &back, left_cpu, right_cpu, window, &clock, times)
        _check(status)
        return _read(times)
    finally:
        free(times)
        byteor_region_unmap(&there_map)
        byteor_region_unmap(&back_map)


def wake(kind, *, sleep_ns_max, int poster_cpu, int waiter_cpu, uint32_t posts, pause_ns, mult):
    """Return how long a waiter takes to see a post, by wait strategy (`backoff`, `park`). CPU -1: any."""
    cdef uint32_t strategy = WAITS[kind]
    cdef uint64_t bound = sleep_ns_max, pause = pause_ns
    cdef byteor_clock clock
    cdef int status
    cdef byteor_histogram *times = <byteor_histogram *> calloc(1, sizeof(byteor_histogram))
    try:
        if times == NULL:
            raise MemoryError("no memory for results")
        byteor_clock_anchor(&clock, mult)
        with nogil:
            status = byteor_probe_wake(strategy, bound, poster_cpu, waiter_cpu, posts, pause, &clock, times)
        _check(status)
        return _read(times)
    finally:
        free(times)


def timer(int cpu, *, sleep_ns, uint32_t times, mult):
    """Return how much later than asked a sleep ends."""
    cdef uint64_t asked = sleep_ns
    cdef byteor_clock clock
    cdef int status
    cdef byteor_histogram *late = <byteor_histogram *> calloc(1, sizeof(byteor_histogram))
    try:
        if late == NULL:
            raise MemoryError("no memory for results")
        byteor_clock_anchor(&clock, mult)
        with nogil:
            status = byteor_probe_timer(cpu, asked, times, &clock, late)
        _check(status)
        return _read(late)
    finally:
        free(late)


def clock_cost(mult):
    """Return nanoseconds of one read of the run's clock and of clock_gettime."""
    cdef byteor_clock clock
    cdef double run_ns = 0, clock_ns = 0
    byteor_clock_anchor(&clock, mult)
    with nogil:
        byteor_probe_clock(&clock, &run_ns, &clock_ns)
    return {"run_ns": run_ns, "clock_ns": clock_ns}


def touch(int fd, bytes_, mult):
    """Return nanoseconds and faults per page of the first and the second touch of a file's memory."""
    cdef uint64_t size = bytes_
    cdef byteor_clock clock
    cdef double first_ns = 0, warm_ns = 0
    cdef uint64_t first = 0, warm = 0
    cdef int status
    byteor_clock_anchor(&clock, mult)
    with nogil:
        status = byteor_probe_touch(fd, size, &clock, &first_ns, &warm_ns, &first, &warm)
    _check(status)
    return {"first_ns": first_ns, "warm_ns": warm_ns, "first_faults": first, "warm_faults": warm}
