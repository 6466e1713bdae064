"""`plait endpoint`: workloads join the node and leave it, without Kubernetes."""

import json
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plait.core.cli.context import DEFAULT_CONFIG, Context, json_option, pass_context
from plait.core.endpoints.objects import default_folder, read_all
from plait.core.objects.model import Address, Endpoint

if TYPE_CHECKING:
    from plait.core.endpoints.addresses import Network


@click.group(
    epilog="""\b
Examples:
  ip netns add web-1
  plait endpoint add web-1 --netns /run/netns/web-1 --label app=web
  plait endpoint add db --netns /proc/4711/ns/net --ip 10.244.1.20
  plait endpoint list --json
  plait endpoint del web-1
"""
)
def command() -> None:
    """Workloads of this node."""


@command.command(
    epilog="""\b
Examples:
  plait endpoint add web-1 --netns /run/netns/web-1 --label app=web --label tier=front
  plait endpoint add db --netns /proc/4711/ns/net --ip 10.244.1.20 --ip fd00:10:244:1::20
"""
)
@click.argument("name")
@click.option(
    "--netns",
    required=True,
    type=click.Path(path_type=Path),
    help="The workload's network namespace.",
)
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Repeatable.")
@click.option("--ip", "ips", metavar="ADDR", multiple=True, help="Repeatable. Default: a free one.")
@click.option("--mtu", default=1500, show_default=True, type=click.IntRange(1280, 65535))
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Where node.podCIDRs are, which addresses are chosen from. Default: the config that runs, "
    f"else {DEFAULT_CONFIG}.",
)
@pass_context
def add(
    context: Context,
    *,
    name: str,
    netns: Path,
    labels: tuple[str, ...],
    ips: tuple[str, ...],
    mtu: int,
    config: Path | None,
) -> None:
    """Join a network namespace to the node, as the workload NAME. Repeatable."""
    from plait.core.endpoints.join import join

    endpoint = join(
        name,
        netns=netns,
        folder=default_folder(context.instance),
        addresses=_addresses(ips),
        networks=() if ips else _networks(context, config),
        labels=dict(_pair(label) for label in labels),
        mtu=mtu,
    )
    click.echo(_line(endpoint))


@command.command(
    "del",
    epilog="""\b
Examples:
  plait endpoint del web-1
""",
)
@click.argument("name")
@pass_context
def delete(context: Context, name: str) -> None:
    """Remove the workload NAME: its object and its veth pair. Repeatable."""
    from plait.core.endpoints.join import leave

    leave(name, folder=default_folder(context.instance))


@command.command(
    "list",
    epilog="""\b
Examples:
  plait endpoint list
  plait endpoint list --json | jq -r '.[].addresses[]'
""",
)
@json_option
@pass_context
def list_endpoints(context: Context, as_json: bool) -> None:
    """List the workloads that were added."""
    endpoints = read_all(default_folder(context.instance))
    if as_json:
        click.echo(json.dumps([_row(endpoint) for endpoint in endpoints], indent=2))
        return
    for endpoint in endpoints:
        click.echo(_line(endpoint))


def _networks(context: Context, config: Path | None) -> "Sequence[Network]":
    """The node's podCIDRs, as `config` or the config that runs says."""
    from plait.core.kernel.pins import Paths
    from plait.core.runtime.state import State

    state = State.read(Paths.of(context.instance).run)
    running = Path(state.config) if state else DEFAULT_CONFIG
    return context.load_config(config or running).node.pod_cidrs


def _addresses(texts: Iterable[str]) -> Sequence[Address]:
    try:
        return [ip_address(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--ip") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--label")
    return key, value


def _line(endpoint: Endpoint) -> str:
    labels = ",".join(f"{key}={value}" for key, value in endpoint.meta.labels.items())
    addresses = " ".join(str(address) for address in endpoint.addresses)
    return f"{endpoint.meta.name}: {endpoint.interface} {addresses} {labels}".rstrip()


def _row(endpoint: Endpoint) -> dict[str, object]:
    return {
        "name": endpoint.meta.name,
        "labels": dict(endpoint.meta.labels),
        "interface": endpoint.interface,
        "addresses": [str(address) for address in endpoint.addresses],
        "mac": endpoint.mac,
    }
