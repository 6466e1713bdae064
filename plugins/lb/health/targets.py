"""Targets: which backends of a Service are checked, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plait.core.api import EndpointSlice, Object, PlaitError, Service, ServicePort
from plait.plugins.lb.annotations import CHECK, Check, check_of
from plait.plugins.lb.backends import Backend, candidates_of
from plait.plugins.lb.balancer import FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The `backends` of a Service that are checked; none when its annotations make no sense."""

    service: Service
    check: Check
    backends: frozenset[Backend] = frozenset()
    problems: tuple[PlaitError, ...] = ()


def is_checked(service: Service) -> bool:
    """Whether a Service asks for checks."""
    return CHECK in service.meta.annotations


def targets_of(service: Service, objects: Sequence[Object]) -> Targets:
    """Whom to check for a Service with the slices among `objects`."""
    slices = [each for each in objects if isinstance(each, EndpointSlice)]
    try:
        check = check_of(service)
        served = {port: frozenset(_serving(service, port, slices)) for port in service.ports}
    except PlaitError as error:
        return Targets(service=service, check=Check(), problems=(error,))
    checked = frozenset[Backend]().union(
        *(backends for port, backends in served.items() if port.protocol == "TCP")
    )
    problems = [
        _unasked(service, port) for port, backends in served.items() if not backends <= checked
    ]
    return Targets(service=service, check=check, backends=checked, problems=tuple(problems))


def _serving(
    service: Service, port: ServicePort, slices: Sequence[EndpointSlice]
) -> Iterator[Backend]:
    """Those that take new flows, or may: one that does not serve by what its slice says is not
    expected to answer.
    """
    for family in FAMILIES:
        for backend, candidate in candidates_of(port, slices, family).items():
            if candidate.endpoint.serving or service.publish_not_ready:
                yield backend


def _unasked(service: Service, port: ServicePort) -> PlaitError:
    return PlaitError(
        f"{service}: nobody can tell by TCP how the backends of {port.protocol} port {port.port} "
        "are",
        at=service.at,
        expected="expected a TCP port that leads to the same port of the backends",
    )
