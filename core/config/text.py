"""Types that YAML writes as text in a form of its own: addresses and networks."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from types import UnionType
from typing import Any, Union, get_args, get_origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A form of text: its `format` in JSON Schema, in words, and how to read it (ValueError)."""

    format: str
    words: str
    parse: Callable[[str], object]


_FORMS = {
    frozenset({IPv4Address}): Text(format="ipv4", words="an IPv4 address", parse=IPv4Address),
    frozenset({IPv6Address}): Text(format="ipv6", words="an IPv6 address", parse=IPv6Address),
    frozenset({IPv4Address, IPv6Address}): Text(
        format="ip", words="an IPv4 or IPv6 address", parse=ip_address
    ),
    frozenset({IPv4Network}): Text(
        format="ipv4-network", words="an IPv4 network such as 10.0.0.0/8", parse=IPv4Network
    ),
    frozenset({IPv6Network}): Text(
        format="ipv6-network", words="an IPv6 network such as fd00::/8", parse=IPv6Network
    ),
    frozenset({IPv4Network, IPv6Network}): Text(
        format="ip-network",
        words="an IPv4 or IPv6 network such as 10.0.0.0/8 or fd00::/8",
        parse=ip_network,
    ),
}

FORMATS = {text.format: text for text in _FORMS.values()}


def text_of(hint: Any) -> Text | None:
    """The form of text in which a type (or a union of both address families) is written."""
    union = get_origin(hint) in (Union, UnionType)
    return _FORMS.get(frozenset(get_args(hint) if union else (hint,)))
