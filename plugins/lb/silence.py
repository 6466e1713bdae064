"""Backends that do not answer to checks, as an object that the agent makes of what it finds out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from plait.core.api import EndpointSlice, Object
from plait.plugins.lb.backends import Backend, Candidates, candidates_of, checked
from plait.plugins.lb.frontends import Served


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendHealth(Object):
    """What checks say of the backends of the Service of the same name. It is never read from a
    source.
    """

    api_version: ClassVar[str] = "plait/v1"
    kind: ClassVar[str] = "BackendHealth"

    silent: frozenset[Backend] = frozenset()


def told_candidates(served: Served, objects: Sequence[Object]) -> Candidates:
    """All backends of a port by one family, as its slices and its health among `objects` say."""
    slices = [each for each in objects if isinstance(each, EndpointSlice)]
    candidates = candidates_of(served.port, slices, served.family)
    for each in objects:
        if isinstance(each, BackendHealth):
            candidates = checked(served.service, candidates, each.silent)
    return candidates
