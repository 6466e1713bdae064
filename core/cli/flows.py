"""`plait flows`: the live flow table."""

import json
from typing import TYPE_CHECKING

import click

from plait.core.cli.context import Context, json_option, pass_context

if TYPE_CHECKING:
    from plait.core.objects.model import Address
    from plait.core.runtime.flows import Ends, Flow

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


@click.command(
    epilog="""\b
Examples:
  plait flows
  plait flows --json | jq 'map(select(.state == "ESTABLISHED")) | length'
"""
)
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show the flows that the datapath knows: two entries a connection, one each way."""
    from plait.core.runtime.flows import read_flows
    from plait.core.runtime.reading import running

    with running(context.paths()) as generation:
        flows = list(read_flows(generation.maps))
    if as_json:
        click.echo(json.dumps([_plain(flow) for flow in flows], indent=1))
        return
    for flow in flows:
        click.echo(_line(flow))


def _line(flow: "Flow") -> str:
    source, dest = _ends(flow.key)
    line = (
        f"{_protocol(flow):<5} {source} -> {dest}  {flow.action.lower()} {flow.state.lower()}"
        f"  {flow.packets} packets, {flow.bytes} bytes"
    )
    return line + (f"  as {' -> '.join(_ends(flow.to))}" if flow.to != flow.key else "")


def _plain(flow: "Flow") -> dict[str, object]:
    source, dest = _ends(flow.key)
    new_source, new_dest = _ends(flow.to)
    return {
        "protocol": _protocol(flow),
        "source": source,
        "dest": dest,
        "new_source": new_source,
        "new_dest": new_dest,
        "zone": flow.zone,
        "action": flow.action,
        "state": flow.state,
        "flags": sorted(flow.flags),
        "oif": flow.oif,
        "packets": flow.packets,
        "bytes": flow.bytes,
    }


def _protocol(flow: "Flow") -> str:
    return _PROTOCOLS.get(flow.proto, str(flow.proto))


def _ends(ends: "Ends") -> tuple[str, str]:
    return _end(ends.src, ends.sport), _end(ends.dst, ends.dport)


def _end(address: "Address", port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
