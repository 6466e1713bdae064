"""Real sockets for tests: in a throw-away cgroup, to which a plan's programs are attached."""

import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from plait.core.errors import SystemProblem
from plait.core.kernel import cgroups, links
from plait.core.kernel.links import Mechanism
from plait.core.kernel.pins import BPFFS
from plait.core.runtime.attachments import Anchors, places
from plait.core.testing.network import private_network

_PATIENCE = 2.0  # seconds that a socket waits for anything


class Sockets:
    """Makes sockets whose calls run `programs`, in the network namespace of the calling thread.

    The kernel has no test runs for such programs. Use it as a context manager: the sockets are
    closed and the programs detached at its end.
    """

    def __init__(self, programs: Mapping[str, int]) -> None:
        self._programs = programs
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._cgroup = self._exit.enter_context(_attached(self._programs))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def make(
        self, family: socket.AddressFamily, kind: socket.SocketKind, *, in_pod: bool
    ) -> socket.socket:
        """A new socket; `in_pod` in a network namespace of its own, where there is nobody else."""
        elsewhere = private_network() if in_pod else nullcontext()
        with elsewhere, cgroups.entered(self._cgroup):
            made = self._exit.enter_context(socket.socket(family, kind))
        made.settimeout(_PATIENCE)
        return made


@contextmanager
def _attached(programs: Mapping[str, int]) -> Iterator[Path]:
    """A new cgroup that the programs are attached to, of those that are for sockets."""
    mount = cgroups.mount_point()
    if mount is None:
        raise SystemProblem("cgroup v2 is not mounted")
    name = f"plaittest-{uuid.uuid4().hex[:6]}"
    pins, path = BPFFS / name, mount / name
    with ExitStack() as undo:
        pins.mkdir(mode=0o700)
        undo.callback(pins.rmdir)
        cgroup = cgroups.create(path)
        undo.callback(cgroups.remove, path)
        for place in places(programs, Anchors(cgroup=cgroup)):
            attachment = place.attachment(pins, Mechanism.CGROUP)
            links.attach(programs[place.program], attachment)
            undo.callback(links.detach, attachment)
        yield path
