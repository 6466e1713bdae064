"""The store: all desired objects by key, whichever source they come from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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
        self._sources: dict[str, dict[Key, Object]] = {}
        self._twins: dict[str, list[Object]] = {}
        self._objects: dict[Key, Object] = {}

    def __getitem__(self, key: Key) -> Object:
        return self._objects[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def replace(self, source: str, objects: Iterable[Object]) -> Changes:
        """Make `objects`, in the order of their positions, all that `source` has."""
        now: dict[Key, Object] = {}
        twins: list[Object] = []
        for each in objects:
            if now.setdefault(each.key, each) is not each:
                twins.append(each)
        before = self._sources.get(source, {})
        self._sources[source] = now
        self._twins[source] = twins
        # Unequal or equal, the new object is the one to keep: its position may have moved.
        return self._settle(
            [key for key, each in now.items() if before.get(key) is not each]
            + [key for key in before if key not in now]
        )

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
        for source in sorted(self._sources):
            if len(self._sources) > 1:
                for key, each in self._sources[source].items():
                    if self._objects[key] is not each:
                        yield each
            yield from self._twins[source]
