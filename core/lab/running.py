"""The traffic tools at work in a lab, with their reports as values."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Generic, TypeVar

from plait.core.lab.lab import Lab
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.serve import Served
from plait.core.lab.traffic.stream import Streamed

Report = TypeVar("Report", bound=Served | Streamed | Held | Connected)

_TOOLS: Mapping[type, str] = {
    Served: "serve",
    Streamed: "stream",
    Held: "hold",
    Connected: "connect",
}


class Running(Generic[Report]):
    """A tool that runs on a host or pod; end it with `stop`, or wait for its end in `result`."""

    def __init__(self, report: type[Report], process: subprocess.Popen[str]) -> None:
        self._report = report
        self._process = process

    def result(self, timeout: float = 60) -> Report:
        """Wait for the tool's end. Raises `subprocess.TimeoutExpired`, `CalledProcessError`."""
        output, _ = self._process.communicate(timeout=timeout)
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self._process.args)
        return self._report(**json.loads(output.splitlines()[-1]))

    def first_line(self) -> str:
        """Wait for the tool's first line of output."""
        return self._process.stdout.readline() if self._process.stdout else ""

    def stop(self) -> Report:
        """End the tool now; what it saw until now."""
        self._process.terminate()
        return self.result()


def start(lab: Lab, where: str, report: type[Report], *options: str) -> Running[Report]:
    """Start the tool that gives such a report: `start(lab, "client", Streamed, "10.0.0.1:80")`."""
    module = ("-m", "plait.core.lab.traffic", _TOOLS[report])
    return Running(report, lab.popen(where, sys.executable, *module, *options))


def serve(lab: Lab, pod: str, *options: str) -> Running[Served]:
    """Start an echo server that goes by the pod's name; return once it listens."""
    server = start(lab, pod, Served, "--name", pod, *options)
    server.first_line()
    return server
