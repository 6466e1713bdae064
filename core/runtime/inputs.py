"""What an instance reads: where its objects are, and who makes entries of them."""

from pathlib import Path

from plait.core.api.contract import Handler
from plait.core.config.model import Config
from plait.core.control.endpoints import endpoint_handler
from plait.core.endpoints.objects import default_folder
from plait.core.kernel.pins import Paths
from plait.core.objects.kinds import KINDS
from plait.core.objects.sources.files import FileSource
from plait.core.plugins import Plugins
from plait.core.runtime.devices import LinkTable

SOURCE = "files"
HOST_SOURCE = "kernel"


def object_paths(config: Config, paths: Paths) -> tuple[Path, ...]:
    """Where an instance with this config reads objects from."""
    return (*config.objects, default_folder(paths.run.name))


def file_source(config: Config, paths: Paths, plugins: Plugins) -> FileSource:
    """The objects of an instance with this config."""
    return FileSource(object_paths(config, paths), (*KINDS, *plugins.kinds()))


def handlers_of(config: Config, links: LinkTable, plugins: Plugins) -> tuple[Handler, ...]:
    """All that make entries of objects, on a node with these links."""
    own = endpoint_handler(links.by_name, links.macs, links.refusal)
    return (own, *plugins.handlers(config))
