"""The store: all desired objects by key, whichever source they come from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import is_

from plait.core.errors import PlaitError
from plait.core.objects.model import Key, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Keys of what became different. An object that says the same as before is no change."""

    added: frozenset[Key] = frozenset()
    changed: frozenset[Key] = frozenset()
    removed: frozenset[Key] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    @property
    def keys(self) -> frozenset[Key]:
        return self.added | self.changed | self.removed


class Store(Mapping[Key, Object]):
    """Objects by key. Of two with one key the first counts: by source name, then by position."""

    def __init__(self) -> None:
        self._listed: dict[str, tuple[Object, ...]] = {}
        self._sources: dict[str, dict[Key, Object]] = {}
        self._twins: dict[str, list[Object]] = {}
        self._objects: dict[Key, Object] = {}

    def __getitem__(self, key: Key) -> Object:
        return self._objects[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def size(self, source: str) -> int:
        """How many objects a source has, of those with one key the first."""
        return len(self._sources.get(source, ()))

    def replace(self, source: str, objects: Iterable[Object]) -> Changes:
        """Make `objects`, in the order of their positions, all that `source` has."""
        now = tuple(objects)
        before = self._listed.get(source, ())
        start, end = _differing(before, now)
        self._listed[source] = now
        gone, come = before[start : len(before) - end], now[start : len(now) - end]
        known = self._sources.setdefault(source, {})
        keys = [each.key for each in gone]
        for key in keys:
            known.pop(key, None)
        twins = bool(self._twins.get(source))
        for each in come:
            keys.append(key := each.key)
            twins |= known.setdefault(key, each) is not each
        if twins:
            # Which of two counts depends on where all others stand.
            self._index(source, now)
            keys = [each.key for each in (*before, *now)]
        # Unequal or equal, the new object is the one to keep: its position may have moved.
        return self._settle(dict.fromkeys(keys))

    def _index(self, source: str, objects: Iterable[Object]) -> None:
        known: dict[Key, Object] = {}
        self._twins[source] = [
            each for each in objects if known.setdefault(each.key, each) is not each
        ]
        self._sources[source] = known

    def problems(self) -> tuple[PlaitError, ...]:
        """What stands: an error for each object that another one with the same key hides."""
        return tuple(
            PlaitError(
                f"{hidden} is defined twice",
                at=hidden.at,
                expected=f"the one at {winner.at} is used",
                hint="remove or rename one of them",
            )
            for hidden in self._hidden()
            if (winner := self._objects[hidden.key])
        )

    def _settle(self, keys: Iterable[Key]) -> Changes:
        added, changed, removed = set(), set(), set()
        for key in keys:
            before, now = self._objects.get(key), self._first(key)
            if now is None:
                del self._objects[key]
                removed.add(key)
                continue
            self._objects[key] = now
            if before is None:
                added.add(key)
            elif now != before:
                changed.add(key)
        return Changes(
            added=frozenset(added), changed=frozenset(changed), removed=frozenset(removed)
        )

    def _first(self, key: Key) -> Object | None:
        found = (self._sources[name].get(key) for name in sorted(self._sources))
        return next((each for each in found if each), None)

    def _hidden(self) -> Iterator[Object]:
        """Two sources share what all but the largest have: others are not worth a look."""
        largest = max(self._sources.values(), key=len, default=None)
        lesser = [known for known in self._sources.values() if known is not largest]
        shared = set(chain.from_iterable(lesser))
        for source, known in sorted(self._sources.items()):
            for key in sorted(shared & known.keys()):
                if self._objects[key] is not known[key]:
                    yield known[key]
            yield from self._twins.get(source, ())


def _differing(before: Sequence[Object], now: Sequence[Object]) -> tuple[int, int]:
    """How many objects at the start, and how many at the end, are the very same in both."""
    start = _same(before, now)
    shorter = min(len(before), len(now)) - start
    return start, min(shorter, _same(reversed(before), reversed(now)))


def _same(before: Iterable[Object], now: Iterable[Object]) -> int:
    """How many pairs it takes until one is of two different objects. In C: there may be many."""
    same = bytes(map(is_, before, now))
    different = same.find(0)
    return len(same) if different < 0 else different
