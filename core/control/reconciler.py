"""The reconciler: what handlers want of the kernel's maps, made so, and only where it differs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

    `overflows` are those of the problems that a larger map would mend.
    """

    updated: int
    deleted: int
    problems: tuple[PlaitError, ...] = ()
    overflows: tuple[PlaitError, ...] = ()


class Reconciler:
    """Keeps the kernel's maps as the handlers want them.

    `maps` are in the order of their use (see `Writes`). The first sync adopts what they hold: it
    writes what differs, removes what nobody wants, and calls `bump_all`, as nobody can tell what
    was written but not announced before. Later syncs write what changed, and then call `bump` with
    the addresses that the changed entries touch.

    There may be 100,000 entries: what is kept of each is its place and its stamp (see `Wanted`).
    """

    def __init__(
        self,
        handlers: Sequence[Handler],
        maps: Mapping[str, MapTarget],
        *,
        bump: Callable[[frozenset[Address]], None],
        bump_all: Callable[[], None],
    ) -> None:
        self._rosters = {handler: Roster(handler) for handler in handlers}
        self._maps = dict(maps)
        self._encoder = Encoder(maps)
        self._bump = bump
        self._bump_all = bump_all
        self._troubles: dict[Scope, tuple[PlaitError, ...]] = {}
        self._silent: set[Scope] = set()
        self._full: dict[Scope, int] = {}
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
        unknown = complete and not self._silent and ledger.remove_unknown(writes)
        writes.finish()

        self._note_full(writes.full)
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
        )

    def _read_maps(self) -> dict[bytes, bytes]:
        return {
            place(index, key): stamp(value)
            for index, target in enumerate(self._maps.values())
            for key, value in target.items()
        }

    def _due(self, objects: Mapping[Key, Object], changed: Collection[Key] | None) -> set[Scope]:
        due = set(self._full)
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
        while due:
            heirs: set[Scope] = set()
            for scope in sorted(due):
                wanted = self._ask(scope, objects)
                if wanted is not None:
                    heirs |= ledger.settle(scope, wanted, writes)
            due = heirs

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

    def _note_full(self, full: dict[Scope, int]) -> None:
        """Who did not fit is asked again at the next sync, and then writes all that it wants."""
        self._full = full
        for scope in full:
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
            scopes = sorted(scope for scope, full in self._full.items() if full == index)
            if scopes:
                first = scopes[0].head(objects)
                others = f" and {len(scopes) - 1} more" if len(scopes) > 1 else ""
                yield PlaitError(
                    f"map {name} is full: no room for {first or scopes[0].name}{others}",
                    at=first.at if first else None,
                    hint=target.config_key and f"raise {target.config_key}",
                )
