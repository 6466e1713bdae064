"""The control plane: which objects become entries of the balancer's maps, and by whom."""

from plait.core.api import Config, Endpoint, EndpointSlice, Handler, Host, Node, Service
from plait.plugins.lb.addresses import AddressBook, address_scopes
from plait.plugins.lb.balancer import Balancer, service_scopes
from plait.plugins.lb.config import LbConfig
from plait.plugins.lb.host_ports import host_ports
from plait.plugins.lb.silence import BackendHealth
from plait.plugins.lb.topology import Here


def handlers(config: Config, lb: LbConfig) -> tuple[Handler, ...]:
    """Services with the slices that their name is on, and this node's zone; ports of the node that
    lead to one endpoint; and whose the addresses are that are asked.
    """
    here = Here(node=config.node.name, networks=config.node.pod_cidrs)
    return (
        Handler(
            name="lb",
            kinds=(Service, EndpointSlice, Node, BackendHealth),
            scopes=service_scopes,
            shared=lambda each: isinstance(each, Node) and each.meta.name == here.node,
            wanted=Balancer(lb, here).wanted,
        ),
        Handler(name="lb host ports", kinds=(Endpoint,), wanted=host_ports),
        Handler(
            name="lb addresses",
            kinds=(Service, Host),
            scopes=address_scopes,
            wanted=AddressBook(lb).wanted,
        ),
    )
