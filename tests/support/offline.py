"""What a node makes of files of objects, without a kernel: its messages, and what it serves."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from plait.core.api.contract import Record
from plait.core.config.load import load_config
from plait.core.control.reconciler import Reconciler
from plait.core.objects.kinds import KINDS
from plait.core.objects.model import Meta
from plait.core.objects.nodes import Host
from plait.core.objects.overlaps import Overlaps
from plait.core.objects.sources.files import FileSource
from plait.core.objects.store import Store
from plait.core.pipeline import plan_config
from plait.core.plan.model import MapPlan
from plait.core.plugins import load_plugins
from support.plans import ALL_KERNEL_FEATURES

CONFIG = """\
apiVersion: plait/v1
node: {name: node-a, devices: [eth0], podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
features: {routing: {}, lb: {}}
"""
OWN = ("192.0.2.1", "2001:db8::1")


class TextMap:
    """A map of a plan, with entries as they are asked for, in words."""

    def __init__(self, planned: MapPlan) -> None:
        self.config_key = planned.spec.config_key
        self.capacity = planned.entries
        self.bound = planned.bound
        self.entries: dict[bytes, bytes] = {}

    def encode_key(self, record: Record) -> bytes:
        return ", ".join(f"{name} {value!s}" for name, value in record.items()).encode()

    def encode_value(self, record: Record) -> bytes:
        return self.encode_key(record)

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self.entries |= dict(pairs)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self.entries.pop(key, None)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return tuple(self.entries.items())


class Offline:
    """A node with the balancer, whose objects are the files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.objects = folder / "objects"
        self.objects.mkdir()
        config_file = folder / "plait.yaml"
        config_file.write_text(CONFIG)
        plugins = load_plugins(Path("/nonexistent"))
        config = load_config(config_file, plugins.features())
        plan = plan_config(config, plugins, ALL_KERNEL_FEATURES)
        self._maps = {each.spec.name: TextMap(each) for each in plan.maps if each.spec.reconciled}
        self._source = FileSource((self.objects,), KINDS)
        self._store = Store()
        self._overlaps = Overlaps()
        self._reconciler = Reconciler(
            plugins.handlers(config), self._maps, bump=lambda _: None, bump_all=lambda: None
        )
        self.said: tuple[str, ...] = ()
        host = Host(meta=Meta(name="node-a"), addresses=tuple(map(ip_address, OWN)))
        self._store.replace("kernel", (host,))

    def put(self, **files: str) -> tuple[str, ...]:
        """Write files, and follow: all that is said then, as `file:line:col: message`."""
        for name, text in files.items():
            (self.objects / f"{name}.yaml").write_text(text)
        snapshot = self._source.scan()
        changed = self._store.replace("files", snapshot.objects).keys
        self._overlaps.update(self._store, changed)
        outcome = self._reconciler.sync(self._store, changed, complete=not snapshot.problems)
        problems = (*snapshot.problems, *self._store.problems(), *outcome.problems)
        warnings = (*snapshot.warnings, *self._overlaps.warnings(self._store))
        return tuple(str(each).removeprefix(f"{self.objects}/") for each in (*problems, *warnings))

    def entries(self, name: str) -> Mapping[str, str]:
        """What a map holds, in words."""
        return {key.decode(): value.decode() for key, value in self._maps[name].entries.items()}
