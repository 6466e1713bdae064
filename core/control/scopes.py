"""Scopes: which objects belong together for a handler, and which entries they want."""

from collections.abc import Iterable, Mapping

from plait.core.api.contract import Handler
from plait.core.control.wanted import head_of
from plait.core.objects.model import Address, Key, Object

UNWRITTEN = b""
"""Stamp of an entry that the kernel may not have, or has with another value."""


class Scope:
    """The objects of one scope of one handler, and the entries that they want.

    `entries` has the stamp of each place that they want an entry at (see `Wanted`), `touches` the
    addresses that each of these touches, in the same order. Scopes are ordered by name.
    """

    __slots__ = ("entries", "handler", "members", "name", "touches")

    def __init__(self, handler: Handler, name: str) -> None:
        self.handler = handler
        self.name = name
        self.members: set[Key] = set()
        self.entries: dict[bytes, bytes] = {}
        self.touches: tuple[tuple[Address, ...], ...] = ()

    def __lt__(self, other: "Scope") -> bool:
        return (self.name, self.handler.name) < (other.name, other.handler.name)

    def objects(self, objects: Mapping[Key, Object]) -> list[Object]:
        """The scope's own objects, in name order."""
        return [objects[key] for key in sorted(self.members)]

    def head(self, objects: Mapping[Key, Object]) -> Object | None:
        """The object that stands for the scope in messages."""
        return head_of(self.handler, self.objects(objects))


class Roster:
    """All scopes of one handler, kept in step with the objects."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._scopes: dict[str, Scope] = {}
        self._scopes_of: dict[Key, tuple[Scope, ...]] = {}
        self._shared: set[Key] = set()

    def update(self, objects: Mapping[Key, Object], changed: Iterable[Key] | None) -> set[Scope]:
        """The scopes that `changed` objects belong to or have left; None: all scopes."""
        due: set[Scope] = set()
        everyone = changed is None
        if changed is None:
            changed = objects.keys() | self._scopes_of.keys() | self._shared
        for key in changed:
            each = objects.get(key)
            everyone |= self._share(key, each)
            before, now = self._scopes_of.pop(key, ()), self._named(each)
            for scope in before:
                scope.members.discard(key)
            for scope in now:
                scope.members.add(key)
            if now:
                self._scopes_of[key] = now
            due.update(before, now)
        return due.union(self._scopes.values()) if everyone else due

    def objects(self, scope: Scope, objects: Mapping[Key, Object]) -> list[Object]:
        """What the handler is given for a scope, in name order."""
        return [objects[key] for key in sorted(scope.members | self._shared)]

    def forget(self, scope: Scope) -> None:
        """Drop a scope that has no objects left."""
        if self._scopes.get(scope.name) is scope and not scope.members:
            del self._scopes[scope.name]

    def _share(self, key: Key, each: Object | None) -> bool:
        """Note whether all scopes share an object; True when they did or do."""
        before = key in self._shared
        self._shared.discard(key)
        now = isinstance(each, self._handler.kinds) and self._handler.shared(each)
        if now:
            self._shared.add(key)
        return before or now

    def _named(self, each: Object | None) -> tuple[Scope, ...]:
        if not isinstance(each, self._handler.kinds):
            return ()
        return tuple([self._scope(name) for name in self._handler.scopes(each)])

    def _scope(self, name: str) -> Scope:
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = Scope(self._handler, name)
        return scope
