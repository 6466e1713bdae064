"""Plait works on other kernels: a virtual machine runs tests there, and here is what came of it.

A kernel boots once, for all checks. What the machine runs is in inside/, and a selection of the
packet tests.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from vm import machine
from vm.kernels import Unavailable, find_kernel

pytestmark = pytest.mark.vm

ROOT = Path(__file__).parents[2]
PYTEST = (sys.executable, "-m", "pytest", "-q")
SECONDS = 1800.0

PACKETS: Mapping[str, tuple[str, ...]] = {
    "test_every_config": (),
    "test_flow_zones": (),
    "test_fragments": (),
    "test_flow_decide": (
        "test_the_first_packet_makes_a_flow_in_each_direction",
        "test_later_packets_take_the_way_that_the_first_one_found",
        "test_later_packets_decide_again_when_what_they_were_decided_from_has_changed",
        "test_what_is_for_elsewhere_leaves_by_the_route_s_next_hop",
        "test_the_answer_from_elsewhere_is_delivered",
    ),
    "test_headers": (
        "test_checksums_are_right_whatever_they_are_of",
        "test_a_packet_with_extension_headers_is_translated",
        "test_a_packet_with_ipv4_options_is_translated",
    ),
    "test_icmp": (
        "test_a_backend_s_error_comes_from_the_service",
        "test_a_router_s_error_keeps_its_source",
        "test_a_packet_that_is_too_big_is_answered_with_the_mtu",
        "test_a_packet_with_no_hops_left_is_answered_by_the_node",
    ),
    "test_lb_fragment": (
        "test_a_flow_to_a_service_goes_to_a_backend",
        "test_later_packets_are_translated_alike",
        "test_the_answer_comes_from_the_service",
        "test_a_connection_that_would_look_like_another_leaves_from_another_port",
        "test_a_service_without_backends_refuses",
    ),
    "test_tcp_states": ("test_a_handshake", "test_the_client_closes_first"),
    "test_sock_hooks": (),
    "test_gc": ("test_flows_of_a_pod_that_is_gone_are_swept_away",),
    "test_lb_outside": (
        "test_a_node_port_leads_into_a_pod_that_sees_its_client",
        "test_a_node_port_to_another_node_is_masqueraded_there_and_back",
        "test_ranges_hold_for_whichever_backends_serve",
        "test_a_backend_in_the_host_s_own_network_answers_from_the_node_port",
    ),
    "test_lb_gone": ("test_a_connection_to_a_backend_that_is_gone_is_reset",),
    "test_lb_choice": (
        "test_flows_keep_their_backend_when_another_one_comes",
        "test_of_ranked_backends_one_goes_and_only_its_flows_would_go_elsewhere",
    ),
    "test_lb_affinity": ("test_a_client_stays_with_one_backend",),
    "test_masquerade": ("test_every_flow_has_a_port_of_its_own_until_there_is_none",),
    "test_lb_sock": (
        "test_a_connection_is_one_to_a_backend_and_its_peer_is_the_service",
        "test_datagrams_are_answered_by_the_service",
        "test_without_a_backend_a_connection_is_refused",
    ),
    "test_sockdiag": (),
    "test_sctp": (),
}
"""Of each file of packet tests the tests that a machine runs; without any, all."""

CHECKS = ("features", "end_to_end", *(name.removeprefix("test_") for name in PACKETS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test that the machine has run: what went wrong, None when nothing did."""

    name: str
    seconds: float
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """A machine that has run, and its tests by check."""

    finished: machine.Finished
    cases: Mapping[str, tuple[Case, ...]]


@pytest.fixture(scope="session")
def compiled() -> None:
    """What the machines load is in pytest's cache: a compiler takes minutes in there.

    The packet tests see to that. What fails here already says nothing about other kernels.
    """
    command = (*PYTEST, *_packet_tests())
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"on this machine's own kernel:\n{done.stdout}"


@pytest.fixture(scope="session", params=["6.1", "6.12"])
def booted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Booted]:
    """A machine on the newest kernel of a series, after all checks."""
    try:
        machine.check_tools()
        kernel = find_kernel(request.param, _cache())
    except Unavailable as why:
        pytest.skip(f"no machine with Linux {request.param}: {why}")
    request.getfixturevalue("compiled")
    out = tmp_path_factory.mktemp(f"linux-{request.param}-")
    finished = machine.run(kernel, _command(), out=out, timeout=SECONDS)
    yield Booted(finished=finished, cases=_cases(out / "results.xml"))


@pytest.mark.parametrize("check", CHECKS)
def test_it_works_on(booted: Booted, check: str) -> None:
    cases = booted.cases.get(check, ())

    assert cases, f"these tests did not run to their end; the machine:\n{booted.finished.text}"
    print(f"{len(cases)} tests in {sum(case.seconds for case in cases):.0f} s")
    failures = [f"{case.name}\n{case.failure}" for case in cases if case.failure]
    assert not failures, "\n\n".join(failures)


def _command() -> str:
    """What the machine does: without a compiler, as most nodes are.

    The packet tests keep their programs loaded: before them it is seen that none is left over.
    """
    tests = ("tests/vm/inside/features.py", "tests/vm/inside/end_to_end.py", *_packet_tests())
    return f"""\
cd {shlex.quote(str(ROOT))}
export CI=true PLAIT_CLANG=/nonexistent PLAIT_TEST_PATIENCE=300
{shlex.join((*PYTEST, "--junitxml=/run/out/results.xml", *tests))}
"""


def _packet_tests() -> tuple[str, ...]:
    files = ((f"tests/bpf/{file}.py", names) for file, names in PACKETS.items())
    return tuple(
        node for file, names in files for node in ([f"{file}::{each}" for each in names] or [file])
    )


def _cases(results: Path) -> dict[str, tuple[Case, ...]]:
    """The tests in a JUnit file, by the name of their own file; none without it."""
    found: dict[str, tuple[Case, ...]] = {}
    for each in ElementTree.parse(results).iter("testcase") if results.exists() else ():
        check = each.attrib["classname"].rpartition(".")[2].removeprefix("test_")
        bad = [part.text or "" for part in each if part.tag in ("failure", "error", "skipped")]
        case = Case(
            name=each.attrib["name"],
            seconds=float(each.attrib["time"]),
            failure="\n".join(bad) if bad else None,
        )
        found[check] = (*found.get(check, ()), case)
    return found


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plait-kernels"
