"""The page of the metrics: what the framework and the plugins tell Prometheus."""

from plait.core.api.contract import Metric
from plait.core.plugins import Plugins
from plait.core.reference.datapath import all_features
from plait.core.reference.markdown import page, table
from plait.core.runtime.metrics import Family, own_families
from plait.core.runtime.status import InstanceStatus


def metrics_reference(plugins: Plugins) -> str:
    """Every metric, with its labels."""
    rows = [_row("core", each) for each in own_families(InstanceStatus(state=None, agent=None))]
    for plugin, metric in plugins.metrics(all_features(plugins)):
        rows.append(_row(plugin.name, metric))
    return page(
        "# Metrics",
        "Generated from what the framework and the plugins tell; `plait metrics` prints them.",
        table(("metric", "from", "kind", "labels", "meaning"), rows),
    )


def _row(owner: str, each: Family | Metric) -> tuple[str, ...]:
    return f"`{each.name}`", owner, each.kind.value, ", ".join(each.labels), each.help
