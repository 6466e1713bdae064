"""The plugin of tests/plugin_example: in a plugins folder, where a test may break it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plait.core.api.contract import KernelFeature
from plait.core.config.load import load_config
from plait.core.pipeline import Prepared, plan_config, prepare
from plait.core.plan.model import Plan
from plait.core.plugins import Plugins, load_plugins

EXAMPLE = Path(__file__).parents[1] / "plugin_example"
ALL_KERNEL_FEATURES = {feature.value: True for feature in KernelFeature}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of the plugin, as a folder of a plugins folder."""

    folder: Path

    @classmethod
    def make(cls, plugins_folder: Path, name: str = "quota") -> Self:
        """The copy is a plugin of this name; all of its own names change with it."""
        copy = cls(folder=plugins_folder / name)
        shutil.copytree(EXAMPLE / "plait_quota" / "bpf", copy.folder / "bpf")
        shutil.copy(EXAMPLE / "plait_quota" / "__init__.py", copy.module)
        if name != "quota":
            (copy.folder / "bpf" / "quota.h").rename(copy.header)
            for file in (copy.module, copy.header):
                text = file.read_text().replace("quota", name).replace("QUOTA", name.upper())
                file.write_text(text.replace("Quota", name.title()))
        return copy

    @property
    def module(self) -> Path:
        return self.folder / "__init__.py"

    @property
    def header(self) -> Path:
        return self.folder / "bpf" / f"{self.folder.name}.h"

    def edit(self, file: Path, before: str, after: str) -> int:
        """Replace what is in the file once; returns its line."""
        text = file.read_text()
        assert text.count(before) == 1
        file.write_text(text.replace(before, after))
        return text[: text.index(before)].count("\n") + 1

    def load(self) -> Plugins:
        """All plugins: those of the plugins folder, and those that are installed."""
        return load_plugins(self.folder.parent)

    def plan(self, config: Path = EXAMPLE / "plait.yaml") -> Plan:
        """The plan of a config, on a kernel that can do everything."""
        plugins = self.load()
        return plan_config(load_config(config, plugins.features()), plugins, ALL_KERNEL_FEATURES)

    def prepare(self) -> Prepared:
        """The example's config, compiled."""
        return prepare(self.plan(), self.folder / "cache")
