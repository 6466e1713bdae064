"""Plugins: found, loaded, and asked one at a time, so that whatever fails has a name."""

from plait.core.plugins.ask import Plugins
from plait.core.plugins.load import load_plugins
from plait.core.plugins.model import Plugin

__all__ = ["Plugin", "Plugins", "load_plugins"]
