"""The reconciler: what handlers want of the kernel's maps, made so, and only where it differs."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from plait.core.api.contract import Handler
from plait.core.control.ledger import Ledger
from plait.core.control.scopes import UNWRITTEN, Roster, Scope
from plait.core.control.target import MapTarget
from plait.core.control.wanted import NOTHING, Encoder, Wanted, place, some, stamp
from plait.core.control.writes import Writes
from plait.core.errors import PlaitError
from plait.core.objects.model import Address, Key, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many entries a sync wrote and removed, and every problem that stands after it.

    `overflows` are those of the problems that a larger map would mend. `entries` has the number of
    entries of each map, `wanted` what it would be if all fitted, `refused` the scopes that do not
    (handler, scope).
    """

    updated: int
    deleted: int
    problems: tuple[PlaitError, ...] = ()
    overflows: tuple[PlaitError, ...] = ()
    entries: Mapping[str, int] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)
    refused: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Which map is full, by its index, and how many entries more each map would have to have."""

    full: int
    lacking: Mapping[int, int]


def _lacking(refusals: Iterable[_Refusal], index: int) -> int:
    return sum(max(0, each.lacking.get(index, 0)) for each in refusals)


class Reconciler:
    """Keeps the kernel's maps as the handlers want them.

    `maps` are in the order of their use (see `Writes`). The first sync adopts what they hold: it
    writes what differs, removes what nobody wants, and calls `bump_all`, as nobody can tell what
    was written but not announced before. Later syncs write what changed, and then call `bump` with
    the addresses that the changed entries touch.

    A scope has all that it wants, or what it had before: one that does not fit is refused by name,
    and asked again with each sync. Those in `last`, as in `Outcome.refused`, make way for others.

    There may be 100,000 entries: what is kept of each is its place and its stamp (see `Wanted`).
    """

    def __init__(
        self,
        handlers: Sequence[Handler],
        maps: Mapping[str, MapTarget],
        *,
        bump: Callable[[frozenset[Address]], None],
        bump_all: Callable[[], None],
        last: Collection[tuple[str, str]] = (),
    ) -> None:
        self._rosters = {handler: Roster(handler) for handler in handlers}
        self._maps = dict(maps)
        self._encoder = Encoder(maps)
        self._bump = bump
        self._bump_all = bump_all
        self._troubles: dict[Scope, tuple[PlaitError, ...]] = {}
        self._silent: set[Scope] = set()
        self._last = frozenset(last)
        self._refused: dict[Scope, _Refusal] = {}
        self._ledger: Ledger | None = None

    def rebind(self, maps: Mapping[str, MapTarget]) -> None:
        """Go on with other descriptors of the very same maps."""
        self._maps = dict(maps)
        self._encoder = Encoder(maps)

    def sync(
        self,
        objects: Mapping[Key, Object],
        changed: Collection[Key] | None = None,
        *,
        complete: bool = True,
    ) -> Outcome:
        """Bring the maps in step with `objects`; only those of `changed` keys differ (None: any).

        While objects are known to be missing (not `complete`: a file could not be read), or a
        handler cannot tell what it wants, adopted entries that nobody wants are left alone.
        """
        first = self._ledger is None
        ledger = self._ledger = self._ledger or Ledger(self._read_maps())
        writes = Writes[Scope](tuple(self._maps.values()))
        self._settle(self._due(objects, None if first else changed), objects, ledger, writes)
        known = complete and not self._silent and self._all_known(ledger)
        unknown = known and ledger.remove_unknown(writes)
        if unknown and self._refused:
            self._settle(set(self._refused), objects, ledger, writes)
        writes.finish()

        self._note_unwritten(writes.full)
        if first or unknown:
            self._bump_all()
        elif writes.touched:
            self._bump(frozenset(writes.touched))
        overflows = tuple(self._overflows(objects))
        return Outcome(
            updated=writes.updated,
            deleted=writes.deleted,
            problems=(
                *chain.from_iterable(self._troubles[scope] for scope in sorted(self._troubles)),
                *self._conflicts(objects, ledger),
                *overflows,
            ),
            overflows=overflows,
            entries={name: ledger.counts[index] for index, name in enumerate(self._maps)},
            wanted={
                name: ledger.counts[index] + _lacking(self._refused.values(), index)
                for index, name in enumerate(self._maps)
            },
            refused=frozenset((scope.handler.name, scope.name) for scope in self._refused),
        )

    def _read_maps(self) -> dict[bytes, bytes]:
        return {
            place(index, key): stamp(value)
            for index, target in enumerate(self._maps.values())
            for key, value in target.items()
        }

    def _due(self, objects: Mapping[Key, Object], changed: Collection[Key] | None) -> set[Scope]:
        due = set(self._refused)
        for roster in self._rosters.values():
            due |= roster.update(objects, changed)
        return due

    def _settle(
        self,
        due: set[Scope],
        objects: Mapping[Key, Object],
        ledger: Ledger,
        writes: Writes[Scope],
    ) -> None:
        """Let these scopes, and those who take over from them, have what they want, if it fits."""
        while due:
            again: set[Scope] = set()
            room = False
            for scope in sorted(due, key=self._turn):
                self._refused.pop(scope, None)
                wanted = self._ask(scope, objects)
                if wanted is None:
                    continue
                difference = ledger.difference(scope, wanted)
                full = self._lack(ledger, difference)
                if full is None:
                    again |= ledger.settle(scope, wanted, writes)
                    room |= any(count < 0 for count in difference.values())
                else:
                    ledger.hold(scope, wanted)
                    self._refused[scope] = _Refusal(full=full, lacking=difference)
            due = again | self._refused.keys() if room else again

    def _turn(self, scope: Scope) -> tuple[bool, bool, Scope]:
        """Who is served comes before who is not yet."""
        return (scope.handler.name, scope.name) in self._last, not scope.entries, scope

    def _all_known(self, ledger: Ledger) -> bool:
        """False while one may be served by adopted entries that it does not want: there is no room
        for what it wants instead, even without these.
        """
        served = [each for scope, each in self._refused.items() if scope.entries]
        unknown = ledger.unknown()
        return all(
            ledger.counts[index] - unknown[index] + _lacking(served, index) <= target.capacity
            for index, target in enumerate(self._maps.values())
        )

    def _lack(self, ledger: Ledger, difference: Mapping[int, int]) -> int | None:
        """The first map that has no room for so many entries more."""
        for index, target in enumerate(self._maps.values()):
            more = difference.get(index, 0)
            if more > 0 and ledger.counts[index] + more > target.capacity:
                return index
        return None

    def _ask(self, scope: Scope, objects: Mapping[Key, Object]) -> Wanted | None:
        """What a scope wants now, or None when its handler cannot tell: it keeps what it has."""
        self._troubles.pop(scope, None)
        self._silent.discard(scope)
        roster = self._rosters[scope.handler]
        if not scope.members:
            roster.forget(scope)
            return NOTHING
        try:
            wanted = self._encoder.wanted(scope.handler, scope.name, roster.objects(scope, objects))
        except PlaitError as error:
            self._troubles[scope] = (error,)
            self._silent.add(scope)
            return None
        if wanted.problems:
            self._troubles[scope] = wanted.problems
        return wanted

    def _note_unwritten(self, full: dict[Scope, int]) -> None:
        """Whom the kernel refused, against all reckoning, writes all that it wants another time."""
        for scope, index in full.items():
            self._refused[scope] = _Refusal(full=index, lacking={})
            scope.entries = dict.fromkeys(scope.entries, UNWRITTEN)

    def _conflicts(self, objects: Mapping[Key, Object], ledger: Ledger) -> Iterator[PlaitError]:
        names: dict[tuple[Scope, Scope], list[str]] = {}
        for name, owner, other in ledger.conflicts():
            names.setdefault((owner, other), []).append(name)
        for (owner, other), clashing in names.items():
            winner, loser = owner.head(objects), other.head(objects)
            yield PlaitError(
                f"{loser or other.name} wants {some(clashing)}, which {winner or owner.name} has",
                at=loser.at if loser else None,
                expected=f"the one at {winner.at} is used" if winner and winner.at else None,
            )

    def _overflows(self, objects: Mapping[Key, Object]) -> Iterator[PlaitError]:
        for index, (name, target) in enumerate(self._maps.items()):
            scopes = sorted(scope for scope, each in self._refused.items() if each.full == index)
            if scopes:
                first = scopes[0].head(objects)
                others = f" and {len(scopes) - 1} more" if len(scopes) > 1 else ""
                yield PlaitError(
                    f"map {name} is full: no room for {first or scopes[0].name}{others}",
                    at=first.at if first else None,
                    expected=f"it may have {target.bound:,} entries at most",
                    hint=target.config_key and f"raise {target.config_key}",
                )
