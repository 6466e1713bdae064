"""Documents to objects: Kubernetes' shapes are read, every fault is told with its place."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Self

import pytest

from plait.core.api import Field, Meta, Object, Position
from plait.core.objects.model import Endpoint
from plait.core.objects.parse import Parsed
from plait.core.objects.services import (
    EndpointSlice,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
)
from support.documents import ENDPOINT, FILE, SERVICE, complaints, parse

SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-x7
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
endpoints:
  - addresses: [10.244.1.10]
    conditions: {ready: false, serving: true}
  - addresses: [10.244.1.11]
ports:
  - {name: http, port: 8080}
"""


def test_a_service_has_its_addresses_and_ports() -> None:
    (service,) = parse(SERVICE).objects

    assert service == Service(
        meta=Meta(name="web", namespace="shop", labels={"app": "web"}),
        cluster_ips=(IPv4Address("10.96.0.1"), IPv6Address("fd00::1")),
        ports=(
            ServicePort(name="http", port=80, target="web-port"),
            ServicePort(name="dns", port=53, target=5353, protocol="UDP"),
        ),
    )


@pytest.mark.parametrize("addresses", ["clusterIP: None", "clusterIPs: [None]", "type: ClusterIP"])
def test_a_service_without_an_address_has_none(addresses: str) -> None:
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{{addresses}}}\n"

    (service,) = parse(text).objects

    assert isinstance(service, Service)
    assert service.cluster_ips == ()


def test_a_slice_belongs_to_the_service_of_its_label() -> None:
    (found,) = parse(SLICE).objects

    assert isinstance(found, EndpointSlice)
    assert found.service == "web"
    assert found.ports == (SlicePort(name="http", port=8080),)


def test_an_endpoint_is_ready_unless_it_says_otherwise() -> None:
    (found,) = parse(SLICE).objects

    assert isinstance(found, EndpointSlice)
    assert found.endpoints == (
        SliceEndpoint(address=IPv4Address("10.244.1.10"), ready=False),
        SliceEndpoint(address=IPv4Address("10.244.1.11"), ready=True),
    )


def test_a_slice_of_names_has_no_backends() -> None:
    text = SLICE.replace("IPv4", "FQDN").replace("10.244.1.1", "web.example.")

    (found,) = parse(text).objects

    assert isinstance(found, EndpointSlice)
    assert found.endpoints == ()


def test_a_workload_has_an_interface_and_addresses() -> None:
    (endpoint,) = parse(ENDPOINT).objects

    assert endpoint == Endpoint(
        meta=Meta(name="db", labels={"app": "db"}),
        interface="pl0",
        addresses=(IPv4Address("10.244.1.5"), IPv6Address("fd00:10:244:1::5")),
        mac="0a:58:0a:f4:01:05",
    )


def test_an_object_knows_the_line_on_which_it_begins() -> None:
    (service,) = parse(f"---\n# the shop\n{SERVICE}", first_line=10).objects

    assert service.at == Position(file=FILE, line=12)


def test_a_list_holds_objects_that_each_know_their_line() -> None:
    items = "".join(
        f"- apiVersion: v1\n  kind: Service\n  metadata: {{name: {name}}}\n  spec: {{}}\n"
        for name in ("a", "b")
    )

    a, b = parse(f"apiVersion: v1\nkind: List\nitems:\n{items}").objects

    assert a.at and b.at
    assert (a.meta.name, a.at.line) == ("a", 4)
    assert (b.meta.name, b.at.line) == ("b", 8)


def test_a_bad_item_of_a_list_leaves_the_others() -> None:
    bad = '{apiVersion: v1, kind: Service, metadata: {name: A}, spec: {type: "no"}}'
    good = "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: []}}"

    parsed = parse(f"apiVersion: v1\nkind: List\nitems: [{bad}, {good}]\n")

    assert [each.meta.name for each in parsed.objects] == ["b"]
    assert len(parsed.problems) == 2


def test_json_is_read_as_well() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "Service",\n\t"metadata": {"name": "web"},'
        '\n\t"spec": {"clusterIP": "10.96.0.1"}}'
    )

    (service,) = parse(text).objects

    assert isinstance(service, Service)
    assert service.cluster_ips == (IPv4Address("10.96.0.1"),)


def test_every_fault_of_a_document_is_told_with_its_place() -> None:
    text = """\
    apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: 7}
    spec:
      clusterIPs: [10.96.0.300]
      ports:
        - {name: http, port: 70000, protocol: HTTP}
        - {name: http, port: 0}
    """

    assert complaints(text) == [
        "objects.yaml:3:34: namespace is 7; "
        "expected lower-case letters, digits, '-' and '.' (at most 253)",
        "objects.yaml:5:16: clusterIPs[0] is '10.96.0.300'; expected an IP address",
        "objects.yaml:7:26: port is 70000; expected a whole number from 1 to 65535",
        "objects.yaml:7:43: protocol is 'HTTP'; expected one of TCP, UDP, SCTP",
        "objects.yaml:8:14: name 'http' is here twice; expected a different one",
        "objects.yaml:8:26: port is 0; expected a whole number from 1 to 65535",
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("addressType: IPv4", "addressType: IPv6", "expected an IPv6 address"),
        ("addressType: IPv4", "addressType: ipv4", "expected one of IPv4, IPv6, FQDN"),
        ("addressType: IPv4", "other: IPv4", "addressType is missing"),
        ("[10.244.1.11]", "[]", "addresses is missing"),
        ("[10.244.1.11]", "10.244.1.11", "addresses is '10.244.1.11'; expected a list"),
        ("[10.244.1.11]", "[010.244.1.11]", "expected an IPv4 address"),
        ("ready: false", "ready: 'no'", "ready is 'no'; expected true or false"),
        ("port: 8080", "port: '8080'", "port is '8080'; expected a whole number"),
        ("port: 8080", "port: true", "port is true; expected a whole number"),
        ("10.244.1.10", "169.254.1.5", "on one link only; expected an IPv4 address"),
        ("name: web-x7", "name: web_x7", "name is 'web_x7'"),
        ("name: web-x7", "generateName: web-", "name is missing"),
        ("service-name: web", "service-name: [web]", "is a list; expected text"),
        ("kind: EndpointSlice", "kinds: EndpointSlice", "kind is missing"),
    ],
)
def test_a_wrong_slice_is_refused(right: str, wrong: str, complaint: str) -> None:
    parsed = parse(SLICE.replace(right, wrong))

    assert parsed.objects == ()
    assert complaint in str(parsed.problems[0])


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("interface: pl0", "interface: a-name-too-long-for-linux", "at most 15 characters"),
        ("mac: 0a:58:0a:f4:01:05", "mac: 0a58.0af4.0105", "expected a MAC address"),
        ("fd00:10:244:1::5", "'::ffff:10.0.0.1'", "expected an IP address"),
        ("fd00:10:244:1::5", "'fe80::1%eth0'", "expected an IP address"),
        ("addresses: [10.244.1.5, fd00:10:244:1::5]", "addresses: []", "addresses is missing"),
    ],
)
def test_a_wrong_workload_is_refused(right: str, wrong: str, complaint: str) -> None:
    parsed = parse(ENDPOINT.replace(right, wrong))

    assert parsed.objects == ()
    assert complaint in str(parsed.problems[0])


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "which stands for no host"),
        ("127.1.0.1", "which every host has for itself"),
        ("169.254.1.1", "which is known on one link only"),
        ("224.0.0.1", "which is no one host's"),
        ("255.255.255.255", "which is no one host's"),
        ("'::'", "which stands for no host"),
        ("'::1'", "which every host has for itself"),
        ("fe80::1", "which is known on one link only"),
        ("ff02::1", "which is no one host's"),
    ],
)
def test_an_address_that_others_cannot_reach_is_refused_everywhere(address: str, why: str) -> None:
    expected = f"is {address.strip(chr(39))}, {why}; expected an IP address that other hosts can"

    for text in (ENDPOINT, SERVICE):
        parsed = parse(re.sub(r"(ddresses|IPs): \[.*\]", rf"\1: [{address}]", text))

        assert parsed.objects == ()
        assert expected in str(parsed.problems[0])


@pytest.mark.parametrize("address", ["254.1.1.1", "169.253.0.1", "::2", "fec0::1"])
def test_an_unusual_address_is_an_address(address: str) -> None:
    parsed = parse(re.sub(r"addresses: .*", f"addresses: ['{address}']", ENDPOINT))

    assert parsed.problems == ()


def test_the_nodes_loopback_is_no_workloads_interface() -> None:
    (problem,) = parse(ENDPOINT.replace("interface: pl0", "interface: lo")).problems

    assert str(problem).startswith("objects.yaml:5:14: interface is 'lo', which is the node's own")


def test_a_misspelt_key_of_a_workload_is_refused_with_the_nearest() -> None:
    (problem,) = parse(ENDPOINT.replace("mac:", "mca:")).problems

    assert problem.what == "unknown key 'mca' in spec"
    assert problem.hint == "did you mean 'mac'?"
    assert problem.at == Position(file=FILE, line=7, column=3, width=3)


def test_keys_of_kubernetes_that_plait_has_no_use_for_are_ignored() -> None:
    parsed = parse(SERVICE.replace("spec:", "status: {}\nspec:\n  sessionAffinity: None"))

    assert len(parsed.objects) == 1
    assert parsed.problems == ()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (SERVICE.replace("port: 80", "port: '80'"), "write 80, without quotes"),
        (SLICE.replace("ready: false", "ready: 'false'"), "write false, without quotes"),
        (SLICE.replace("ready: false", "ready: 'no'"), None),
    ],
)
def test_what_is_wrong_but_for_its_quotes_has_a_hint(text: str, hint: str | None) -> None:
    (problem,) = parse(text).problems

    assert problem.hint == hint


def test_kubectls_copy_of_the_document_is_not_kept() -> None:
    copy = "annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}', a: b}"

    (service,) = parse(SERVICE.replace("labels: {app: web}", copy)).objects

    assert service.meta.annotations == {"a": "b"}


def test_an_unknown_kind_is_passed_over_with_a_warning() -> None:
    parsed = parse("apiVersion: v1\nkind: Services\nmetadata: {name: web}\n")

    assert (parsed.objects, parsed.problems) == ((), ())
    (warning,) = parsed.warnings
    assert str(warning).startswith("objects.yaml:2:7: Services (v1) is passed over")
    assert warning.hint == "did you mean Service (v1)?"


@pytest.mark.parametrize("text", ["", "---\n# nothing\n", "null\n"])
def test_an_empty_document_holds_nothing(text: str) -> None:
    assert parse(text) == Parsed()


@pytest.mark.parametrize("text", ["[1, 2]\n", "web\n"])
def test_a_document_that_is_no_mapping_is_one_fault(text: str) -> None:
    (complaint,) = complaints(text)

    assert complaint.endswith("expected a mapping")


def test_broken_yaml_is_a_problem_with_its_place() -> None:
    (problem,) = parse("kind: [Service\n", first_line=4).problems

    assert problem.at
    assert problem.at.line in (4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Object):
    """A kind as a plugin adds it."""

    api_version: ClassVar[str] = "example.org/v1"
    kind: ClassVar[str] = "Limit"
    namespaced: ClassVar[bool] = False

    rate: int

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        return cls(meta=meta, at=at, rate=document["spec"]["rate"].number(1, 100))


def test_a_plugins_kind_parses_itself() -> None:
    text = "apiVersion: example.org/v1\nkind: Limit\nmetadata: {name: slow}\nspec: {rate: 5}\n"

    parsed = parse(text, Limit)

    assert parsed.objects == (Limit(meta=Meta(name="slow", namespace=""), rate=5),)


def test_of_a_flood_of_faults_the_first_are_told_and_the_rest_counted() -> None:
    bad = "- {apiVersion: v1, kind: Service, spec: {}}\n"

    problems = parse("apiVersion: v1\nkind: List\nitems:\n" + bad * 50).problems

    assert len(problems) == 21
    assert problems[-1].what == "and 30 more problems"
