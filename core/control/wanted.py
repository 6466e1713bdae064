"""What a scope wants of the kernel's maps, as bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from plait.core.api.contract import Entry, Handler
from plait.core.control.target import MapTarget
from plait.core.errors import PlaitError
from plait.core.objects.model import Address, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The entries of one scope by place: the index of the map in one byte, then the key.

    A stamp tells whether a value differs from another. `touches` are in the order of `stamps`.
    """

    values: dict[bytes, bytes]
    stamps: dict[bytes, bytes]
    entries: dict[bytes, Entry]
    touches: tuple[tuple[Address, ...], ...]
    problems: tuple[PlaitError, ...]


NOTHING = Wanted(values={}, stamps={}, entries={}, touches=(), problems=())

STAMP_MAX = 64


def stamp(value: bytes) -> bytes:
    """The value itself or, when it is long, a digest of 8 bytes: memory is what it saves."""
    return value if len(value) <= STAMP_MAX else blake2b(value, digest_size=8).digest()


def place(index: int, key: bytes) -> bytes:
    """Where an entry stands, over all maps."""
    return bytes((index,)) + key


class Encoder:
    """Asks handlers, and turns the records that they answer with into bytes."""

    def __init__(self, maps: Mapping[str, MapTarget]) -> None:
        self._maps = {name: (index, target) for index, (name, target) in enumerate(maps.items())}

    def wanted(self, handler: Handler, scope: str, objects: Sequence[Object]) -> Wanted:
        """What `handler` wants for a scope. Raises `PlaitError` when it cannot tell."""
        entries: dict[bytes, tuple[Entry, bytes]] = {}
        problems: list[PlaitError] = []
        ambiguous: list[str] = []
        try:
            for each in handler.wanted(scope, objects):
                if isinstance(each, PlaitError):
                    problems.append(each)
                    continue
                index, target = self._maps[each.map]
                entry = (each, target.encode_value(each.value))
                first = entries.setdefault(place(index, target.encode_key(each.key)), entry)
                if first[1] != entry[1]:
                    ambiguous.append(describe(each))
        except PlaitError:
            raise
        except Exception as error:
            what = f"handler {handler.name} failed on {scope}: {type(error).__name__}: {error}"
            raise PlaitError(what, hint="report this to the authors of the plugin") from error
        if ambiguous:
            head = head_of(handler, objects)
            what = f"{head or scope} wants two values for {some(ambiguous)}"
            problems.append(PlaitError(what, at=head.at if head else None))
        return Wanted(
            values={where: value for where, (_, value) in entries.items()},
            stamps={where: stamp(value) for where, (_, value) in entries.items()},
            entries={where: entry for where, (entry, _) in entries.items()},
            touches=tuple(entry.touches for entry, _ in entries.values()),
            problems=tuple(problems),
        )


def head_of(handler: Handler, objects: Sequence[Object]) -> Object | None:
    """The object that stands for a scope in messages: one of the handler's first kind."""
    return next(
        (each for kind in handler.kinds for each in objects if isinstance(each, kind)), None
    )


def some(names: Sequence[str]) -> str:
    """The first of several, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def describe(entry: Entry) -> str:
    """An entry as messages name it: `lb_services[addr 10.96.0.1, port 80, proto 6]`."""
    key = ", ".join(f"{name} {value!s}" for name, value in entry.key.items())
    return f"{entry.map}[{key}]"
