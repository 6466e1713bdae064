"""Rounds: all backends that are checked, and what the checks come to, told together."""

import asyncio
from collections.abc import Iterator

from plait.core.api import Meta, PlaitError, Publish, Report
from plait.plugins.lb.annotations import Check
from plait.plugins.lb.backends import Backend
from plait.plugins.lb.health.patient import Patient
from plait.plugins.lb.health.probe import Ask, Failure
from plait.plugins.lb.health.targets import Targets
from plait.plugins.lb.silence import BackendHealth

AT_ONCE = 256
"""Checks that are under way at a time, at most: each takes a socket, for its whole timeout when
nothing answers.
"""

GATHERING = 0.05
"""Seconds in which news gather."""

SHOWN = 10
"""Backends of a Service that warnings name."""

Patients = dict[Backend, Patient]


class Rounds:
    """All checks of a node. It is called in one event loop."""

    def __init__(self, publish: Publish, ask: Ask) -> None:
        self._publish = publish
        self._ask = ask
        self._free = asyncio.Semaphore(AT_ONCE)
        self._services: dict[str, tuple[Targets, Patients]] = {}
        self._telling: asyncio.TimerHandle | None = None

    def set(self, scope: str, targets: Targets | None) -> None:
        """Check these backends from now on for a Service, no others."""
        known, before = self._services.pop(scope, (None, Patients()))
        if targets:
            patients = {
                backend: self._admit(backend, targets.check, before.pop(backend, None))
                for backend in targets.backends
            }
            self._services[scope] = (targets, patients)
        for patient in before.values():
            patient.dismiss()
        if targets != known:
            self._tell_soon()

    def _admit(self, backend: Backend, check: Check, before: Patient | None) -> Patient:
        """What is known of a backend stays as long as it is asked the same."""
        if before and before.check == check:
            return before
        if before:
            before.dismiss()
        known = before.health if before and before.check.path == check.path else None
        return Patient(backend, check, self._ask_in_turn, self._tell_soon, known)

    async def _ask_in_turn(self, backend: Backend, path: str, timeout: float) -> Failure | None:
        async with self._free:
            return await self._ask(backend, path, timeout)

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(GATHERING, self._tell)

    def _tell(self) -> None:
        self._telling = None
        objects: list[BackendHealth] = []
        problems: list[PlaitError] = []
        warnings: list[PlaitError] = []
        for _, (targets, patients) in sorted(self._services.items()):
            problems += targets.problems
            if silent := [each for each in patients.values() if each.silent]:
                objects.append(_health(targets, silent))
                warnings += _warnings(targets, silent)
        self._publish(
            Report(objects=tuple(objects), problems=tuple(problems), warnings=tuple(warnings))
        )


def _health(targets: Targets, silent: list[Patient]) -> BackendHealth:
    named = targets.service.meta
    return BackendHealth(
        meta=Meta(name=named.name, namespace=named.namespace),
        silent=frozenset(each.backend for each in silent),
    )


def _warnings(targets: Targets, silent: list[Patient]) -> Iterator[PlaitError]:
    service = targets.service
    told = [(each, each.failure) for each in silent if each.failure]
    for each, failure in sorted(told, key=lambda pair: pair[0].backend.packed)[:SHOWN]:
        yield PlaitError(
            f"{service}: {each.backend} {failure.what} ({each.check.fall} checks): {failure.why}",
            at=service.at,
        )
    if len(told) > SHOWN:
        yield PlaitError(
            f"{service}: {len(told) - SHOWN} more backends are as badly off", at=service.at
        )
