"""The picture of a run: calls/s with 64 in flight, p50 and p99 of one at a time, for all stacks. Needs matplotlib.

    python -m benchmarks.plot [results.json [results.png]]

The scales are logarithmic, because the stacks are two orders of magnitude apart.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.stacks import AWAIT, OURS_LOCAL

NAME = "results.png"
INK, FAINT, PAPER = "#1f2933", "#7b8794", "#ffffff"
OURS, RAW, OTHERS = "#0b7a75", "#9aa5b1", "#c9822b"
LOCAL = (AWAIT, OURS_LOCAL)
"""Stacks without another process: they would only stretch the scales."""


def colour(stack: str) -> str:
    """Which of the three families a stack belongs to."""
    return OURS if stack.startswith("splnode") else RAW if stack.startswith("raw") else OTHERS


def rows(results: dict[str, Any], kind: str, *keys: str) -> list[tuple[str, tuple[float, ...]]]:
    """Stacks that have these figures, the best first: the highest rates, the lowest latencies."""
    found = [
        (stack["stack"], tuple(float(stack["medians"][kind][key]) for key in keys))
        for stack in results["stacks"]
        if stack["stack"] not in LOCAL and all(key in stack["medians"].get(kind, {}) for key in keys)
    ]
    return sorted(found, key=lambda row: row[1][0], reverse=keys[0] == "rate")


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes the picture. ModuleNotFoundError where there is no matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rates, waits = rows(results, "flood", "rate"), rows(results, "one", "p50", "p99")
    height = 1.9 + 0.34 * max(len(rates), len(waits), 3)
    figure = Figure(figsize=(14, height), dpi=140, facecolor=PAPER)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _rates(left, rates)
    _waits(right, waits)
    _furnish(figure, results, height)
    figure.savefig(path, facecolor=PAPER)


def _rates(axes: Any, found: list[tuple[str, tuple[float, ...]]]) -> None:
    lowest = min((rate for _, (rate,) in found), default=1.0)
    for place, (name, (rate,)) in enumerate(found):
        axes.barh(place, rate, height=0.66, color=colour(name), zorder=2)
        _label(axes, rate, place, f"{rate:,.0f}", 5, INK)
    _scale(axes, found, "Calls a second, 64 in flight (more is better)")
    if found:
        axes.set_xlim(lowest / 2, found[0][1][0] * 2.6)


def _waits(axes: Any, found: list[tuple[str, tuple[float, ...]]]) -> None:
    for place, (name, (p50, p99)) in enumerate(found):
        shade = colour(name)
        axes.plot([p50, p99], [place, place], color=shade, linewidth=3, alpha=0.45, solid_capstyle="round", zorder=2)
        axes.scatter([p50], [place], s=46, color=shade, zorder=3)
        axes.scatter([p99], [place], s=46, facecolor=PAPER, edgecolor=shade, linewidth=1.8, zorder=3)
        _label(axes, p50, place, f"{p50:,.0f}", -7, INK)
        _label(axes, p99, place, f"{p99:,.0f}", 7, FAINT)
    _scale(axes, found, "Microseconds a call, one at a time (less is better)")
    if found:
        axes.set_xlim(found[0][1][0] / 1.9, max(p99 for _, (_, p99) in found) * 1.9)
    handles = [
        axes.scatter([], [], s=46, color=FAINT, label="p50"),
        axes.scatter([], [], s=46, facecolor=PAPER, edgecolor=FAINT, linewidth=1.8, label="p99"),
    ]
    axes.legend(handles=handles, loc="upper right", frameon=False, fontsize=9, labelcolor=INK)


def _label(axes: Any, value: float, place: int, text: str, points: int, shade: str) -> None:
    """Text beside a mark: so many points to its right, or to its left where they are negative."""
    axes.annotate(
        text, (value, place), xytext=(points, 0), textcoords="offset points", va="center_baseline",
        ha="left" if points > 0 else "right", fontsize=9, color=shade,
    )  # fmt: skip


def _scale(axes: Any, found: list[tuple[str, tuple[float, ...]]], title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="both", which="both", length=0, labelsize=9.5, labelcolor=FAINT)
    axes.set_yticks(range(len(found)), [name for name, _ in found])
    axes.set_ylim(len(found) - 0.4, -0.7)
    for label, (name, _) in zip(axes.get_yticklabels(), found, strict=True):
        label.set_color(OURS if colour(name) == OURS else INK)
        label.set_fontweight("bold" if colour(name) == OURS else "normal")
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=10, fontweight="bold")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8, zorder=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _furnish(figure: Any, results: dict[str, Any], height: float) -> None:
    from matplotlib.patches import Patch

    machine, versions = results["machine"], results["versions"]
    note = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {versions['Python']}, {results['date'][:10]}; medians of "
        f"{results['rounds']} interleaved rounds; request and answer 163 bytes; log scales"
    )
    figure.text(0.012, 0.16 / height, note, fontsize=9, color=FAINT, ha="left", va="bottom")
    families = [
        Patch(color=OURS, label="splnode"),
        Patch(color=RAW, label="raw echo: no RPC at all"),
        Patch(color=OTHERS, label="other stacks"),
    ]
    figure.legend(
        handles=families, loc="lower right", ncols=3, frameon=False, fontsize=9, labelcolor=INK,
        bbox_to_anchor=(0.99, 0.04 / height),
    )  # fmt: skip
    figure.tight_layout(rect=(0.005, 0.45 / height, 0.995, 0.995), w_pad=3)


def main() -> None:
    """The command line."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", nargs="?", type=Path, default=here / "results.json", help="default: %(default)s")
    parser.add_argument("picture", nargs="?", type=Path, help=f"default: {NAME} beside the results")
    options = parser.parse_args()
    draw(json.loads(options.results.read_text()), options.picture or options.results.with_name(NAME))


if __name__ == "__main__":
    main()
