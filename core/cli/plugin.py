"""`plait plugin`: the plugins that are installed, and what they bring."""

import json

import click

from plait.core.cli.context import Context, json_option, pass_context


@click.group(
    epilog="""\b
Examples:
  plait plugin list
"""
)
def command() -> None:
    """Plugins that are installed."""


@command.command(
    "list",
    epilog="""\b
Examples:
  plait plugin list
  plait --plugins-dir ./my-plugins plugin list --json
""",
)
@json_option
@pass_context
def list_plugins(context: Context, as_json: bool) -> None:
    """List plugins with their version, features and place."""
    plugins = context.load_plugins()
    rows = [
        {
            "name": plugin.name,
            "version": plugin.version,
            "features": [feature.key for feature in plugins.features_of(plugin)],
            "file": str(plugin.file),
        }
        for plugin in plugins.plugins
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        features = ", ".join(row["features"]) or "no features"
        click.echo(f"{row['name']} {row['version']}: {features} ({row['file']})")
