"""What the kernel says of its objects: maps, programs, links, and the types of BTF."""

import ctypes
import os
from ctypes import Structure, Union, byref, c_char, c_uint8, c_uint32, c_uint64, sizeof
from dataclasses import dataclass
from enum import IntEnum

from plait.core.kernel.libbpf import NAME_MAX, call


class LinkType(IntEnum):
    """The kernel's enum bpf_link_type, as far as Plait makes links."""

    CGROUP = 3
    TCX = 11


class _MapInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * NAME_MAX),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInfo:
    """What the kernel says of a map; sizes in bytes, BTF ids 0 when it has no types."""

    id: int
    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int


def map_info(fd: int) -> MapInfo:
    """What the kernel says of a map."""
    info = _MapInfo()
    _read_info(fd, info)
    return MapInfo(
        id=info.id,
        type=info.type,
        name=info.name.decode(),
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        flags=info.map_flags,
        btf_id=info.btf_id,
        btf_key_type_id=info.btf_key_type_id,
        btf_value_type_id=info.btf_value_type_id,
    )


class _ProgramInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * NAME_MAX),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramInfo:
    """What the kernel says of a program.

    `instructions` is its length after the verifier's rewriting, `verified` how many instructions
    the verifier went through (0 before Linux 5.16), `machine_bytes` its size as machine code.
    """

    id: int
    type: int
    name: str
    tag: str
    instructions: int
    verified: int
    machine_bytes: int


def program_info(fd: int) -> ProgramInfo:
    """What the kernel says of a program."""
    info = _ProgramInfo()
    _read_info(fd, info)
    return ProgramInfo(
        id=info.id,
        type=info.type,
        name=info.name.decode(),
        tag=bytes(info.tag).hex(),
        instructions=info.xlated_prog_len // 8,
        verified=info.verified_insns,
        machine_bytes=info.jited_prog_len,
    )


def program_maps(fd: int) -> tuple[int, ...]:
    """The ids of the maps that a program uses."""
    info = _ProgramInfo()
    _read_info(fd, info)
    ids = (c_uint32 * info.nr_map_ids)()
    again = _ProgramInfo(nr_map_ids=info.nr_map_ids, map_ids=ctypes.addressof(ids))
    _read_info(fd, again)
    return tuple(ids)


class _TcxInfo(Structure):
    _fields_ = (("target", c_uint32), ("attach_type", c_uint32))


class _CgroupInfo(Structure):
    _fields_ = (("target", c_uint64), ("attach_type", c_uint32))


class _OfType(Union):
    _fields_ = (("tcx", _TcxInfo), ("cgroup", _CgroupInfo), ("size", c_uint64 * 6))


class _LinkInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("of", _OfType),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """What the kernel says of a TCX link or one of a cgroup.

    `target` is an ifindex or the id of a cgroup; 0 once that has gone.
    """

    id: int
    type: LinkType
    program_id: int
    target: int
    attach_type: int


def link_info(fd: int) -> LinkInfo:
    """What the kernel says of a link."""
    info = _LinkInfo()
    _read_info(fd, info)
    kind = LinkType(info.type)
    of = info.of.cgroup if kind is LinkType.CGROUP else info.of.tcx
    return LinkInfo(
        id=info.id,
        type=kind,
        program_id=info.prog_id,
        target=of.target,
        attach_type=of.attach_type,
    )


class _BtfInfo(Structure):
    _fields_ = (("btf", c_uint64), ("btf_size", c_uint32), ("id", c_uint32))


def btf_bytes(btf_id: int) -> bytes:
    """The raw BTF with this id. OSError ENOENT when there is none."""
    fd = call("bpf_btf_get_fd_by_id", btf_id)
    try:
        info = _BtfInfo()
        _read_info(fd, info)
        raw = ctypes.create_string_buffer(info.btf_size)
        info = _BtfInfo(btf=ctypes.addressof(raw), btf_size=info.btf_size)
        _read_info(fd, info)
        return raw.raw
    finally:
        os.close(fd)


def _read_info(fd: int, info: Structure) -> None:
    # A kernel that knows fewer fields leaves the rest at zero; one that knows more cuts.
    size = c_uint32(sizeof(info))
    call("bpf_obj_get_info_by_fd", fd, byref(info), byref(size))


# --------------------------------------------------------------------------- programs and links
