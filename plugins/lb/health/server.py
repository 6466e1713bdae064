"""The node's own health: whether it has endpoints of a Service that wants local ones only.

Load balancers in front of the nodes ask on the Service's healthCheckNodePort, and send clients to
those nodes that have some.
"""

from collections.abc import Iterable, Iterator, Sequence

from plait.core.api import (
    Address,
    Host,
    Network,
    Object,
    PlaitError,
    Publish,
    Service,
    TrafficPolicy,
    View,
)
from plait.plugins.lb.backends import on_this_node
from plait.plugins.lb.frontends import ANY_ADDRESS, Served, is_of
from plait.plugins.lb.health.listeners import Answers, Listeners
from plait.plugins.lb.health.loop import LoopThread
from plait.plugins.lb.health.services import Services
from plait.plugins.lb.silence import told_candidates
from plait.plugins.lb.topology import Here


class HealthServer:
    """The controller. `chosen` are networks of those addresses of the node that answer; none: all
    of its addresses do. How many endpoints there are is found out in the agent's thread, by which
    `follow` is called; the ports are one event loop's.
    """

    def __init__(self, publish: Publish, here: Here, chosen: tuple[Network, ...]) -> None:
        self._here = here
        self._chosen = chosen
        self._addresses: tuple[Address, ...] = tuple(ANY_ADDRESS.values())
        self._services = Services(is_asked_for)
        self._loop = LoopThread("plait-lb-health")
        self._listeners = Listeners(publish)

    def follow(self, view: View) -> None:
        """Answer what is right now, where it is asked."""
        due = self._services.update(view)
        if self._chosen and _concerns_host(view):
            self._addresses = tuple(self._chosen_of(view.objects.values()))
            due |= self._services.scopes
        for scope in sorted(due):
            objects = self._services.objects(scope, view.objects)
            service = next((each for each in objects if isinstance(each, Service)), None)
            try:
                answers = self._answers(service, objects) if service else None
            except PlaitError:
                continue  # the balancer says so, and leaves what there is, too
            self._loop.call(self._listeners.set, scope, answers)

    def stop(self) -> None:
        """Answer no more; the ports are free when this returns."""
        self._loop.stop(self._listeners.close)

    def _chosen_of(self, objects: Iterable[Object]) -> Iterator[Address]:
        for each in objects:
            if isinstance(each, Host):
                for address in each.addresses:
                    if any(address in network for network in self._chosen):
                        yield address

    def _answers(self, service: Service, objects: Sequence[Object]) -> Answers:
        """Each family answers for itself, as kube-proxy, which runs once for each of them."""
        return Answers(
            service=service,
            endpoints={
                address: self._endpoints(service, type(address), objects)
                for address in self._addresses
                if is_of(service, type(address))
            },
        )

    def _endpoints(self, service: Service, family: type[Address], objects: Sequence[Object]) -> int:
        """How many endpoints on this node take new flows; those on their way out do not count, as
        it is time to look for other nodes.
        """
        found: set[Address] = set()
        for port in service.ports:
            candidates = told_candidates(Served(service, port, family), objects)
            ready = on_this_node(service, candidates, self._here).ready
            found |= {each.address for each in ready if not candidates[each].endpoint.terminating}
        return len(found)


def is_asked_for(service: Service) -> bool:
    """Whether others ask for a Service's health on this node."""
    local = service.external_policy is TrafficPolicy.LOCAL
    return local and service.health_check_node_port > 0


def _concerns_host(view: View) -> bool:
    return view.changed is None or any(kind == Host.kind for kind, _, _ in view.changed)
