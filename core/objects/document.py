"""A parsed document as its kind reads it: every value knows its path, every fault is noted."""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from sys import intern
from types import MappingProxyType
from typing import Self

from plait.core.config.yaml import DataPath
from plait.core.errors import brief

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong at `path` of a document: with its value or, when `key`, with the key itself."""

    path: DataPath
    what: str
    expected: str | None = None
    hint: str | None = None
    key: bool = False


class Field:
    """A value of a document, and the place where it stands. An absent value is None, as null is.

    A reader that meets a wrong value notes a `Fault` and returns a stand-in, so that one pass finds
    all faults of a document; what is made of stand-ins is thrown away.
    """

    __slots__ = ("_faults", "_parent", "_step", "value")

    def __init__(
        self,
        value: object,
        faults: dict[DataPath, Fault],
        parent: Self | None = None,
        step: str | int = "document",
    ) -> None:
        self.value = value
        self._faults = faults
        self._parent = parent
        self._step = step

    @property
    def path(self) -> DataPath:
        return () if self._parent is None else (*self._parent.path, self._step)

    @property
    def name(self) -> str:
        """The key, as a message calls it: `port`, `addresses[0]`."""
        if self._parent is not None and isinstance(self._step, int):
            return f"{self._parent.name}[{self._step}]"
        return str(self._step)

    def __getitem__(self, key: str) -> "Field":
        """The value of a key of this mapping."""
        value = self.value
        if isinstance(value, dict):
            return Field(value.get(key), self._faults, self, key)
        if value is not None:
            self._mistyped("a mapping")
        return Field(None, self._faults, self, key)

    def __iter__(self) -> Iterator["Field"]:
        """The items of this list; none when it is absent."""
        if isinstance(self.value, list):
            for index, item in enumerate(self.value):
                yield Field(item, self._faults, self, index)
        elif self.value is not None:
            self._mistyped("a list")

    def refuse(self, what: str, expected: str | None = None, hint: str | None = None) -> None:
        """Note that the value is wrong; within what is wrong already, that is no news."""
        path = self.path
        if not any(path[:depth] in self._faults for depth in range(len(path) + 1)):
            self._faults[path] = Fault(path=path, what=what, expected=expected, hint=hint)

    def require(self, expected: str) -> None:
        """Note a fault when the value is absent or an empty list."""
        if self.value in (None, []):
            self.refuse(f"{self.name} is missing", f"expected {expected}")

    def only(self, *known: str) -> None:
        """Note a fault for each key of this mapping that is not among `known`."""
        if not isinstance(self.value, dict):
            return
        for key in self.value:
            if key not in known:
                path = (*self.path, key)
                self._faults[path] = Fault(
                    path=path,
                    what=f"unknown key '{key}' in {self.name}",
                    hint=_nearest(str(key), known),
                    key=True,
                )

    def text(
        self, default: str | None = None, *, pattern: re.Pattern[str] | None = None, words: str = ""
    ) -> str:
        """A string that matches `pattern` (`words` say so); required when there is no default."""
        value = self.value
        expected = words or "text"
        if value is None:
            self._given(default, expected)
            return default or ""
        if not isinstance(value, str):
            hint = f'write "{value}"' if isinstance(value, int | float) else None
            self.refuse(self._is(), f"expected {expected}", hint)
            return ""
        if pattern and not pattern.fullmatch(value):
            self._mistyped(expected)
        return intern(value)  # thousands of objects share their namespaces, labels and port names

    def choice(self, options: tuple[str, ...], default: str | None = None) -> str:
        """One of `options`, which is not empty."""
        value = self._given(default, f"one of {', '.join(options)}")
        if isinstance(value, str) and value in options:
            return options[options.index(value)]
        if value is not None:
            hint = _nearest(str(value), options)
            self.refuse(self._is(), f"expected one of {', '.join(options)}", hint)
        return options[0]

    def number(self, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`."""
        expected = f"a whole number from {low} to {high}"
        value = self._given(default, expected)
        if type(value) is int and low <= value <= high:  # a bool is an int, too
            return value
        if value is not None:
            self._mistyped(expected, self._unquoted(r"-?\d+"))
        return low

    def flag(self, default: bool) -> bool:
        """true or false."""
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            self._mistyped("true or false", self._unquoted("true|false"))
        return self.value is True

    def address(self, family: type[_Address] | None = None) -> _Address | None:
        """An IP address, of `family` when given; None stands in for a wrong one."""
        expected = _FAMILIES[family]
        value = self._given(None, expected)
        address = _address(value)
        if address is not None and (family is None or isinstance(address, family)):
            return address
        if value is not None:
            self._mistyped(expected)
        return None

    def host(self, family: type[_Address] | None = None) -> _Address | None:
        """An IP address that one host has and others reach; None stands in for a wrong one."""
        address = self.address(family)
        if address is not None and (kind := _unreachable(address)):
            expected = f"expected {_FAMILIES[family]} that other hosts can reach"
            self.refuse(f"{self.name} is {address}, {kind}", expected)
            return None
        return address

    def network(self) -> IPv4Network | IPv6Network | None:
        """A network in CIDR notation; as in Kubernetes, bits beyond its prefix do not count. None
        stands in for a wrong one.
        """
        value = self._given(None, _NETWORK)
        if isinstance(value, str) and "/" in value:
            with suppress(ValueError):
                return ip_network(value, strict=False)
        if value is not None:
            self._mistyped(_NETWORK)
        return None

    def strings(self) -> Mapping[str, str]:
        """A mapping of text to text, as labels are."""
        if not self.value:
            return _NO_STRINGS
        if not isinstance(self.value, dict):
            self._mistyped("a mapping")
            return {}
        return {intern(str(key)): self[key].text("") for key in self.value}

    def _given(self, default: object, expected: str) -> object:
        if self.value is None and default is None:
            self.refuse(f"{self.name} is missing", f"expected {expected}")
        return default if self.value is None else self.value

    def _mistyped(self, expected: str, hint: str | None = None) -> None:
        self.refuse(self._is(), f"expected {expected}", hint)

    def _unquoted(self, meant: str) -> str | None:
        """The hint for text that would be right but for its quotes."""
        if isinstance(self.value, str) and re.fullmatch(meant, self.value):
            return f"write {self.value}, without quotes"
        return None

    def _is(self) -> str:
        match self.value:
            case dict():
                shown = "a mapping"
            case list():
                shown = "a list"
            case bool():
                shown = str(self.value).lower()
            case str():
                shown = f"'{brief(self.value)}'"
            case _:
                shown = brief(str(self.value))
        return f"{self.name} is {shown}"


def refuse_twins(items: Iterable[Field], key: str, values: Iterable[Hashable]) -> None:
    """Note a fault at `key` of each item whose value another item before it has, too."""
    seen = set()
    for item, value in zip(items, values, strict=False):
        if value in seen:
            written = item[key].value
            item[key].refuse(
                f"{key} is missing as in an item before"
                if written is None
                else f"{key} '{written}' is here twice",
                "expected a different one",
            )
        seen.add(value)


_NO_STRINGS: Mapping[str, str] = MappingProxyType({})

_NETWORK = "a network such as 10.0.0.0/8"

_FAMILIES: Mapping[type[_Address] | None, str] = {
    None: "an IP address",
    IPv4Address: "an IPv4 address",
    IPv6Address: "an IPv6 address",
}


def _address(value: object) -> _Address | None:
    if not isinstance(value, str):
        return None
    try:
        address = ip_address(value)
    except ValueError:
        return None
    # The datapath keeps IPv4 as ::ffff:a.b.c.d: written so in YAML, one address had two families.
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        return None
    return address


_SUSPECT = frozenset((0, 127, 169, 254, *range(224, 240), 255))
"""First bytes of all addresses that may be unreachable: most are done with after one look."""

_BROADCAST = IPv4Address("255.255.255.255")


def _unreachable(address: _Address) -> str | None:
    """What keeps others from reaching a host by this address; None when nothing does."""
    if address.packed[0] not in _SUSPECT:
        return None
    if address.is_unspecified:
        return "which stands for no host"
    if address.is_loopback:
        return "which every host has for itself"
    if address.is_link_local:
        return "which is known on one link only"
    if address.is_multicast or address == _BROADCAST:
        return "which is no one host's"
    return None


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
