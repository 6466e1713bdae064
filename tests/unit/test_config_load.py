"""Configs: read, merged, checked; every problem at once, each with its place."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from textwrap import dedent

import pytest

from plait.core.api import Feature, NodeConfig, setting
from plait.core.config.load import load_config
from plait.core.config.reference import config_reference
from plait.core.config.schema import composed_schema
from plait.core.errors import PlaitError


class Algorithm(StrEnum):
    RANDOM = "random"
    MAGLEV = "maglev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    services: int = setting(100, doc="services at most", minimum=1, maximum=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LbConfig:
    algorithm: Algorithm = setting(Algorithm.MAGLEV, doc="how a backend is chosen")
    table: int = setting(7, doc="slots per table; a prime")
    capacity: Capacity = setting(Capacity(), doc="how much is made room for")

    def __post_init__(self) -> None:
        if self.table % 2 == 0:
            raise ValueError(f"table {self.table} is not a prime")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelConfig:
    port: int = setting(doc="UDP port", minimum=1, maximum=65535)


FEATURES = (
    Feature(key="lb", config=LbConfig, summary="balances the load of services"),
    Feature(key="tunnel", config=TunnelConfig, summary="carries packets between nodes"),
)
HEAD = "apiVersion: plait/v1\nnode: {name: a}\n"


def write(folder: Path, text: str, name: str = "plait.yaml") -> Path:
    file = folder / name
    file.write_text(dedent(text))
    return file


def refusal(path: Path) -> list[str]:
    """The lines that refuse a config, without the path of its folder."""
    with pytest.raises(PlaitError) as refused:
        load_config(path, FEATURES)
    folder = path if path.is_dir() else path.parent
    return str(refused.value).replace(f"{folder}/", "").splitlines()


def test_a_whole_config(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """\
        apiVersion: plait/v1
        node:
          name: node-a
          devices: [eth0]
          podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]
        objects: [objects.d, /etc/plait/objects.d]
        features:
          lb: {algorithm: random, capacity: {services: 5}}
          tunnel: {port: 8472}
        """,
    )

    config = load_config(file, FEATURES)

    assert config.node == NodeConfig(
        name="node-a",
        devices=("eth0",),
        pod_cidrs=(ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
    )
    assert config.objects == (tmp_path / "objects.d", Path("/etc/plait/objects.d"))
    assert config.section(LbConfig) == LbConfig(
        algorithm=Algorithm.RANDOM, capacity=Capacity(services=5)
    )
    assert config.section(TunnelConfig) == TunnelConfig(port=8472)


def test_a_feature_without_a_value_takes_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + "features:\n  lb:\n")

    config = load_config(file, FEATURES)

    assert config.sections == {"lb": LbConfig()}


def test_devices_are_found_by_default(tmp_path: Path) -> None:
    file = write(tmp_path, "apiVersion: plait/v1\nnode: {name: a, devices: auto}\n")

    assert load_config(file, FEATURES).node.devices is None


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """\
        apiVersion: plait/v2
        node:
          devices: eth0
          podCIDRs: [10.244.1.5/24]
        features:
          lb:
            algoritm: maglev
            capacity: {services: 0, backends: 9}
          tunnel:
          policy: {}
        """,
    )

    assert refusal(file) == [
        "plait.yaml:1:13: apiVersion is 'plait/v2'; expected `plait/v1`",
        "plait.yaml:2:1: node.name is missing;"
        " expected text that matches `^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`",
        "plait.yaml:3:12: node.devices is 'eth0';"
        r" expected `auto` or a list, each item text that matches `^[^\s/:]{1,15}$`",
        "plait.yaml:4:14: node.podCIDRs[0] is '10.244.1.5/24';"
        " expected an IPv4 or IPv6 network such as 10.0.0.0/8 or fd00::/8",
        "plait.yaml:7:5: unknown key 'algoritm' in lb",
        "plait.yaml:8:26: lb.capacity.services is 0; expected a whole number from 1 to 1000",
        "plait.yaml:8:29: unknown key 'backends' in lb.capacity; expected one of services",
        "plait.yaml:9:10: tunnel is empty; expected keys (port)",
        "plait.yaml:10:3: no plugin has the feature 'policy'; expected one of lb, tunnel",
    ]


@pytest.mark.parametrize(
    ("features", "hint"),
    [
        ("lb: {algoritm: maglev}", "did you mean 'algorithm'?"),
        ("lb: {algorithm: magleff}", "did you mean 'maglev'?"),
        ("tunel: {port: 1}", "did you mean 'tunnel'?"),
        ("tunnel: {}", "add `port:`, UDP port"),
    ],
)
def test_a_hint_says_what_to_write(tmp_path: Path, features: str, hint: str) -> None:
    file = write(tmp_path, f"{HEAD}features: {{{features}}}\n")

    with pytest.raises(PlaitError) as refused:
        load_config(file, FEATURES)

    assert refused.value.hint == hint


def test_an_address_is_hinted_its_network(tmp_path: Path) -> None:
    file = write(tmp_path, "apiVersion: plait/v1\nnode: {name: a, podCIDRs: [10.1.2.3/24]}\n")

    with pytest.raises(PlaitError) as refused:
        load_config(file, FEATURES)

    assert refused.value.hint == "did you mean '10.1.2.0/24'?"


def test_an_item_of_a_list_that_could_be_a_word_is_refused_by_itself(tmp_path: Path) -> None:
    file = write(tmp_path, "apiVersion: plait/v1\nnode: {name: a, devices: [eth0, 5]}\n")

    assert refusal(file)[0].startswith("plait.yaml:2:33: node.devices[1] is 5; expected text")


def test_overlapping_pod_networks_are_refused_with_both_places(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """\
        apiVersion: plait/v1
        node:
          name: a
          podCIDRs:
            - 10.0.0.0/8
            - fd00::/64
            - 10.1.0.0/16
        """,
    )

    assert refusal(file) == [
        "plait.yaml:7:7: node.podCIDRs[2] 10.1.0.0/16 overlaps 10.0.0.0/8;"
        " the other is at plait.yaml:5:7"
    ]


def test_a_section_that_refuses_itself_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + "features:\n  lb: {table: 8}\n")

    assert refusal(file) == ["plait.yaml:4:3: lb: table 8 is not a prime"]


def test_a_number_in_quotes_has_a_hint(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + "features:\n  tunnel: {port: '80'}\n")

    with pytest.raises(PlaitError) as refused:
        load_config(file, FEATURES)

    assert refused.value.hint == "write 80, without quotes"


def test_a_long_value_is_told_in_short(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + f"features:\n  lb: {{algorithm: {'x' * 300}}}\n")

    (line,) = refusal(file)

    assert (
        line == f"plait.yaml:4:19: lb.algorithm is '{'x' * 97}...'; expected one of random, maglev"
    )


def test_a_device_stands_once(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD.replace("{name: a", "{devices: [eth0, eth1, eth0], name: a"))

    assert refusal(file) == [
        "plait.yaml:2:30: node.devices names eth0 twice; the other is at plait.yaml:2:18"
    ]


def test_a_folder_is_merged_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, HEAD + "features:\n  lb: {table: 9}\n", "10-node.yaml")
    write(tmp_path, "features:\n  lb: {algorithm: random}\n  tunnel: {port: 1}\n", "20-lb.yaml")
    write(tmp_path, "not: read\n", "notes.txt")

    config = load_config(tmp_path, FEATURES)

    assert config.sections == {
        "lb": LbConfig(table=9, algorithm=Algorithm.RANDOM),
        "tunnel": TunnelConfig(port=1),
    }


def test_two_files_that_set_one_key_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, HEAD + "features:\n  lb: {table: 9}\n", "10.yaml")
    write(tmp_path, "apiVersion: plait/v1\nfeatures:\n  lb:\n    table: 9\n", "20.yaml")

    assert refusal(tmp_path) == [
        "20.yaml:4:5: 'table' has a value already; the other is at 10.yaml:4:8"
    ]


def test_a_problem_in_a_merged_folder_names_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, HEAD + "features:\n  lb: {table: 9}\n", "10.yaml")
    write(tmp_path, "features:\n  lb:\n    algorithm: fast\n", "20.yaml")

    assert refusal(tmp_path) == [
        "20.yaml:3:16: lb.algorithm is 'fast'; expected one of random, maglev"
    ]


def test_an_empty_file_is_told_what_is_missing(tmp_path: Path) -> None:
    file = write(tmp_path, "")

    version, node = refusal(file)
    assert version == "plait.yaml:1:1: apiVersion is missing; expected `plait/v1`"
    assert node.startswith("plait.yaml:1:1: node is missing; expected keys (name, ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.yaml") == ["cannot read no.yaml: No such file or directory"]


def test_a_folder_without_configs_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"holds no config"):
        load_config(tmp_path, FEATURES)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, HEAD, "10.yaml")
    (tmp_path / "20.yaml").write_bytes(b"# one\nobjects: [\xff]\n")

    assert refusal(tmp_path) == ["20.yaml:2:1: this line is not UTF-8 text: invalid start byte"]


def test_every_file_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "node: {name: a}}\n", "10.yaml")
    write(tmp_path, HEAD, "20.yaml")
    write(tmp_path, "features: [\n", "30.yaml")

    assert [each[:9] for each in refusal(tmp_path)] == ["10.yaml:1", "30.yaml:2"]


def test_the_schema_is_valid_json_schema() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(composed_schema(FEATURES))


def test_the_reference_has_every_key() -> None:
    page = config_reference(FEATURES)

    assert "| `node.devices` | `auto` or a list" in page
    assert "## features.lb\n\nBalances the load of services.\n" in page
    assert (
        "| `lb.capacity.services` | a whole number from 1 to 1000 | `100` | services at most |"
        in page
    )
    assert "| `tunnel.port` | a whole number from 1 to 65535 | required | UDP port |" in page
