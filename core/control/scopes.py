"""Scopes: which objects belong together for a handler, and which entries they want."""

from collections.abc import Iterable, Mapping

from plait.core.api.contract import Handler
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
        """The object that stands for the scope in messages: one of the handler's first kind."""
        own = self.objects(objects)
        return next(
            (each for kind in self.handler.kinds for each in own if isinstance(each, kind)), None
        )


class Roster:
    """All scopes of one handler, kept in step with the objects."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._scopes: dict[str, Scope] = {}
        self._scope_of: dict[Key, Scope] = {}

    def update(self, objects: Mapping[Key, Object], changed: Iterable[Key] | None) -> set[Scope]:
        """The scopes that `changed` objects belong to or have left; None: all scopes."""
        due = set(self._scopes.values()) if changed is None else set()
        for key in changed if changed is not None else objects.keys() | self._scope_of.keys():
            before, now = self._scope_of.get(key), self._scope(objects.get(key))
            if before is not None and before is not now:
                before.members.discard(key)
                del self._scope_of[key]
                due.add(before)
            if now is not None:
                now.members.add(key)
                self._scope_of[key] = now
                due.add(now)
        return due

    def forget(self, scope: Scope) -> None:
        """Drop a scope, should it be one of this roster, that has no objects left."""
        if self._scopes.get(scope.name) is scope and not scope.members:
            del self._scopes[scope.name]

    def _scope(self, each: Object | None) -> Scope | None:
        if not isinstance(each, self._handler.kinds):
            return None
        name = self._handler.scope(each)
        if name is None:
            return None
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = Scope(self._handler, name)
        return scope
