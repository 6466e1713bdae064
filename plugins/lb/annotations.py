"""Annotations of Services and their slices that the balancer heeds."""

from enum import StrEnum
from typing import TypeVar

from plait.core.api import EndpointSlice, Object, PlaitError, Service
from plait.plugins.lb.config import Algorithm

ALGORITHM = "lb.plait/algorithm"
"""Of a Service: as `lb.algorithm`."""

WEIGHT = "lb.plait/weight"
"""Of a slice: the share of new flows that each of its endpoints gets, beside those of others."""

WEIGHT_MAX = 100

Choice = TypeVar("Choice", bound=StrEnum)


def algorithm_of(service: Service, default: Algorithm) -> Algorithm:
    """Raises PlaitError for a word that is none."""
    return _choice(service, ALGORITHM, default)


def weight_of(each: EndpointSlice) -> int:
    """0 to 100, 1 unless it says otherwise; PlaitError for anything else."""
    written = each.meta.annotations.get(WEIGHT, "1")
    if written.isdecimal() and int(written) <= WEIGHT_MAX:
        return int(written)
    raise _refused(each, WEIGHT, f"a whole number from 0 to {WEIGHT_MAX}")


def _choice(each: Object, name: str, default: Choice) -> Choice:
    written = each.meta.annotations.get(name, default.value)
    options = type(default)
    try:
        return options(written)
    except ValueError:
        raise _refused(each, name, f"one of {', '.join(options)}") from None


def _refused(each: Object, name: str, expected: str) -> PlaitError:
    return PlaitError(
        f"{each}: annotation {name} is '{each.meta.annotations[name]}'",
        at=each.at,
        expected=f"expected {expected}",
    )
