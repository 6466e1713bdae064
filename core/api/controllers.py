"""Controllers: control plane that acts elsewhere than in maps: servers, checks, sockets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from plait.core.api.contract import EntriesByMap
from plait.core.errors import PlaitError
from plait.core.objects.model import Key, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a controller has to say now; it takes the place of what it said before.

    `objects` are met by handlers and other controllers as those of any source are; where a source
    has one of the same name, that counts. `problems` and `warnings` are shown by `plait status`.
    """

    objects: tuple[Object, ...] = ()
    problems: tuple[PlaitError, ...] = ()
    warnings: tuple[PlaitError, ...] = ()


Publish = Callable[[Report], None]
"""Gives a report to the agent. It may be called from any thread, and returns at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the agent has now: objects, and entries of the maps that run. Both are to be read in the
    call that gives them, and not kept.

    `changed` are the keys of what came, went or differs since the view before; None: anything may.
    """

    objects: Mapping[Key, Object]
    changed: Collection[Key] | None
    entries: EntriesByMap = field(default_factory=dict)


class Follower(Protocol):
    """A controller that has been started. It is called in the agent's thread, so it must not block;
    what takes time, it does in threads of its own.
    """

    def follow(self, view: View) -> None:
        """Objects have changed, and the maps are in step with them. After a call that raised, the
        next one comes with all objects.
        """

    def stop(self) -> None:
        """End all that was started; what is published from now on does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """What the agent starts beside the datapath, and stops when it ends or the config says so.

    `settings` is all of the config that `start` depends on: while it stays equal, an edit of the
    config leaves what runs alone. The first view, of all objects, comes right after the start.
    """

    name: str
    settings: object
    start: Callable[[Publish], Follower] = field(compare=False)
