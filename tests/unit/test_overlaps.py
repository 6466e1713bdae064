"""A service with an endpoint's address is warned of, however the two came together."""

from ipaddress import ip_address

import pytest

from plait.core.objects.model import Endpoint, Key, Meta, Object
from plait.core.objects.overlaps import Overlaps
from plait.core.objects.services import Service

SHARED = ip_address("10.244.1.5")
POD = Endpoint(meta=Meta(name="pod"), interface="pl0", addresses=(SHARED,))
WEB = Service(meta=Meta(name="web"), cluster_ips=(ip_address("10.96.0.1"), SHARED))
DNS = Service(meta=Meta(name="dns"), cluster_ips=(ip_address("10.96.0.2"),))


class Objects:
    """Objects as a node has them, and what is said of them."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._overlaps = Overlaps()

    def put(self, *objects: Object) -> None:
        self._objects |= {each.key: each for each in objects}
        self._overlaps.update(self._objects, [each.key for each in objects])

    def drop(self, each: Object) -> None:
        del self._objects[each.key]
        self._overlaps.update(self._objects, [each.key])

    def warnings(self) -> list[str]:
        return [str(each) for each in self._overlaps.warnings(self._objects)]


WARNING = (
    "Service default/web has the address 10.244.1.5 of Endpoint default/pod"
    " and hides what listens there"
)


@pytest.mark.parametrize("order", [(WEB, POD, DNS), (POD, DNS, WEB)])
def test_a_service_with_the_address_of_an_endpoint_is_warned_of(order: tuple[Object, ...]) -> None:
    at_once, one_by_one = Objects(), Objects()

    at_once.put(*order)
    for each in order:
        one_by_one.put(each)

    assert at_once.warnings() == one_by_one.warnings() == [WARNING]


@pytest.mark.parametrize("gone", [WEB, POD])
def test_the_warning_goes_with_either_of_the_two(gone: Object) -> None:
    objects = Objects()
    objects.put(WEB, POD)

    objects.drop(gone)

    assert objects.warnings() == []
