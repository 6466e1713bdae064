"""Writes to kernel maps: add before use, remove after, and never half of what does not fit."""

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from plait.core.control.target import MapTarget
from plait.core.kernel.maps import MapFull
from plait.core.objects.model import Address

Owner = TypeVar("Owner")

PENDING_BYTES = 4 << 20
"""Updates are written early when they amount to so much: a first sync may hold 100 MB of tables."""


class Writes(Generic[Owner]):
    """The writes of one sync: gathered, then done map by map.

    Maps are in the order of their use: an entry refers to entries of maps before its own. Hence
    updates go from the first map to the last, and removals, when all updates are done, from the
    last to the first. When an entry does not fit, its owner's entries in later maps are held back,
    and tried once more when the removals have made room. `full` has those for whom there was none,
    with the index of the map; `touched` the addresses whose flows have to decide again.
    """

    def __init__(self, targets: Sequence[MapTarget]) -> None:
        self.updated = 0
        self.deleted = 0
        self.full: dict[Owner, int] = {}
        self.touched: set[Address] = set()
        self._targets = targets
        self._updates: list[dict[bytes, tuple[bytes, Owner]]] = [{} for _ in targets]
        self._late: list[dict[bytes, tuple[bytes, Owner]]] = [{} for _ in targets]
        self._removals: list[set[bytes]] = [set() for _ in targets]
        self._pending = 0

    def update(
        self, index: int, key: bytes, value: bytes, owner: Owner, touches: Iterable[Address]
    ) -> None:
        """Add or change an entry of map number `index`."""
        self.touched.update(touches)
        self._removals[index].discard(key)
        self._updates[index][key] = (value, owner)
        self._pending += len(key) + len(value)
        if self._pending > PENDING_BYTES:
            self._write_updates()

    def remove(self, index: int, key: bytes, touches: Iterable[Address]) -> None:
        """Remove an entry of map number `index`."""
        self.touched.update(touches)
        self._updates[index].pop(key, None)
        self._late[index].pop(key, None)
        self._removals[index].add(key)

    def finish(self) -> None:
        """Do all that is not yet done."""
        self._write_updates()
        self._write_removals()
        if self.full and self.deleted:
            self.full.clear()
            self._updates, self._late = self._late, [{} for _ in self._targets]
            self._write_updates()

    def _write_updates(self) -> None:
        self._pending = 0
        for index, updates in enumerate(self._updates):
            self._updates[index] = {}
            self._write(index, updates)

    def _write(self, index: int, updates: dict[bytes, tuple[bytes, Owner]]) -> None:
        held = {key: update for key, update in updates.items() if update[1] in self.full}
        ready = {key: update for key, update in updates.items() if key not in held}
        self._late[index].update(held)
        if not ready:
            return
        try:
            self._targets[index].update_many([(key, value) for key, (value, _) in ready.items()])
        except MapFull:
            self._write_apart(index, ready)
        else:
            self.updated += len(ready)

    def _write_apart(self, index: int, updates: dict[bytes, tuple[bytes, Owner]]) -> None:
        """Write owner by owner, so that who fits is not held up by who does not."""
        apart: dict[Owner, dict[bytes, tuple[bytes, Owner]]] = {}
        for key, update in updates.items():
            apart.setdefault(update[1], {})[key] = update
        if len(apart) == 1:
            self.full.update(dict.fromkeys(apart, index))
            self._late[index].update(updates)
            return
        for own in apart.values():
            self._write(index, own)

    def _write_removals(self) -> None:
        for index in reversed(range(len(self._targets))):
            removals = sorted(self._removals[index])
            if removals:
                self._targets[index].delete_many(removals)
                self.deleted += len(removals)
