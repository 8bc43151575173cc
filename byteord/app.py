"""The daemon as a process: what starts in which order, what makes it stop, and how it goes down.

Owns the event loop and the order of things; every part does its own work. The lock is held before
`run` is called and is freed after it returns. Start: adoption of runs, then the socket, then
health, then READY=1. Stop: health first, then watches, then the server, then what was asked for the
runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping

import uvloop
from structlog.typing import FilteringBoundLogger

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.capture.store import BundleStore
from byteord.deployment.config import Config
from byteord.deployment.config_flat import flat_config
from byteord.deployment.model import HostFacts
from byteord.errors import ByteorError
from byteord.policy.governor import Governor
from byteord.rpc.access_file import AccessFile
from byteord.rpc.auto_bundles import AutoBundles
from byteord.rpc.bundle_sources import BundleSources
from byteord.rpc.bundles import Bundles
from byteord.rpc.control import Catalogues, Control
from byteord.rpc.doctor import Doctor
from byteord.rpc.door import LocalDoor
from byteord.rpc.facts import byteor_version
from byteord.rpc.replays import Replays
from byteord.rpc.requests import RequestStore
from byteord.rpc.server import ApiServer
from byteord.rpc.servicer import ControlServicer
from byteord.runs.effect_views import governance_sample
from byteord.runs.events import EventLog, Kept
from byteord.runs.host import read_host
from byteord.runs.live import LiveRun
from byteord.runs.manager import RunManager, RunSettings
from byteord.runs.observed import Observed
from byteord.runs.shims import ShimReserve
from byteord.runs.state import RunState
from byteord.stages.catalogue import CATALOGUE as STAGES
from byteord.telemetry.calls import GrpcCalls
from byteord.telemetry.exporter import Collector, Ended, Exporter
from byteord.telemetry.lag import LoopWatch
from byteord.telemetry.log import bridge_library_logs, make_logger
from byteord.telemetry.systemd import Notifier

EFFECTS_TIMEOUT_S = 5.0
BUNDLES_TIMEOUT_S = 20.0
"""For bundles under way when the daemon goes down."""


def run(config: Config, *, shims: ShimReserve, parent_fd: int = -1) -> int:
    """Serve until told to stop; return the exit code. The caller holds the locks of `config`.

    `shims` wait for runs. Raises ByteorError when the daemon cannot start; nothing is left then.
    """
    notifier = Notifier.from_environment(os.environ)
    log = make_logger(form=config.log.format, level=config.log.level)
    bridge_library_logs(log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Daemon(config, log, notifier, shims, parent_fd).serve())
    return 0


class Daemon:
    """One daemon, from start to stop. Use once."""

    def __init__(
        self,
        config: Config,
        log: FilteringBoundLogger,
        notifier: Notifier,
        shims: ShimReserve,
        parent_fd: int,
    ) -> None:
        self._config = config
        self._log = log
        self._notifier = notifier
        self._shims = shims
        self._parent_fd = parent_fd
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._why = ""
        self._calls = GrpcCalls()
        self._kept = _kept(config, private=parent_fd >= 0)
        self._events = EventLog(self._kept)
        self._observed = _observed(config.look) if config.look is not None else None
        self._collector: Collector | None = None
        self._auto: AutoBundles | None = None

    async def serve(self) -> None:
        """Start everything, wait for a reason to stop, stop everything."""
        self._listen_for_reasons()
        governor = self._make_governor()
        sources = BundleSources(
            governor,
            metrics=self._metrics,
            ended=_last_metrics,
            doctor=lambda: doctor,
            kept=self._kept,
            look=self._config.look.paths if self._config.look is not None else None,
        )
        manager = self._make_manager(governor, sources)
        requests = self._make_requests()
        control = Control(
            self._config.authority, manager, Catalogues(STAGES, ADAPTERS), self._read_host
        )
        bundles = self._make_bundles(control, sources)
        auto = self._auto = AutoBundles(bundles, manager, self._report)
        doctor = Doctor(control, self._config, private=self._parent_fd >= 0)
        door = self._make_door(governor)
        replays = Replays(control, os.path.join(self._config.paths.state, "replays"))
        servicer = ControlServicer(
            control, requests, bundles, doctor=doctor, replays=replays, who=door
        )
        server = ApiServer(
            self._config.listen, servicer, door=door, log=self._log, calls=self._calls
        )
        with contextlib.ExitStack() as stack:
            stack.callback(governor.close)
            watch = LoopWatch(self._notifier, self._log, manager.steps.stuck)
            for task in (watch.run(), manager.steps.run(), self._run_auto(auto)):
                stack.callback(asyncio.create_task(task).cancel)
            know_host = asyncio.create_task(asyncio.to_thread(self._read_host))
            await manager.adopt()
            await servicer.settle()
            metrics = self._serve_metrics(manager, doctor, bundles, stack)
            await know_host  # measures the clock: 20 ms that the first run does not wait for
            await server.start()
            self._say_ready(metrics)
            await self._stop.wait()
            self._say_stopping()
            await server.not_serving()
            control.go_down()
            await self._let_go(manager)
            await auto.finish(BUNDLES_TIMEOUT_S)
            await server.stop()
            await requests.close(EFFECTS_TIMEOUT_S)
        self._log.info("daemon.stopped", reason=self._why)

    def _serve_metrics(
        self,
        manager: RunManager,
        doctor: Doctor,
        bundles: Bundles,
        stack: contextlib.ExitStack,
    ) -> str:
        """Collect metrics until `stack` is left, and serve them; return where, empty: nowhere."""
        collector = Collector(
            version=byteor_version(),
            runs=manager.live_runs if self._observed is None else self._observed.left,
            calls=self._calls,
            watches=lambda: manager.watches,
            doctor=lambda: doctor.last,
            governance=lambda: governance_sample(manager.governor, manager.live_runs()),
            bundles=lambda: (bundles.written, bundles.failed),
        )
        stack.callback(collector.close)
        self._collector = collector
        if not self._config.metrics_address:
            return ""
        exporter = Exporter(self._config.metrics_address, collector.text)
        stack.callback(exporter.close)
        return exporter.address

    def _make_governor(self) -> Governor:
        config = self._config
        governor = Governor(config.authority, config.approvals, config.paths.state)
        governor.open()
        if governor.audit.problem:
            self._log.error("audit.failed", problem=governor.audit.problem)
        return governor

    def _make_door(self, governor: Governor) -> LocalDoor:
        access = AccessFile(self._config, self._log)
        return LocalDoor(access.grants(), governor, renewed=access.renewed)

    def _make_manager(self, governor: Governor, sources: BundleSources) -> RunManager:
        bound = self._parent_fd >= 0
        settings = RunSettings(
            authority=self._config.authority,
            regions_root=self._config.paths.regions,
            state_dir=None if bound else _beside(self._config, "runs"),
            bound=bound,
            observed=self._observed,
            shims=self._shims,
        )
        return RunManager(
            settings,
            governor=governor,
            host=self._read_host,
            report=self._report,
            ending=sources.ending,
        )

    def _make_requests(self) -> RequestStore:
        path = os.path.join(self._config.paths.state, "requests")
        requests = RequestStore(path, self._config.request_ids_max)
        requests.open()
        return requests

    def _make_bundles(self, control: Control, sources: BundleSources) -> Bundles:
        directory = os.path.join(self._config.paths.state, "bundles")
        return Bundles(
            control,
            BundleStore(directory, self._config.bundles),
            events=self._events.of,
            process=sources.process,
            config=flat_config(self._config.look or self._config),
            extras=sources.extras(),
        )

    async def _run_auto(self, auto: AutoBundles) -> None:
        """Let runs make bundles by themselves, except those of a single call."""
        if self._config.bundles.automatic and self._parent_fd < 0:
            await auto.run()
        self._auto = None

    def _metrics(self) -> str:
        """Return what a scrape would show now."""
        return self._collector.text() if self._collector is not None else ""

    async def _let_go(self, manager: RunManager) -> None:
        """Drain runs if so configured, end watches, let go of what lives."""
        if self._config.on_stop == "drain":
            await asyncio.gather(*(self._drain(manager, run.id) for run in manager.list()))
        await manager.close()

    async def _drain(self, manager: RunManager, run_id: str) -> None:
        try:
            await manager.stop(run_id, "drain", self._config.drain_timeout_s)
        except ByteorError as error:
            self._log.warning(
                "run.undrained", run=run_id, reason=error.reason, message=error.message
            )

    def _read_host(self) -> HostFacts:
        return read_host(self._config.paths.regions)

    def _report(self, event: str, data: Mapping[str, object]) -> None:
        self._events.add(event, data)
        self._log.info(event, **data)
        if self._auto is not None:
            self._auto.heard(event, data)

    def _listen_for_reasons(self) -> None:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, self._ask_to_stop, f"signal {number.name}")
        if self._parent_fd >= 0:
            loop.add_reader(self._parent_fd, self._read_parent)

    def _ask_to_stop(self, why: str) -> None:
        self._why = self._why or why
        self._stop.set()

    def _read_parent(self) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = os.read(self._parent_fd, 4096)
        if not data:
            asyncio.get_running_loop().remove_reader(self._parent_fd)
            self._ask_to_stop("the caller ended")

    def _say_ready(self, metrics: str) -> None:
        address = f"unix:{self._config.listen.socket}"
        self._notifier.ready(f"serving {address}, environment {self._config.authority.environment}")
        sys.stdout.write(f"byteord ready at {address}\n")
        sys.stdout.flush()
        self._log.info(
            "daemon.ready",
            address=address,
            metrics=metrics,
            environment=self._config.authority.environment.value,
            pid=os.getpid(),
            start_s=round(time.monotonic() - self._started, 3),
        )

    def _say_stopping(self) -> None:
        self._notifier.stopping(f"stopping: {self._why}")
        self._log.info("daemon.stopping", reason=self._why, runs=self._config.on_stop)


def _last_metrics(run: LiveRun, state: RunState) -> str:
    """Return the metrics of a run that has ended, from its regions."""
    ended = Ended(run.id, run.name, state, run.directory)
    with contextlib.closing(
        Collector(version=byteor_version(), runs=lambda: [ended], calls=GrpcCalls())
    ) as collector:
        return collector.text()


def _beside(config: Config, name: str) -> str:
    """Return a directory of what survives a restart."""
    return os.path.join(config.paths.state, name)


def _observed(config: Config) -> Observed:
    return Observed(config.paths.regions, _beside(config, "runs"))


def _kept(config: Config, *, private: bool) -> Kept | None:
    """Return where events and last metrics of runs are kept; None: nowhere."""
    if config.look is not None:
        return Kept(_beside(config.look, "kept"), look=True)
    return None if private else Kept(_beside(config, "kept"))
