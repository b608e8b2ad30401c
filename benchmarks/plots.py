"""The pictures of BENCHMARKS.md, in colours that differ for every eye (Okabe & Ito 2008)."""

import statistics

import matplotlib
import roofline
import scaling

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

COLOURS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7")
MARKERS = ("o", "s", "^", "D", "v")
STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False, "savefig.dpi": 110,
}
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def draw_scaling(figures):
    """Time against N, K and D: a line for each contender, and a line in proportion."""
    picture, panels = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
    for panel, axis in zip(panels, scaling.BASES):
        sizes = [scaling.grown(axis, factor)["NDK".index(axis)] for factor in scaling.FACTORS]
        rows = [figures[scaling.work(axis, factor)] for factor in scaling.FACTORS]
        for name, colour, marker in zip(scaling.NAMES, COLOURS, MARKERS):
            if name in rows[0]:
                times = [statistics.median(row[name]) * 1e3 for row in rows]
                panel.plot(sizes, times, color=colour, marker=marker, markersize=5, label=name,
                           linewidth=2.2 if name == "minae" else 1.2)
        first = statistics.median(rows[0]["minae"]) * 1e3
        panel.plot(sizes, [first * size / sizes[0] for size in sizes], color="#888888",
                   linestyle=":", zorder=1, label="in proportion, from minae's first")
        panel.set(xscale="log", yscale="log", title=scaling.others(axis), xticks=sizes,
                  xlabel={"N": "rows N", "K": "codewords K", "D": "dimensions D"}[axis])
        panel.minorticks_off()
        panel.xaxis.set_major_formatter(PLAIN)
        panel.yaxis.set_major_formatter(PLAIN)
    panels[0].set_ylabel("time of one search, ms")
    lines, labels = panels[0].get_legend_handles_labels()
    picture.legend(lines, labels, loc="outside lower center", ncols=3)
    return picture


def draw_roofline(figures):
    """GFLOP/s against intensity, below the two ceilings."""
    points, product, copy = roofline.points(figures)
    picture, axes = plt.subplots(figsize=(8.5, 4.8), layout="constrained")
    ends = [1, 1.6 * max(p[1] for p in points)]
    corner = product / copy
    axes.plot([ends[0], corner, ends[1]], [ends[0] * copy, product, product], color="#444444")
    axes.text(ends[1], product * 1.06, f"product of matrices: {product:.0f} GFLOP/s", ha="right",
              va="bottom")
    axes.text(1.15, copy, f"  copy: {copy:.0f} GB/s", va="center")
    kinds = ["nearest codeword", "convolution: forward", "convolution: input gradient",
             "convolution: weight gradient"]
    for kind, colour, marker in zip(kinds, COLOURS, MARKERS):
        part = kind.removeprefix("convolution: ")
        chosen = [p[1:] for p in points
                  if (p[0].endswith(f": {part}") if ":" in kind else p[0].startswith("near "))]
        if chosen:
            axes.scatter(*zip(*chosen), color=colour, marker=marker, s=40, label=kind, alpha=0.85,
                         edgecolor="white", linewidth=0.5)
    axes.set(xscale="log", yscale="log", ylabel="GFLOP/s",
             xlabel="arithmetic intensity, operations per byte that must be moved")
    axes.xaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.legend(loc="lower right")
    return picture


def draw(name, figures, path):
    """The picture of the results of ``name``, a script, as a PNG."""
    with plt.rc_context(STYLE):
        picture = {"scaling": draw_scaling, "roofline": draw_roofline}[name](figures)
        picture.savefig(path, metadata={"Software": None})
        plt.close(picture)
