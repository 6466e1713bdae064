"""The life of a TCP connection, in the states that Linux's connection tracking has for it."""

import pytest

from plait.core.api import Verdict
from plait.testing import Addresses, Datapath, Frame, MakeDatapath, tcp


class Connection:
    """A TCP connection from the client to the server, a segment at a time."""

    def __init__(self, datapath: Datapath, net: Addresses) -> None:
        self.datapath = datapath
        self._net = net

    def client(self, flags: str) -> str:
        """The client sends a segment with these flags; the state of both directions after it."""
        return self._send(tcp(src=self._net.client, dst=self._net.server, flags=flags))

    def server(self, flags: str) -> str:
        """The same of the server."""
        return self._send(
            tcp(src=self._net.server, dst=self._net.client, sport=80, dport=40000, flags=flags)
        )

    def _send(self, segment: Frame) -> str:
        result = self.datapath.pod_egress(segment)
        assert result.verdict is Verdict.REDIRECT
        (state,) = {flow.state for flow in self.datapath.flows()}
        return state


@pytest.fixture
def connection(make_datapath: MakeDatapath, net: Addresses) -> Connection:
    """Nothing is sent yet."""
    datapath = make_datapath({"routing": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    return Connection(datapath, net)


@pytest.fixture
def established(connection: Connection) -> Connection:
    """The handshake is over."""
    connection.client("S")
    connection.server("SA")
    connection.client("A")
    return connection


def test_a_handshake(connection: Connection) -> None:
    assert connection.client("S") == "SYN_SENT"
    assert connection.server("SA") == "SYN_RECV"
    assert connection.client("A") == "ESTABLISHED"


def test_a_syn_that_is_sent_again_changes_nothing(connection: Connection) -> None:
    connection.client("S")

    assert connection.client("S") == "SYN_SENT"


def test_a_handshake_takes_both_sides(connection: Connection) -> None:
    connection.client("S")

    assert connection.client("A") == "SYN_SENT"
    assert connection.server("SA") == "SYN_RECV"
    assert connection.server("A") == "SYN_RECV"


def test_data_changes_nothing(established: Connection) -> None:
    assert established.client("PA") == "ESTABLISHED"
    assert established.server("PA") == "ESTABLISHED"


def test_an_established_connection_is_settled(established: Connection) -> None:
    assert all("SETTLED" in flow.flags for flow in established.datapath.flows())


def test_a_connection_that_is_not_settled_is_tracked(connection: Connection) -> None:
    connection.client("S")

    assert not any("SETTLED" in flow.flags for flow in connection.datapath.flows())


def test_the_client_closes_first(established: Connection) -> None:
    assert established.client("FA") == "FIN_WAIT"
    assert established.server("A") == "CLOSE_WAIT"
    assert established.server("PA") == "CLOSE_WAIT"
    assert established.server("FA") == "LAST_ACK"
    assert established.client("A") == "TIME_WAIT"


def test_the_server_closes_first(established: Connection) -> None:
    assert established.server("FA") == "FIN_WAIT"
    assert established.client("A") == "CLOSE_WAIT"
    assert established.client("FA") == "LAST_ACK"
    assert established.server("A") == "TIME_WAIT"


def test_both_close_at_once(established: Connection) -> None:
    assert established.client("FA") == "FIN_WAIT"
    assert established.server("FA") == "LAST_ACK"
    assert established.client("A") == "TIME_WAIT"


def test_who_has_sent_its_fin_does_not_acknowledge_it_itself(established: Connection) -> None:
    established.client("FA")

    assert established.client("A") == "FIN_WAIT"


@pytest.mark.parametrize("flags", ["R", "RA"])
def test_a_reset_ends_it(established: Connection, flags: str) -> None:
    assert established.server(flags) == "CLOSE"


def test_who_goes_on_has_not_sent_the_reset(established: Connection) -> None:
    established.server("R")

    assert established.client("A") == "CLOSE"
    assert established.server("PA") == "PICKED_UP"
    assert established.client("A") == "PICKED_UP"
    assert established.server("A") == "ESTABLISHED"


def test_a_refused_connection_has_ended(connection: Connection) -> None:
    connection.client("S")

    assert connection.server("RA") == "CLOSE"


def test_a_connection_is_picked_up_in_its_middle(connection: Connection) -> None:
    assert connection.client("A") == "PICKED_UP"
    assert connection.server("PA") == "ESTABLISHED"


@pytest.mark.parametrize("flags", ["R", "RA", "FA"])
def test_the_end_of_an_unknown_connection_makes_no_flow(
    connection: Connection, net: Addresses, flags: str
) -> None:
    end = tcp(src=net.client, dst=net.server, flags=flags)

    result = connection.datapath.pod_egress(end)

    assert result.verdict is Verdict.PASS
    assert not connection.datapath.flows()


@pytest.mark.parametrize("last", ["RA", "FA"])
def test_its_ports_may_be_used_again_when_it_has_ended(
    established: Connection, net: Addresses, last: str
) -> None:
    established.client("FA")
    established.server(last)

    state = established.client("S")

    flow = established.datapath.flow(tcp(src=net.client, dst=net.server))
    assert state == "SYN_SENT"
    assert flow.packets == 1
    assert flow.flags == frozenset()


def test_a_syn_does_not_begin_it_anew_while_it_lives(
    established: Connection, net: Addresses
) -> None:
    assert established.client("S") == "ESTABLISHED"

    flow = established.datapath.flow(tcp(src=net.client, dst=net.server))
    assert flow.packets == 3


def test_a_fin_that_is_sent_again_does_not_bring_it_back(established: Connection) -> None:
    established.client("FA")
    established.server("FA")
    established.client("A")

    assert established.server("FA") == "TIME_WAIT"
