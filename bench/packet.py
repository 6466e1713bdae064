"""Nanoseconds per packet over a program that only returns, by BPF_PROG_TEST_RUN."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, Run, Suite
from bench.traffic import Nodes, services
from bench.wrapper import Wrapper
from plait.core.api.contract import Hook
from plait.core.testing.datapath import Datapath
from plait.core.testing.loading import Loader
from plait.core.testing.packets import Frame

FEATURES = {
    "routing": {"mode": "native"},
    "lb": {"algorithm": "maglev", "capacity": {"services": 10_100}},
}
"""The measured datapath; its tables have the sizes that a node has by default."""

_WHOLE_TABLES = 1 << 30

REPEATS = 200_000
PORTS = 1 << 16
FIRSTS = 60_000
"""First packets per round: each makes two of the flow table's 262,144 entries."""
MANY = 10_000


@dataclass(slots=True, kw_only=True)
class Case:
    """A packet that is repeated, and the shortest times of its rounds in nanoseconds."""

    name: str
    frame: Frame
    ifindex: int
    wrapper: Wrapper
    whole: list[int] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)

    @property
    def figure(self) -> Figure:
        return Figure(name=self.name, value=min(self.whole) - min(self.alone), unit="ns")


def measure(run: Run) -> Iterator[Figure]:
    """Established flows, 64 k of them in turn, and first packets."""
    with TemporaryDirectory(prefix="plait-bench-") as scratch:
        loader = Loader(Path(scratch), Path(scratch))
        config = loader.config(FEATURES, {})
        prepared = loader.prepare(config)
        try:
            with (
                loader.datapath(config, most_entries=_WHOLE_TABLES) as datapath,
                Wrapper(prepared, Hook.POD_EGRESS, datapath.maps, Path(scratch)) as egress,
                Wrapper(prepared, Hook.NETDEV_INGRESS, datapath.maps, Path(scratch)) as ingress,
            ):
                nodes = Nodes(datapath)
                yield from _established(run, nodes, egress, ingress)
                yield from _many_established(run, nodes, egress)
                yield from _firsts(run, nodes, egress)
        finally:
            loader.close()


SUITE = Suite(
    prefixes=("packet",),
    summary="nanoseconds per packet, established and first",
    measure=measure,
)


def _established(run: Run, nodes: Nodes, egress: Wrapper, ingress: Wrapper) -> Iterator[Figure]:
    cases = [
        case for version in (4, 6) for case in _established_cases(nodes, version, egress, ingress)
    ]
    floors: list[int] = []
    rounds = run.samples(usual=30, quick=8)
    for number in range(rounds):
        run.progress(f"established packets, round {number + 1} of {rounds}")
        for case in cases:
            floors.append(case.wrapper.time("bench_floor", case.frame, case.ifindex, REPEATS))
            _time_same(nodes.datapath, case)
    yield Figure(name="packet.floor", value=min(floors), unit="ns")
    for case in cases:
        yield case.figure


def _established_cases(
    nodes: Nodes, version: int, egress: Wrapper, ingress: Wrapper
) -> Iterator[Case]:
    service = nodes.converse(version, to_service=True, far=True)
    local = nodes.converse(version, to_service=True, far=False)
    direct = nodes.converse(version, to_service=False, far=True)
    near = nodes.converse(version, to_service=False, far=False)
    client, server, uplink = nodes.client, nodes.server, nodes.uplink
    for name, frame, ifindex, wrapper in (
        ("pod_to_service.established", service.request, client, egress),
        ("pod_to_service.established_local", local.request, client, egress),
        ("pod_to_pod.established", direct.request, client, egress),
        ("pod_to_pod.established_local", near.request, client, egress),
        ("reply.established", local.answer, server, egress),
        ("reply.established_far", service.answer, uplink, ingress),
    ):
        full_name = f"packet.{name}.v{version}"
        yield Case(name=full_name, frame=frame, ifindex=ifindex, wrapper=wrapper)


def _time_same(datapath: Datapath, case: Case) -> None:
    """One round. What was measured has to be what it says: each packet on the fast path."""
    before = datapath.flow(case.frame).packets
    case.wrapper.start(case.frame, case.ifindex)
    with case.wrapper.fast_path_only():
        case.whole.append(case.wrapper.time("run_same", case.frame, case.ifindex, REPEATS))
    flow = datapath.flow(case.frame)
    if flow.packets - before != REPEATS:
        raise AssertionError(f"{case.name}: {flow.packets - before} packets counted")
    case.wrapper.check_output(case.frame, case.ifindex, flow.to)
    case.alone.append(case.wrapper.time("only_same", case.frame, case.ifindex, REPEATS))


def _many_established(run: Run, nodes: Nodes, egress: Wrapper) -> Iterator[Figure]:
    """65,536 connections in turn: each packet finds its flow in memory, not in the cache."""
    for version in (4, 6):
        nodes.clear_flows()
        frame = nodes.request(version, nodes.service(version, far=True), sport=0, flags="A")
        name = f"packet.pod_to_service.established_64k.v{version}"
        case = Case(name=name, frame=frame, ifindex=nodes.client, wrapper=egress)
        egress.start(frame, nodes.client)
        egress.time("run_ports", frame, nodes.client, PORTS)
        nodes.check_flows(2 * PORTS)
        rounds = run.samples(usual=15, quick=5)
        for number in range(rounds):
            run.progress(f"64 k flows, IPv{version}, round {number + 1} of {rounds}")
            with egress.fast_path_only():
                case.whole.append(egress.time("run_ports", frame, nodes.client, 3 * PORTS))
            case.alone.append(egress.time("only_ports", frame, nodes.client, 3 * PORTS))
        yield case.figure


def _firsts(run: Run, nodes: Nodes, egress: Wrapper) -> Iterator[Figure]:
    """A new connection with each packet; with 1 service, then with 10,000."""
    rounds = run.samples(usual=10, quick=3)
    for version in (4, 6):
        case = _first_case(nodes, egress, version, "first")
        _time_first(run, nodes, case, ("run_ports", "only_ports"), rounds)
        yield case.figure
    run.progress("10,000 services into the maps")
    many = services(MANY)
    nodes.datapath.put(*many.objects)
    for version in (4, 6):
        case = _first_case(nodes, egress, version, "first_with_10k")
        _time_first(run, nodes, case, ("run_ports", "only_ports"), rounds)
        yield case.figure
    frame = nodes.request(4, many.first_address, sport=1024, flags="S")
    case = Case(
        name="packet.pod_to_service.first_of_10k.v4",
        frame=frame,
        ifindex=nodes.client,
        wrapper=egress,
    )
    _time_first(run, nodes, case, ("run_dests", "only_dests"), rounds)
    yield case.figure


def _first_case(nodes: Nodes, egress: Wrapper, version: int, name: str) -> Case:
    frame = nodes.request(version, nodes.service(version, far=True), sport=0, flags="S")
    full_name = f"packet.pod_to_service.{name}.v{version}"
    return Case(name=full_name, frame=frame, ifindex=nodes.client, wrapper=egress)


def _time_first(run: Run, nodes: Nodes, case: Case, programs: Sequence[str], rounds: int) -> None:
    whole, alone = programs
    for number in range(rounds):
        run.progress(f"{case.name}, round {number + 1} of {rounds}")
        nodes.clear_flows()
        case.wrapper.start(case.frame, case.ifindex)
        case.whole.append(case.wrapper.time(whole, case.frame, case.ifindex, FIRSTS))
        nodes.check_flows(2 * FIRSTS)
        case.alone.append(case.wrapper.time(alone, case.frame, case.ifindex, FIRSTS))
