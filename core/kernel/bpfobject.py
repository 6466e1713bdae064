"""Object files in libbpf's hands: open, adjust the maps, load, take descriptors."""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from ctypes import Structure, byref, c_bool, c_char, c_char_p, c_size_t, c_uint32, c_void_p, sizeof
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from plait.core.kernel.libbpf import call, library, listening

_LOG_BYTES = 16 << 20


class VerifierRefused(Exception):
    """The kernel's verifier refused a program; `log` is what it wrote, lines of text."""

    def __init__(self, program: str, log: str) -> None:
        super().__init__(f"the verifier refused program '{program}'")
        self.program = program
        self.log = log


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """A map of an object; can be changed until the object is loaded."""

    _pointer: int

    def set_max_entries(self, count: int) -> None:
        """Make it hold so many entries, whatever the C definition says."""
        call("bpf_map__set_max_entries", self._pointer, count)

    def reuse(self, fd: int) -> None:
        """Use this map instead of a new one; the descriptor stays the caller's."""
        call("bpf_map__reuse_fd", self._pointer, fd)

    def leave_out(self) -> None:
        """Do not create it."""
        call("bpf_map__set_autocreate", self._pointer, False)

    def initial_value(self) -> bytes:
        """What a map of global data starts with."""
        size = c_size_t()
        at = library().calls.bpf_map__initial_value(self._pointer, byref(size))
        return ctypes.string_at(at, size.value)

    def set_initial_value(self, value: bytes) -> None:
        """Start a map of global data with `value`, of the same length as it has."""
        call("bpf_map__set_initial_value", self._pointer, value, len(value))

    def fd(self) -> int:
        """A new descriptor of the map, once the object is loaded."""
        return os.dup(call("bpf_map__fd", self._pointer))


@dataclass(frozen=True, slots=True)
class ObjectProgram:
    """A program of an object."""

    _pointer: int

    def leave_out(self) -> None:
        """Do not load it."""
        call("bpf_program__set_autoload", self._pointer, False)

    def fd(self) -> int:
        """A new descriptor of the program, once the object is loaded."""
        return os.dup(call("bpf_program__fd", self._pointer))


class _OpenOptions(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class BpfObject:
    """An object file in libbpf's hands: open it, change its maps, load it, take descriptors.

    Use it as a context manager: descriptors taken from it outlive it.
    """

    def __init__(self, image: bytes, name: str) -> None:
        """Open an ELF object. OSError when libbpf cannot read it.

        `name` prefixes the kernel's names of the maps of global data.
        """
        # Mapped, not allocated: pages that the kernel does not write to take no memory.
        self._log = mmap.mmap(-1, _LOG_BYTES)
        options = _OpenOptions(
            size=sizeof(_OpenOptions),
            object_name=name.encode(),
            kernel_log_buf=ctypes.addressof(c_char.from_buffer(self._log)),
            kernel_log_size=_LOG_BYTES,
        )
        with listening() as messages:
            opened = library().calls.bpf_object__open_mem(image, len(image), byref(options))
        if not opened:
            raise OSError(errno.EINVAL, f"object '{name}' cannot be opened: {'; '.join(messages)}")
        self._pointer: int = opened

    @property
    def maps(self) -> dict[str, ObjectMap]:
        """The maps by name; those of global data by section: '.rodata', '.data.NAME'."""
        calls = library().calls
        found = {}
        for pointer in self._each("bpf_object__next_map"):
            name = calls.bpf_map__name(pointer).decode()
            if calls.bpf_map__is_internal(pointer):
                name = name[name.index(".") :]
            found[name] = ObjectMap(pointer)
        return found

    @property
    def programs(self) -> dict[str, ObjectProgram]:
        """The programs by name."""
        calls = library().calls
        return {
            calls.bpf_program__name(pointer).decode(): ObjectProgram(pointer)
            for pointer in self._each("bpf_object__next_program")
        }

    def load(self) -> None:
        """Create the maps and load the programs; attaches nothing.

        VerifierRefused when a program is not accepted, OSError for anything else.
        """
        with listening() as messages:
            result = library().calls.bpf_object__load(self._pointer)
        if result == 0:
            return
        log = self._log[: self._log.find(b"\0")].decode(errors="replace")
        for message in messages:
            if log and message.startswith("prog '") and "load failed" in message:
                raise VerifierRefused(message.split("'")[1], log)
        raise OSError(-result, f"{os.strerror(-result)}: {'; '.join(messages)}")

    def close(self) -> None:
        """Let go of the object; what was loaded lives on through descriptors, pins and links."""
        if self._pointer:
            library().calls.bpf_object__close(self._pointer)
            self._pointer = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _each(self, step: str) -> Iterator[int]:
        following = getattr(library().calls, step)
        pointer = following(self._pointer, None)
        while pointer:
            yield pointer
            pointer = following(self._pointer, pointer)
