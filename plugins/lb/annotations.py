"""Annotations of Services and their slices that the balancer heeds."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from plait.core.api import EndpointSlice, Object, PlaitError, Service
from plait.plugins.lb.config import Algorithm

ALGORITHM = "lb.plait/algorithm"
"""Of a Service: as `lb.algorithm`."""

WEIGHT = "lb.plait/weight"
"""Of a slice: the share of new flows that each of its endpoints gets, beside those of others."""

WEIGHT_MAX = 100

CHECK = "lb.plait/health-check"
"""Of a Service: `tcp`, or `http:/path`: this node asks its backends whether they are well."""

INTERVAL = "lb.plait/health-check-interval"
"""Of a Service: seconds between two checks of a backend."""

TIMEOUT = "lb.plait/health-check-timeout"
"""Of a Service: seconds that a backend may take for an answer."""

RISE = "lb.plait/health-check-rise"
"""Of a Service: good answers in a row after which a backend is well."""

FALL = "lb.plait/health-check-fall"
"""Of a Service: checks in a row that have failed after which it is not."""

SECONDS_MIN, SECONDS_MAX, ROW_MAX = 0.1, 3600.0, 100

_SECONDS = re.compile(r"\d{1,4}(\.\d{1,3})?")
_CHECK = re.compile(r"tcp|http:(?P<path>/[!-~]*)")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How backends are checked: by a GET of `path`, or a mere connection when that is empty.
    `interval` and `timeout` are in seconds, `rise` and `fall` in checks.
    """

    path: str = ""
    interval: float = 5.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3


def check_of(service: Service) -> Check:
    """How a Service that has the annotation CHECK wants it; PlaitError for what makes no sense."""
    found = _CHECK.fullmatch(service.meta.annotations[CHECK])
    if not found:
        raise _refused(service, CHECK, "tcp, or http:/ and the rest of a path")
    usual = Check()
    return Check(
        path=found["path"] or usual.path,
        interval=_seconds(service, INTERVAL, usual.interval),
        timeout=_seconds(service, TIMEOUT, usual.timeout),
        rise=_row(service, RISE, usual.rise),
        fall=_row(service, FALL, usual.fall),
    )


def _seconds(service: Service, name: str, default: float) -> float:
    written = service.meta.annotations.get(name)
    if written is None:
        return default
    if _SECONDS.fullmatch(written) and SECONDS_MIN <= float(written) <= SECONDS_MAX:
        return float(written)
    raise _refused(service, name, f"seconds from {SECONDS_MIN:g} to {SECONDS_MAX:g}")


def _row(service: Service, name: str, default: int) -> int:
    written = service.meta.annotations.get(name)
    if written is None:
        return default
    if written.isdecimal() and 1 <= int(written) <= ROW_MAX:
        return int(written)
    raise _refused(service, name, f"a whole number from 1 to {ROW_MAX}")


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
