"""Checks of backends: what makes a verdict, whom to ask and how often, what is told."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.core.api import (
    EndpointSlice,
    Key,
    Meta,
    Object,
    PlaitError,
    Report,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
    View,
)
from plait.plugins.lb.annotations import CHECK, FALL, INTERVAL, RISE, TIMEOUT, Check, check_of
from plait.plugins.lb.backends import Backend
from plait.plugins.lb.health.checks import Checks
from plait.plugins.lb.health.probe import Failure, ask
from plait.plugins.lb.health.rounds import AT_ONCE, Rounds
from plait.plugins.lb.health.services import Services
from plait.plugins.lb.health.targets import Targets, is_checked, targets_of
from plait.plugins.lb.health.verdict import Health
from support.clock import run

FIRST = Backend(IPv4Address("10.0.0.1"), 8080)
SECOND = Backend(IPv4Address("10.0.0.2"), 8080)
REFUSED = Failure("does not answer", "connection refused")


def web(name: str = "web", *ports: ServicePort, **annotations: str) -> Service:
    """A Service that is checked unless it says otherwise; annotations by their constants."""
    names = {"check": CHECK, "interval": INTERVAL, "timeout": TIMEOUT, "rise": RISE, "fall": FALL}
    given = {names[each]: value for each, value in ({"check": "tcp"} | annotations).items()}
    return Service(meta=Meta(name=name, annotations=given), ports=ports or (ServicePort(port=80),))


def served_by(
    *endpoints: SliceEndpoint, name: str = "web", ports: tuple[SlicePort, ...] | None = None
) -> EndpointSlice:
    return EndpointSlice(
        meta=Meta(name=f"{name}-1"),
        service=name,
        endpoints=endpoints,
        ports=ports or (SlicePort(port=8080),),
    )


BOTH = served_by(SliceEndpoint(address=FIRST.address), SliceEndpoint(address=SECOND.address))


# ---- verdicts ----


def verdict(results: Sequence[bool], *, rise: int = 2, fall: int = 3) -> bool | None:
    health = Health()
    for good in results:
        health = health.after(good, rise=rise, fall=fall)
    return health.healthy


@pytest.mark.parametrize(
    ("results", "healthy"),
    [
        ([], None),
        ([True], None),
        ([False, False], None),
        ([True, True], True),
        ([False, False, False], False),
        ([True, True, False, False], True),
        ([True, True, False, False, True, False, False], True),
        ([True, True, False, False, False], False),
        ([False, False, False, True], False),
        ([False, False, False, True, False, True, True], True),
    ],
)
def test_it_takes_so_many_checks_in_a_row(results: list[bool], healthy: bool | None) -> None:
    assert verdict(results) is healthy


@given(
    st.lists(st.booleans(), max_size=30),
    st.integers(min_value=1, max_value=5),
    st.integers(min_value=1, max_value=5),
)
def test_the_verdict_is_that_of_the_last_row_that_was_long_enough(
    results: list[bool], rise: int, fall: int
) -> None:
    expected = None
    for end in range(1, len(results) + 1):
        if end >= rise and all(results[end - rise : end]):
            expected = True
        if end >= fall and not any(results[end - fall : end]):
            expected = False

    assert verdict(results, rise=rise, fall=fall) is expected


# ---- annotations ----


def test_a_check_has_defaults() -> None:
    assert check_of(web()) == Check(path="", interval=5, timeout=2, rise=2, fall=3)


def test_all_of_a_check_may_be_said() -> None:
    service = web(check="http:/healthz?x=1", interval="0.5", timeout="10", rise="1", fall="7")

    assert check_of(service) == Check(path="/healthz?x=1", interval=0.5, timeout=10, rise=1, fall=7)


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({"check": "udp"}, "health-check is 'udp'; expected tcp, or http:/ and"),
        ({"check": "http:/a b"}, "health-check is 'http:/a b'"),
        ({"interval": "0"}, "health-check-interval is '0'; expected seconds from 0.1 to 3600"),
        ({"timeout": "2s"}, "health-check-timeout is '2s'; expected seconds"),
        ({"rise": "0"}, "health-check-rise is '0'; expected a whole number from 1 to 100"),
        ({"fall": "many"}, "health-check-fall is 'many'; expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nobody_is_checked(
    annotations: dict[str, str], told: str
) -> None:
    service = web(**annotations)

    targets = targets_of(service, [service, BOTH])

    [problem] = targets.problems
    assert f"Service default/web: annotation lb.plait/{told}" in str(problem)
    assert targets.backends == frozenset()


# ---- whom to check ----


def test_backends_of_tcp_ports_are_checked() -> None:
    assert targets_of(web(), [web(), BOTH]).backends == {FIRST, SECOND}


def test_backends_of_both_families_are_checked() -> None:
    six = SliceEndpoint(address=IPv6Address("fd00::1"))

    targets = targets_of(web(), [web(), served_by(six)])

    assert targets.backends == {Backend(six.address, 8080)}


def test_those_that_do_not_serve_anyway_are_not_checked() -> None:
    starting = SliceEndpoint(address=FIRST.address, ready=False, serving=False)
    leaving = SliceEndpoint(address=SECOND.address, ready=False, serving=True, terminating=True)

    assert targets_of(web(), [web(), served_by(starting, leaving)]).backends == {SECOND}


def test_a_udp_port_goes_with_the_tcp_port_of_the_same_number() -> None:
    dns = web(
        "dns",
        ServicePort(name="tcp", port=53),
        ServicePort(name="udp", port=53, protocol="UDP"),
    )
    ports = (
        SlicePort(name="tcp", port=53),
        SlicePort(name="udp", port=53, protocol="UDP"),
    )

    targets = targets_of(
        dns, [served_by(SliceEndpoint(address=FIRST.address), name="dns", ports=ports)]
    )

    assert targets.backends == {Backend(FIRST.address, 53)}
    assert targets.problems == ()


def test_a_udp_port_by_itself_is_refused_by_name() -> None:
    log = web("log", ServicePort(port=514, protocol="UDP"))
    slice_ = served_by(
        SliceEndpoint(address=FIRST.address),
        name="log",
        ports=(SlicePort(port=514, protocol="UDP"),),
    )

    targets = targets_of(log, [slice_])

    [problem] = targets.problems
    assert "Service default/log" in str(problem) and "UDP port 514" in str(problem)
    assert targets.backends == frozenset()


# ---- which services are concerned ----


def view(objects: dict[Key, Object], changed: Sequence[Object] | None) -> View:
    keys = None if changed is None else [each.key for each in changed]
    return View(objects=dict(objects), changed=keys)


def keyed(*objects: Object) -> dict[Key, Object]:
    return {each.key: each for each in objects}


def test_a_service_comes_with_its_slices_whichever_is_there_first() -> None:
    services = Services(is_checked)
    services.update(view(keyed(BOTH), None))

    due = services.update(view(keyed(BOTH, web()), [web()]))

    assert due == {"default/web"}
    assert services.objects("default/web", keyed(BOTH, web())) == [BOTH, web()]


def test_slices_that_come_change_and_go_are_noticed() -> None:
    services = Services(is_checked)
    services.update(view(keyed(web()), None))
    more = served_by(name="other")

    assert services.update(view(keyed(web(), BOTH), [BOTH])) == {"default/web"}
    assert services.update(view(keyed(web(), BOTH, more), [more])) == set()
    assert services.update(view(keyed(web()), [BOTH])) == {"default/web"}
    assert services.objects("default/web", keyed(web())) == [web()]


def test_a_service_that_is_not_meant_any_more_is_let_go() -> None:
    services = Services(is_checked)
    services.update(view(keyed(web(), BOTH), None))
    plain = Service(meta=Meta(name="web"))

    due = services.update(view(keyed(plain, BOTH), [plain]))

    assert due == {"default/web"}
    assert services.objects("default/web", keyed(plain, BOTH)) == []
    assert services.update(view(keyed(plain, BOTH), [BOTH])) == set()


# ---- rounds, on a clock that jumps ----


class Backends:
    """Backends that answer, or not, and the seconds at which they were asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.dead: set[Backend] = set()
        self.asked: list[tuple[float, Backend]] = []
        self.busy = self.most = 0
        self._seconds = seconds

    async def ask(self, backend: Backend, path: str, timeout: float) -> Failure | None:
        self.asked.append((asyncio.get_running_loop().time(), backend))
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(self._seconds)
        self.busy -= 1
        return REFUSED if backend in self.dead else None


def targets(*backends: Backend, check: Check | None = None, name: str = "web") -> Targets:
    return Targets(service=web(name), check=check or Check(), backends=frozenset(backends))


class Published(list[Report]):
    @property
    def silent(self) -> set[Backend]:
        """The backends that the last report says do not answer."""
        objects = self[-1].objects if self else ()
        return set().union(*(each.silent for each in objects))  # type: ignore[attr-defined]


def test_a_backend_that_dies_is_told_and_that_it_is_back() -> None:
    async def main() -> None:
        backends, told = Backends(), Published()
        all_rounds = Rounds(told.append, backends.ask)
        all_rounds.set("default/web", targets(FIRST, SECOND))
        await asyncio.sleep(20)
        assert told.silent == set()

        backends.dead.add(SECOND)
        await asyncio.sleep(4)
        assert told.silent == set()
        await asyncio.sleep(16)

        [health] = told[-1].objects
        assert (health.name, told.silent) == ("default/web", {SECOND})
        assert [str(each) for each in told[-1].warnings] == [
            "Service default/web: 10.0.0.2:8080 does not answer (3 checks): connection refused"
        ]

        backends.dead.clear()
        await asyncio.sleep(15)

        assert (told.silent, told[-1].warnings) == (set(), ())

    run(main())


def test_who_does_not_answer_from_the_start_is_found_out_sooner() -> None:
    async def main() -> None:
        backends, told = Backends(), Published()
        backends.dead.add(FIRST)
        all_rounds = Rounds(told.append, backends.ask)
        all_rounds.set("default/web", targets(FIRST, check=Check(interval=60)))

        await asyncio.sleep(4)

        assert told.silent == {FIRST}

    run(main())


def test_what_is_known_stays_while_the_same_is_asked() -> None:
    async def main() -> None:
        backends, told = Backends(), Published()
        backends.dead.add(FIRST)
        all_rounds = Rounds(told.append, backends.ask)
        all_rounds.set("default/web", targets(FIRST))
        await asyncio.sleep(20)

        all_rounds.set("default/web", targets(FIRST, SECOND))
        await asyncio.sleep(0.1)
        assert told.silent == {FIRST}
        all_rounds.set("default/web", targets(FIRST, check=Check(interval=9)))
        await asyncio.sleep(0.1)
        assert told.silent == {FIRST}
        all_rounds.set("default/web", targets(FIRST, check=Check(path="/healthz")))
        await asyncio.sleep(0.1)
        assert told.silent == set()

    run(main())


def test_who_is_not_a_target_any_more_is_not_asked() -> None:
    async def main() -> None:
        backends, told = Backends(), Published()
        backends.dead.add(FIRST)
        all_rounds = Rounds(told.append, backends.ask)
        all_rounds.set("default/web", targets(FIRST))
        await asyncio.sleep(20)

        all_rounds.set("default/web", None)
        asked = len(backends.asked)
        await asyncio.sleep(20)

        assert told[-1] == Report()
        assert len(backends.asked) == asked

    run(main())


def test_a_check_that_could_not_be_made_says_nothing() -> None:
    async def unable(backend: Backend, path: str, timeout: float) -> Failure | None:
        raise OSError("too many open files")

    async def main() -> None:
        told = Published()
        Rounds(told.append, unable).set("default/web", targets(FIRST))

        await asyncio.sleep(60)

        assert told.silent == set()

    run(main())


MANY = [Backend(IPv4Address("10.1.0.0") + number, 80) for number in range(1000)]


def test_a_thousand_backends_are_asked_evenly() -> None:
    async def main() -> None:
        backends = Backends()
        Rounds(Published().append, backends.ask).set("default/web", targets(*MANY))

        await asyncio.sleep(65)

        per_second = Counter(int(at) for at, _ in backends.asked)
        settled = [per_second[second] for second in range(8, 65)]
        assert min(settled) > 100
        assert max(settled) < 400
        per_backend = Counter(backend for at, backend in backends.asked if at >= 8)
        assert len(per_backend) == 1000
        assert min(per_backend.values()) >= 10

    run(main())


def test_only_so_many_are_asked_at_a_time() -> None:
    async def main() -> None:
        backends = Backends(seconds=2)
        Rounds(Published().append, backends.ask).set("default/web", targets(*MANY))

        await asyncio.sleep(30)

        assert backends.most == AT_ONCE

    run(main())


def test_of_very_many_only_some_are_named() -> None:
    async def main() -> None:
        backends, told = Backends(), Published()
        backends.dead.update(MANY)
        Rounds(told.append, backends.ask).set("default/web", targets(*MANY))

        await asyncio.sleep(30)

        assert len(told.silent) == 1000
        assert len(told[-1].warnings) == 11
        assert "990 more" in str(told[-1].warnings[-1])

    run(main())


# ---- questions to real sockets ----

Talk = Callable[[socket.socket], None]


@contextmanager
def backend(talk: Talk, address: str = "127.0.0.1") -> Iterator[Backend]:
    """A server that talks to one client."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        server.settimeout(5)

        def serve() -> None:
            client, _ = server.accept()
            with client, suppress(ConnectionError):
                talk(client)

        thread = threading.Thread(target=serve)
        thread.start()
        host = IPv6Address(address) if ":" in address else IPv4Address(address)
        yield Backend(host, server.getsockname()[1])
        thread.join()


def says(answer: bytes) -> Talk:
    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(answer)

    return talk


def outcome(question: Awaitable[Failure | None]) -> Failure | None:
    async def main() -> Failure | None:
        return await question

    return asyncio.run(main())


def test_who_accepts_a_connection_is_well() -> None:
    with backend(lambda _: None) as each:
        assert outcome(ask(each, "", 5)) is None


def test_who_refuses_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = Backend(IPv4Address("127.0.0.1"), server.getsockname()[1])

    assert outcome(ask(gone, "", 5)) == REFUSED


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.0 399 Hm\r\n\r\n", None),
        (b"HTTP/1.1 503 Out\r\n\r\n", Failure("answers badly", "status 503")),
        (b"HTTP/1.1 199 Hm\r\n\r\n", Failure("answers badly", "status 199")),
        (b"SSH-2.0-x\r\n", Failure("answers badly", "not as HTTP does")),
        (b"", Failure("answers badly", "not as HTTP does")),
    ],
)
def test_who_is_asked_by_http_is_judged_by_the_status(
    answer: bytes, failure: Failure | None
) -> None:
    with backend(says(answer)) as each:
        assert outcome(ask(each, "/healthz", 5)) == failure


def test_http_is_spoken_as_it_should_be() -> None:
    heard: list[bytes] = []

    def talk(client: socket.socket) -> None:
        heard.append(client.recv(4096))
        client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with backend(talk, "::1") as each:
        outcome(ask(each, "/healthz", 5))

    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert f"Host: [::1]:{each.port}" in lines


def test_who_says_nothing_in_time_is_not_well() -> None:
    def listen(client: socket.socket) -> None:
        while client.recv(4096):
            pass

    with backend(listen) as each:
        assert outcome(ask(each, "/", 0.1)) == Failure("does not answer", "timeout of 0.1 s")


# ---- the whole, in its thread ----


def test_the_controller_checks_what_it_is_shown() -> None:
    told: list[Report] = []
    silent = threading.Event()

    def publish(report: Report) -> None:
        told.append(report)
        if report.objects:
            silent.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    service = web(interval="0.1", fall="1")
    endpoint = SliceEndpoint(address=IPv4Address("127.0.0.1"))
    slice_ = served_by(endpoint, ports=(SlicePort(port=port),))
    checks = Checks(publish)

    checks.follow(view(keyed(service, slice_), None))
    found = silent.wait(10)
    checks.stop()

    assert found
    assert told[-1].objects[0].name == "default/web"
    assert [isinstance(each, PlaitError) for each in told[-1].warnings] == [True]
