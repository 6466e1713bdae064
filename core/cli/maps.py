"""`plait maps`: the entries of the datapath's maps, with the names that their fields have in C."""

import json

import click

from plait.core.cli.context import Context, json_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait maps
  plait maps lb_services
  plait maps plait_endpoints --json | jq '.[].key.addr'
"""
)
@click.argument("name", required=False)
@json_option
@pass_context
def command(context: Context, name: str | None, as_json: bool) -> None:
    """List the maps, or show the entries of one, as the kernel has them now."""
    from plait.core.runtime.decoding import entries, summaries
    from plait.core.runtime.reading import running

    with running(context.paths()) as generation:
        if name is None:
            rows = summaries(generation.maps)
            if as_json:
                click.echo(json.dumps(rows, indent=1))
                return
            for row in rows:
                click.echo(
                    f"{row['name']:<16} {row['entries']:>8} of {row['capacity']:<9}"
                    f" {row['bytes'] / 2**20:8.1f} MiB"
                )
            return
        if name not in generation.maps:
            raise click.BadParameter(f"no map {name}; there are {', '.join(generation.maps)}")
        for entry in (found := entries(generation.maps[name])):
            if not as_json:
                click.echo(f"{_fields(entry['key'])}  ->  {_fields(entry['value'])}")
        if as_json:
            click.echo(json.dumps(found, indent=1))


def _fields(record: object) -> str:
    if isinstance(record, list):
        return " | ".join(_fields(each) for each in record)
    if isinstance(record, dict):
        return " ".join(f"{field}={_fields(value)}" for field, value in record.items())
    return str(record)
