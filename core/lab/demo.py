"""The demo: a lab, Plait on quickstart.yaml, real traffic, live edits, and what came of it."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import plait
from plait.core.kernel.pins import Paths
from plait.core.lab.lab import Lab
from plait.core.lab.running import Running, serve, start
from plait.core.lab.topology import load_topology
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.serve import Served
from plait.core.lab.traffic.stream import Streamed
from plait.core.runtime.agent import Status
from plait.core.runtime.reading import read_agent

CONFIGS = Path(plait.__file__).parent / "configs"
NODE, CLIENT, SERVERS = "node-a", "client", ("web-1", "web-2", "web-3")
SERVICE4, SERVICE6 = "10.96.0.10:80", "[fd00:10:96::10]:80"
THIRD = ("- addresses: [10.244.2.11]", '- addresses: ["fd00:10:244:2::11"]')
RATE = 500  # datagrams a second and family

PICTURE = """\
   node-a [dim](plait run -c quickstart.yaml)[/dim]              node-b
  ┌──────────────────────────────────┐      ┌──────────────┐
  │  client ──▶ service web ─┬▶ web-1│      │              │
  │             10.96.0.10   ├▶ web-2│ eth0 │              │
  │             fd00:10:96::10└──────┼──────┼──▶ web-3     │
  └──────────────────────────────────┘      └──────────────┘"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row of the summary: what was done, what the agent made of it, in milliseconds."""

    what: str
    effect: str
    ms: float | None


class Edit(NamedTuple):
    """Text of a file to be replaced by other text."""

    what: str
    file: Path
    old: str
    new: str


class Demo:
    """The lab, the agent in it, and the files that are edited while traffic flows."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.config = folder / "quickstart.yaml"
        self.objects = folder / "objects/quickstart/web.yaml"
        self.log = folder / "agent.log"
        self._instance = lab.hosts[NODE].namespace
        self._paths = Paths.of(self._instance)
        self._agent: subprocess.Popen[str] | None = None

    def start_agent(self) -> None:
        """Start `plait run` on the node; returns once it has applied the config."""
        command = ("-m", "plait", "--instance", self._instance, "run", "-c", str(self.config))
        with self.log.open("a") as log:
            self._agent = subprocess.Popen(
                self.lab.command(NODE, sys.executable, *command), stderr=log, text=True
            )
        self._wait(lambda status: status.pid == self._pid() and status.generation > 0)

    def kill_agent(self) -> None:
        """kill -9."""
        if self._agent:
            os.kill(self._pid(), signal.SIGKILL)
            self._agent.wait()

    def stop_agent(self) -> None:
        """SIGTERM."""
        if self._agent:
            self._agent.terminate()
            self._agent.wait(10)

    def edit(self, edit: Edit) -> Change:
        """Edit a file, wait until the agent has answered."""
        before = self._status()
        edit.file.write_text(edit.file.read_text().replace(edit.old, edit.new))
        after = self._wait(
            lambda status: status.error != before.error or status.changes != before.changes
        )
        if after.error and after.error != before.error:
            reason = after.error.splitlines()[0].rpartition("/")[2]
            return Change(what=edit.what, effect=f"refused: {reason}", ms=None)
        last = after.changes[-1]
        effect = f"{last['what']}, generation {after.generation}"
        return Change(what=edit.what, effect=effect, ms=float(str(last["ms"])))

    def _pid(self) -> int:
        return self._agent.pid if self._agent else 0

    def _status(self) -> Status:
        status = read_agent(self._paths.run)
        if status is None:
            raise SystemExit(f"the agent does not run; its log:\n{self.log.read_text()}")
        return status

    def _wait(self, ready: Callable[[Status], bool]) -> Status:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            status = read_agent(self._paths.run)
            if status is not None and ready(status):
                return status
            if self._agent and self._agent.poll() is not None:
                break
            time.sleep(0.005)
        raise SystemExit(f"the agent does not answer; its log:\n{self.log.read_text()}")


def main() -> None:
    """Run the demo; exit status 1 when a packet was lost or a connection reset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    keep = parser.parse_args().keep
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="plait-demo-"))
    shutil.copytree(CONFIGS, folder, dirs_exist_ok=True)
    lab = Lab.up(load_topology(folder / "labs/quickstart.yaml"))
    try:
        with _steps(console) as step:
            demo = Demo(lab, folder)
            good = _play(demo, console, step)
        if keep:
            _say_what_next(console, demo)
        else:
            demo.stop_agent()
    finally:
        if not keep:
            lab.down()
            shutil.rmtree(folder)
    raise SystemExit(0 if good else 1)


def _play(demo: Demo, console: Console, step: Callable[[str], None]) -> bool:
    step("start: two backends of the service, then the agent")
    for third in THIRD:
        demo.objects.write_text(demo.objects.read_text().replace(third, f"#{third}"))
    demo.start_agent()
    servers = [
        serve(demo.lab, pod, "--listen", "0.0.0.0:8080", "--listen", "[::]:8080") for pod in SERVERS
    ]
    streams: list[Running[Streamed]] = [
        start(demo.lab, CLIENT, Streamed, target, "--rate", str(RATE))
        for target in (SERVICE4, SERVICE6)
    ]
    held: list[Running[Held]] = [
        start(demo.lab, CLIENT, Held, target, "--count", "100") for target in (SERVICE4, SERVICE6)
    ]
    time.sleep(1)

    changes = []
    for edit in _edits(demo):
        step(edit.what)
        changes.append(demo.edit(edit))
        time.sleep(0.5)
    step("kill -9 the agent, and start it again")
    demo.kill_agent()
    time.sleep(0.5)
    began = time.monotonic()
    demo.start_agent()
    changes.append(
        Change(
            what="kill -9, then start again",
            effect="adopted, nothing attached anew",
            ms=(time.monotonic() - began) * 1000,
        )
    )
    time.sleep(1)

    step("count")
    streamed, kept = [each.stop() for each in streams], [each.stop() for each in held]
    asked = start(demo.lab, CLIENT, Connected, SERVICE4, "--seconds", "1").result()
    _stop(servers)
    return _summary(console, changes, streamed, kept, asked)


def _edits(demo: Demo) -> tuple[Edit, ...]:
    """What is edited while traffic flows, one after the other."""
    node = "node:\n"
    return (
        Edit("a third backend, IPv4", demo.objects, f"#{THIRD[0]}", THIRD[0]),
        Edit("a third backend, IPv6", demo.objects, f"#{THIRD[1]}", THIRD[1]),
        Edit("algorithm: random", demo.config, "algorithm: maglev", "algorithm: random"),
        Edit("smaller flow tables", demo.config, node, f"{node}  capacity: {{flows: 100000}}\n"),
        Edit("a typing error", demo.config, "algorithm: random", "algoritm: random"),
        Edit("mended, maglev again", demo.config, "algoritm: random", "algorithm: maglev"),
    )


def _summary(
    console: Console,
    changes: list[Change],
    streamed: list[Streamed],
    held: list[Held],
    asked: Connected,
) -> bool:
    console.print(Panel(PICTURE, title="the lab", expand=False))
    table = Table(title="edited while traffic flowed")
    for heading in ("edit", "what the agent did", "ms"):
        table.add_column(heading, justify="right" if heading == "ms" else "left")
    for change in changes:
        table.add_row(change.what, change.effect, f"{change.ms:.0f}" if change.ms else "")
    console.print(table)

    traffic = Table(title="traffic through the service meanwhile")
    for heading in ("", "IPv4", "IPv6"):
        traffic.add_column(heading, justify="left" if not heading else "right")
    lost = [each.lost for each in streamed]
    broken = [each.reset + each.stalled + each.failed for each in held]
    traffic.add_row("datagrams sent", *(f"{each.sent}" for each in streamed))
    traffic.add_row("datagrams lost", *map(_verdict, lost))
    traffic.add_row("TCP connections held", *(f"{each.opened}" for each in held))
    traffic.add_row("messages exchanged on them", *(f"{each.exchanged}" for each in held))
    traffic.add_row("connections reset or stalled", *map(_verdict, broken))
    console.print(traffic)

    backends = Table(title="afterwards, new connections by backend (IPv4, one second)")
    backends.add_column("backend")
    backends.add_column("connections", justify="right")
    backends.add_column("")
    most = max(asked.backends.values(), default=1)
    for name, count in sorted(asked.backends.items()):
        backends.add_row(name, str(count), "█" * round(30 * count / most))
    console.print(backends)
    return not sum(lost) and not sum(broken)


def _verdict(count: int) -> str:
    return "[green]0[/green]" if count == 0 else f"[red]{count}[/red]"


def _say_what_next(console: Console, demo: Demo) -> None:
    console.print(
        Panel(
            f"The lab and the agent are still up. Edit\n  {demo.config}\n  {demo.objects}\n"
            f"and watch\n  tail -f {demo.log}\n\n"
            "plait lab exec client -- ping -c 3 10.244.2.11\n"
            f"plait --instance {demo.lab.hosts[NODE].namespace} flows\n"
            f"plait --instance {demo.lab.hosts[NODE].namespace} maps lb_services\n"
            f"plait lab down {demo.lab.name}          # takes all of it away",
            title="what to type next (source .venv/bin/activate first)",
            expand=False,
        )
    )


def _stop(servers: list[Running[Served]]) -> None:
    for server in servers:
        server.stop()


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[str], None]]:
    """A progress bar; the function that it gives names the next step."""
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("build the lab", total=9)

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        yield step


if __name__ == "__main__":
    main()
