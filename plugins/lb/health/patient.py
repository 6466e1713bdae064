"""A backend that is asked again and again whether it is well."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from plait.plugins.lb.annotations import Check
from plait.plugins.lb.backends import Backend
from plait.plugins.lb.health.probe import Ask, Failure
from plait.plugins.lb.health.verdict import Health

UNKNOWN_INTERVAL = 1.0
"""Seconds between two checks, at most, until there is a first verdict: who does not answer shall
not be given flows for long after the agent has started.
"""

JITTER = 0.1
"""How much intervals vary, so that checks which began together do not stay together."""


class Patient:
    """Lives in the event loop in which it is made, until it is dismissed. `changed` is called when
    it falls silent, and when it is well again.
    """

    def __init__(
        self,
        backend: Backend,
        check: Check,
        ask: Ask,
        changed: Callable[[], None],
        health: Health | None = None,
    ) -> None:
        self.backend = backend
        self.check = check
        self.health = health or Health()
        self.failure: Failure | None = None
        self._ask = ask
        self._changed = changed
        self._task = asyncio.get_running_loop().create_task(self._watch())

    @property
    def silent(self) -> bool:
        """Whether it is known not to answer; `failure` is what it did when that was found out."""
        return self.health.healthy is False

    def dismiss(self) -> None:
        """Ask no more."""
        self._task.cancel()

    async def _watch(self) -> None:
        await asyncio.sleep(random.uniform(0, self._interval))
        while True:
            unknown = self.health.healthy is None
            with suppress(OSError):  # nothing was asked, so nothing is known
                self._note(await self._ask(self.backend, self.check.path, self.check.timeout))
            # First verdicts come within a second or two: without this, so would all later checks.
            lowest = 0.0 if unknown and self.health.healthy is not None else 1 - JITTER
            await asyncio.sleep(self._interval * random.uniform(lowest, 1 + JITTER))

    @property
    def _interval(self) -> float:
        if self.health.healthy is None:
            return min(self.check.interval, UNKNOWN_INTERVAL)
        return self.check.interval

    def _note(self, failure: Failure | None) -> None:
        before = self.silent
        self.health = self.health.after(failure is None, rise=self.check.rise, fall=self.check.fall)
        if failure and not before:
            self.failure = failure
        if self.silent is not before:
            self._changed()
