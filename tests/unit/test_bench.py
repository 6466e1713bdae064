"""The benchmarks' figures: the names that others rely on, and when a goal is met."""

from ipaddress import IPv4Address

import pytest
from bench.figures import GOALS, Figure, Goal
from bench.rules import Balanced, iptables, nftables

NAMES = (
    "packet.pod_to_service.established.v4",
    "packet.pod_to_service.established.v6",
    "packet.pod_to_pod.established.v4",
    "packet.pod_to_pod.established.v6",
    "packet.pod_to_service.established_64k.v4",
    "packet.pod_to_service.first.v4",
    "reload.object.p50_ms",
    "reload.warm.p50_ms",
    "reload.cold.p50_ms",
    "reload.lost_packets",
    "reload.reset_connections",
    "services.load_10k_s",
    "services.change_one_ms",
    "agent.rss_mb",
)


@pytest.mark.parametrize("name", NAMES)
def test_each_promised_figure_has_a_goal(name: str) -> None:
    assert name in GOALS


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal(value=70), 70, True),
        (Goal(value=70), 70.1, False),
        (Goal(value=1.1, at_least=True), 1.1, True),
        (Goal(value=1.1, at_least=True), 1.09, False),
    ],
)
def test_a_goal_is_met_up_to_its_value(goal: Goal, value: float, met: bool) -> None:
    assert goal.met(value) is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    figure = Figure(name="packet.floor", value=26, unit="ns")

    assert figure.met is None
    assert figure.plain() == {"name": "packet.floor", "value": 26, "unit": "ns", "goal": None}


def test_rules_share_flows_evenly_among_the_backends() -> None:
    first = IPv4Address("10.244.1.10")
    backends = [first, first + 1, first + 2]
    service = Balanced(number=7, address=IPv4Address("10.96.0.1"), backends=backends)

    rules = iptables([service])

    assert "--probability 0.3333333333 -j KUBE-SEP-7-0" in rules
    assert "--probability 0.5000000000 -j KUBE-SEP-7-1" in rules
    assert "-A KUBE-SVC-7 -j KUBE-SEP-7-2" in rules
    assert "numgen random mod 3" in nftables([service], IPv4Address("192.0.2.1"))
