"""libbpf through ctypes: thin, typed wrappers of the library's calls.

Only this file and `bpfobject` call the library. Functions that fail raise OSError with the kernel's
errno. File descriptors that they return belong to the caller.
"""

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_int,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
    sizeof,
)
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

from plait.core.errors import SystemProblem

_PRINT = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_MESSAGE_MAX = 4096
NAME_MAX = 16
_PROGRAMS_MAX = 64
_DATA_GROWTH = 256
_CONTEXT_MAX = 1024

_Pointer = c_void_p
_SIGNATURES: Mapping[str, tuple[type, tuple[type, ...]]] = {
    "bpf_object__open_mem": (_Pointer, (c_void_p, c_size_t, c_void_p)),
    "bpf_object__load": (c_int, (_Pointer,)),
    "bpf_object__close": (c_int, (_Pointer,)),
    "bpf_object__next_map": (_Pointer, (_Pointer, _Pointer)),
    "bpf_object__next_program": (_Pointer, (_Pointer, _Pointer)),
    "bpf_map__name": (c_char_p, (_Pointer,)),
    "bpf_map__fd": (c_int, (_Pointer,)),
    "bpf_map__is_internal": (c_bool, (_Pointer,)),
    "bpf_map__reuse_fd": (c_int, (_Pointer, c_int)),
    "bpf_map__set_autocreate": (c_int, (_Pointer, c_bool)),
    "bpf_map__set_max_entries": (c_int, (_Pointer, c_uint32)),
    "bpf_map__initial_value": (c_void_p, (_Pointer, POINTER(c_size_t))),
    "bpf_map__set_initial_value": (c_int, (_Pointer, c_void_p, c_size_t)),
    "bpf_program__name": (c_char_p, (_Pointer,)),
    "bpf_program__fd": (c_int, (_Pointer,)),
    "bpf_program__set_autoload": (c_int, (_Pointer, c_bool)),
    "bpf_map_create": (c_int, (c_int, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_lookup_batch": (
        c_int,
        (c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
    ),
    "bpf_map_update_batch": (c_int, (c_int, c_void_p, c_void_p, POINTER(c_uint32), c_void_p)),
    "bpf_map_delete_batch": (c_int, (c_int, c_void_p, POINTER(c_uint32), c_void_p)),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_btf_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_prog_load": (c_int, (c_int, c_char_p, c_char_p, c_void_p, c_size_t, c_void_p)),
    "bpf_prog_query": (
        c_int,
        (c_int, c_int, c_uint32, c_void_p, c_void_p, POINTER(c_uint32)),
    ),
    "bpf_prog_test_run_opts": (c_int, (c_int, c_void_p)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_link_update": (c_int, (c_int, c_int, c_void_p)),
    "bpf_link_detach": (c_int, (c_int,)),
}


# ------------------------------------------------------------------ the library and its messages


_messages: ContextVar[list[str] | None] = ContextVar("libbpf messages", default=None)


class Library:
    """The loaded library; what it would print goes to `_messages` of the calling context."""

    def __init__(self) -> None:
        try:
            self.calls = ctypes.CDLL("libbpf.so.1")
        except OSError as error:
            raise SystemProblem(
                f"libbpf cannot be loaded: {error}",
                expected="libbpf 1.0 or newer",
                hint="apt-get install libbpf1",
            ) from error
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self.calls, name)
            function.restype, function.argtypes = result, arguments
        self._vsnprintf = ctypes.CDLL(None).vsnprintf
        self._vsnprintf.argtypes = (c_void_p, c_size_t, c_char_p, c_void_p)
        # The library keeps the pointer: the callback must live as long as it does.
        self._print = _PRINT(self._record)
        self.calls.libbpf_set_print(self._print)

    def _record(self, _level: int, text: bytes, arguments: int) -> int:
        messages = _messages.get()
        if messages is not None:
            line = ctypes.create_string_buffer(_MESSAGE_MAX)
            self._vsnprintf(line, _MESSAGE_MAX, text, arguments)
            messages.append(line.value.decode(errors="replace").strip().removeprefix("libbpf: "))
        return 0


@cache
def library() -> Library:
    """The library, loaded once. SystemProblem when it is missing."""
    return Library()


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collects what libbpf would print meanwhile."""
    lines: list[str] = []
    token = _messages.set(lines)
    try:
        yield lines
    finally:
        _messages.reset(token)


def call(name: str, *arguments: object) -> int:
    """Call a function that returns a number, or minus an errno."""
    result: int = getattr(library().calls, name)(*arguments)
    if result < 0:
        raise OSError(-result, f"{name}: {os.strerror(-result)}")
    return result


# ---------------------------------------------------------------------------------------- maps


class _MapOptions(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    )


def map_create(
    *, map_type: int, name: str, key_size: int, value_size: int, max_entries: int, flags: int
) -> int:
    """A descriptor of a new map."""
    options = _MapOptions(size=sizeof(_MapOptions), map_flags=flags)
    return call(
        "bpf_map_create",
        map_type,
        name.encode(),
        key_size,
        value_size,
        max_entries,
        byref(options),
    )


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes:
    """The value of a key. OSError ENOENT when the map does not have it."""
    value = ctypes.create_string_buffer(value_size)
    call("bpf_map_lookup_elem", fd, key, value)
    return value.raw


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Add or replace an entry. OSError E2BIG when the map is full."""
    call("bpf_map_update_elem", fd, key, value, 0)


def map_delete(fd: int, key: bytes) -> None:
    """Remove an entry. OSError ENOENT when there is none."""
    call("bpf_map_delete_elem", fd, key)


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes:
    """The key after this one, the first for None. OSError ENOENT after the last."""
    following = ctypes.create_string_buffer(key_size)
    call("bpf_map_get_next_key", fd, key, following)
    return following.raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Entries that a batch read, keys and values each one after the other.

    `token` continues after them. `error` is an errno: 0 when there is more to read, ENOENT when
    that was all, ENOSPC when `count` was too small.
    """

    count: int
    keys: bytes
    values: bytes
    token: bytes
    error: int


def map_lookup_batch(
    fd: int, token: bytes | None, key_size: int, value_size: int, count: int
) -> Chunk:
    """Up to `count` entries after `token` (None: from the start)."""
    keys = ctypes.create_string_buffer(key_size * count)
    values = ctypes.create_string_buffer(value_size * count)
    following = ctypes.create_string_buffer(max(key_size, sizeof(c_uint64)))
    read = c_uint32(count)
    result = library().calls.bpf_map_lookup_batch(
        fd, token, following, keys, values, byref(read), None
    )
    usable = read.value if -result in (0, errno.ENOENT) else 0
    return Chunk(
        count=usable,
        keys=keys.raw[: usable * key_size],
        values=values.raw[: usable * value_size],
        token=following.raw,
        error=-result,
    )


def map_update_batch(fd: int, keys: bytes, values: bytes, count: int) -> None:
    """Add or replace `count` entries, keys and values each one after the other.

    After an OSError, some of the first entries may have been written.
    """
    call("bpf_map_update_batch", fd, keys, values, byref(c_uint32(count)), None)


def map_delete_batch(fd: int, keys: bytes, count: int) -> None:
    """Remove `count` entries. OSError ENOENT at the first key that the map does not have."""
    call("bpf_map_delete_batch", fd, keys, byref(c_uint32(count)), None)


def possible_cpus() -> int:
    """How many values a per-CPU map has for each key."""
    return call("libbpf_num_possible_cpus")


# -------------------------------------------------------------------------------- pins and info


def pin(fd: int, path: Path) -> None:
    """Give a map, program or link a name on bpffs. OSError EEXIST when the name is taken."""
    call("bpf_obj_pin", fd, os.fsencode(path))


def pinned(path: Path) -> int:
    """A descriptor of what is pinned there. OSError ENOENT when nothing is."""
    return call("bpf_obj_get", os.fsencode(path))


class AttachType(IntEnum):
    """The kernel's enum bpf_attach_type, as far as Plait attaches."""

    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_UDP4_SENDMSG = 14
    CGROUP_UDP6_SENDMSG = 15
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    TCX_INGRESS = 46
    TCX_EGRESS = 47


class _LoadOptions(Structure):
    _fields_ = (("size", c_size_t), ("attempts", c_int), ("expected_attach_type", c_uint32))


def program_load(
    program_type: int, name: str, instructions: bytes, attach_type: AttachType | None = None
) -> int:
    """A descriptor of a new program, from raw instructions of 8 bytes each.

    `attach_type` says where it will be attached, for types of programs that depend on it.
    """
    options = _LoadOptions(size=sizeof(_LoadOptions), expected_attach_type=attach_type or 0)
    return call(
        "bpf_prog_load",
        program_type,
        name.encode(),
        b"GPL",
        instructions,
        len(instructions) // 8,
        byref(options),
    )


def program_by_id(program_id: int) -> int:
    """A descriptor of the program with this id. OSError ENOENT when there is none."""
    return call("bpf_prog_get_fd_by_id", program_id)


def programs_on(target: int, attach_type: AttachType) -> tuple[int, ...]:
    """The ids of the programs at an attach point, in the order in which they run.

    `target` is the ifindex of a device, or a descriptor of a cgroup's directory.
    """
    ids = (c_uint32 * _PROGRAMS_MAX)()
    count = c_uint32(_PROGRAMS_MAX)
    call("bpf_prog_query", target, attach_type, 0, None, ids, byref(count))
    return tuple(ids[: count.value])


class _TestRunOptions(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a test run: return value, data and context after it, average nanoseconds."""

    value: int
    data: bytes
    context: bytes
    ns: int


def program_run(fd: int, *, data: bytes, context: bytes, repeat: int) -> Run:
    """Run a program on a packet `repeat` times; the context is the start of struct __sk_buff."""
    data_out = ctypes.create_string_buffer(len(data) + _DATA_GROWTH)
    context_out = ctypes.create_string_buffer(_CONTEXT_MAX)
    options = _TestRunOptions(
        size=sizeof(_TestRunOptions),
        data_in=data,
        data_out=ctypes.addressof(data_out),
        data_size_in=len(data),
        data_size_out=len(data_out),
        ctx_in=context,
        ctx_out=ctypes.addressof(context_out),
        ctx_size_in=len(context),
        ctx_size_out=len(context_out),
        repeat=repeat,
    )
    call("bpf_prog_test_run_opts", fd, byref(options))
    return Run(
        value=options.retval,
        data=data_out.raw[: options.data_size_out],
        context=context_out.raw[: options.ctx_size_out],
        ns=options.duration,
    )


def program_call(fd: int, context: bytes) -> tuple[int, bytes]:
    """Call a `syscall` program once: its return value, and the context as it left it."""
    # The kernel writes back to where it read the context from.
    buffer = ctypes.create_string_buffer(context, len(context)) if context else None
    options = _TestRunOptions(
        size=sizeof(_TestRunOptions),
        ctx_in=ctypes.cast(buffer, c_char_p) if buffer else None,
        ctx_size_in=len(context),
    )
    call("bpf_prog_test_run_opts", fd, byref(options))
    return options.retval, buffer.raw if buffer else b""


def link_create(program_fd: int, target: int, attach_type: AttachType) -> int:
    """A descriptor of a new link; with no other reference to it, closing it detaches.

    `target` as in `programs_on`.
    """
    return call("bpf_link_create", program_fd, target, attach_type, None)


def link_update(fd: int, program_fd: int) -> None:
    """Put another program in the link's place, atomically."""
    call("bpf_link_update", fd, program_fd, None)


def link_detach(fd: int) -> None:
    """Detach now, whoever else holds the link."""
    call("bpf_link_detach", fd)
