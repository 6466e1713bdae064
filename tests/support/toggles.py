"""One Service with all that the balancer heeds, and each of its fields as it may be otherwise."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml

from support.conformance import Documents, key_of, merged_with

SERVICE = "Service/toggled"
SLICES = ("EndpointSlice/toggled-v4", "EndpointSlice/toggled-v6")
ADDRESSES = ("10.96.0.77", "fd00:10:96::77")

WRITTEN = """\
apiVersion: v1
kind: Node
metadata: {name: node-a, labels: {topology.kubernetes.io/zone: here}}
---
apiVersion: v1
kind: Service
metadata: {name: toggled, uid: 0f5c, labels: {app: web}}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.77, "fd00:10:96::77"]
  externalIPs: [203.0.113.77, "2001:db8:113::77"]
  loadBalancerSourceRanges: [10.0.0.0/8, "fd00::/8"]
  healthCheckNodePort: 31077
  ports:
  - {name: echo, protocol: TCP, port: 80, targetPort: 8080, nodePort: 30077}
  - {name: echo-udp, protocol: UDP, port: 80, targetPort: 8080, nodePort: 30077}
status: {loadBalancer: {ingress: [{ip: 203.0.113.78}, {ip: "2001:db8:113::78"}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: toggled-v4, labels: {kubernetes.io/service-name: toggled}}
addressType: IPv4
endpoints:
- {addresses: [10.244.1.11], nodeName: node-a, zone: here}
- {addresses: [10.244.1.12], nodeName: node-a, zone: here}
- {addresses: [10.244.2.11], nodeName: node-b, zone: there}
ports:
- {name: echo, protocol: TCP, port: 8080}
- {name: echo-udp, protocol: UDP, port: 8080}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: toggled-v6, labels: {kubernetes.io/service-name: toggled}}
addressType: IPv6
endpoints:
- {addresses: ["fd00:10:244:1::11"], nodeName: node-a, zone: here}
- {addresses: ["fd00:10:244:1::12"], nodeName: node-a, zone: here}
- {addresses: ["fd00:10:244:2::11"], nodeName: node-b, zone: there}
ports:
- {name: echo, protocol: TCP, port: 8080}
- {name: echo-udp, protocol: UDP, port: 8080}
"""

AS_THEY_ARE: Documents = {key_of(each): each for each in yaml.safe_load_all(WRITTEN)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """Changes by object. One that `cuts` leaves nobody to serve new connections meanwhile."""

    what: str
    change: Mapping[str, Mapping[str, object]]
    cuts: bool = False

    def text(self) -> str:
        """All objects, changed so."""
        documents = dict(AS_THEY_ARE)
        for key, change in self.change.items():
            documents[key] = merged_with(documents[key], change)
        return yaml.safe_dump_all(documents.values(), sort_keys=False)


def _service(what: str, *, cuts: bool = False, **spec: object) -> Toggle:
    return Toggle(what=what, change={SERVICE: {"spec": spec}}, cuts=cuts)


def _ports(what: str, *, cuts: bool = False, **fields: object) -> Toggle:
    ports: Any = deepcopy(AS_THEY_ARE[SERVICE]["spec"])
    return _service(what, cuts=cuts, ports=[each | fields for each in ports["ports"][:1]])


def _slices(what: str, *, cuts: bool = False, **fields: object) -> Toggle:
    return Toggle(what=what, change=dict.fromkeys(SLICES, fields), cuts=cuts)


def _endpoints(what: str, *, cuts: bool = False, of: slice = slice(None), **fields: Any) -> Toggle:
    """Fields of some of the endpoints of both slices."""
    change: dict[str, dict[str, object]] = {}
    for key in SLICES:
        endpoints: Any = deepcopy(AS_THEY_ARE[key]["endpoints"])
        for each in endpoints[of]:
            each.update(fields)
        change[key] = {"endpoints": endpoints}
    return Toggle(what=what, change=change, cuts=cuts)


def _fewer(what: str, *, of: slice, cuts: bool = False) -> Toggle:
    endpoints: Any = {key: AS_THEY_ARE[key]["endpoints"] for key in SLICES}
    change = {key: {"endpoints": endpoints[key][of] or None} for key in SLICES}
    return Toggle(what=what, change=change, cuts=cuts)


_ALL_NODES = {"forNodes": [{"name": "node-a"}]}
_ALL_ZONES = {"forZones": [{"name": "here"}, {"name": "there"}]}

TOGGLES: Sequence[Toggle] = (
    _service("ClusterIP", type="ClusterIP"),
    _service("ExternalName", type="ExternalName", externalName="example.org", cuts=True),
    _service("other cluster addresses", clusterIPs=["10.96.0.78", "fd00:10:96::78"], cuts=True),
    _service("no external address", externalIPs=None),
    _service("other ranges", loadBalancerSourceRanges=["198.51.100.0/24"]),
    _service("internal policy", internalTrafficPolicy="Local"),
    _service("external policy", externalTrafficPolicy="Local"),
    _service("health check", healthCheckNodePort=31078),
    _service("distribution", trafficDistribution="PreferSameNode"),
    _service("affinity", sessionAffinity="ClientIP"),
    _service("not ready ones", publishNotReadyAddresses=True),
    Toggle(
        what="ingress",
        change={SERVICE: {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.79"}]}}}},
    ),
    Toggle(
        what="algorithm",
        change={SERVICE: {"metadata": {"annotations": {"lb.plait/algorithm": "random"}}}},
    ),
    Toggle(what="uid", change={SERVICE: {"metadata": {"uid": "77aa"}}}),
    Toggle(what="labels", change={SERVICE: {"metadata": {"labels": {"app": "other"}}}}),
    Toggle(what="name", change={SERVICE: {"metadata": {"name": "other"}}}, cuts=True),
    Toggle(what="namespace", change={SERVICE: {"metadata": {"namespace": "other"}}}, cuts=True),
    _ports("port", port=81, cuts=True),
    _ports("port's name", name="other", cuts=True),
    _ports("protocol", protocol="UDP", name="echo-udp", cuts=True),
    _ports("target port", targetPort="http"),
    _ports("node port", nodePort=30078),
    Toggle(
        what="weight",
        change={SLICES[0]: {"metadata": {"annotations": {"lb.plait/weight": "5"}}}},
    ),
    _slices("no slice of it", metadata={"labels": None}, cuts=True),
    _slices(
        "slice's ports", ports=[{"name": "echo", "port": 9}, {"name": "x", "port": 8080}], cuts=True
    ),
    _slices(
        "slice's protocol", ports=[{"name": "echo", "protocol": "UDP", "port": 8080}], cuts=True
    ),
    _fewer("a backend less", of=slice(1, 3)),
    _fewer("no backend", of=slice(0, 0), cuts=True),
    _endpoints("one is not ready", of=slice(1, 2), conditions={"ready": False}),
    _endpoints("none is ready", conditions={"ready": False}, cuts=True),
    _endpoints("all terminate", conditions={"ready": False, "serving": True, "terminating": True}),
    _endpoints("other nodes", nodeName="node-c"),
    _endpoints("other zones", zone="elsewhere"),
    _endpoints("hints for zones", hints=_ALL_ZONES),
    _endpoints("hints for nodes", hints=_ALL_NODES),
    Toggle(
        what="the node's zone",
        change={"Node/node-a": {"metadata": {"labels": {"topology.kubernetes.io/zone": "there"}}}},
    ),
)
