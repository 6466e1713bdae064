"""Fields of objects: those of Kubernetes that Plait heeds, and what they cannot mean."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from plait.core.api import Meta
from plait.core.objects.model import Endpoint, HostPort
from plait.core.objects.nodes import Node
from plait.core.objects.services import (
    Distribution,
    EndpointSlice,
    Service,
    ServicePort,
    SliceEndpoint,
    TrafficPolicy,
)
from support.documents import ENDPOINT, SERVICE, complaints, parse


def test_a_service_has_all_that_kube_proxy_heeds() -> None:
    text = """\
        apiVersion: v1
        kind: Service
        metadata: {name: web, annotations: {lb.plait/algorithm: random}}
        spec:
          type: LoadBalancer
          clusterIP: 10.96.0.1
          externalIPs: [192.0.2.80]
          loadBalancerSourceRanges: [198.51.100.7/24]
          internalTrafficPolicy: Local
          externalTrafficPolicy: Local
          healthCheckNodePort: 32000
          sessionAffinity: ClientIP
          sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
          trafficDistribution: PreferSameNode
          publishNotReadyAddresses: true
          ports: [{port: 80, nodePort: 30080}]
        status:
          loadBalancer:
            ingress: [{ip: 203.0.113.1}, {ip: 203.0.113.2, ipMode: Proxy}, {hostname: lb.example}]
        """

    (service,) = parse(text).objects

    assert service == Service(
        meta=Meta(name="web", annotations={"lb.plait/algorithm": "random"}),
        type="LoadBalancer",
        cluster_ips=(IPv4Address("10.96.0.1"),),
        external_ips=(IPv4Address("192.0.2.80"),),
        ingress_ips=(IPv4Address("203.0.113.1"),),
        source_ranges=(IPv4Network("198.51.100.0/24"),),
        ports=(ServicePort(port=80, node_port=30080),),
        internal_policy=TrafficPolicy.LOCAL,
        external_policy=TrafficPolicy.LOCAL,
        health_check_node_port=32000,
        distribution=Distribution.SAME_NODE,
        affinity=60,
        publish_not_ready=True,
    )


def test_affinity_lasts_three_hours_unless_it_says_otherwise() -> None:
    text = SERVICE.replace("spec:", "spec:\n  sessionAffinity: ClientIP")

    (service,) = parse(text).objects

    assert isinstance(service, Service)
    assert service.affinity == 10_800


def test_an_endpoint_of_a_slice_has_conditions_place_and_hints() -> None:
    text = """\
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        endpoints:
          - addresses: [10.244.1.10]
            conditions: {ready: false, serving: true, terminating: true}
            nodeName: node-a
            zone: west
            hints: {forZones: [{name: west}, {name: east}], forNodes: [{name: node-a}]}
        """

    (found,) = parse(text).objects

    assert isinstance(found, EndpointSlice)
    assert found.endpoints == (
        SliceEndpoint(
            address=IPv4Address("10.244.1.10"),
            ready=False,
            serving=True,
            terminating=True,
            node="node-a",
            zone="west",
            for_zones=("west", "east"),
            for_nodes=("node-a",),
        ),
    )


def test_a_node_has_its_zone_addresses_and_pods() -> None:
    text = """\
        apiVersion: v1
        kind: Node
        metadata: {name: node-a, labels: {topology.kubernetes.io/zone: west}}
        spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:244:1::/64"]}
        status:
          addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: node-a}]
        """

    (node,) = parse(text).objects

    assert isinstance(node, Node)
    assert node.zone == "west"
    assert node.name == "node-a"
    assert node.addresses == (IPv4Address("192.0.2.1"),)
    assert node.pod_cidrs == (IPv4Network("10.244.1.0/24"), IPv6Network("fd00:244:1::/64"))


def test_an_endpoint_has_the_ports_of_the_host_that_lead_to_it() -> None:
    text = (
        ENDPOINT
        + """\
  ports:
    - {containerPort: 80, hostPort: 8080}
    - {containerPort: 53, hostPort: 5353, protocol: UDP, hostIP: 192.0.2.1}
    - {containerPort: 9090}
"""
    )

    (endpoint,) = parse(text).objects

    assert isinstance(endpoint, Endpoint)
    assert endpoint.host_ports == (
        HostPort(host_port=8080, port=80),
        HostPort(host_port=5353, port=53, protocol="UDP", address=IPv4Address("192.0.2.1")),
    )


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("externalTrafficPolicy: local", "externalTrafficPolicy is 'local'"),
        ("loadBalancerSourceRanges: [10.0.0.1]", "loadBalancerSourceRanges[0] is '10.0.0.1'"),
        ("externalIPs: [127.0.0.1]", "externalIPs[0] is 127.0.0.1"),
        ("sessionAffinity: Cookie", "sessionAffinity is 'Cookie'"),
        (
            "sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
            "timeoutSeconds is 86401",
        ),
        ("healthCheckNodePort: 70000", "healthCheckNodePort is 70000"),
        ("trafficDistribution: PreferFar", "trafficDistribution is 'PreferFar'"),
    ],
)
def test_what_a_service_cannot_mean_is_refused(written: str, complaint: str) -> None:
    (found,) = complaints(SERVICE.replace("spec:", f"spec:\n  {written}"))

    assert complaint in found


def test_two_ports_of_a_service_cannot_have_one_node_port() -> None:
    text = """\
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec:
          type: NodePort
          ports:
            - {name: a, port: 80, nodePort: 30080}
            - {name: b, port: 81, nodePort: 30080}
            - {name: c, port: 81, nodePort: 30080, protocol: UDP}
        """

    (found,) = complaints(text)

    assert "nodePort '30080' is here twice" in found
