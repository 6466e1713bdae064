"""Services and slices are edited there and back under traffic: who is not meant notices nothing,
and what is open to the one that is meant goes on.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed
from support.nodes import Node, quickstart, service
from support.sockets import endpoint, servers
from support.toggles import ADDRESSES, TOGGLES, Toggle
from support.traffic import V4, V6, unharmed_traffic

AS_IT_IS = Toggle(what="nothing", change={})
KEPT = [each for each in TOGGLES if not each.cuts]
CUT = [each for each in TOGGLES if each.cuts]
NEAR = ("10.244.1.11", "fd00:10:244:1::11")
FAR = ("10.244.2.11", "fd00:10:244:2::11")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-transitions") as lab:
        for name in ("web-1", "web-2", "web-3", "client"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    """The service that is toggled is there, beside the quickstart's, which never changes."""
    node = Node.make(lab, tmp_path, cache)
    (node.objects / "toggled.yaml").write_text(AS_IT_IS.text())
    yield node.start()
    node.detach()


@contextmanager
def unharmed(
    lab: Lab, *, connects: Sequence[str], holds: Sequence[str], streamed: Sequence[str] = ()
) -> Iterator[None]:
    """Connections to these are opened all the time, others stay open, datagrams go both ways: none
    fails, and none is lost. Beside them there is the traffic of the service that never changes.
    """
    opening = {each: start(lab, "client", Connected, each) for each in connects}
    open_ones = {
        each: start(lab, "client", Held, each, "--count", "30", "--interval", "0.05")
        for each in holds
    }
    streams = {each: start(lab, "client", Streamed, each, "--rate", "300") for each in streamed}
    with unharmed_traffic(lab):
        yield
    for target, stream in streams.items():
        assert (lost := stream.stop()).lost == 0, (target, lost)
    for target, running in opening.items():
        connected = running.stop()
        assert connected.connects > 10, target
        assert connected.errors == {}, (target, connected)
    for target, hold in open_ones.items():
        held = hold.stop()
        assert held.opened == 30, target
        assert (held.failed, held.reset, held.stalled, held.corrupt) == (0, 0, 0, 0), (target, held)


TOGGLED = [endpoint(address, 80) for address in ADDRESSES]


@pytest.mark.parametrize("toggles", [KEPT[::2], KEPT[1::2]], ids=["some", "others"])
def test_changes_that_leave_a_backend_disturb_nothing(
    node: Node, toggles: Sequence[Toggle]
) -> None:
    with unharmed(node.lab, connects=(V4, V6, *TOGGLED), holds=TOGGLED, streamed=TOGGLED):
        there_and_back(node, toggles)


def test_changes_that_leave_nobody_disturb_no_other_and_nothing_that_is_open(node: Node) -> None:
    with unharmed(node.lab, connects=(V4, V6), holds=TOGGLED):
        there_and_back(node, CUT)

    assert_served(node)


def test_the_agent_is_killed_amid_edits_and_the_next_makes_up_for_them(node: Node) -> None:
    dice = random.Random()

    with unharmed(node.lab, connects=(V4, V6, *TOGGLED), holds=TOGGLED):
        for toggle in dice.sample(KEPT, 3):
            (node.objects / "toggled.yaml").write_text(toggle.text())
            time.sleep(dice.uniform(0, 0.15))
            node.kill()
            (node.objects / "toggled.yaml").write_text(AS_IT_IS.text())
            node.start()

    assert node.status().problems == []


def test_two_services_swap_their_addresses_in_one_edit(node: Node) -> None:
    one, other = ("10.96.0.51", "fd00:10:96::51"), ("10.96.0.52", "fd00:10:96::52")

    def swapped(first: tuple[str, str], second: tuple[str, str]) -> str:
        near = service("near", ips=first, backends=NEAR)
        return near + "---\n" + service("far", ips=second, backends=FAR)

    node.write("pair.yaml", swapped(one, other))
    targets = [endpoint(address, 80) for address in (*one, *other)]
    client = node.lab.pods["client"]
    with unharmed(node.lab, connects=(V4, *targets), holds=targets):
        for _ in range(4):
            node.write("pair.yaml", swapped(other, one))
            assert [servers(client, each, 80) for each in one] == [{"web-3"}] * 2
            assert [servers(client, each, 80) for each in other] == [{"web-1"}] * 2
            node.write("pair.yaml", swapped(one, other))
            assert [servers(client, each, 80) for each in one] == [{"web-1"}] * 2

    assert node.status().problems == []


def test_a_service_is_made_again_in_one_edit_and_nobody_notices(node: Node) -> None:
    with unharmed(node.lab, connects=(V4, *TOGGLED), holds=TOGGLED):
        for uid in ("77aa", "77ab", "77ac"):
            node.write("toggled.yaml", AS_IT_IS.text().replace("0f5c", uid))


def test_a_service_is_made_again_in_two_edits_and_what_was_open_goes_on(node: Node) -> None:
    with unharmed(node.lab, connects=(V4,), holds=TOGGLED):
        for uid in ("77aa", "77ab", "77ac"):
            node.unlink("toggled.yaml")
            node.write("toggled.yaml", AS_IT_IS.text().replace("0f5c", uid))

    assert_served(node)


def there_and_back(node: Node, toggles: Sequence[Toggle]) -> None:
    for toggle in toggles:
        for text in (toggle.text(), AS_IT_IS.text()):
            status = node.write("toggled.yaml", text)
            assert status.problems == [], toggle.what


def assert_served(node: Node) -> None:
    for address in ADDRESSES:
        assert servers(node.lab.pods["client"], address, 80, 60) == {"web-1", "web-2", "web-3"}
