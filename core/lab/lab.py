"""A lab: a network of namespaces on this machine, to try things in and then throw away."""

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from plait.core.endpoints import namespaces
from plait.core.errors import PlaitError
from plait.core.kernel import cgroups
from plait.core.kernel.cgroups import VARIABLE
from plait.core.lab import state as states
from plait.core.lab.build import build
from plait.core.lab.processes import end_processes
from plait.core.lab.state import Place, State
from plait.core.lab.topology import Topology

_JOIN = (
    'if [ -e "$0/cgroup.procs" ]; then echo 0 >"$0/cgroup.procs"; fi; '
    f'export {VARIABLE}="$0"; exec "$@"'
)
"""What `sh` does in the cgroup that is its name: whatever a node attaches to sockets concerns the
processes of one host only.
"""


class Lab:
    """A lab that is up. As a context manager, it is taken down at the end of the block.

    `hosts` and `pods` are its namespaces by name. The agent of a host is the instance
    that is called as the host's namespace is.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._started: list[subprocess.Popen[str]] = []
        self.name = state.name
        self.hosts: Mapping[str, Place] = {place.name: place for place in state.hosts}
        self.pods: Mapping[str, Place] = {place.name: place for place in state.pods}

    @classmethod
    def up(cls, topology: Topology, *, name: str | None = None) -> Self:
        """Build the lab, called `name` in place of the topology's own name. Repeatable.

        One that is up with another topology is taken down first.
        """
        state = states.state_of(topology, name or topology.name)
        before = states.load(state.name)
        if before and before != state:
            cls(before).down()
            before = None
        states.save(state)  # so that `down` finds everything, should this be cut short
        lab = cls(state)
        try:
            build(topology, state)
        except BaseException:
            if before is None:
                lab.down()
            raise
        return lab

    @classmethod
    def find(cls, name: str | None) -> Self:
        """The lab `name`; without a name, the one that is up."""
        known = states.load_all()
        found = [state for state in known if name in (None, state.name)]
        if len(found) == 1:
            return cls(found[0])
        if not found:
            what = f"no lab '{name}' is up" if name else "no lab is up"
            raise PlaitError(what, hint="plait lab up FILE")
        names = ", ".join(state.name for state in found)
        raise PlaitError(f"several labs are up: {names}", expected="expected a name: --lab NAME")

    def place(self, name: str) -> Place:
        """The host or pod `name`."""
        try:
            return self._state.places[name]
        except KeyError:
            known = ", ".join(self._state.places)
            raise PlaitError(
                f"lab {self.name} has no '{name}'", expected=f"it has {known}"
            ) from None

    def cgroup(self, where: str) -> Path | None:
        """What processes on a host or pod are in, to be met by its node; None without cgroup v2."""
        return self._state.cgroup(where)

    def command(self, where: str, *command: str) -> list[str]:
        """The command line that runs `command` in a namespace and in the cgroup of its host.

        The file system stays, bpffs too.
        """
        inside = ["nsenter", f"--net={self.place(where).netns}", "--", *command]
        cgroup = self.cgroup(where)
        return ["sh", "-c", _JOIN, str(cgroup), *inside] if cgroup else inside

    def run(
        self, where: str, *command: str, check: bool = True, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host or pod, and wait for it; like `subprocess.run`."""
        return subprocess.run(
            self.command(where, *command),
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    def popen(self, where: str, *command: str) -> subprocess.Popen[str]:
        """Start a command on a host or pod; it ends with the lab at the latest."""
        process = subprocess.Popen(self.command(where, *command), stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def down(self) -> None:
        """End the processes in the lab's namespaces; remove all that is the lab's. Repeatable."""
        end_processes(self._state.namespaces)
        for process in self._started:
            with process:
                process.terminate()  # who has only just begun was not in its namespace yet
        self._started.clear()
        for namespace in self._state.namespaces:
            namespaces.remove(namespace)
        for cgroup in self._state.cgroups:
            cgroups.remove(cgroup)
        for host in self._state.hosts:
            _remove_instance(host.namespace)
        states.forget(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()


def _remove_instance(instance: str) -> None:
    """Whatever an agent of a host left behind: objects, sockets, pinned maps and links."""
    for parent in ("/var/lib/plait", "/run/plait", "/sys/fs/bpf/plait"):
        with suppress(FileNotFoundError):
            shutil.rmtree(Path(parent) / instance)
