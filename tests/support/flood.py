"""A flood of packets that each open a flow of their own, sent in large batches by one process."""

import ctypes
import errno
import socket
import struct
from ctypes import POINTER, Structure, c_char, c_int, c_size_t, c_uint, c_void_p
from ipaddress import IPv4Address, IPv6Address, ip_address

from plait.core.endpoints import namespaces
from plait.core.lab.state import Place

BATCH = 1024
"""Frames that are sent at once. They differ by their port, batches by the sender's address."""

FIRST_PORT = 1024
SENDERS_MAX = 65536
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20  # linux/socket.h, linux/if_packet.h
_SYN = 2
_MACS = 12  # bytes of a frame before its EtherType
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Vector(Structure):
    _fields_ = (("base", c_void_p), ("length", c_size_t))


class _Message(Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", c_void_p),
        ("name_length", c_uint),
        ("vectors", POINTER(_Vector)),
        ("count", c_size_t),
        ("control", c_void_p),
        ("control_length", c_size_t),
        ("flags", c_int),
        ("sent", c_uint),
    )


def send_flood(place: Place, *, mac: str, address: str, port: int, senders: int) -> int:
    """Open flows to an address behind `mac` from so many addresses that nobody has; their number.

    The segments have no right checksum: whoever they reach throws them away, and answers nothing.
    """
    target = ip_address(address)
    headers = [_header(sender, target) for sender in range(min(senders, SENDERS_MAX))]
    frames = _frames(mac, headers[0], port)
    size = len(frames) // BATCH
    buffer = (c_char * len(frames)).from_buffer(frames)
    messages = _messages(ctypes.addressof(buffer), size)
    with namespaces.entered(place.netns):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sock:
        sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        sock.bind(("eth0", 0))
        for header in headers:
            for place_in_header, byte in enumerate(header):
                frames[_MACS + place_in_header :: size] = bytes((byte,)) * BATCH
            _send(sock, messages)
    return len(headers) * BATCH


def _header(sender: int, target: IPv4Address | IPv6Address) -> bytes:
    """EtherType and IP header of a segment without data."""
    if isinstance(target, IPv6Address):
        source = ip_address("2001:db8:198::") + sender
        return b"\x86\xdd\x60\0\0\0\0\x14\x06\x40" + source.packed + target.packed
    source = ip_address("198.18.0.0") + sender
    fields = (0x4500, 40, 0, 0, 0x4006, 0)
    header = struct.pack("!6H4s4s", *fields, source.packed, target.packed)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    return b"\x08\0" + header[:10] + checksum + header[12:]


def _frames(mac: str, header: bytes, port: int) -> bytearray:
    """A batch; its frames differ by the port that they come from."""
    start = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x01" + header
    rest = struct.pack("!HIIBBHHH", port, 0, 0, 5 << 4, _SYN, 1024, 0, 0)
    ports = (struct.pack("!H", FIRST_PORT + number) for number in range(BATCH))
    return bytearray(b"".join(start + each + rest for each in ports))


def _messages(start: int, size: int) -> "ctypes.Array[_Message]":
    messages = (_Message * BATCH)()
    vectors = (_Vector * BATCH)()
    for number in range(BATCH):
        vectors[number] = _Vector(base=start + number * size, length=size)
        messages[number].vectors = ctypes.pointer(vectors[number])
        messages[number].count = 1
    return messages


def _send(sock: socket.socket, messages: "ctypes.Array[_Message]") -> None:
    sent = 0
    while sent < BATCH:
        rest = ctypes.byref(messages, sent * ctypes.sizeof(_Message))
        done = _LIBC.sendmmsg(sock.fileno(), rest, BATCH - sent, 0)
        if done < 0 and ctypes.get_errno() != errno.ENOBUFS:  # the device is busy: try again
            raise OSError(ctypes.get_errno(), "sendmmsg")
        sent += max(done, 0)
