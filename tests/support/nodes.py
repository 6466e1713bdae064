"""A host of a lab that runs Plait: its agent, and the config and objects that a test edits."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml

from plait.core.kernel.pins import Paths
from plait.core.lab.lab import Lab
from plait.core.lab.topology import parse_topology
from plait.core.runtime.agent import Status
from plait.core.runtime.flows import Flow, read_flows
from plait.core.runtime.reading import read_agent, running

DRAIN, RESET = "algorithm: maglev", "algorithm: maglev, removed: reset"
"""In the quickstart's config, and what may stand there instead: a constant of the programs, so that
these are swapped, and no map is made anew.
"""

CONFIGS = Path(__file__).parents[2] / "configs"
PATIENCE = float(os.environ.get("PLAIT_TEST_PATIENCE", "20"))
"""Seconds that a node may take for an answer: more on a machine that is emulated."""

_ANSWERED = re.compile(r"generation \d+ runs|the config is applied|what runs is unchanged")
_SCANNED = re.compile(r"objects applied")


@contextmanager
def quickstart(name: str) -> Iterator[Lab]:
    """The lab of configs/, under a name of its own: client, web-1, web-2 on node-a, web-3 on b."""
    file = CONFIGS / "labs" / "quickstart.yaml"
    with Lab.up(parse_topology(file.read_text(), file), name=f"{name}-{os.getpid()}") as lab:
        yield lab


@contextmanager
def services_lab(name: str) -> Iterator[Lab]:
    """The lab of services.yaml: like the quickstart's, with a machine outside of the cluster."""
    file = Path(__file__).with_name("services.yaml")
    with Lab.up(parse_topology(file.read_text(), file), name=f"{name}-{os.getpid()}") as lab:
        yield lab


@dataclass(slots=True, kw_only=True)
class Node:
    """The node `host` of a lab. `folder` holds its config.yaml, its objects and its log."""

    lab: Lab
    folder: Path
    cache: Path
    host: str = "node-a"
    plugins: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    _agent: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls, lab: Lab, folder: Path, cache: Path) -> Self:
        """A node with the quickstart's config and objects. Nothing runs yet."""
        text = (CONFIGS / "quickstart.yaml").read_text()
        node = cls(lab=lab, folder=folder, cache=cache)
        node.objects.mkdir(parents=True)
        node.config.write_text(text.replace("objects/quickstart", "objects"))
        web = CONFIGS / "objects" / "quickstart" / "web.yaml"
        (node.objects / "web.yaml").write_text(web.read_text())
        return node

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def instance(self) -> str:
        return self.lab.hosts[self.host].namespace

    @property
    def paths(self) -> Paths:
        return Paths.of(self.instance)

    @property
    def log(self) -> str:
        """All that the agents of this node have said."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.folder / "agent.log"

    # ---------------------------------------------------------------------------- the agent

    def start(self) -> Self:
        """Start the agent; return when it tells systemd that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            address = self.folder / "notify"
            address.unlink(missing_ok=True)
            systemd.bind(str(address))
            systemd.settimeout(0.02)
            agent = self.launch(NOTIFY_SOCKET=str(address))
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    if systemd.recv(4096) == b"READY=1":
                        return self
                except TimeoutError:
                    if agent.poll() is not None:
                        break
        self.kill()
        raise AssertionError(f"the agent did not start:\n{self.log}")

    def launch(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the agent, and do not wait for it."""
        with self._log.open("ab") as log:
            self._agent = subprocess.Popen(
                self.command("run", "-c", str(self.config)),
                stdout=log,
                stderr=log,
                env=self._environment() | environment,
            )
        return self._agent

    def stop(self) -> None:
        """End the agent as systemd does. Repeatable."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the agent at once, wherever it is."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._agent:
            self._agent.send_signal(number)
            self._agent.wait(PATIENCE)
            self._agent = None

    def status(self) -> Status:
        """What the agent says of itself."""
        status = read_agent(self.paths.run)
        assert status is not None, self.log
        return status

    # ----------------------------------------------------------------- the command line

    def command(self, *arguments: str) -> list[str]:
        """The command line of a verb, run where the agent runs."""
        plugins = ("--plugins-dir", str(self.plugins)) if self.plugins else ()
        plait = Path(sys.executable).with_name("plait")
        return self.lab.command(
            self.host, str(plait), "--instance", self.instance, *plugins, *arguments
        )

    def plait(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end, whatever its exit status."""
        return subprocess.run(
            self.command(*arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )

    def apply(self) -> Mapping[str, object]:
        """`plait apply`, which must succeed: what it did."""
        done = self.plait("apply", "--json", "-c", str(self.config))
        assert done.returncode == 0, done.stderr
        result: Mapping[str, object] = json.loads(done.stdout)
        return result

    def detach(self) -> None:
        """Stop the agent and leave nothing behind. Repeatable."""
        self.stop()
        done = self.plait("detach")
        assert done.returncode == 0, done.stderr

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PLAIT_CACHE": str(self.cache), **self.environment}

    # ----------------------------------------------------------------------- what runs

    def flows(self) -> tuple[Flow, ...]:
        """The flow table, as the kernel has it now."""
        with running(self.paths) as generation:
            return tuple(read_flows(generation.maps))

    def kernel_ids(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Ids of the programs that run, and of the maps that they use."""
        with running(self.paths) as generation:
            maps = {name: each.info.id for name, each in generation.maps.items()}
            return generation.program_ids(), maps

    # --------------------------------------------------------------------------- editing

    def edit(self, before: str, after: str) -> Status:
        """Replace what is in the config once, and wait until the agent has said what came of it."""
        text = self.config.read_text()
        assert text.count(before) == 1, f"{before!r} is in {text} {text.count(before)} times"
        return self.configure(text.replace(before, after))

    def configure(self, text: str) -> Status:
        """Give the node another config, and wait until the agent has said what came of it."""
        said = len(_ANSWERED.findall(self.log))
        rewrite(self.config, text)
        self.wait_for(lambda: len(_ANSWERED.findall(self.log)) > said)
        return self.settled()

    def write(self, file: str, text: str) -> Status:
        """Write a file of objects, and wait until the agent has applied it."""
        return self._applied(lambda: rewrite(self.objects / file, text))

    def unlink(self, file: str) -> Status:
        """Remove a file of objects, and wait until the agent has applied that."""
        return self._applied((self.objects / file).unlink)

    def _applied(self, edit: Callable[[], None]) -> Status:
        said = len(_SCANNED.findall(self.log))
        edit()
        self.wait_for(lambda: len(_SCANNED.findall(self.log)) > said)
        return self.settled()

    def settled(self) -> Status:
        """What the agent says of itself once it has no more to do."""
        time.sleep(0.05)
        published, log = self.paths.run / "agent.json", self._log
        self.wait_for(lambda: published.stat().st_mtime_ns >= log.stat().st_mtime_ns)
        return self.status()

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Return once the condition holds. AssertionError, with the log, when it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the log:\n{self.log}"
            time.sleep(0.005)


def rewrite(file: Path, text: str) -> None:
    """As most editors save: another file takes the name."""
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(text)
    draft.replace(file)


def service(
    name: str,
    *,
    ips: tuple[str, ...],
    backends: tuple[str, ...] = (),
    ports: Mapping[str, tuple[int, int]] | None = None,
    node_ports: Mapping[str, int] | None = None,
) -> str:
    """A Service and its EndpointSlices as YAML. `ports`: (port, target) by `name/protocol`,
    `node_ports` those of the node by `name`.
    """
    numbers = ports or {"echo/TCP": (80, 8080), "echo-udp/UDP": (80, 8080)}
    named = [(*key.split("/"), *value) for key, value in numbers.items()]
    documents: list[object] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "type": "NodePort" if node_ports else "ClusterIP",
                "clusterIPs": list(ips),
                "ports": [
                    {
                        "name": each,
                        "protocol": proto,
                        "port": port,
                        "targetPort": target,
                        "nodePort": (node_ports or {}).get(str(each)),
                    }
                    for each, proto, port, target in named
                ],
            },
        }
    ]
    for kind in ("IPv4", "IPv6"):
        addresses = [each for each in backends if (":" in each) == (kind == "IPv6")]
        documents.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-{kind.lower()}",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": kind,
                "endpoints": [{"addresses": [each]} for each in addresses],
                "ports": [
                    {"name": each, "protocol": proto, "port": target}
                    for each, proto, _, target in named
                ],
            }
        )
    return yaml.safe_dump_all(documents)
