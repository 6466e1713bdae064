"""`plait flows`: the live flow table."""

import json

import click

from plait.core.cli.context import Context, json_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait flows
  plait flows --json | jq 'length'
"""
)
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show the flows that the datapath knows: two entries a connection, one each way."""
    from plait.core.runtime.flows import read_flows
    from plait.core.runtime.reading import running

    with running(context.paths()) as generation:
        flows = read_flows(generation.maps)
    if as_json:
        click.echo(json.dumps([flow.plain() for flow in flows], indent=1))
        return
    for flow in flows:
        click.echo(
            f"{flow.proto:<5} {flow.source:>45} -> {flow.dest:<45} {flow.action:<6}"
            f" {flow.state:<13} {flow.packets:>10} packets {flow.bytes:>13} bytes"
            + (f"  as {flow.new_source} -> {flow.new_dest}" if flow.rewritten else "")
        )
