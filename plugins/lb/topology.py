"""Topology: which endpoints are near this node, and so preferred.

Source: Kubernetes' pkg/proxy/topology.go (hints count when all endpoints have them and one is
meant for here), and KEP-3015 for what trafficDistribution means where nobody has made hints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plait.core.api import Distribution, Network, Node, Object, SliceEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Where this node is. `networks` are its pods'."""

    node: str
    zone: str = ""
    networks: tuple[Network, ...] = ()

    def has(self, endpoint: SliceEndpoint) -> bool:
        """Whether an endpoint is on this node; one that names no node is by its address."""
        if endpoint.node:
            return endpoint.node == self.node
        return any(endpoint.address in network for network in self.networks)

    def with_zone_of(self, objects: Sequence[Object]) -> "Here":
        """The same, in the zone that the node's own object names."""
        for each in objects:
            if isinstance(each, Node) and each.meta.name == self.node and each.zone:
                return Here(node=self.node, zone=each.zone, networks=self.networks)
        return self


def preferred(
    endpoints: Sequence[SliceEndpoint], distribution: Distribution, here: Here
) -> Callable[[SliceEndpoint], bool] | None:
    """What tells those that serve this node from others; None when all do.

    Hints first: who has made them knows the whole cluster. Else what the Service prefers, as far as
    there is any of it.
    """
    if all(each.for_nodes or each.for_zones for each in endpoints):
        hinted = _first(endpoints, _by_hint(here))
        if hinted:
            return hinted
    return _first(endpoints, _by_distribution(distribution, here))


Test = Callable[[SliceEndpoint], bool]


def _first(endpoints: Sequence[SliceEndpoint], tests: Sequence[Test]) -> Test | None:
    """The first test that any endpoint meets."""
    return next((test for test in tests if any(map(test, endpoints))), None)


def _by_hint(here: Here) -> tuple[Test, ...]:
    return (
        lambda each: here.node in each.for_nodes,
        lambda each: bool(here.zone) and here.zone in each.for_zones,
    )


def _by_distribution(distribution: Distribution, here: Here) -> tuple[Test, ...]:
    same_zone: Test = lambda each: bool(here.zone) and each.zone == here.zone  # noqa: E731
    match distribution:
        case Distribution.ANY:
            return ()
        case Distribution.SAME_NODE:
            return (here.has, same_zone)
        case _:
            return (same_zone,)
