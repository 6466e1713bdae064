"""A datapath to test: one loaded plan, hooks as functions, objects in, flows and packets out."""

import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from socket import AddressFamily, SocketKind
from types import TracebackType
from typing import Self

from plait.codegen.layout import member
from plait.codegen.render import GC
from plait.core.api.contract import Handler, Hook, Record, Verdict
from plait.core.control.endpoints import endpoint_handler
from plait.core.control.reconciler import Outcome, Reconciler
from plait.core.control.revisions import Revisions
from plait.core.control.targets import reconciled_targets
from plait.core.endpoints.links import Link as Interface
from plait.core.errors import raise_all
from plait.core.kernel.maps import ARRAYS, Map
from plait.core.kernel.programs import Skb, test_run
from plait.core.objects.model import Address, Endpoint, Key, Meta, Object
from plait.core.objects.nodes import Host
from plait.core.pipeline import Prepared
from plait.core.plan.core import DROPS, FLOWS, REVISIONS
from plait.core.runtime import addresses
from plait.core.runtime.collector import Collected, collect, measure_hz
from plait.core.runtime.flows import Ends, Flow, read_flows
from plait.core.runtime.proving import VERDICTS
from plait.core.runtime.staging import Staged
from plait.core.testing.network import NODE, Network, private_network
from plait.core.testing.packets import Frame, Link
from plait.core.testing.sockets import Sockets

_SEEN = struct.Struct("=I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a hook did with a packet. `drop_reason` is what was counted for it, if anything."""

    verdict: Verdict
    packet: Frame
    drop_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A workload of the node; `link` has the Ethernet addresses of frames on their way to it."""

    endpoint: Endpoint
    ifindex: int
    link: Link


class Datapath:
    """One plan on maps that no other test sees, in a network namespace of its own.

    Use it as a context manager, in one thread. `pods` are by name, `maps` there to be looked at.
    """

    def __init__(self, prepared: Prepared, staged: Staged, handlers: Sequence[Handler]) -> None:
        self.plan = prepared.plan
        self.maps: Mapping[str, Map] = staged.maps
        self._programs = staged.programs
        self._interfaces: dict[str, Interface] = {}
        self._macs: dict[int, str] = {}
        self.pods: dict[str, Pod] = {}
        self._objects: dict[Key, Object] = {}
        self._revisions = Revisions(self.maps[REVISIONS])
        self._reconciler = Reconciler(
            (endpoint_handler(self._interfaces, self._macs), *handlers),
            reconciled_targets(self.plan, self.maps),
            bump=self._revisions.bump,
            bump_all=self._revisions.bump_all,
        )
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.enter_context(private_network())
        self.network = self._exit.enter_context(Network())
        self.network.set(self.plan.sysctls)
        self._clear()
        addresses.write(self.maps, tuple(NODE.values()))
        self._reconciler.sync({})
        self.put(Host(meta=Meta(name="localhost", namespace=""), addresses=tuple(NODE.values())))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    # ---- what there is ----

    def pod(self, name: str, *addresses: Address, mtu: int = 1500) -> Pod:
        """A new workload: its interface, and the Endpoint object that tells of it."""
        cable = self.network.add_cable(name, mtu=mtu)
        interface = cable.link
        self._interfaces[name] = interface
        self._macs[interface.index] = cable.far_mac
        endpoint = Endpoint(meta=Meta(name=name), interface=name, addresses=addresses)
        pod = self.pods[name] = Pod(
            endpoint=endpoint,
            ifindex=interface.index,
            link=Link(src=interface.mac or "", dst=cable.far_mac),
        )
        self.put(endpoint)
        return pod

    def put(self, *objects: Object) -> Outcome:
        """Add or change objects, as a source would. Raises what the handlers find wrong."""
        self._objects |= {each.key: each for each in objects}
        return self._sync(*objects)

    def remove(self, *objects: Object) -> Outcome:
        """Remove objects."""
        for each in objects:
            del self._objects[each.key]
        return self._sync(*objects)

    def update(self, name: str, key: Record, value: Record) -> None:
        """Write a map entry past the control plane."""
        key_codec, value_codec = self.maps[name].codecs()
        self.maps[name].update(key_codec.encode(key), value_codec.encode(value))

    def entries(self, name: str) -> list[tuple[Record, Record]]:
        """What a map holds."""
        key, value = self.maps[name].codecs()
        return [(key.decode(k), value.decode(v)) for k, v in self.maps[name].items()]

    def decide_again(self, *addresses: Address) -> None:
        """Make the flows of these addresses decide again; all flows when none is given."""
        if addresses:
            self._revisions.bump(addresses)
        else:
            self._revisions.bump_all()

    # ---- packets ----

    def pod_egress(self, packet: bytes | bytearray, *, pod: Pod | None = None) -> Result:
        """A packet from a pod: by default the one that has its source address."""
        frame = Frame(packet)
        return self._run(Hook.POD_EGRESS, frame, (pod or self._pod_of(frame.src)).ifindex)

    def pod_ingress(self, packet: bytes, *, pod: Pod | None = None) -> Result:
        """A packet from the host's stack to a pod: by default that of its destination address."""
        frame = Frame(packet)
        return self._run(Hook.POD_INGRESS, frame, (pod or self._pod_of(frame.dst)).ifindex)

    def netdev_ingress(self, packet: bytes) -> Result:
        """A packet from the wire."""
        return self._run(Hook.NETDEV_INGRESS, Frame(packet), self.network.uplink.link.index)

    def netdev_egress(self, packet: bytes) -> Result:
        """A packet from a process of the node to the wire."""
        return self._run(Hook.NETDEV_EGRESS, Frame(packet), self.network.uplink.link.index)

    # ---- sockets ----

    def open_socket(
        self, family: AddressFamily, kind: SocketKind, *, in_pod: bool = False
    ) -> socket.socket:
        """A new socket of a process of the node, or of one in a pod: its calls meet the hooks.

        It is a real one, in the namespace where the datapath is, and closed along with that.
        """
        return self._sockets.make(family, kind, in_pod=in_pod)

    def listen(self, kind: SocketKind, address: Address, port: int) -> socket.socket:
        """A socket at an address that the node has from now on; one of TCP listens."""
        self.network.own(address)
        family = AddressFamily.AF_INET if address.version == 4 else AddressFamily.AF_INET6
        server = self.open_socket(family, kind)
        server.bind((str(address), port))
        if kind is SocketKind.SOCK_STREAM:
            server.listen()
        return server

    @cached_property
    def _sockets(self) -> Sockets:
        return self._exit.enter_context(Sockets(self._programs))

    # ---- what came of it ----

    def flows(self) -> tuple[Flow, ...]:
        """Every flow; those that opened a connection come first."""
        return tuple(sorted(read_flows(self.maps), key=_opened_first))

    def flow(self, packet: Frame) -> Flow:
        """The flow that a packet with these addresses and ports belongs to."""
        sport, dport = packet.ports
        ends = Ends(src=packet.src, dst=packet.dst, sport=sport, dport=dport)
        (found,) = (flow for flow in self.flows() if flow.key == ends)
        return found

    def drops(self) -> dict[str, int]:
        """Dropped packets by reason."""
        names = {drop.id: drop.name for drop in self.plan.drops}
        drops = self.maps[DROPS]
        return {
            names[int.from_bytes(key, sys.byteorder)]: sum(
                int.from_bytes(count, sys.byteorder) for count in drops.cpu_values(value)
            )
            for key, value in drops.items()
        }

    # ---- time ----

    def wait(self, seconds: int) -> None:
        """Let time go by for the flows that there are: their last packets lie further back."""
        for table in self._flow_tables():
            at = _seen_at(table)
            for key, value in list(table.items()):
                (seen,) = _SEEN.unpack_from(value, at)
                aged = bytearray(value)
                _SEEN.pack_into(aged, at, seen - seconds * self._hz & 0xFFFFFFFF)
                table.update(key, bytes(aged))

    def collect(self, *, fullness: float = 0.0, sweep: bool = False) -> Collected:
        """Forget idle flows, of a table that was so full (0..1) when it was last looked at.

        With `sweep`, also those of pods that are gone.
        """
        return collect(self._programs, self.maps, self._hz, fullness, sweep=sweep)

    @cached_property
    def _hz(self) -> int:
        return measure_hz(self._programs[GC])

    def _flow_tables(self) -> list[Map]:
        return [self.maps[name] for name in FLOWS.values() if name in self.maps]

    def _sync(self, *changed: Object) -> Outcome:
        outcome = self._reconciler.sync(self._objects, {each.key for each in changed})
        raise_all(outcome.problems)
        return outcome

    def _pod_of(self, address: Address) -> Pod:
        for pod in self.pods.values():
            if address in pod.endpoint.addresses:
                return pod
        raise LookupError(f"no pod has {address}: say which one it is")

    def _run(self, hook: Hook, packet: bytes, ifindex: int) -> Result:
        before = self.drops()
        run = test_run(self._programs[hook.value], packet, skb=Skb(ifindex=ifindex))
        reasons = [name for name, count in self.drops().items() if count > before.get(name, 0)]
        return Result(
            verdict=VERDICTS[run.retval],
            packet=Frame(run.packet),
            drop_reason=", ".join(reasons) or None,
        )

    def _clear(self) -> None:
        for each in self.maps.values():
            if each.info.type not in ARRAYS:
                each.delete_many([key for key, _ in each.items()])


def _opened_first(flow: Flow) -> tuple[bool, str]:
    return flow.is_reply, str(flow.key)


def _seen_at(table: Map) -> int:
    """The offset of plait_flow's `seen` in an entry."""
    _, entry = table.layouts()
    flow = member(entry, "flow")
    return flow.offset + member(flow.layout, "seen").offset
