"""`plait schema`: what a config may say, as JSON Schema."""

import json

import click

from plait.core.cli.context import Context, pass_context


@click.command(
    epilog="""\b
Example, for editors that use the YAML language server:
  plait schema > plait.schema.json
  sed -i '1i # yaml-language-server: $schema=plait.schema.json' plait.yaml
"""
)
@pass_context
def command(context: Context) -> None:
    """Print the JSON Schema of a config.

    It has the features of the plugins that are installed.
    """
    from plait.core.config.schema import composed_schema

    schema = composed_schema(context.load_plugins().features())
    click.echo(json.dumps(schema, indent=2))
