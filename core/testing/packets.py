"""Packets by name: Ethernet frames as bytes, every length and checksum filled in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkCookieEcho
from scapy.packet import NoPayload, Packet, Raw

Address = IPv4Address | IPv6Address

_HEADER = 14
_IPV6_HEADERS = 48  # with the one of fragments
_CHECKSUMS = ("chksum", "cksum")
_LENGTHS = ("len", "plen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The Ethernet addresses of a frame."""

    src: str
    dst: str

    @property
    def back(self) -> "Link":
        """Those of a frame that goes the other way."""
        return Link(src=self.dst, dst=self.src)


SENDER = Link(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
"""From some sender to this node: for tests that do not care."""


class IcmpError(Enum):
    """What an ICMP error says: (type, code) in IPv4, and in IPv6."""

    HOST_UNREACHABLE = (3, 1), (1, 3)
    PORT_UNREACHABLE = (3, 3), (1, 4)
    TIME_EXCEEDED = (11, 0), (3, 0)
    TOO_BIG = (3, 4), (2, 0)


class Frame(bytes):
    """An Ethernet frame; shown as what it says."""

    def __repr__(self) -> str:
        return f"<{Ether(self).command()}>"

    @property
    def src(self) -> Address:
        """The IP source address."""
        return ip_address(Ether(self).payload.src)

    @property
    def dst(self) -> Address:
        """The IP destination address."""
        return ip_address(Ether(self).payload.dst)

    @property
    def hops(self) -> int:
        """How many hops it has left to live."""
        network = Ether(self).payload
        return int(network.ttl if isinstance(network, IP) else network.hlim)

    @property
    def ports(self) -> tuple[int, int]:
        """Source and destination port; of an echo, its identifier twice."""
        packet = Ether(self)
        transport = _transport(packet)
        if transport is not None:
            return transport.sport, transport.dport
        ident = packet.payload.payload.id
        return ident, ident

    def fields(self) -> Iterator[tuple[str, object]]:
        """Every field of every header, in order: ("IP.ttl", 64)."""
        layer: Packet = Ether(self)
        while not isinstance(layer, NoPayload):
            for name, value in layer.fields.items():
                yield f"{type(layer).__name__}.{name}", value
            layer = layer.payload


def tcp(
    *,
    src: Address,
    dst: Address,
    sport: int = 40000,
    dport: int = 80,
    flags: str = "S",
    payload: bytes = b"",
    ttl: int = 64,
    df: bool = False,
    link: Link = SENDER,
) -> Frame:
    """A TCP segment. `flags` are letters as tcpdump has them: S, SA, A, PA, FA, R."""
    segment = TCP(sport=sport, dport=dport, flags=flags, seq=1000, ack=2000)
    return _frame(segment / Raw(payload), src=src, dst=dst, ttl=ttl, df=df, link=link)


def udp(
    *,
    src: Address,
    dst: Address,
    sport: int = 40000,
    dport: int = 53,
    payload: bytes = b"ping",
    checksum: bool = True,
    ttl: int = 64,
    df: bool = False,
    link: Link = SENDER,
) -> Frame:
    """A UDP datagram; without `checksum` it carries the zero that stands for none."""
    datagram = UDP(sport=sport, dport=dport, chksum=None if checksum else 0)
    return _frame(datagram / Raw(payload), src=src, dst=dst, ttl=ttl, df=df, link=link)


def sctp(
    *,
    src: Address,
    dst: Address,
    sport: int = 40000,
    dport: int = 80,
    payload: bytes = b"ping",
    ttl: int = 64,
    link: Link = SENDER,
) -> Frame:
    """An SCTP packet with one chunk, in IPv4 and IPv6."""
    packet = SCTP(sport=sport, dport=dport, tag=7) / SCTPChunkCookieEcho(cookie=payload)
    return _frame(packet, src=src, dst=dst, ttl=ttl, df=False, link=link)


def icmp_echo(
    *,
    src: Address,
    dst: Address,
    ident: int = 7,
    reply: bool = False,
    payload: bytes = b"ping",
    ttl: int = 64,
    df: bool = False,
    link: Link = SENDER,
) -> Frame:
    """An echo request, or the reply to one."""
    if src.version == 4:
        echo: Packet = ICMP(type=0 if reply else 8, id=ident, seq=1)
    else:
        echo = (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=ident, seq=1)
    return _frame(echo / Raw(payload), src=src, dst=dst, ttl=ttl, df=df, link=link)


def icmp_error(
    about: Frame,
    error: IcmpError,
    *,
    src: Address,
    mtu: int = 0,
    quote: int | None = None,
    ttl: int = 64,
    link: Link = SENDER,
) -> Frame:
    """An ICMP error from `src` to whom `about` came from; it quotes so many bytes of the packet."""
    packet = bytes(about)[_HEADER:]
    quoted = Raw(packet if quote is None else packet[:quote])
    body = _error(error, src.version, mtu) / quoted
    return _frame(body, src=src, dst=about.src, ttl=ttl, link=link)


def tcp_reset(about: Frame, *, link: Link = SENDER) -> Frame:
    """The reset with which whom `about` was sent to refuses it."""
    asked = Ether(about)[TCP]
    length = len(bytes(asked.payload))
    if asked.flags.A:
        numbers = {"flags": "R", "seq": asked.ack, "ack": 0}
    else:
        numbers = {"flags": "RA", "seq": 0, "ack": asked.seq + asked.flags.S + length}
    sport, dport = about.ports
    segment = TCP(sport=dport, dport=sport, window=0, **numbers)
    return _frame(segment, src=about.dst, dst=about.src, ttl=64, df=False, link=link)


def answer(frame: Frame, *, payload: bytes = b"pong") -> Frame:
    """What the other side sends next: SYN-ACK or ACK, a datagram, an echo reply."""
    packet = Ether(frame)
    src, dst = frame.dst, frame.src
    dport, sport = frame.ports
    if TCP in packet:
        flags = "SA" if packet[TCP].flags == "S" else "A"
        return tcp(src=src, dst=dst, sport=sport, dport=dport, flags=flags)
    if SCTP in packet:
        return sctp(src=src, dst=dst, sport=sport, dport=dport, payload=payload)
    if UDP in packet:
        return udp(src=src, dst=dst, sport=sport, dport=dport, payload=payload)
    return icmp_echo(src=src, dst=dst, ident=sport, reply=True, payload=payload)


def changed(
    frame: Frame,
    *,
    src: Address | None = None,
    dst: Address | None = None,
    sport: int | None = None,
    dport: int | None = None,
    ttl: int | None = None,
    link: Link | None = None,
) -> Frame:
    """The same packet with other addresses, ports, hops to live; its checksums made anew."""
    packet = Ether(frame)
    network = packet.payload
    transport = _transport(packet)
    _set(packet, src=link and link.src, dst=link and link.dst)
    _set(network, src=src and str(src), dst=dst and str(dst))
    _set(network, **{"ttl" if isinstance(network, IP) else "hlim": ttl})
    if transport is not None:
        _set(transport, sport=sport, dport=dport)
    return _rebuilt(packet)


def with_ipv4_options(frame: Frame, options: bytes) -> Frame:
    """The same packet with IPv4 options, a multiple of 4 bytes."""
    packet = Ether(frame)
    packet[IP].options = []
    packet[IP].ihl = 5 + len(options) // 4
    body = bytes(packet[IP].payload)
    header = IP(bytes(_rebuilt(packet))[_HEADER : _HEADER + 20] + options)
    header.remove_payload()
    return _rebuilt(Ether(src=packet.src, dst=packet.dst) / header / Raw(body))


def with_extensions(frame: Frame, extensions: Packet) -> Frame:
    """The same IPv6 packet with extension headers before its transport header."""
    packet = Ether(frame)
    network = packet[IPv6]
    rest = network.payload
    network.remove_payload()
    del network.nh
    return _rebuilt(packet / extensions / rest)


def fragments(frame: Frame, size: int) -> Sequence[Frame]:
    """The packet in fragments of at most `size` bytes of payload each."""
    packet = Ether(frame)
    network = packet.payload
    if isinstance(network, IP):
        pieces = fragment(network, fragsize=size)  # type: ignore[no-untyped-call]
    else:
        header = IPv6ExtHdrFragment(id=7, nh=network.nh)
        rest = network.payload
        network.remove_payload()
        del network.nh
        whole = network / header / rest
        pieces = fragment6(whole, _IPV6_HEADERS + size)  # type: ignore[no-untyped-call]
    packet.remove_payload()
    return [_rebuilt(packet / piece) for piece in pieces]


def _transport(packet: Packet) -> Packet | None:
    """The header that has ports."""
    found = (packet.getlayer(each) for each in (TCP, UDP, SCTP))
    return next((layer for layer in found if layer is not None), None)


def _frame(
    body: Packet, *, src: Address, dst: Address, ttl: int, link: Link, df: bool = False
) -> Frame:
    if src.version == 4:
        network: Packet = IP(src=str(src), dst=str(dst), ttl=ttl, flags="DF" if df else 0, id=0)
    else:
        network = IPv6(src=str(src), dst=str(dst), hlim=ttl)
    return Frame(bytes(Ether(src=link.src, dst=link.dst) / network / body))


def _error(error: IcmpError, version: int, mtu: int) -> Packet:
    (type4, code4), (type6, code6) = error.value
    if version == 4:
        return ICMP(type=type4, code=code4, nexthopmtu=mtu)
    match type6:
        case 1:
            return ICMPv6DestUnreach(code=code6)
        case 2:
            return ICMPv6PacketTooBig(mtu=mtu)
        case _:
            return ICMPv6TimeExceeded(code=code6)


def _set(layer: Packet, **values: object) -> None:
    for name, value in values.items():
        if value is not None:
            layer.setfieldval(name, value)


def _rebuilt(packet: Packet) -> Frame:
    """The packet's bytes, with lengths and checksums left to scapy, but for UDP's none."""
    layer = packet
    while not isinstance(layer, NoPayload | Raw):
        none_in_udp = isinstance(layer, UDP) and layer.chksum == 0
        for name in (*_LENGTHS, *(() if none_in_udp else _CHECKSUMS)):
            if name in layer.fields:
                layer.delfieldval(name)
        layer = layer.payload
    return Frame(bytes(packet))
