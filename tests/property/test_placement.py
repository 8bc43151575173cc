"""Placement over invented hosts: no CPU twice, none that is not allowed, near before far."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from byteord.deployment.topology import Cpu, Topology
from byteord.tuning.placement import SAME_CACHE, distance, place, usable_cpus
from tests.property.hosts import topologies

PINS = st.sampled_from(("balanced", "physical"))


@st.composite
def _questions(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    threads = draw(st.integers(1, 40))
    ends = st.tuples(st.integers(0, threads - 1), st.integers(0, threads - 1))
    edges = draw(st.lists(ends, max_size=60))
    return threads, [(min(pair), max(pair)) for pair in edges if pair[0] != pair[1]]


@settings(max_examples=150, deadline=None)
@given(topologies(), _questions(), PINS, st.booleans())
def test_no_cpu_is_given_twice_nor_one_that_is_not_allowed(
    host: Topology, question: tuple[int, list[tuple[int, int]]], pin: str, isolated: bool
) -> None:
    """Each busy thread has a CPU of its own out of the allowed ones, or all get the same set."""
    threads, edges = question
    places = place(threads, edges, pin, host, isolated=isolated)
    usable = usable_cpus(host, isolated=isolated)
    assert set(places.cpus) | set(places.shared) <= usable
    assert len(set(places.cpus)) == len(places.cpus)
    assert len(places.cpus) in (0, threads)
    assert not (places.cpus and places.shared)
    assert set(places.housekeeping) == usable - set(places.cpus) - set(places.shared)
    if pin == "balanced":
        assert bool(places.cpus) is (threads <= len(usable))
    assert places == place(threads, list(reversed(edges)), pin, host, isolated=isolated)


@settings(max_examples=100, deadline=None)
@given(topologies(), st.integers(1, 40))
def test_siblings_share_a_core_only_when_cores_run_out(host: Topology, threads: int) -> None:
    """`physical` never uses two CPUs of one core; `balanced` only with more threads than cores."""
    chain = [(i, i + 1) for i in range(threads - 1)]
    cpus = {cpu.number: cpu for cpu in host.cpus}
    usable = [cpus[cpu] for cpu in usable_cpus(host, isolated=False)]
    for pin in ("physical", "balanced"):
        places = place(threads, chain, pin, host, isolated=False)
        cores = [cpus[cpu].core for cpu in places.cpus]
        spread = len(set(cores)) == len(cores)
        assert spread or (pin == "balanced" and threads > _cores(usable))


@settings(max_examples=100, deadline=None)
@given(topologies(), st.integers(1, 20))
def test_the_first_core_is_left_free_while_others_will_do(host: Topology, threads: int) -> None:
    """Something is left to the rest of the host unless every physical core is needed."""
    places = place(threads, [], "balanced", host, isolated=False)
    cpus = {cpu.number: cpu for cpu in host.cpus}
    allowed = [cpus[cpu] for cpu in usable_cpus(host, isolated=False)]
    if places.cpus and threads < _cores(allowed):
        assert set(places.housekeeping)
        busy = {cpus[cpu].core for cpu in places.cpus}
        assert {cpu.core for cpu in allowed} - busy


@settings(max_examples=100, deadline=None)
@given(topologies(), st.integers(2, 12))
def test_a_chain_that_fits_one_cache_stays_in_it(host: Topology, threads: int) -> None:
    """Neighbours of a hand-over share the last-level cache where one holds them all."""
    chain = [(i, i + 1) for i in range(threads - 1)]
    places = place(threads, chain, "physical", host, isolated=False)
    cpus = {cpu.number: cpu for cpu in host.cpus}
    taken = [cpus[cpu] for cpu in places.cpus]
    if len({cpu.rank for cpu in host.cpus}) == 1 and _roomy(host, threads):
        assert all(distance(one, other) <= SAME_CACHE for one, other in pairwise(taken)), taken


def _roomy(host: Topology, threads: int) -> bool:
    """Tell whether one cache has that many allowed cores beside those left to the rest."""
    allowed = [cpu for cpu in host.cpus if cpu.number in usable_cpus(host, isolated=False)]
    kept = {min((c for c in allowed if c.node == n), key=_number).core for n in _nodes(allowed)}
    caches = {(cpu.node, cpu.cache) for cpu in allowed}
    return any(
        len({c.core for c in allowed if (c.node, c.cache) == cache} - kept) >= threads
        for cache in caches
    )


@settings(max_examples=60, deadline=None)
@given(topologies(), st.integers(1, 20))
def test_isolated_cpus_are_taken_first(host: Topology, threads: int) -> None:
    """With isolated-core a thread leaves the isolated CPUs only when none of them is free."""
    places = place(threads, [], "balanced", host, isolated=True)
    usable = usable_cpus(host, isolated=True)
    alone = set(host.isolated) & usable
    outside = [cpu for cpu in places.cpus if cpu not in alone]
    assert len(outside) == max(0, threads - len(alone)) or not places.cpus


@settings(max_examples=60, deadline=None)
@given(topologies(), st.integers(1, 8), st.data())
def test_a_list_is_followed_in_its_order(host: Topology, threads: int, data: st.DataObject) -> None:
    """CPUs that are named are given to the threads as they stand, each once."""
    allowed = sorted(usable_cpus(host, isolated=True))
    pin = tuple(data.draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=16)))
    places = place(threads, [], pin, host, isolated=False)
    named = tuple(dict.fromkeys(pin))
    if len(named) >= threads:
        assert places.cpus == named[:threads]
    else:
        assert places.shared == tuple(sorted(named))


def _cores(cpus: list[Cpu]) -> int:
    return len({cpu.core for cpu in cpus})


def _nodes(cpus: list[Cpu]) -> set[int]:
    return {cpu.node for cpu in cpus}


def _number(cpu: Cpu) -> int:
    return cpu.number
