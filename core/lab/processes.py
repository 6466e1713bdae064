"""Ending the processes that live in given namespaces, by handles that no other process can get."""

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from pyroute2 import netns

_PATIENCE = 2.0


def end_processes(namespaces: Iterable[str]) -> None:
    """SIGTERM to every process in the named namespaces, SIGKILL to those that outstay 2 seconds.

    The calling process is spared.
    """
    found = netns.ns_pids()
    pids = {pid for name in namespaces for pid in found.get(name, ())} - {os.getpid()}
    handles = set()
    for pid in pids:
        with suppress(ProcessLookupError):
            handles.add(os.pidfd_open(pid))
    try:
        _signal(handles, signal.SIGTERM)
        _signal(_still_there(handles), signal.SIGKILL)
    finally:
        for handle in handles:
            os.close(handle)


def _signal(handles: Iterable[int], number: signal.Signals) -> None:
    for handle in handles:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _still_there(handles: Iterable[int]) -> set[int]:
    """The handles whose process has not ended in time; a handle is readable once it has."""
    left = set(handles)
    deadline = time.monotonic() + _PATIENCE
    while left and time.monotonic() < deadline:
        left -= set(select.select(left, [], [], deadline - time.monotonic())[0])
    return left
