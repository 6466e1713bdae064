"""`python -m bench.document`: table and picture of docs/performance.md, from build/bench.json.

Needs matplotlib: `pip install -e .[bench]`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.connections import COUNTS, Way
from bench.figures import Figure as Measured

SOURCE = Path("build/bench.json")
PAGE = Path("docs/performance.md")
PICTURE = Path("docs/img/connections.png")

BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

COLOURS = {
    Way.PLAIT: "#0b6e4f",
    Way.PLAIN: "#999999",
    Way.NFTABLES: "#e09f3e",
    Way.IPTABLES: "#9e2a2b",
}
LABELS = {
    Way.PLAIT: "Plait",
    Way.PLAIN: "plain forwarding, no service",
    Way.NFTABLES: "kube-proxy, nftables",
    Way.IPTABLES: "kube-proxy, iptables",
}


def main() -> None:
    """Write both; the run has to be a whole one."""
    rows = json.loads(SOURCE.read_text())
    figures = [Measured(name=row["name"], value=row["value"], unit=row["unit"]) for row in rows]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{_table(figures)}{END}{after}")
    _draw({figure.name: figure.value for figure in figures})


def _table(figures: Iterable[Measured]) -> str:
    lines = ["| figure | value | unit | goal | |", "|---|---:|---|---:|---|"]
    for each in figures:
        verdict = {None: "", True: "met", False: "**missed**"}[each.met]
        lines.append(
            f"| {each.name} | {each.shown} | {each.unit} | {each.shown_goal} | {verdict} |"
        )
    return "\n".join((*lines, ""))


def _draw(values: Mapping[str, float]) -> None:
    """Connections per second through the last of so many services."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(COLOURS)
    for index, (way, colour) in enumerate(COLOURS.items()):
        rates = [values[f"connections.{way}_{count}"] for count in COUNTS]
        places = [group + (index - 1.5) * width for group in range(len(COUNTS))]
        bars = axes.bar(places, rates, width * 0.92, color=colour, label=LABELS[way])
        axes.bar_label(bars, [f"{rate / 1000:.1f}k" for rate in rates], fontsize=7, padding=1)
    axes.set_xticks(range(len(COUNTS)), [f"{count:,}" for count in COUNTS])
    axes.set_xlabel("services")
    axes.set_ylabel("TCP connections/s, one client")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.18)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, fontsize=7, frameon=False, loc="upper center")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
