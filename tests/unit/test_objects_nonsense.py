"""Objects that make no sense: each is told once and at its place, or is fine where it is so in
Kubernetes; and whatever they are, other objects are served as before.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.offline import Offline

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIPs: [10.96.0.10]
  ports:
  - {name: http, port: 80, targetPort: 8080}
---
"""
SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [10.244.1.11]
ports:
- {name: http, port: 8080}
---
"""
POD = """\
apiVersion: plait/v1
kind: Endpoint
metadata: {name: pod}
spec:
  interface: pl0
  addresses: [10.244.1.11]
  ports: [{hostPort: 8000, containerPort: 80}]
---
"""
WEB = "addr 10.96.0.10, port 80, proto 6, side 0"


def changed(text: str, *edits: tuple[str, str]) -> str:
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


NODE_PORT = changed(
    SERVICE, ("spec:", "spec:\n  type: NodePort"), ("port: 80,", "port: 80, nodePort: 30080,")
)
OTHER = (("{name: web}", "{name: zeb}"), ("96.0.10", "96.0.11"))


def external(address: str) -> str:
    return changed(SERVICE, ("spec:", f"spec:\n  externalIPs: [{address}]"))


TOLD = {
    "port 0": (
        changed(SERVICE, ("port: 80,", "port: 0,")),
        "bad.yaml:7:24: port is 0; expected a whole number from 1 to 65535",
    ),
    "port 70000": (
        changed(SERVICE, ("port: 80,", "port: 70000,")),
        "bad.yaml:7:24: port is 70000; expected a whole number from 1 to 65535",
    ),
    "target port 70000": (
        changed(SERVICE, ("8080", "70000")),
        "bad.yaml:7:40: targetPort is 70000; expected a whole number from 1 to 65535",
    ),
    "port of a slice": (
        changed(SLICE, ("8080", "70000")),
        "bad.yaml:8:22: port is 70000; expected a whole number from 1 to 65535",
    ),
    "port twice": (
        changed(SERVICE, ("---", "  - {name: more, port: 80}\n---")),
        "bad.yaml:8:24: port '80' is here twice; expected a different one",
    ),
    "name twice": (
        changed(SERVICE, ("---", "  - {name: http, port: 81}\n---")),
        "bad.yaml:8:12: name 'http' is here twice; expected a different one",
    ),
    "no name twice": (
        changed(SLICE, ("{name: http, port: 8080}", "{port: 8080}\n- {port: 8081}")),
        "bad.yaml:9:3: name is missing as in an item before; expected a different one",
    ),
    "IPv6 in a slice of IPv4": (
        changed(SLICE, ("10.244.1.11", "fd00::1")),
        "bad.yaml:6:15: addresses[0] is 'fd00::1'; expected an IPv4 address",
    ),
    "no spec": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
        "bad.yaml:1:1: spec is missing; expected a mapping",
    ),
    "node port out of range": (
        changed(NODE_PORT, ("30080", "80")),
        "bad.yaml:1:1: Service default/web: node port 80 is out of range; expected 30000 to 32767",
    ),
    "host port twice": (
        changed(POD, ("80}]", "80}, {hostPort: 8000, containerPort: 81}]")),
        "bad.yaml:7:59: hostPort '8000' is here twice; expected a different one",
    ),
    "external address of a pod": (
        POD + external("10.244.1.11"),
        "bad.yaml:9:1: Service default/web has the address 10.244.1.11 of Endpoint default/pod"
        " and hides what listens there",
    ),
    "one address with two policies": (
        changed(
            external("10.96.0.10"),
            ("spec:", "spec:\n  internalTrafficPolicy: Local"),
        ),
        f"bad.yaml:1:1: Service default/web wants two values for lb_services[{WEB}]",
    ),
}


@pytest.mark.parametrize(("text", "message"), TOLD.values(), ids=TOLD.keys())
def test_what_makes_no_sense_is_told_once_and_at_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    node = node_with_another(tmp_path)

    said = node.put(bad=text)

    assert said == (message,)
    assert_another_is_served(node)


CLASHES = {
    "cluster address": changed(SERVICE, OTHER[0]),
    "external address": external("10.96.0.10").replace("name: web", "name: zeb"),
    "several ports": changed(SERVICE, OTHER[0], ("---", "  - {name: b, port: 81}\n---")),
}


@pytest.mark.parametrize("other", CLASHES.values(), ids=CLASHES.keys())
def test_of_two_services_with_one_address_the_second_is_told_once(
    tmp_path: Path, other: str
) -> None:
    node = node_with_another(tmp_path)
    both = changed(SERVICE, ("---", "  - {name: b, port: 81}\n---")) + SLICE

    said = node.put(web=both, zeb=other)

    assert len(said) == 1, said
    assert said[0].startswith("zeb.yaml:1:1: Service default/zeb wants lb_services[addr 10.96.0.10")
    assert f"the one at {node.objects}/web.yaml:1:1 is used" in said[0]
    assert_another_is_served(node)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_of_two_services_with_one_node_port_the_second_is_told_once(
    tmp_path: Path, policy: str
) -> None:
    node = node_with_another(tmp_path)
    one = changed(
        NODE_PORT,
        ("type: NodePort", f"type: NodePort\n  externalTrafficPolicy: {policy}"),
        ("[10.96.0.10]", '[10.96.0.10, "fd00:10:96::10"]'),
    )
    other = changed(one, OTHER[0], ("10.96.0.10,", "10.96.0.11,"), ("96::10", "96::11"))

    said = node.put(web=one, zeb=other)

    assert len(said) == 1, said
    assert said[0].startswith("zeb.yaml:1:1: Service default/zeb wants lb_services[addr ")
    assert_another_is_served(node)


def test_a_port_of_the_node_is_a_service_s_or_a_pod_s(tmp_path: Path) -> None:
    node = node_with_another(tmp_path)
    port = changed(POD, ("8000", "30080"))

    said = node.put(pod=port, web=NODE_PORT)

    assert len(said) == 1, said
    assert "port 30080" in said[0]
    assert_another_is_served(node)


FINE = {
    "unknown fields": (
        changed(SERVICE, ("spec:", "spec:\n  colour: green\n  selector: {app: web}")),
        [WEB],
    ),
    "no slices": (SERVICE, [WEB]),
    "slices of another family": (
        SERVICE + changed(SLICE, ("IPv4", "IPv6"), ("10.244.1.11", "fd00::1")),
        [WEB],
    ),
    "a slice of another namespace": (
        SERVICE + changed(SLICE, ("name: web-1", "name: web-1, namespace: other")),
        [WEB],
    ),
    "a slice without its service": (SLICE, []),
    "a name with ports": (
        changed(
            SERVICE, ("clusterIPs: [10.96.0.10]", "type: ExternalName\n  externalName: example.org")
        ),
        [],
    ),
    "no ports": (SERVICE.split("  ports:", maxsplit=1)[0], []),
    "empty documents": ("---\n---\n# nothing\n---\n", []),
    "an endpoint twice": (
        SERVICE
        + changed(SLICE, ("- addresses: [10.244.1.11]", "- addresses: [10.244.1.11]\n" * 2)),
        [WEB],
    ),
    "the node's own address": (
        external("192.0.2.1"),
        [WEB, "addr 192.0.2.1, port 80, proto 6, side 0"],
    ),
    "a backend that is a service": (SERVICE + changed(SLICE, ("244.1.11", "96.0.10")), [WEB]),
}


@pytest.mark.parametrize(("text", "served"), FINE.values(), ids=FINE.keys())
def test_what_kubernetes_has_is_fine(tmp_path: Path, text: str, served: list[str]) -> None:
    node = node_with_another(tmp_path)
    before = node.entries("lb_services").keys()

    said = node.put(bad=text)

    assert said == ()
    assert sorted(node.entries("lb_services").keys() - before) == sorted(served)
    assert_another_is_served(node)


def test_ten_thousand_endpoints_in_one_slice_all_serve(tmp_path: Path) -> None:
    node = node_with_another(tmp_path)
    many = (
        f"- addresses: [10.{64 + n // 65536}.{n // 256 % 256}.{n % 256}]" for n in range(10_000)
    )

    said = node.put(many=SERVICE + changed(SLICE, ("- addresses: [10.244.1.11]", "\n".join(many))))

    assert said == ()
    assert (
        sum(group.count("'port': 8080") for group in node.entries("lb_groups").values()) == 10_000
    )
    assert f"count {10_000}" in node.entries("lb_services")[WEB]
    assert_another_is_served(node)


JUNK: st.SearchStrategy[object] = st.sampled_from(
    [None, True, -1, 0, 70_000, 1.5, "", "x", "10.0.0.300", "::", [], [[]], {}]
)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_place_of_a_value_is_fine_or_told_at_its_place(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    node = node_with_another(tmp_path_factory.mktemp("node"))
    documents = [each for each in yaml.safe_load_all(NODE_PORT + SLICE + POD) if each]
    places = [place for number, each in enumerate(documents) for place in paths(each, (number,))]
    *way, last = data.draw(st.sampled_from(places))
    parent: Any = documents
    for step in way:
        parent = parent[step]
    parent[last] = data.draw(JUNK)

    said = node.put(bad=yaml.safe_dump_all(documents, sort_keys=False))

    assert all(each.startswith("bad.yaml:") for each in said), said
    assert not any("report this" in each or "Error" in each for each in said), said
    assert_another_is_served(node)


def paths(value: object, path: tuple[object, ...]) -> list[tuple[object, ...]]:
    """Where all values stand within this one."""
    items: list[tuple[object, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [each for key, item in items for each in ((*path, key), *paths(item, (*path, key)))]


def node_with_another(folder: Path) -> Offline:
    """A node that serves a service of whose objects nothing is wrong."""
    node = Offline(folder)
    another = (("{name: web}", "{name: another}"), ("96.0.10", "96.0.99"))
    assert node.put(another=changed(SERVICE, *another) + another_slice()) == ()
    return node


def another_slice() -> str:
    return SLICE.replace("web", "another").replace("1.11", "1.99")


def assert_another_is_served(node: Offline) -> None:
    entry = node.entries("lb_services")["addr 10.96.0.99, port 80, proto 6, side 0"]
    assert "10.244.1.99" in entry
