"""Sections: one dataclass gives the schema, the defaults and the values."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.core.config.problems import validator
from plait.core.config.settings import build, json_schema, plain, setting


class Mode(StrEnum):
    FAST = "fast"
    SAFE = "safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    entries: int = setting(10, doc="how many", minimum=1, maximum=100)
    reserve: int | None = setting(None, doc="how many more", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    name: str = setting(doc="a name", pattern="^[a-z]+$")
    pod_cidrs: tuple[IPv4Network | IPv6Network, ...] = setting((), doc="nets", key="podCIDRs")
    mode: Mode = setting(Mode.FAST, doc="how")
    log_file: Path = setting(Path("/var/log/x"), doc="where")
    audit: bool = setting(False, doc="whether")
    gateway: IPv4Address | None = setting(None, doc="by way of", none="auto")
    servers: tuple[IPv4Address | IPv6Address, ...] = setting((), doc="whom")
    limits: Limits = setting(Limits(), doc="how much")


LIMITS = st.builds(
    Limits, entries=st.integers(1, 100), reserve=st.none() | st.integers(min_value=0)
)
EVERYTHING = st.builds(
    Everything,
    name=st.from_regex("[a-z]+", fullmatch=True),
    pod_cidrs=st.lists(
        st.builds(IPv4Network, st.tuples(st.integers(0, 255).map(lambda n: n << 24), st.just(8)))
        | st.builds(IPv6Network, st.ip_addresses(v=6))
    ).map(tuple),
    mode=st.sampled_from(Mode),
    log_file=st.sampled_from([Path("relative"), Path("/absolute/file")]),
    audit=st.booleans(),
    gateway=st.none() | st.ip_addresses(v=4),
    servers=st.lists(st.ip_addresses()).map(tuple),
    limits=LIMITS,
)
SOMETHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["auto", "10.0.0.1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(EVERYTHING)
def test_what_a_section_is_written_as_builds_it_again(section: Everything) -> None:
    data = plain(section)

    assert validator(json_schema(Everything)).is_valid(data)
    assert build(Everything, data) == section


@given(EVERYTHING.map(plain), st.sampled_from(sorted(plain(Everything(name="x")))), SOMETHING)
def test_whatever_the_schema_accepts_can_be_built(
    data: dict[str, object], key: str, value: object
) -> None:
    data[key] = value

    if validator(json_schema(Everything)).is_valid(data):
        assert isinstance(build(Everything, data), Everything)


def test_keys_that_are_absent_take_their_defaults() -> None:
    assert build(Everything, {"name": "x"}) == Everything(name="x")


def test_an_empty_section_is_all_defaults_when_it_requires_nothing() -> None:
    assert validator(json_schema(Limits)).is_valid(None)
    assert build(Limits, None) == Limits()
    assert not validator(json_schema(Everything)).is_valid(None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Upper"),
        ("mode", "slow"),
        ("audit", "yes"),
        ("audit", 1),
        ("podCIDRs", ["10.0.0.1/8"]),
        ("podCIDRs", "10.0.0.0/8"),
        ("gateway", "fd00::1"),
        ("gateway", None),
        ("limits", {"entries": 0}),
        ("limits", {"entries": 101}),
        ("limits", {"entries": True}),
        ("limits", {"entry": 1}),
        ("unknown", 1),
    ],
)
def test_the_schema_refuses_what_the_types_do(key: str, value: object) -> None:
    data = {"name": "x", key: value}

    assert not validator(json_schema(Everything)).is_valid(data)


def test_the_schema_has_documentation_and_defaults() -> None:
    schema = json_schema(Everything)

    assert schema["required"] == ["name"]
    assert schema["properties"]["limits"]["description"] == "how much"
    assert schema["properties"]["limits"]["default"] == {"entries": 10, "reserve": None}
    assert schema["properties"]["gateway"]["default"] == "auto"


def test_a_field_that_is_no_setting_is_refused() -> None:
    @dataclass(frozen=True)
    class Bare:
        size: int = 1

    with pytest.raises(TypeError, match=r"Bare\.size is not a setting"):
        json_schema(Bare)


def test_a_type_that_yaml_cannot_say_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        size: complex = setting(1j, doc="odd")

    with pytest.raises(TypeError, match="complex"):
        json_schema(Odd)
