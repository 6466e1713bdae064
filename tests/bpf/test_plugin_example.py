"""A plugin from outside the tree in a loaded datapath; one that the verifier refuses is named."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from plait.core.api import PlaitError, Verdict
from plait.core.objects.model import Object
from plait.core.objects.parse import Kinds, kind_table, parse_text
from plait.core.runtime.decoding import MapReader
from plait.core.runtime.staging import stage
from plait.core.testing.loading import Loader
from plait.testing import Datapath, MakeDatapath, tcp, udp
from support.plugin_example import EXAMPLE, Copy

CLIENT = IPv4Address("10.244.1.2")
SERVER = IPv4Address("192.0.2.7")
OTHER_SERVER = IPv4Address("192.0.2.8")


@pytest.fixture(scope="module")
def plait_loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """Loads plans, with the plugin in the plugins folder."""
    folder = tmp_path_factory.mktemp("plugins.d")
    Copy.make(folder)
    loader = Loader(tmp_path_factory.mktemp("cache"), folder)
    yield loader
    loader.close()


@pytest.fixture
def quota(tmp_path: Path) -> Copy:
    """A copy of the plugin that is this test's own."""
    return Copy.make(tmp_path / "plugins.d")


@pytest.fixture
def datapath(make_datapath: MakeDatapath) -> Datapath:
    """A node that has the plugin, and one pod."""
    datapath = make_datapath({"routing": {}, "quota": {}})
    datapath.pod("client", CLIENT)
    return datapath


@pytest.fixture
def kinds(plait_loader: Loader) -> Kinds:
    """The kinds of objects that the plugin adds."""
    return kind_table(plait_loader.plugins.kinds())


def quota_of(packets: int, kinds: Kinds, protocol: str = "TCP") -> Object:
    """A Quota of so many packets to port 443 of the server."""
    file = EXAMPLE / "quotas.yaml"
    text = file.read_text().replace("packets: 1000", f"packets: {packets}")
    parsed = parse_text(f"{text}  protocol: {protocol}\n", file, kinds)
    [quota] = parsed.objects
    return quota


def refusal(quota: Copy) -> PlaitError:
    """The error that loading the plugin's programs ends with."""
    prepared = quota.prepare()
    with pytest.raises(PlaitError) as refused:
        stage(prepared.plan, prepared.compiled.objects, most_entries=64).close()
    return refused.value


def test_a_flow_ends_when_its_quota_is_used_up(datapath: Datapath, kinds: Kinds) -> None:
    datapath.put(quota_of(2, kinds))

    results = [datapath.pod_egress(tcp(src=CLIENT, dst=SERVER, dport=443)) for _ in range(3)]

    assert [each.drop_reason for each in results] == [None, None, "QUOTA_USED_UP"]


def test_packets_on_the_fast_path_are_counted(datapath: Datapath, kinds: Kinds) -> None:
    datapath.put(quota_of(2, kinds, "UDP"))

    results = [datapath.pod_egress(udp(src=CLIENT, dst=SERVER, dport=443)) for _ in range(3)]

    assert [each.drop_reason for each in results] == [None, None, "QUOTA_USED_UP"]


def test_a_flow_without_a_quota_goes_on(make_datapath: MakeDatapath) -> None:
    datapath = make_datapath({"routing": {}, "quota": {}})
    datapath.pod("client", CLIENT)

    result = datapath.pod_egress(tcp(src=CLIENT, dst=SERVER, dport=443))

    assert result.drop_reason is None


def test_another_destination_has_no_quota(datapath: Datapath, kinds: Kinds) -> None:
    datapath.put(quota_of(0, kinds))

    result = datapath.pod_egress(tcp(src=CLIENT, dst=OTHER_SERVER, dport=443))

    assert result.drop_reason is None


def test_a_quota_that_grows_lets_a_flow_go_on(datapath: Datapath, kinds: Kinds) -> None:
    packet = udp(src=CLIENT, dst=SERVER, dport=443)
    datapath.put(quota_of(1, kinds, "UDP"))
    before = [datapath.pod_egress(packet).verdict for _ in range(2)]

    datapath.put(quota_of(2, kinds, "UDP"))
    after = [datapath.pod_egress(packet).verdict for _ in range(2)]

    assert before == after == [Verdict.REDIRECT, Verdict.DROP]


def test_prometheus_is_told_of_its_destinations(
    datapath: Datapath, kinds: Kinds, plait_loader: Loader
) -> None:
    datapath.put(quota_of(2, kinds, "UDP"))
    config = plait_loader.config({"routing": {}, "quota": {}}, {})

    ((metric, samples),) = plait_loader.plugins.samples(config, MapReader(datapath.maps))

    assert metric.name == "plait_quota_destinations"
    assert {sample.labels["protocol"]: sample.value for sample in samples} == {"TCP": 0, "UDP": 1}


def test_a_constant_from_yaml_turns_the_limit_off(
    make_datapath: MakeDatapath, kinds: Kinds
) -> None:
    datapath = make_datapath({"routing": {}, "quota": {"enforce": False}})
    datapath.pod("client", CLIENT)
    datapath.put(quota_of(0, kinds))

    result = datapath.pod_egress(tcp(src=CLIENT, dst=SERVER, dport=443))

    assert result.verdict is Verdict.REDIRECT


def test_a_fragment_that_the_verifier_refuses_is_named_with_its_line(quota: Copy) -> None:
    line = quota.edit(quota.header, "found ? found->packets : 0", "found->packets")

    refused = refusal(quota)

    assert refused.what.startswith(
        "plugin quota: the kernel's verifier refused pod_egress: R0 invalid mem access"
    )
    assert refused.at is not None
    assert (refused.at.file, refused.at.line) == (quota.header, line)


def test_a_fragment_that_is_too_complex_is_named_with_its_line(quota: Copy) -> None:
    loop = 'for (int i = 0; i < 9000000; i++)\n\t\tasm volatile("" : "+r"(i));\n\tpart->sent++;'
    line = quota.edit(quota.header, "part->sent++;", loop)

    refused = refusal(quota)

    assert refused.what.startswith(
        "plugin quota: the kernel's verifier refused pod_egress: BPF program is too large."
    )
    assert refused.expected == "fewer instructions on its paths (processed 1000001)"
    assert refused.at is not None
    assert refused.at.file == quota.header
    assert refused.at.line in (line, line + 1)
