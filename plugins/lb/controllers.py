"""What the agent runs for Services beside their entries."""

from plait.core.api import Config, Controller
from plait.plugins.lb.config import LbConfig, Sockets
from plait.plugins.lb.health.checks import Checks
from plait.plugins.lb.health.server import HealthServer
from plait.plugins.lb.release import Release
from plait.plugins.lb.topology import Here


def controllers(config: Config, lb: LbConfig) -> tuple[Controller, ...]:
    """Checks of backends, the answers on the health check ports of Services, and the end of sockets
    whose backend is gone.
    """
    here = Here(node=config.node.name, networks=config.node.pod_cidrs)
    chosen = lb.node_ports.addresses
    return (
        Controller(name="lb checks", settings=(), start=Checks),
        Controller(
            name="lb health",
            settings=(here, chosen),
            start=lambda publish: HealthServer(publish, here, chosen),
        ),
        *(
            (Controller(name="lb release", settings=(), start=Release),)
            if lb.sockets is not Sockets.NONE
            else ()
        ),
    )
