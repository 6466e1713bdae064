"""All reference pages: what `make docs` writes, and a test compares."""

from pathlib import Path

from plait.core.config.reference import config_reference
from plait.core.plugins import load_plugins
from plait.core.reference.cli import cli_reference
from plait.core.reference.datapath import drops_reference, hooks_reference
from plait.core.reference.metrics import metrics_reference


def pages(plugins_folder: Path) -> dict[str, str]:
    """Markdown by file name, for the plugins that are installed or lie in the folder.

    Raises `PlaitError` for a plugin that cannot be loaded or asked.
    """
    plugins = load_plugins(plugins_folder)
    return {
        "cli.md": cli_reference(plugins_folder),
        "config.md": config_reference(plugins.features()),
        "drops.md": drops_reference(plugins),
        "hooks.md": hooks_reference(plugins),
        "metrics.md": metrics_reference(plugins),
    }
