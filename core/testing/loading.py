"""Loading for tests: a config as in YAML becomes a datapath, and is loaded once only."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from plait.core.config.load import load_config
from plait.core.config.model import Config
from plait.core.kernel.features import check_machine, probe
from plait.core.pipeline import Prepared, plan_config, prepare
from plait.core.plan.digest import plan_hash
from plait.core.plugins import Plugins, load_plugins
from plait.core.runtime.staging import Staged, stage
from plait.core.testing.datapath import Datapath

Settings = Mapping[str, object]
"""A part of the config, as plain YAML data."""


class Loader:
    """Makes datapaths. Two that are open at once must be of different plans: they share maps.

    `cache` is the folder of compiled objects, `folder` one of plugins besides those installed.
    """

    def __init__(self, cache: Path, folder: Path) -> None:
        self.cache = cache
        self._folder = folder
        self._loaded: dict[tuple[str, int], tuple[Prepared, Staged]] = {}

    @cached_property
    def plugins(self) -> Plugins:
        """The plugins that there are."""
        return load_plugins(self._folder)

    @cached_property
    def kernel(self) -> Mapping[str, bool]:
        """What this machine's kernel can do. Raises `SystemProblem` when it will not do at all."""
        check_machine()
        return probe()

    def config(self, features: Settings, node: Settings) -> Config:
        """The config with these `features:` and, besides its name, these settings of `node:`."""
        document = {
            "apiVersion": "plait/v1",
            "node": {"name": "test", **node},
            "features": dict(features),
        }
        with TemporaryDirectory(prefix="plait-") as folder:
            path = Path(folder) / "plait.yaml"
            path.write_text(yaml.safe_dump(document))
            return load_config(path, self.plugins.features())

    def prepare(self, config: Config) -> Prepared:
        """The config's plan, compiled."""
        return prepare(plan_config(config, self.plugins, self.kernel), self.cache)

    def datapath(self, config: Config, *, most_entries: int = 1024) -> Datapath:
        """The config's plan, loaded, with at most so many entries in each map."""
        plan = plan_config(config, self.plugins, self.kernel)
        key = (plan_hash(plan), most_entries)
        if key not in self._loaded:
            prepared = prepare(plan, self.cache)
            staged = stage(plan, prepared.compiled.objects, most_entries=most_entries)
            self._loaded[key] = (prepared, staged)
        prepared, staged = self._loaded[key]
        return Datapath(prepared, staged, self.plugins.handlers(config))

    def close(self) -> None:
        """Let go of all that is loaded."""
        for _, staged in self._loaded.values():
            staged.close()
        self._loaded.clear()
