"""Checks: this node asks backends whether they are well, and says which ones are not."""

from plait.core.api import Publish, Service, View
from plait.plugins.lb.health.loop import LoopThread
from plait.plugins.lb.health.probe import Ask, ask
from plait.plugins.lb.health.rounds import Rounds
from plait.plugins.lb.health.services import Services
from plait.plugins.lb.health.targets import is_checked, targets_of


class Checks:
    """The controller. What is to be checked is found out in the agent's thread, by which `follow`
    is called; everything else is done in one event loop.
    """

    def __init__(self, publish: Publish, ask: Ask = ask) -> None:
        self._services = Services(is_checked)
        self._loop = LoopThread("plait-lb-checks")
        self._rounds = Rounds(publish, ask)

    def follow(self, view: View) -> None:
        """Check the backends that are there now; what is known of those that stay, stays."""
        for scope in sorted(self._services.update(view)):
            objects = self._services.objects(scope, view.objects)
            service = next((each for each in objects if isinstance(each, Service)), None)
            targets = targets_of(service, objects) if service else None
            self._loop.call(self._rounds.set, scope, targets)

    def stop(self) -> None:
        """Check no more."""
        self._loop.stop()
