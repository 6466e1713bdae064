"""Controllers: kept running or replaced as the config says, shown the objects, blamed by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from plait.core.api import Controller, Key, Meta, Object, PlaitError, Publish, Report, Service, View
from plait.core.runtime.controllers import Controllers, Published

WEB = Service(meta=Meta(name="web"))
OBJECTS: dict[Key, Object] = {WEB.key: WEB}


@dataclass(kw_only=True)
class Recorder:
    """A started controller that notes what it is told, and may be made to raise."""

    publish: Publish
    views: list[View] = field(default_factory=list)
    stopped: bool = False
    error: Exception | None = None

    def follow(self, view: View) -> None:
        self.views.append(view)
        if self.error:
            raise self.error

    def stop(self) -> None:
        self.stopped = True
        if self.error:
            raise self.error


class Agent:
    """As much of an agent as controllers see."""

    def __init__(self) -> None:
        self.inbox: list[Published] = []
        self.objects: dict[str, Sequence[Object]] = {}
        self.started: list[Recorder] = []
        self.controllers = Controllers(self.inbox.append, self.objects.__setitem__)

    def controller(self, *, name: str = "checks", settings: object = 1) -> Controller:
        return Controller(name=name, settings=settings, start=self._start)

    def _start(self, publish: Publish) -> Recorder:
        self.started.append(Recorder(publish=publish))
        return self.started[-1]

    def take(self) -> None:
        for published in self.inbox:
            self.controllers.take(published)

    @property
    def problems(self) -> list[str]:
        return [str(each) for each in self.controllers.problems]


@pytest.fixture
def agent() -> Agent:
    return Agent()


def test_with_equal_settings_it_goes_on(agent: Agent) -> None:
    agent.controllers.keep([agent.controller()])

    agent.controllers.keep([agent.controller()])

    [only] = agent.started
    assert not only.stopped


def test_with_other_settings_it_is_replaced(agent: Agent) -> None:
    agent.controllers.keep([agent.controller(settings=1), agent.controller(name="other")])

    agent.controllers.keep([agent.controller(settings=2), agent.controller(name="other")])

    assert [each.stopped for each in agent.started] == [True, False, False]


def test_one_that_is_not_wanted_is_stopped_and_its_objects_go(agent: Agent) -> None:
    agent.controllers.keep([agent.controller()])
    agent.started[0].publish(Report(objects=(WEB,)))
    agent.take()

    agent.controllers.keep([])

    assert agent.started[0].stopped
    assert agent.objects == {"checks": ()}


def test_the_first_view_is_of_all_objects_later_ones_of_changes(agent: Agent) -> None:
    agent.controllers.keep([agent.controller()])

    agent.controllers.follow(OBJECTS, [])
    agent.controllers.follow(OBJECTS, [])
    agent.controllers.follow(OBJECTS, [WEB.key])
    agent.controllers.follow(OBJECTS, None)

    assert [each.changed for each in agent.started[0].views] == [None, [WEB.key], None]


def test_what_is_published_is_told_and_replaces_what_was(agent: Agent) -> None:
    agent.controllers.keep([agent.controller()])
    problem, warning = PlaitError("a port is taken"), PlaitError("slow")

    agent.started[0].publish(Report(objects=(WEB,), problems=(problem,), warnings=(warning,)))
    agent.take()

    assert agent.objects == {"checks": (WEB,)}
    assert agent.controllers.problems == (problem,)
    assert agent.controllers.warnings == (warning,)

    agent.started[0].publish(Report())
    agent.take()

    assert agent.objects == {"checks": ()}
    assert not agent.controllers.problems
    assert not agent.controllers.warnings


def test_a_report_that_arrives_after_the_stop_does_not_count(agent: Agent) -> None:
    agent.controllers.keep([agent.controller(settings=1)])
    agent.started[0].publish(Report(objects=(WEB,)))

    agent.controllers.keep([agent.controller(settings=2)])
    agent.take()

    assert agent.objects == {"checks": ()}


def test_one_that_raises_is_named_and_shown_everything_next_time(agent: Agent) -> None:
    agent.controllers.keep([agent.controller(), agent.controller(name="other")])
    agent.controllers.follow(OBJECTS, None)
    first, other = agent.started

    first.error = KeyError("x")
    agent.controllers.follow(OBJECTS, [WEB.key])
    [problem] = agent.problems
    first.error = None
    agent.controllers.follow(OBJECTS, [WEB.key])

    assert "controller checks failed to follow objects: KeyError: 'x'" in problem
    assert problem.startswith(__file__)
    assert [each.changed for each in first.views] == [None, [WEB.key], None]
    assert [each.changed for each in other.views] == [None, [WEB.key], [WEB.key]]
    assert agent.problems == []


def test_one_that_does_not_start_is_named_and_tried_again(agent: Agent) -> None:
    def fail(publish: Publish) -> Recorder:
        raise OSError("no room")

    agent.controllers.keep([Controller(name="checks", settings=1, start=fail)])
    agent.controllers.follow(OBJECTS, None)
    [problem] = agent.problems
    agent.controllers.keep([agent.controller()])

    assert "controller checks failed to start: OSError: no room" in problem
    assert agent.problems == []
    assert len(agent.started) == 1


def test_one_that_cannot_be_stopped_does_not_keep_others_from_it(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.controllers.keep([agent.controller(), agent.controller(name="other")])
    agent.started[0].error = RuntimeError("stuck")

    agent.controllers.stop()

    assert all(each.stopped for each in agent.started)
    assert "controller checks failed to stop: RuntimeError: stuck" in caplog.text


def test_who_publishes_nonsense_is_told_at_once(agent: Agent) -> None:
    agent.controllers.keep([agent.controller()])

    with pytest.raises(TypeError, match="expected Object, not 'web'"):
        agent.started[0].publish(Report(objects=("web",)))  # type: ignore[arg-type]

    assert agent.inbox == []
