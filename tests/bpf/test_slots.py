"""Revisions are counted by address: the datapath and the control plane agree on where."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.core.api import FieldValue
from plait.core.control.revisions import slot_of
from plait.core.objects.model import Address
from plait.core.plan.core import FLOWS
from plait.testing import IPV4, IPV6, Datapath, MakeDatapath, udp

addresses = st.one_of(
    st.integers(0x0100_0000, 0x7EFF_FFFF).map(IPv4Address),
    st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(IPv6Address),
)


@pytest.fixture
def datapath(make_datapath: MakeDatapath) -> Datapath:
    """A client with an address of each family."""
    datapath = make_datapath({"routing": {}})
    datapath.pod("client", IPV4.client, IPV6.client)
    return datapath


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(address=addresses)
def test_the_slot_of_an_address_is_the_same_in_c_and_in_python(
    datapath: Datapath, address: Address
) -> None:
    client = IPV4.client if address.version == 4 else IPV6.client

    datapath.pod_egress(udp(src=client, dst=address))

    (flow,) = (
        entry["flow"]
        for key, entry in datapath.entries(FLOWS[address.version])
        if key["daddr"] == address
    )
    assert dependencies(flow) == {slot_of(client), slot_of(address)}


def dependencies(flow: FieldValue) -> set[FieldValue]:
    assert isinstance(flow, Mapping)
    deps = flow["deps"]
    assert isinstance(deps, tuple)
    return set(deps)
