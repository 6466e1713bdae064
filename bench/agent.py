"""A lab with an agent in it: its files to edit, and what it has brought about."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from plait.core.kernel.maps import Map
from plait.core.kernel.pins import Paths
from plait.core.lab.lab import Lab
from plait.core.lab.topology import load_topology
from plait.core.runtime.state import State

CONFIGS = Path(__file__).parent.parent / "configs"
OBJECTS = "objects/quickstart"
FLOWS = 262_144
START_SECONDS = 120.0
CHANGE_SECONDS = 30.0
POLL_SECONDS = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an agent works: a host of a lab, and a folder of the files that it follows."""

    lab: Lab
    folder: Path
    host: str = "node-a"

    @property
    def config(self) -> Path:
        return self.folder / "plait.yaml"

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def instance(self) -> str:
        """What the agent is called."""
        return self.lab.hosts[self.host].namespace

    @property
    def paths(self) -> Paths:
        return Paths.of(self.instance)

    @property
    def generation(self) -> int:
        """The number of the generation that runs; 0 for none."""
        state = State.read(self.paths.run)
        return state.generation if state else 0

    @property
    def committed(self) -> int:
        """Changes when another generation takes over. Costs the node less than to read which."""
        return (self.paths.run / "state.json").stat().st_ino

    def write_config(self, *, flows: int = FLOWS, removed: str = "drain", **capacity: int) -> None:
        """Write quickstart.yaml with these settings, in place; `capacity` is that of lb."""
        config = yaml.safe_load((CONFIGS / "quickstart.yaml").read_text())
        config["node"]["capacity"] = {"flows": flows}
        config["features"]["lb"]["removed"] = removed
        config["features"]["lb"]["capacity"] = capacity
        config["objects"] = [str(self.objects)]
        self.config.write_text(yaml.safe_dump(config))

    def map(self, name: str) -> Map:
        """A map of the generation that runs; close it."""
        return Map.pinned(self.paths.pins / f"gen-{self.generation}" / "map" / name)


@contextmanager
def quickstart(name: str) -> Iterator[Place]:
    """The lab of configs/labs/quickstart.yaml, called `name`, and copies of its files."""
    with TemporaryDirectory(prefix="plait-bench-") as scratch:
        folder = Path(scratch)
        with Lab.up(load_topology(CONFIGS / "labs" / "quickstart.yaml"), name=name) as lab:
            place = Place(lab=lab, folder=folder)
            shutil.copytree(CONFIGS / OBJECTS, place.objects)
            place.write_config()
            yield place


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent that runs, and the seconds from its start until it was ready."""

    pid: int
    started_seconds: float

    def memory_kb(self) -> dict[str, int]:
        """Rss and Pss, in kB."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        fields = (line.split() for line in lines)
        return {name.rstrip(":"): int(value) for name, value, *_ in fields}


@contextmanager
def agent(place: Place) -> Iterator[Agent]:
    """Run `plait run` on the lab's node; the block begins when it says that it is ready."""
    ready = place.folder / "ready"
    command = (sys.executable, "-m", "plait", "--instance", place.instance, "run")
    environment = {**os.environ, "PLAIT_CACHE": str(place.cache), "NOTIFY_SOCKET": str(ready)}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        (place.folder / "agent.log").open("a") as log,
    ):
        notified.bind(str(ready))
        notified.settimeout(START_SECONDS)
        began = time.monotonic()
        process = subprocess.Popen(
            place.lab.command(place.host, *command, "-c", str(place.config)),
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            while (said := notified.recv(4096)) != b"READY=1":
                if said == b"STOPPING=1":
                    process.wait(START_SECONDS)
                    raise AssertionError((place.folder / "agent.log").read_text())
            yield Agent(pid=process.pid, started_seconds=time.monotonic() - began)
        finally:
            process.terminate()
            process.wait(START_SECONDS)
            ready.unlink()


def wait_until(happened: Callable[[], bool]) -> float:
    """Wait for something, asking every half millisecond; returns the time it came."""
    deadline = time.monotonic() + CHANGE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing has come of it in {CHANGE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic()
