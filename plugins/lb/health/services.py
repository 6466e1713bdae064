"""Some Services with all that belongs to them, kept in step with the objects."""

from collections.abc import Callable, Iterable, Mapping, Set

from plait.core.api import Key, Object, Service, View
from plait.plugins.lb.balancer import service_scopes


class Services:
    """The Services that are `meant`, by scope, with their slices and what checks say of them.

    All others, of which there may be thousands, cost nothing but a look when they change.
    """

    def __init__(self, meant: Callable[[Service], bool]) -> None:
        self._meant = meant
        self._members: dict[str, set[Key]] = {}
        self._scopes: dict[Key, str] = {}

    @property
    def scopes(self) -> Set[str]:
        """All scopes."""
        return self._members.keys()

    def update(self, view: View) -> set[str]:
        """The scopes that have changed."""
        changed = self._all(view) if view.changed is None else view.changed
        due, found = self._choose(view.objects, [key for key in changed if key[0] == Service.kind])
        for key in self._all(view) if found else changed:
            due |= self._place(key, view.objects.get(key))
        return due

    def objects(self, scope: str, objects: Mapping[Key, Object]) -> list[Object]:
        """What belongs to a scope now, in name order; nothing once its Service is not meant."""
        return [objects[key] for key in sorted(self._members.get(scope, ()))]

    def _all(self, view: View) -> set[Key]:
        return set(view.objects).union(self._scopes)

    def _choose(self, objects: Mapping[Key, Object], keys: Iterable[Key]) -> tuple[set[str], bool]:
        """The scopes that are no more, and whether there are new ones."""
        gone, found = set(), False
        for key in keys:
            each = objects.get(key)
            scope = f"{key[1]}/{key[2]}"
            if isinstance(each, Service) and self._meant(each):
                found |= scope not in self._members
                self._members.setdefault(scope, set())
            elif scope in self._members:
                gone.add(scope)
                for member in self._members.pop(scope):
                    del self._scopes[member]
        return gone, found

    def _place(self, key: Key, each: Object | None) -> set[str]:
        """Where an object was, and where it is."""
        scopes = set()
        if before := self._scopes.pop(key, None):
            self._members[before].discard(key)
            scopes.add(before)
        for scope in service_scopes(each) if each else ():
            if scope in self._members:
                self._members[scope].add(key)
                self._scopes[key] = scope
                scopes.add(scope)
        return scopes
