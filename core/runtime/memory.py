"""Memory: what the C library keeps for later, given back to the system."""

import ctypes


def give_back() -> None:
    """After a great deal was parsed, 8 MB or more; where there is no malloc_trim(3), nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
