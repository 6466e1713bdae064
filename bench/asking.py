"""The tool that asks a server and measures it (tools/connections.c), run in a lab."""

import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from plait.codegen.compile import find_compiler
from plait.core.lab.lab import Lab

SOURCE = Path(__file__).parent / "tools" / "connections.c"
SERVER_PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How many a second, and the median of one in microseconds."""

    rate: float
    median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The compiled tool, and the lab that it runs in."""

    tool: Path
    lab: Lab

    @classmethod
    def built(cls, folder: Path, lab: Lab) -> "Asking":
        """Compile the tool into a folder."""
        tool = folder / "connections"
        subprocess.run([find_compiler(), "-O2", "-o", str(tool), str(SOURCE)], check=True)
        return cls(tool=tool, lab=lab)

    def serve(self, where: str) -> None:
        """Start a server, and wait until it listens."""
        server = self.lab.popen(where, str(self.tool), "serve", str(SERVER_PORT))
        if server.stdout:
            server.stdout.readline()

    def ask(self, where: str, verb: str, address: IPv4Address, port: int, seconds: float) -> Turn:
        """Ask for so long, one after the other; `verb` is connect or transact."""
        command = (str(self.tool), verb, str(address), str(port), str(seconds))
        rate, median = (float(word) for word in self.lab.run(where, *command).stdout.split())
        return Turn(rate=rate, median=median)
