"""Which addresses an endpoint gets, and how its object is written and read."""

from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from plait.core.endpoints import objects
from plait.core.endpoints.addresses import choose
from plait.core.endpoints.veth import veth_of
from plait.core.errors import PlaitError
from plait.core.objects.model import Endpoint, Meta

SMALL = ip_network("10.0.0.0/29")
V6 = ip_network("fd00:10:244:1::/64")


def test_the_lowest_address_after_the_gateway_comes_first() -> None:
    assert choose("web", (), (SMALL, V6), ()) == (
        ip_address("10.0.0.2"),
        ip_address("fd00:10:244:1::2"),
    )


def test_an_address_that_was_given_back_is_used_again() -> None:
    others = (_endpoint("a", "10.0.0.2"), _endpoint("c", "10.0.0.4"))

    assert choose("b", (), (SMALL,), others) == (ip_address("10.0.0.3"),)


def test_an_endpoint_keeps_the_address_it_has() -> None:
    endpoints = (_endpoint("web", "10.0.0.5"),)

    assert choose("web", (), (SMALL,), endpoints) == (ip_address("10.0.0.5"),)


def test_a_full_network_is_named() -> None:
    others = tuple(_endpoint(f"pod-{last}", f"10.0.0.{last}") for last in range(2, 7))

    with pytest.raises(PlaitError, match=r"10\.0\.0\.0/29 has no free address left"):
        choose("web", (), (SMALL,), others)


def test_an_address_of_another_endpoint_is_refused() -> None:
    with pytest.raises(PlaitError, match=r"endpoint other has the address 10\.0\.0\.2"):
        choose("web", (IPv4Address("10.0.0.2"),), (), (_endpoint("other", "10.0.0.2"),))


def test_an_address_of_the_node_is_refused_and_not_chosen() -> None:
    own = frozenset((IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")))

    with pytest.raises(PlaitError, match=r"this node itself has the address 10\.0\.0\.3"):
        choose("db", [IPv4Address("10.0.0.3")], (), (), own)
    assert choose("db", (), [SMALL], (), own) == (IPv4Address("10.0.0.4"),)


def test_no_address_and_no_network_is_an_error() -> None:
    with pytest.raises(PlaitError, match="no network to choose an address from"):
        choose("web", (), (), ())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    endpoint = _endpoint("web", "10.0.0.2", "fd00::2")

    objects.write("web", objects.render(endpoint), tmp_path)

    assert objects.read_all(tmp_path) == (endpoint,)
    assert [file.name for file in tmp_path.iterdir()] == ["web.yaml"]


def test_removing_twice_is_as_good_as_once(tmp_path: Path) -> None:
    objects.write("web", objects.render(_endpoint("web", "10.0.0.2")), tmp_path)

    objects.remove("web", tmp_path)
    objects.remove("web", tmp_path)

    assert objects.read_all(tmp_path) == ()


def test_a_name_that_the_agent_would_refuse_is_not_written() -> None:
    with pytest.raises(PlaitError, match="name is 'Web_1'"):
        objects.render(_endpoint("Web_1", "10.0.0.2"))


def test_interface_and_macs_follow_from_the_name() -> None:
    first, again, other = veth_of("web-1"), veth_of("web-1"), veth_of("web-2")

    assert first == again
    assert first.interface != other.interface
    assert first.interface.startswith("pl")
    assert len(first.interface) == 12
    assert first.host_mac != first.pod_mac
    assert int(first.pod_mac[:2], 16) & 3 == 2, "locally administered, unicast"


def _endpoint(name: str, *addresses: str) -> Endpoint:
    return Endpoint(
        meta=Meta(name=name, labels={"app": "web", "version": "1"}),
        interface=veth_of(name).interface,
        addresses=tuple(ip_address(address) for address in addresses),
        mac=veth_of(name).pod_mac,
    )


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "objects.d").touch()

    with pytest.raises(NotADirectoryError):
        objects.read_all(tmp_path / "objects.d")
