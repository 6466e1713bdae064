"""What the framework itself brings to every plan: its maps and its reasons to drop."""

from plait.codegen.compile import LIBRARY
from plait.core.api.contract import Contribution, MapSpec, OnReload
from plait.core.config.model import Config
from plait.core.plan.model import families

REVISIONS = "plait_revs"
ENDPOINTS = "plait_endpoints"
NODES = "plait_nodes"
LOCALS = "plait_locals"
DROPS = "plait_drops"
SILENT = "plait_silent"
PORT_USES = "plait_port_uses"
FLOWS = {4: "plait_flow4", 6: "plait_flow6"}
DRAFTS = {4: "plait_draft4", 6: "plait_draft6"}
HANDOVERS = {4: "plait_handover4", 6: "plait_handover6"}


def core_contribution(config: Config, *, flows: bool = True) -> Contribution:
    """The framework's own contribution: the flow tables and what the engine reads and counts.

    Without `flows`, for hooks of sockets alone, there are no tables of them.
    """
    capacity = config.node.capacity
    tables = tuple(
        spec
        for family in families(config)
        for spec in (
            MapSpec(
                name=FLOWS[family], max_entries=capacity.flows, config_key="node.capacity.flows"
            ),
            MapSpec(name=HANDOVERS[family], max_entries=16384),
            MapSpec(name=DRAFTS[family], max_entries=1, on_reload=OnReload.RESET),
        )
    )
    return Contribution(
        headers=LIBRARY,
        maps=(
            MapSpec(name=REVISIONS, max_entries=1),
            MapSpec(name=NODES, max_entries=1),
            MapSpec(name=LOCALS, max_entries=4096),
            MapSpec(
                name=ENDPOINTS,
                max_entries=capacity.endpoints,
                grows_to=capacity.endpoints * capacity.growth,
                reconciled=True,
                config_key="node.capacity.endpoints",
            ),
            MapSpec(name=DROPS, max_entries=1024),
            MapSpec(name="plait_frags", max_entries=8192),
            MapSpec(name=SILENT, max_entries=1024),
            *((MapSpec(name=PORT_USES, max_entries=1), *tables) if flows else ()),
        ),
        constants={
            "plait_ports_first": config.node.masquerade.first_port,
            "plait_ports_count": config.node.masquerade.count,
        },
        drops={
            "PLAIT_FLOW_TABLE_FULL": "the flow table is full (node.capacity.flows)",
            "PLAIT_FLOW_CLASH": "another live connection uses the same addresses and ports",
            "PLAIT_HOPS_EXCEEDED": "the packet has no hops left to live; its sender is told",
            "PLAIT_TOO_BIG": "the packet is larger than its way out allows; its sender is told",
            "PLAIT_NO_ADDRESS": "the node has no address of this family to masquerade with",
            "PLAIT_PORTS_EXHAUSTED": "no port is free to masquerade with (node.masquerade)",
            "PLAIT_FORGED_SOURCE": "the source is an address of another pod of this node",
        },
    )
