"""A reconciler on maps that are dicts, and objects that want entries of them by name."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import ClassVar

from plait.core.api import Entry, Handler, Meta, Object, PlaitError, Position, Record
from plait.core.control.reconciler import Outcome, Reconciler
from plait.core.kernel.maps import MapFull
from plait.core.objects.model import Address
from plait.core.objects.store import Store

Log = list[tuple[str, str, tuple[bytes, ...]]]


class DictMap:
    """A map target that is a dict, writes what it does into a log, and may be full."""

    def __init__(self, name: str, log: Log, capacity: int = 1_000_000) -> None:
        self.name = name
        self.log = log
        self.capacity = capacity
        self.entries: dict[bytes, bytes] = {}
        self.config_key = f"test.capacity.{name}"
        self.bound = capacity

    def encode_key(self, record: Record) -> bytes:
        return str(record["name"]).encode()

    def encode_value(self, record: Record) -> bytes:
        return str(record["value"]).encode()

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self.log.append(("update", self.name, tuple(key for key, _ in pairs)))
        for key, value in pairs:
            if key not in self.entries and len(self.entries) >= self.capacity:
                raise MapFull(self.name)
            self.entries[key] = value

    def delete_many(self, keys: Sequence[bytes]) -> None:
        self.log.append(("delete", self.name, tuple(keys)))
        for key in keys:
            self.entries.pop(key, None)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return list(self.entries.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing(Object):
    """Wants `value` under each of `names` in the map `used`, and in `user`, which refers to it."""

    api_version: ClassVar[str] = "example.org/v1"
    kind: ClassVar[str] = "Thing"

    names: tuple[str, ...]
    value: str = "1"
    group: str | None = "all"


def wanted(scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
    for each in objects:
        assert isinstance(each, Thing)
        if each.value == "refused":
            raise PlaitError(f"{each} makes no sense", at=each.at)
        if each.value == "odd":
            yield PlaitError(f"{each} is odd", at=each.at)
        if each.value == "crash":
            raise RuntimeError("a mistake of the plugin")
        for name in each.names:
            touches = (address_of(name),)
            record: Record = {"name": name}
            yield Entry(map="used", key=record, value={"value": each.value}, touches=touches)
            yield Entry(map="user", key=record, value={"value": each.value}, touches=touches)


def address_of(name: str) -> Address:
    return IPv4Address(sum(name.encode()))


HANDLER = Handler(
    name="things",
    kinds=(Thing,),
    scopes=lambda each: (each.group,) if isinstance(each, Thing) and each.group else (),
    wanted=wanted,
)


def thing(name: str, *names: str, value: str = "1", group: str | None = None) -> Thing:
    at = Position(file=Path("things.yaml"), line=ord(name[0]))
    return Thing(
        meta=Meta(name=name), at=at, names=names or (name,), value=value, group=group or name
    )


class Bench:
    """A reconciler with two dict maps, of which `user` refers to `used`."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        self.log: Log = []
        self.used = DictMap("used", self.log, capacity)
        self.user = DictMap("user", self.log)
        self.bumps: list[frozenset[Address]] = []
        self.all_bumps = 0
        self.store = Store()
        self.start()

    def start(self, last: Collection[tuple[str, str]] = ()) -> None:
        """As an agent does: with nothing in mind, and the maps as they are."""
        self.reconciler = Reconciler(
            (HANDLER,),
            {"used": self.used, "user": self.user},
            bump=self.bumps.append,
            bump_all=self._bump_all,
            last=last,
        )

    def _bump_all(self) -> None:
        self.all_bumps += 1

    def put(self, *things: Thing, complete: bool = True) -> Outcome:
        changes = self.store.replace("test", things)
        self.log.clear()
        self.bumps.clear()
        return self.reconciler.sync(self.store, changes.keys, complete=complete)

    @property
    def entries(self) -> Mapping[str, str]:
        return {key.decode(): value.decode() for key, value in self.used.entries.items()}
