"""Attach to a run from any Python process.

Publish to its ingress or consume from its egress, directly in shared memory.

    from byteord.client import attach

    with attach("RUN_ID", "in") as publisher:
        publisher.publish(b"hello")
        publisher.end()

The endpoint's adapter must be `client`. One process at a time plays an endpoint: an
open-file-description lock on the ring says who, and goes with the process. Must not import asyncio
or grpc.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from byteord._cext import region
from byteord._cext.batch import Batch, BatchError
from byteord._cext.client import ClosedError, Consumer, Publisher
from byteord._cext.client_lossy import LossyConsumer
from byteord._cext.client_shards import ShardConsumer, ShardPublisher, StripeConsumer
from byteord.deployment.plan import RolePlan, RunPlan
from byteord.deployment.ports import journal_lanes, progress_wanted, unit_ports
from byteord.errors import DeniedError, NotFoundError, RegionError, UnavailableError
from byteord.regions.clock import clock_mult, membarrier_available
from byteord.regions.create import CONTROL, boot_id, runs_directory, start_ticks
from byteord.regions.journal_consumer import JournalConsumer
from byteord.regions.reader import attach as attach_region
from byteord.regions.reader import open_region, read_plan

__all__ = [
    "Batch",
    "BatchError",
    "ClosedError",
    "Consumer",
    "JournalConsumer",
    "LossyConsumer",
    "Publisher",
    "Session",
    "ShardConsumer",
    "ShardPublisher",
    "StripeConsumer",
    "attach",
    "attach_journal",
    "create_ring",
    "open_ring",
]

KEEPER_BYTE = 1 << 32
"""Locked, with an ingress's own byte, by a run that keeps time for a client that is not there."""
LOSSY_BYTE = 1 << 33
"""Locked, with the role's index added, by a client that plays a lossy consumer: it has no cell."""
KEPT_S_MAX, KEPT_LOOK_S = 2.0, 0.0005

_FLOCK = struct.Struct("hhqqi4x")
Handle = TypeVar(
    "Handle",
    bound=Publisher | Consumer | ShardPublisher | ShardConsumer | StripeConsumer | LossyConsumer,
)


class Session(Generic[Handle]):
    """A handle in a `with` block.

    The lock is held and the run shows the role as running until the block ends.
    """

    def __init__(
        self,
        handle: Handle,
        *lock_fds: int,
        others: Callable[[], bool] = lambda: False,
        keeps_time: bool = False,
    ) -> None:
        """Own the descriptors whose locks name this process as the endpoint's.

        `others` tells whether somebody else plays the role as well. With `keeps_time` a thread
        says every millisecond that time has passed: a merge by time need not wait for a publisher
        that has nothing to publish.
        """
        self.handle = handle
        self._lock_fds = lock_fds
        self._others = others
        self._left = threading.Event()
        self._keeper = threading.Thread(
            target=_keep_time, args=(handle, self._left), name="byteor-time", daemon=True
        )
        if keeps_time:
            self._keeper.start()

    def __enter__(self) -> Handle:
        """Return the publisher or consumer."""
        return self.handle

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the endpoint. The input is not ended by that: say `end()`."""
        self.close()

    def close(self) -> None:
        """Let go of the endpoint; doing so twice is harmless.

        The handle's mapping keeps the file open, and with it the lock, as long as somebody holds
        the handle: so the lock is given back by name.
        """
        if not self._lock_fds:
            return
        self.handle._leave()  # noqa: SLF001 - our own compiled half
        self._left.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for descriptor in self._lock_fds:
            _unlock(descriptor)
            os.close(descriptor)
        self._lock_fds = ()
        if not self._others():
            self.handle._show(0, False)  # noqa: SLF001
            if self._others():  # one that came meanwhile
                self.handle._show(os.getpid(), True)  # noqa: SLF001


PROGRESS_S = 0.001


def _keep_time(publisher: Publisher, left: threading.Event) -> None:
    while not left.wait(PROGRESS_S) and publisher._progress():  # noqa: SLF001
        pass


def attach(
    run: str,
    endpoint: str,
    *,
    regions_root: str = "/dev/shm",  # noqa: S108 - shared memory, not a temporary directory
    wait: str = "backoff",
    spec_sha256: str = "",
) -> Session[Any]:
    """Play the `client` endpoint of a run.

    A Session around a Publisher (ingress) or a Consumer (egress); of a run with several shards a
    ShardPublisher, which spreads by the run's shard key, or a ShardConsumer, which joins in order;
    of a lane with several producers a StripeConsumer, which keeps the order of each of them; of a
    fan-out that names it in `lossy` a LossyConsumer, which counts what it missed.

    `run` is a run's id or its region directory; `wait` is `spin` or `backoff`. With `spec_sha256`
    the run must be of that spec. NotFoundError, DeniedError (`SPEC_MISMATCH`,
    `ENDPOINT_NOT_CLIENT`), UnavailableError (`ENDPOINT_TAKEN`) or RegionError say why not.
    """
    directory = _regions_of(run, regions_root)
    plan = read_plan(str(directory))
    if spec_sha256 and plan.spec_sha256 != spec_sha256:
        message = (
            f"run {plan.run_id}: seen spec {plan.spec_sha256}, wanted {spec_sha256}; attach "
            "to a run of that spec"
        )
        raise DeniedError(message, reason="SPEC_MISMATCH")
    return _session(directory, plan, _client_role(plan, endpoint), wait)


def attach_journal(
    run: str,
    lane: str,
    *,
    since: int | None = None,
    regions_root: str = "/dev/shm",  # noqa: S108 - shared memory, not a temporary directory
) -> JournalConsumer:
    """Read a `journal` lane of a run while it is written; to be used in a `with` block.

    From sequence `since` of the run on, 0 being its first message; None: from what is written next.
    No endpoint is played: any number may read, and `missed` says exactly what retention took first.
    `run` is a run's id or its region directory. NotFoundError or RegionError say why not.
    """
    directory = _regions_of(run, regions_root)
    plan = read_plan(str(directory))
    journals = {each.name: each for each in journal_lanes(plan)}
    if lane not in journals:
        have = ", ".join(journals) or "none"
        message = f"run {plan.run_id} has no journal lane {lane}; it has {have}"
        raise NotFoundError(message, reason="LANE_NOT_FOUND")
    if since is not None and since < 0:
        message = f"since: seen {since}, wanted a sequence of the run: 0 or more, or None"
        raise ValueError(message)
    return JournalConsumer(str(directory), plan, journals[lane], since=since)


def _regions_of(run: str, regions_root: str) -> Path:
    directory = Path(run) if os.sep in run else runs_directory(regions_root) / run
    if not directory.is_dir():
        message = f"run {run}: no regions at {directory}; see `byteorctl list`"
        raise NotFoundError(message, reason="RUN_NOT_FOUND")
    return directory


def _client_role(plan: RunPlan, endpoint: str) -> RolePlan:
    for role in plan.roles:
        if role.name == endpoint and role.kind != "stage":
            if role.adapter == "client":
                return role
            message = (
                f"endpoint {endpoint} of run {plan.run_id}: seen adapter `{role.adapter}`, "
                "wanted `client`; "
                f'set adapters.{endpoint}.kind = "client" in the deployment'
            )
            raise DeniedError(message, reason="ENDPOINT_NOT_CLIENT")
    names = ", ".join(role.name for role in plan.roles if role.kind != "stage")
    message = f"run {plan.run_id} has no endpoint {endpoint}; it has {names}"
    raise NotFoundError(message, reason="ENDPOINT_NOT_FOUND")


def client_places(plan: RunPlan, role: RolePlan) -> list[tuple[int, int, int]]:
    """Return where a client may play a role: (ring, gating cell, byte to lock).

    Of a SingleRing with several shards it plays it in all of them at once; so does a consumer of a
    lane with several producers.
    """
    if plan.model != "lane_graph":
        byte = 0 if role.kind == "ingress" else 1 + role.cell
        return [(ring, role.cell, byte) for ring in range(len(plan.rings))]
    if role.kind == "ingress":
        (tx,) = role.tx
        rings = plan.lanes[tx.lane].rings[tx.stripe : tx.stripe + tx.stripes]
        return [(ring, -1, 0) for ring in rings]
    (rx,) = role.rx
    byte = LOSSY_BYTE + role.index if rx.lossy else 1 + rx.cell
    return [(ring, rx.cell, byte) for ring in plan.lanes[rx.lane].rings]


def _session(directory: Path, plan: RunPlan, role: RolePlan, wait: str) -> Session[Any]:
    """Take the first place that is free; of an ingress with several publishers any will do.

    An egress, and any end of a SingleRing, is played in all its rings at once.
    """
    places = client_places(plan, role)
    if plan.model != "lane_graph" or role.kind == "egress":
        return _session_at(directory, plan, role, wait, *places)
    for place in places[:-1]:
        with contextlib.suppress(UnavailableError, ClosedError):
            return _session_at(directory, plan, role, wait, place)
    return _session_at(directory, plan, role, wait, places[-1])


def _session_at(
    directory: Path, plan: RunPlan, role: RolePlan, wait: str, *places: tuple[int, int, int]
) -> Session[Any]:
    control_fd, ring_fds = -1, list[int]()
    try:
        for ring, _, lock_byte in places:
            ring_fds.append(open_region(directory / plan.rings[ring].file, writable=True))
            _lock(ring_fds[-1], lock_byte, f"endpoint {role.name} of run {plan.run_id}")
        control_fd = open_region(directory / CONTROL, writable=True)
        cell = places[0][1]
        handle = handle_at(plan, role, wait, cell=cell, ring_fds=ring_fds, control_fd=control_fd)
        handle._show(os.getpid(), True)  # noqa: SLF001
    except BaseException:
        for descriptor in ring_fds:
            os.close(descriptor)
        raise
    finally:
        if control_fd >= 0:
            os.close(control_fd)
    return Session(
        handle,
        *ring_fds,
        others=partial(_is_played, directory, plan, role),
        keeps_time=role.kind == "ingress" and progress_wanted(plan),
    )


def _is_played(directory: Path, plan: RunPlan, role: RolePlan) -> bool:
    """Tell whether some process plays the role, at any of its places."""
    for ring, _cell, byte in client_places(plan, role):
        try:
            descriptor = open_region(directory / plan.rings[ring].file)
        except RegionError:
            continue
        try:
            played = _is_locked(descriptor, byte) and not _kept(descriptor, byte)
        finally:
            os.close(descriptor)
        if played:
            return True
    return False


def handle_at(
    plan: RunPlan, role: RolePlan, wait: str, *, cell: int, ring_fds: list[int], control_fd: int
) -> Any:
    """Return the handle of a role at a place whose lock is held; the descriptors are only read."""
    unit = next(unit.index for unit in plan.units if role.index in unit.roles)
    leaders = [thread[0] for worker in plan.workers for thread in worker.threads]
    common: dict[str, Any] = {
        "role": role.index,
        "unit": unit,
        "doorbells": leaders if plan.wait == "park" else [],
        "wait": wait,
    }
    sharded = len(ring_fds) > 1
    if role.kind == "ingress":
        if sharded:
            return ShardPublisher(ring_fds, control_fd, key=plan.shard_key or (0, 0), **common)
        drops = bool(role.tx) and plan.lanes[role.tx[0].lane].on_full == "drop"
        return Publisher(ring_fds[0], control_fd, drops=drops, **common)
    if role.rx and role.rx[0].lossy:
        return _lossy_at(plan, role, unit, wait, ring_fds=ring_fds, control_fd=control_fd)
    depends = role.depends if plan.model != "lane_graph" else role.rx[0].depends
    if sharded:
        several = StripeConsumer if plan.model == "lane_graph" else ShardConsumer
        return several(ring_fds, control_fd, cell=cell, depends=depends, **common)
    return Consumer(ring_fds[0], control_fd, cell=cell, depends=depends, **common)


def _lossy_at(
    plan: RunPlan, role: RolePlan, unit: int, wait: str, *, ring_fds: list[int], control_fd: int
) -> LossyConsumer:
    ports = unit_ports(plan, plan.units[unit])
    (port,) = (each for each in ports.rx if each.role == role.index)
    return LossyConsumer(
        ring_fds[0],
        control_fd,
        role=role.index,
        unit=unit,
        words=ports.words,
        word=port.word,
        wait=wait,
    )


def _lock(descriptor: int, byte: int, what: str) -> None:
    while not _set_lock(descriptor, byte):
        if not _kept(descriptor, byte):
            break
    else:
        return
    message = f"{what} is played by another process; it is free again when that one lets go or dies"
    raise UnavailableError(message, reason="ENDPOINT_TAKEN")


def _set_lock(descriptor: int, byte: int, kind: int = fcntl.F_WRLCK) -> bool:
    request = _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_locked(descriptor: int, byte: int) -> bool:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    found = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    return bool(found[0] != fcntl.F_UNLCK)


def _kept(descriptor: int, byte: int) -> bool:
    """Wait while the run itself has an endpoint, to keep time; tell whether nobody has it then."""
    until = time.monotonic() + KEPT_S_MAX
    while _is_locked(descriptor, byte):
        # Who keeps time has both bytes, the endpoint's for the shorter time.
        looks = [_is_locked(descriptor, each) for each in (KEEPER_BYTE, byte, KEEPER_BYTE)]
        if looks == [False, True, False] or time.monotonic() > until:
            return False
        time.sleep(KEPT_LOOK_S)
    return True


@contextlib.contextmanager
def keeping_time(descriptor: int) -> Iterator[None]:
    """Have an ingress that nobody plays, for a moment; UnavailableError when somebody does."""
    if not _set_lock(descriptor, KEEPER_BYTE):
        message = "somebody else keeps time"
        raise UnavailableError(message, reason="ENDPOINT_TAKEN")
    try:
        if not _set_lock(descriptor, 0):
            message = "a client plays it"
            raise UnavailableError(message, reason="ENDPOINT_TAKEN")
        try:
            yield
        finally:
            _set_lock(descriptor, 0, fcntl.F_UNLCK)
    finally:
        _set_lock(descriptor, KEEPER_BYTE, fcntl.F_UNLCK)


def _unlock(descriptor: int) -> None:
    """Free the endpoint now: a mapping of the ring keeps the lock for as long as it lives."""
    request = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)


def take_over_input(directory: str) -> bool:
    """End the inputs of a run on behalf of clients that have left, or never came.

    False while one is still there.
    """
    plan = read_plan(directory)
    ended = [
        _end_places(Path(directory), plan, role, *places)
        for role in plan.roles
        if role.kind == "ingress" and role.adapter == "client"
        for places in _played_at_once(plan, role)
    ]
    return all(ended)


def _played_at_once(plan: RunPlan, role: RolePlan) -> list[list[tuple[int, int, int]]]:
    places = client_places(plan, role)
    return [places] if plan.model != "lane_graph" else [[place] for place in places]


def _end_places(
    directory: Path, plan: RunPlan, role: RolePlan, *places: tuple[int, int, int]
) -> bool:
    try:
        with _session_at(directory, plan, role, "backoff", *places) as publisher:
            return bool(publisher._end_for_client())  # noqa: SLF001
    except ClosedError:
        return True
    except UnavailableError:
        return False


def create_ring(path: str, *, capacity: int = 1024, slot_bytes: int = 256, cells: int = 1) -> None:
    """Create a ring region of its own, outside any run.

    For measuring, and for two processes that need nothing else.
    """
    identity = {
        "pid": os.getpid(),
        "start_ticks": start_ticks(os.getpid()),
        "membarrier": membarrier_available(),
        "spec_sha256": bytes(32),
        "run_id": "",
        "boot_id": boot_id(),
    }
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        region.create_ring(
            descriptor,
            capacity=capacity,
            slot_bytes=slot_bytes,
            cells=cells,
            ident=identity,
            clock=region.Clock(clock_mult()),
        )
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def open_ring(path: str, role: str, *, cell: int = 0, wait: str = "backoff") -> Session[Any]:
    """Be the `publisher` or a `consumer` (of a gating cell) of a ring that `create_ring` made."""
    attach_region(Path(path), region.Ring)
    descriptor = open_region(Path(path), writable=True)
    try:
        _lock(descriptor, 0 if role == "publisher" else 1 + cell, f"{role} of ring {path}")
        handle: Any = (
            Publisher(descriptor, wait=wait)
            if role == "publisher"
            else Consumer(descriptor, cell=cell, wait=wait)
        )
    except BaseException:
        os.close(descriptor)
        raise
    return Session(handle, descriptor)
