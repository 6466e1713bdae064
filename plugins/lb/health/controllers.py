"""What the agent runs for the health of Services."""

from plait.core.api import Config, Controller
from plait.plugins.lb.config import LbConfig
from plait.plugins.lb.health.checks import Checks
from plait.plugins.lb.health.server import HealthServer
from plait.plugins.lb.topology import Here


def controllers(config: Config, lb: LbConfig) -> tuple[Controller, ...]:
    """Checks of backends, and the answers on the health check ports of Services."""
    here = Here(node=config.node.name, networks=config.node.pod_cidrs)
    chosen = lb.node_ports.addresses
    return (
        Controller(name="lb checks", settings=(), start=Checks),
        Controller(
            name="lb health",
            settings=(here, chosen),
            start=lambda publish: HealthServer(publish, here, chosen),
        ),
    )
