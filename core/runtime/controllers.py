"""The controllers of one agent: started and stopped as the config says, and shown the objects."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Generic, TypeVar

from plait.core.api.contract import EntriesByMap
from plait.core.api.controllers import Controller, Follower, Report, View
from plait.core.errors import PlaitError
from plait.core.objects.model import Key, Object
from plait.core.plugins.model import raised_at

log = logging.getLogger("plait")

Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False, kw_only=True)
class Run:
    """A controller from its start to its stop. `follower` is None when it could not be started.

    `problem` is what it has raised, if that still stands; `behind`: the next view is of all.
    """

    controller: Controller
    follower: Follower | None = None
    report: Report = field(default_factory=Report)
    problem: PlaitError | None = None
    behind: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A report on its way to the agent's thread."""

    run: Run
    report: Report


class Controllers(Generic[Answer]):
    """Everything but `post`, which takes what controllers publish, happens in the agent's thread.

    `replace` is given the name of a controller, and all objects that it has from now on.
    """

    def __init__(
        self,
        post: Callable[[Published], None],
        replace: Callable[[str, Sequence[Object]], Answer],
    ) -> None:
        self._post = post
        self._replace = replace
        self._runs: tuple[Run, ...] = ()

    @property
    def problems(self) -> tuple[PlaitError, ...]:
        """What controllers tell, and what they have raised."""
        raised = (run.problem for run in self._runs if run.problem)
        return (*raised, *chain.from_iterable(run.report.problems for run in self._runs))

    @property
    def warnings(self) -> tuple[PlaitError, ...]:
        """What controllers warn of."""
        return tuple(chain.from_iterable(run.report.warnings for run in self._runs))

    def keep(self, wanted: Sequence[Controller]) -> None:
        """Have these run: those that do already go on, what else runs is stopped first."""
        gone = [run for run in self._runs if not (run.follower and run.controller in wanted)]
        for run in gone:
            self._end(run)
        going = {run.controller.name: run for run in self._runs if run not in gone}
        self._runs = tuple([going.get(each.name) or self._start(each) for each in wanted])
        for run in gone:
            self._replace(run.controller.name, ())

    def follow(
        self,
        objects: Mapping[Key, Object],
        changed: Collection[Key] | None,
        entries: EntriesByMap = MappingProxyType({}),
    ) -> None:
        """Show the objects to all, as those of `changed` keys differ (None: any may)."""
        for run in self._runs:
            if run.follower and (run.behind or changed is None or changed):
                view = View(
                    objects=objects, changed=None if run.behind else changed, entries=entries
                )
                run.behind, run.problem = True, None
                with _blamed(run, "to follow objects"):
                    run.follower.follow(view)
                    run.behind = False

    def take(self, published: Published) -> Answer | None:
        """A report has arrived; what came of its objects. One of a run that has ended is late."""
        run = published.run
        if run not in self._runs:
            return None
        run.report = published.report
        return self._replace(run.controller.name, run.report.objects)

    def stop(self) -> None:
        """Stop all. What they have published stays: it is what the maps hold."""
        for run in self._runs:
            self._end(run)
        self._runs = ()

    def _start(self, controller: Controller) -> Run:
        run = Run(controller=controller)

        def publish(report: Report) -> None:
            _check(report)
            self._post(Published(run=run, report=report))

        with _blamed(run, "to start"):
            run.follower = controller.start(publish)
        return run

    def _end(self, run: Run) -> None:
        run.problem = None
        with _blamed(run, "to stop"):
            if run.follower:
                run.follower.stop()
        if run.problem:
            log.error("%s", run.problem.explain())


def _check(report: Report) -> None:
    """Raises TypeError, in the thread of who publishes, for what would harm the agent's."""
    _expect(Object, report.objects)
    _expect(PlaitError, (*report.problems, *report.warnings))


def _expect(kind: type, items: Sequence[object]) -> None:
    for each in items:
        if not isinstance(each, kind):
            raise TypeError(f"expected {kind.__name__}, not {each!r}")


@contextmanager
def _blamed(run: Run, doing: str) -> Iterator[None]:
    """Note an exception as the run's problem: what is wrong with one must not harm others."""
    try:
        yield
    except PlaitError as error:
        run.problem = error
    except (Exception, SystemExit) as error:
        run.problem = PlaitError(
            f"controller {run.controller.name} failed {doing}: {type(error).__name__}: {error}",
            at=raised_at(error),
            hint="report this to the authors of the plugin",
        )
