"""Packets by name, for packet tests: whole Ethernet frames with right lengths and checksums."""

import struct
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

SYN, ACK, RST, FIN = 0x02, 0x10, 0x04, 0x01
_TCP, _UDP = 6, 17
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_MAC = "02:00:00:00:00:01"


def tcp(
    *,
    src: Address,
    dst: Address,
    sport: int = 40000,
    dport: int = 80,
    flags: int = SYN,
    ttl: int = 64,
    src_mac: str = _MAC,
    dst_mac: str = _MAC,
    payload: bytes = b"",
) -> bytes:
    """A frame with a TCP segment; both addresses are of one family."""
    header = struct.pack(
        ">HHIIBBHHH", sport, dport, 1, 1 if flags & ACK else 0, 0x50, flags, 64000, 0, 0
    )
    segment = _summed(_TCP, src, dst, header + payload, 16)
    return _frame(_TCP, segment, src=src, dst=dst, ttl=ttl, macs=(dst_mac, src_mac))


def udp(
    *,
    src: Address,
    dst: Address,
    sport: int = 40000,
    dport: int = 53,
    ttl: int = 64,
    src_mac: str = _MAC,
    dst_mac: str = _MAC,
    payload: bytes = b"",
) -> bytes:
    """A frame with a UDP datagram; both addresses are of one family."""
    header = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
    datagram = _summed(_UDP, src, dst, header + payload, 6)
    return _frame(_UDP, datagram, src=src, dst=dst, ttl=ttl, macs=(dst_mac, src_mac))


def _frame(
    proto: int, content: bytes, *, src: Address, dst: Address, ttl: int, macs: tuple[str, str]
) -> bytes:
    ethernet = b"".join(map(_mac, macs)) + struct.pack(">H", _ETHERTYPES[src.version])
    if src.version == 6:
        header = struct.pack(">IHBB", 6 << 28, len(content), proto, ttl) + src.packed + dst.packed
        return ethernet + header + content
    length = 20 + len(content)
    fixed = struct.pack(">BBHHHBB", 0x45, 0, length, 0, 0x4000, ttl, proto)
    addresses = src.packed + dst.packed
    check = struct.pack(">H", _checksum(fixed + bytes(2) + addresses))
    return ethernet + fixed + check + addresses + content


def _summed(proto: int, src: Address, dst: Address, content: bytes, at: int) -> bytes:
    """`content` with its checksum at offset `at`, over the pseudo header of its family."""
    pseudo = src.packed + dst.packed + struct.pack(">II", len(content), proto)
    check = _checksum(pseudo + content) or 0xFFFF
    return content[:at] + struct.pack(">H", check) + content[at + 2 :]


def _checksum(data: bytes) -> int:
    """The internet checksum. Source: RFC 1071."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
