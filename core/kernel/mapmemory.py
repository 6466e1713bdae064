"""The memory that a map takes when it is full, told beforehand: as the kernel allocates it."""

from plait.core.kernel.maps import ARRAYS, LRU, PER_CPU, MapFlag, MapType

# kernel/bpf/hashtab.c: struct bucket, and what is before the key in struct htab_elem.
_BUCKET = 16
_ELEMENT = 48

_POINTER = 8
_CACHES = (96, 192)  # beside powers of two, from 8 on
_PAGE = 4096


def full_bytes(
    *,
    map_type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    cpus: int = 1,
) -> int:
    """Bytes, but for less than 1 KB of administration. `cpus` are the possible ones."""
    if map_type == MapType.RINGBUF:
        return max_entries
    value = _up(value_size, 8)
    if map_type in PER_CPU:
        value = value * cpus + _POINTER
    if map_type in ARRAYS:
        total = max_entries * value
        return _up(total, _PAGE) if flags & MapFlag.MMAPABLE else total
    element = _ELEMENT + _up(key_size, 8) + value
    spare = 0
    if flags & MapFlag.NO_PREALLOC:
        element = _allocated(element + _POINTER)
    elif map_type not in PER_CPU and map_type not in LRU:
        spare = cpus
    return (max_entries + spare) * element + _power_of_two(max_entries) * _BUCKET


def _allocated(size: int) -> int:
    """What an entry takes that is allocated by itself: the next larger size that kmalloc has."""
    return min(each for each in (*_CACHES, max(8, _power_of_two(size))) if each >= size)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _up(count: int, step: int) -> int:
    return -(-count // step) * step
