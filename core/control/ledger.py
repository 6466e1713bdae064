"""Who owns which entry of the kernel's maps, when several scopes want the same one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from plait.core.control.scopes import UNWRITTEN, Scope
from plait.core.control.wanted import Wanted, describe
from plait.core.control.writes import Writes


@dataclass(slots=True, kw_only=True)
class Contest:
    """Scopes that want the same entry, which messages call `name`."""

    name: str
    scopes: set[Scope] = field(default_factory=set)


class Ledger:
    """Turns what scopes want into writes. Of several, the first scope by name owns an entry.

    `adopted` has the stamps of entries that the kernel had before anybody asked for them. `counts`
    are the entries of each map, by its index.
    """

    def __init__(self, adopted: dict[bytes, bytes]) -> None:
        self._adopted = adopted
        self._owners: dict[bytes, Scope] = {}
        self._contests: dict[bytes, Contest] = {}
        self.counts = Counter(place[0] for place in adopted)

    def difference(self, scope: Scope, wanted: Wanted) -> Counter[int]:
        """How many entries more (or fewer) each map has once the scope has what it wants."""
        if wanted.stamps == scope.entries:
            return Counter()
        more = Counter(
            place[0]
            for place in wanted.stamps
            if place not in self._owners and place not in self._adopted
        )
        more.subtract(
            place[0]
            for place in scope.entries.keys() - wanted.stamps.keys()
            if self._owners[place] is scope and place not in self._contests
        )
        return more

    def hold(self, scope: Scope, wanted: Wanted) -> None:
        """Let a scope keep what the kernel has of it, when it cannot have all that it wants."""
        held = [place for place in wanted.stamps if place in self._adopted]
        for place in held:
            self._owners[place] = scope
            scope.entries[place] = self._adopted.pop(place)
        scope.touches += tuple(wanted.entries[place].touches for place in held)

    def settle(self, scope: Scope, wanted: Wanted, writes: Writes[Scope]) -> set[Scope]:
        """Let `scope` have what it wants. Returns heirs who have to write what it gave up."""
        if wanted.stamps == scope.entries:
            scope.entries, scope.touches = wanted.stamps, wanted.touches  # their order may differ
            return set()
        touches_before = dict(zip(scope.entries, scope.touches, strict=True))
        heirs = set()
        for place in scope.entries.keys() - wanted.stamps.keys():
            heir = self._release(place, scope)
            if heir is not None:
                heirs.add(heir)
            elif place not in self._owners:
                writes.remove(place[0], place[1:], touches_before[place])
        for place, stamp in wanted.stamps.items():
            if scope.entries.get(place) != stamp and self._claim(place, stamp, scope, wanted):
                touches = (*wanted.entries[place].touches, *touches_before.get(place, ()))
                writes.update(place[0], place[1:], wanted.values[place], scope, touches)
        scope.entries, scope.touches = wanted.stamps, wanted.touches
        return heirs

    def unknown(self) -> Counter[int]:
        """How many entries each map has that nobody has asked for."""
        return Counter(place[0] for place in self._adopted)

    def remove_unknown(self, writes: Writes[Scope]) -> bool:
        """Remove what the kernel had before and nobody has asked for; True when there was any.

        What it touched is not known.
        """
        found = bool(self._adopted)
        for place in self._adopted:
            writes.remove(place[0], place[1:], ())
            self.counts[place[0]] -= 1
        self._adopted.clear()
        return found

    def conflicts(self) -> Iterator[tuple[str, Scope, Scope]]:
        """(entry, owner, other) for each scope that wants another value than the owner's."""
        for place, contest in sorted(self._contests.items()):
            owner = self._owners[place]
            for other in sorted(contest.scopes):
                if other.entries[place] != owner.entries[place]:
                    yield contest.name, owner, other

    def _claim(self, place: bytes, stamp: bytes, scope: Scope, wanted: Wanted) -> bool:
        """Note that `scope` wants the entry; True when the kernel now has to be given its value."""
        owner = self._owners.get(place)
        held = owner.entries[place] if owner else self._adopted.pop(place, None)
        if held is None:
            self.counts[place[0]] += 1
        if owner is not None and owner is not scope:
            name = describe(wanted.entries[place])
            contest = self._contests.setdefault(place, Contest(name=name))
            contest.scopes |= {owner, scope}
            if owner < scope:
                return False
        self._owners[place] = scope
        return held != stamp

    def _release(self, place: bytes, scope: Scope) -> Scope | None:
        """Note that `scope` no longer wants the entry; who owns it now and has to write it."""
        contest = self._contests.get(place)
        if contest is not None:
            contest.scopes.remove(scope)
            if len(contest.scopes) == 1:
                del self._contests[place]
        if self._owners[place] is not scope:
            return None
        del self._owners[place]
        if contest is None:
            self.counts[place[0]] -= 1
            return None
        heir = self._owners[place] = min(contest.scopes)
        if heir.entries[place] == scope.entries[place]:
            return None
        heir.entries[place] = UNWRITTEN
        return heir
