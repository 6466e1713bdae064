"""The boundary: everything a plugin may import. docs/plugins.md is the manual, with an example.

A plugin is a module that defines some of the functions in `hookspecs`, marked `@hookimpl`, and a
constant `PLUGIN_API` equal to the one here. They return data: Plait sorts it, checks it,
generates C from it, and does everything that touches the kernel.
"""

from plait.core.api import packets
from plait.core.api.contract import (
    PLUGIN_API,
    Contribution,
    EntriesByMap,
    Entry,
    Feature,
    FieldValue,
    FlowPart,
    Fragment,
    Handler,
    Hook,
    KernelFeature,
    MapSpec,
    Metric,
    MetricKind,
    OnReload,
    PacketTest,
    Record,
    Sample,
    Stage,
    Sysctl,
    Verdict,
)
from plait.core.api.controllers import Controller, Follower, Publish, Report, View
from plait.core.api.hookspecs import hookimpl
from plait.core.config.model import Config, NodeConfig
from plait.core.config.settings import setting
from plait.core.endpoints.sockdiag import SocketName, destroy_sockets
from plait.core.errors import PlaitError, Position
from plait.core.objects.document import Field
from plait.core.objects.model import Address, Endpoint, HostPort, Key, Meta, Network, Object
from plait.core.objects.nodes import Host, Node
from plait.core.objects.services import (
    Distribution,
    EndpointSlice,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
    TrafficPolicy,
)

__all__ = [
    "PLUGIN_API",
    "Address",
    "Config",
    "Contribution",
    "Controller",
    "Distribution",
    "Endpoint",
    "EndpointSlice",
    "EntriesByMap",
    "Entry",
    "Feature",
    "Field",
    "FieldValue",
    "FlowPart",
    "Follower",
    "Fragment",
    "Handler",
    "Hook",
    "Host",
    "HostPort",
    "KernelFeature",
    "Key",
    "MapSpec",
    "Meta",
    "Metric",
    "MetricKind",
    "Network",
    "Node",
    "NodeConfig",
    "Object",
    "OnReload",
    "PacketTest",
    "PlaitError",
    "Position",
    "Publish",
    "Record",
    "Report",
    "Sample",
    "Service",
    "ServicePort",
    "SliceEndpoint",
    "SlicePort",
    "SocketName",
    "Stage",
    "Sysctl",
    "TrafficPolicy",
    "Verdict",
    "View",
    "destroy_sockets",
    "hookimpl",
    "packets",
    "setting",
]
