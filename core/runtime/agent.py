"""The agent: applies a config, then follows its file, its objects, the kernel, and the clock."""

import gc
import logging
import os
import queue
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from plait.codegen.render import GC
from plait.core.control.reconciler import Outcome
from plait.core.endpoints.monitor import (
    AddressChanged,
    Event,
    EventsLost,
    LinkChanged,
    LinkGone,
    Monitor,
    NeighbourChanged,
    RouteChanged,
    RuleChanged,
)
from plait.core.errors import PlaitError
from plait.core.kernel.maps import Map
from plait.core.kernel.pins import Paths
from plait.core.objects.sources.watch import Watch
from plait.core.plan.core import PORT_USES
from plait.core.plugins import Plugins
from plait.core.runtime import collector
from plait.core.runtime.capacity import nearly_full
from plait.core.runtime.controllers import Controllers, Published
from plait.core.runtime.datapath import Swapped
from plait.core.runtime.decoding import MapReader
from plait.core.runtime.memory import give_back
from plait.core.runtime.node import Node
from plait.core.runtime.notify import notify
from plait.core.runtime.ports import take_use
from plait.core.runtime.state import write_json

log = logging.getLogger("plait")

COLLECT_SECONDS = 5.0
"""How often idle flows are looked for."""


CHANGES_KEPT = 50
"""How many of its last changes the agent tells of."""


class Command(Enum):
    """What somebody else than the kernel tells the agent."""

    APPLY = "apply the config again"
    CONFIG = "the config changed"
    OBJECTS = "objects changed"
    ROLLBACK = "roll back"
    STOP = "stop"


Message = Command | Event | Published


@dataclass(slots=True, kw_only=True)
class Status:
    """What `plait status` shows of a running agent; written to agent.json after each change.

    `changes` are the last ones: `what` was applied, how many `ms` it took, `at` which time.
    `rollbacks` have been tried so far; `held` is true from one until the config is edited. `maps`
    has a MapUse for each map that a setting sizes.
    """

    pid: int
    config: str
    started: float
    generation: int = 0
    rollbacks: int = 0
    held: bool = False
    error: str | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changes: list[dict[str, object]] = field(default_factory=list)
    objects: int = 0
    flows: int = 0
    maps: list[dict[str, object]] = field(default_factory=list)


class Agent:
    """Runs in the foreground until SIGTERM or SIGINT; the datapath stays when it ends.

    SIGHUP applies the config again, SIGUSR2 rolls back. Everything happens in one thread, in the
    order in which it was told; what comes in a burst is done once.
    """

    def __init__(self, config: Path, paths: Paths, plugins: Plugins) -> None:
        self._config = config
        self._paths = paths
        self._node = Node(paths, plugins, grown=self._grown)
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._controllers = Controllers(self._inbox.put, self._node.publish)
        self._watch: Watch | None = None
        self._watched: tuple[Path, ...] = ()
        self._hz = 0
        self._ports: tuple[str, ...] = ()
        self._fullness = 0.0
        self._flow_tables: Mapping[str, int] = {}
        self._nearly_full: frozenset[str] = frozenset()
        self._sweep = True  # pods may have gone while no agent ran
        self._silenced = False
        self._status = Status(pid=os.getpid(), config=str(config), started=time.time())

    def run(self) -> None:
        """Apply, then follow. PlaitError when the first config is bad and nothing runs yet."""
        for number, command in (
            (signal.SIGTERM, Command.STOP),
            (signal.SIGINT, Command.STOP),
            (signal.SIGHUP, Command.APPLY),
            (signal.SIGUSR2, Command.ROLLBACK),
        ):
            signal.signal(number, lambda *_, command=command: self._inbox.put(command))
        config_watch = Watch((self._config,), lambda: self._inbox.put(Command.CONFIG))
        monitor = Monitor(self._inbox.put)
        config_watch.start()
        monitor.start()
        try:
            self._start()
            notify("READY=1")
            self._follow()
        finally:
            notify("STOPPING=1")
            self._controllers.stop()
            monitor.stop()
            config_watch.stop()
            if self._watch:
                self._watch.stop()
            self._node.datapath.close()
            (self._paths.run / "agent.json").unlink(missing_ok=True)

    def _start(self) -> None:
        """The first apply makes very many objects that stay: to look for garbage among them, now
        and with each later change, would cost more than it finds.
        """
        gc.disable()
        if self._holds():
            self._status.held = True
            self._node.resume()
            self._follow_config()
        else:
            self._apply(first=self._node.datapath.generation is None)
        self._lead()
        self._publish()
        self._node.hops_unknown()
        gc.freeze()
        gc.enable()
        give_back()

    def _follow(self) -> None:
        collect_at = time.monotonic() + COLLECT_SECONDS
        while True:
            if time.monotonic() >= collect_at:
                self._collect()
                collect_at = time.monotonic() + COLLECT_SECONDS
            messages = self._next(max(0.0, collect_at - time.monotonic()))
            if Command.STOP in messages:
                return
            if not messages:
                continue
            try:
                self._handle(messages)
            except PlaitError as error:
                self._complain(error)
            self._lead()
            self._publish()

    def _next(self, timeout: float) -> list[Message]:
        """All that has come, once something has; nothing when the time is up before."""
        messages: list[Message] = []
        try:
            messages.append(self._inbox.get(timeout=timeout))
            while True:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            return messages

    def _handle(self, messages: list[Message]) -> None:
        self._follow_kernel(
            [each for each in messages if not isinstance(each, Command | Published)]
        )
        reports = {each.run: each for each in messages if isinstance(each, Published)}
        for report in reports.values():
            self._take(report)
        if Command.ROLLBACK in messages:
            self._roll_back()
        if Command.APPLY in messages or (Command.CONFIG in messages and not self._holds()):
            self._apply(first=False)
        elif Command.OBJECTS in messages:
            self._scan()

    def _follow_kernel(self, events: Iterable[Event]) -> None:
        changed: set[str] = set()
        neighbours: list[NeighbourChanged] = []
        routes = addresses = False
        for event in events:
            match event:
                case NeighbourChanged():
                    neighbours.append(event)
                case LinkChanged(link=link, before=before):
                    self._node.links.add(link)
                    changed |= {link.name, before.name if before else link.name}
                    routes |= before is not None and (
                        (before.mtu, before.carrier) != (link.mtu, link.carrier)
                    )
                case LinkGone(link=link):
                    self._node.links.remove(link)
                    changed.add(link.name)
                    self._sweep = True
                case AddressChanged():
                    addresses = True
                case RouteChanged() | RuleChanged():
                    routes = True
                case EventsLost():
                    routes = addresses = True
                    self._node.hops_unknown()
        if neighbours:
            self._silenced |= self._node.hops_changed(neighbours)
        if changed:
            self._node.links_changed(changed)
        elif routes:
            self._node.place()
        if addresses:
            self._node.addresses_changed()
        elif routes:
            self._node.routes_changed()

    def _apply(self, *, first: bool) -> None:
        began = time.monotonic()
        try:
            applied = self._node.apply(self._config)
        except PlaitError as error:
            if first:
                raise
            self._complain(error)
            self._node.resume()
            self._follow_config()
            return
        self._status.held, self._status.error = False, None
        elapsed = (time.monotonic() - began) * 1000
        self._note("config: programs swapped" if applied.swapped else "config: entries", elapsed)
        if applied.swapped:
            maps = ", ".join(f"{name} {change}" for name, change in applied.swapped.maps.items())
            log.info(
                "generation %d runs after %.0f ms (%d compiled; %d entries migrated; %s)",
                applied.swapped.number, elapsed, applied.compiled, applied.swapped.migrated, maps,
            )  # fmt: skip
        else:
            log.info("the config is applied after %.0f ms; no program changed", elapsed)
        for warning in applied.warnings:
            log.warning("%s", warning)
        self._report(applied.outcome)
        self._follow_config()

    def _holds(self) -> bool:
        """A rollback lasts until the config is edited, whatever becomes of this process."""
        held = self._node.is_left_behind(self._config)
        if held:
            log.warning("what runs is unchanged: it was rolled back to, and the config is as then")
        return held

    def _roll_back(self) -> None:
        self._status.rollbacks += 1
        number = self._node.rollback()
        self._status.held, self._status.error = True, None
        log.warning("rolled back to generation %d, until the config is edited", number)
        self._follow_config()

    def _scan(self) -> None:
        began = time.monotonic()
        known = _complaints(self._node)
        outcome = self._node.scan(self._watch.news() if self._watch else frozenset())
        if outcome is None:
            self._tell(_complaints(self._node) - known)
        else:
            elapsed = (time.monotonic() - began) * 1000
            self._note("objects", elapsed)
            log.info("objects applied after %.1f ms", elapsed)
            self._report(outcome)

    def _grown(self, swapped: Swapped, entries: Mapping[str, int]) -> None:
        milliseconds = swapped.seconds * 1000
        self._note("maps grown", milliseconds)
        maps = ", ".join(f"{name} to {count:,} entries" for name, count in entries.items())
        log.warning(
            "grown after %.0f ms: %s; generation %d runs", milliseconds, maps, swapped.number
        )

    def _take(self, published: Published) -> None:
        """A controller has something to say."""
        began, name = time.monotonic(), published.run.controller.name
        with self._news_told(self._node, self._controllers):
            outcome = self._controllers.take(published)
        if outcome is not None:
            self._note(name, (time.monotonic() - began) * 1000)
            log.info(
                "%s: map entries: %d written, %d removed", name, outcome.updated, outcome.deleted
            )

    def _lead(self) -> None:
        """Show controllers what has become of the objects."""
        with self._news_told(self._controllers):
            entries = MapReader(self._node.datapath.maps)
            self._controllers.follow(self._node.store, self._node.news(), entries)

    @contextmanager
    def _news_told(self, *those: "Complainer") -> Iterator[None]:
        """Tell what is complained of after this and was not before."""
        known = _complaints(*those)
        yield
        self._tell(_complaints(*those) - known)

    def _note(self, what: str, milliseconds: float) -> None:
        change: dict[str, object] = {"what": what, "ms": milliseconds, "at": time.time()}
        self._status.changes = [*self._status.changes, change][-CHANGES_KEPT:]

    def _report(self, outcome: Outcome) -> None:
        log.info("map entries: %d written, %d removed", outcome.updated, outcome.deleted)
        self._tell(_complaints(self._node))

    def _tell(self, complaints: Iterable[tuple[int, str]]) -> None:
        for level, text in sorted(complaints):
            log.log(level, "%s", text)

    def _complain(self, error: PlaitError) -> None:
        self._status.error = error.explain()
        log.error("%s", error.explain())
        log.error("what runs is unchanged")

    def _follow_config(self) -> None:
        """Watch and run what the config says that runs."""
        self._controllers.keep(self._node.controllers)
        self._watch_objects()

    def _watch_objects(self) -> None:
        paths = self._node.object_paths
        if paths == self._watched:
            return
        if self._watch:
            self._watch.stop()
        self._watch = Watch(paths, lambda: self._inbox.put(Command.OBJECTS))
        self._watched = paths
        self._watch.start()
        self._inbox.put(Command.OBJECTS)

    def _collect(self) -> None:
        generation = self._node.datapath.generation
        if generation is None:
            return
        if self._silenced:  # not more often: who looks for hosts in vain must not slow all others
            self._node.routes_changed()
            self._silenced = False
        if not self._hz:
            self._hz = collector.measure_hz(generation.programs[GC])
        collected = collector.collect(
            generation.programs, generation.maps, self._hz, self._fullness, sweep=self._sweep
        )
        self._sweep = False
        self._status.flows, self._fullness = collected.live, collected.fullness
        self._flow_tables = collected.tables
        self._look_at_ports(generation.maps)
        self._node.grow()
        self._publish()

    def _look_at_ports(self, maps: Mapping[str, Map]) -> None:
        """Warn when ports to masquerade with run out, for as long as they do."""
        warning = take_use(maps[PORT_USES]).warning if PORT_USES in maps else None
        if warning and not self._ports:
            log.warning("%s", warning)
        self._ports = (warning,) if warning else ()

    def _publish(self) -> None:
        generation = self._node.datapath.generation
        self._status.generation = generation.number if generation else 0
        problems = (*self._node.problems, *self._controllers.problems)
        self._status.problems = [each.explain() for each in problems]
        uses = self._node.uses(self._flow_tables)
        full = nearly_full(uses, self._nearly_full)
        for use in full:
            if use.name not in self._nearly_full:
                log.warning("%s", use.warning)
        self._nearly_full = frozenset(use.name for use in full)
        self._status.maps = [asdict(use) for use in uses]
        self._status.warnings = [
            *(str(each) for each in (*self._node.warnings, *self._controllers.warnings)),
            *(use.warning for use in full),
            *self._ports,
        ]
        self._status.objects = self._node.objects
        try:
            write_json(self._paths.run / "agent.json", asdict(self._status))
        except OSError as error:
            log.warning("plait status will not know: %s", error)


Complainer = Node | Controllers[Outcome | None]


def _complaints(*those: Complainer) -> frozenset[tuple[int, str]]:
    """(level, text) of everything that is wrong, or passed over."""
    problems = {(logging.ERROR, each.explain()) for one in those for each in one.problems}
    warnings = {(logging.WARNING, str(each)) for one in those for each in one.warnings}
    return frozenset(problems | warnings)
