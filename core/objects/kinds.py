"""The kinds of objects that sources may hold without any plugin; plugins add theirs."""

from plait.core.objects.model import Endpoint, Object
from plait.core.objects.nodes import Node
from plait.core.objects.services import EndpointSlice, Service

KINDS: tuple[type[Object], ...] = (Service, EndpointSlice, Endpoint, Node)
