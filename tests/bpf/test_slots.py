"""Revisions are counted by address: the datapath and the control plane agree on where."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.codegen.codec import Codec
from plait.core.control.revisions import slot_of
from plait.core.objects.model import Address
from plait.core.plan.core import FLOWS
from plait.testing import MakeDatapath, udp


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(st.integers(0, 255), st.integers(0, 2**64 - 1))
def test_the_slot_of_an_address_is_the_same_in_c_and_in_python(
    make_datapath: MakeDatapath, low: int, wide: int
) -> None:
    pass
