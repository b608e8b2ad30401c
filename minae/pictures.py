"""Pictures of a run, drawn by matplotlib: images in rows, curves over steps, grids of codes, trees.

Each function writes one PNG file, ``path``, and needs matplotlib: an ImportError says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .backend import asnumpy, numpy
from .io import write_file

COLOR = "#2a5d8f"
RIGHT, WRONG = "#b9d3ea", "#f2b87e"  # marks of what is as it should be, and of what is not


@contextmanager
def if_possible(say: Callable[[str], Any]) -> Iterator[None]:
    """Where matplotlib is not installed, ``say`` that there are no pictures, and go on."""
    try:
        yield
    except ImportError as error:
        say(f"no pictures: {error}")


def image_rows(path: Any, rows: Mapping[str, Any]) -> None:
    """Images (n, height, width, channels) in [0, 1], by label: one of ``rows`` under the other."""
    bands = [numpy.clip(asnumpy(images), 0, 1) for images in rows.values()]
    figure = _figure(len(bands[0]) * 0.65 + 1.3, len(bands) * 0.75)
    axes = figure.subplots(len(bands), squeeze=False)[:, 0]
    for ax, label, band in zip(axes, rows, bands):
        strip = numpy.concatenate(list(numpy.pad(band, ((0, 0), (1, 1), (1, 1), (0, 0)))), axis=1)
        strip = strip if strip.shape[2] == 3 else strip[:, :, 0]
        ax.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_ylabel(label, rotation=0, ha="right", va="center")
        ax.set(xticks=[], yticks=[])
    _write(path, figure)


def curves(path: Any, series: Mapping[str, Sequence[float]], log: Sequence[str] = ()) -> None:
    """A panel for each of ``series``, numbers by step; those named in ``log`` on a log scale."""
    figure = _figure(4.2 * len(series), 3.2)
    for ax, (label, values) in zip(figure.subplots(1, len(series), squeeze=False)[0],
                                   series.items()):
        ax.plot(range(1, len(values) + 1), values, color=COLOR, linewidth=0.9)
        ax.set(xlabel="step", ylabel=label, yscale="log" if label in log else "linear",
               title=f"{label}, {values[-1]:.4g} at the end" if len(values) else label)
        ax.grid(alpha=0.3)
    _write(path, figure)


def usage(path: Any, counts: Any) -> None:
    """How often each code is used, ``counts`` (K,), the most used first, beside an even use."""
    counts = numpy.sort(numpy.asarray(counts))[::-1]
    figure = _figure(7, 3.2)
    ax = figure.subplots()
    ax.bar(range(len(counts)), counts, width=1, color=COLOR)
    ax.axhline(counts.mean(), color="black", linewidth=0.8, linestyle="--", label="even use")
    ax.set(xlabel="code, by use", ylabel="times used", xlim=(-0.01 * len(counts), len(counts)),
           title=f"{numpy.count_nonzero(counts)} of {len(counts)} codes in use")
    ax.legend(frameon=False)
    _write(path, figure)


def bars(
    path: Any, labels: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str
) -> None:
    """A horizontal bar for each of ``labels``, the first on top, of ``parts`` end to end.

    ``unit`` is that of the numbers.
    """
    figure = _figure(7, 0.6 + 0.28 * max(len(labels), 2))
    ax = figure.subplots()
    ends = numpy.zeros(len(labels))
    for (part, values), color in zip(parts.items(), (COLOR, "#d08c3f", "#7a9a5c", "#8a6a9c")):
        ax.barh(range(len(labels)), values, left=ends, color=color, label=part)
        ends = ends + numpy.asarray(values)
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlabel=unit)
    ax.invert_yaxis()
    ax.legend(frameon=False)
    _write(path, figure)


def code_grids(path: Any, images: Any, codes: Any, count: int) -> None:
    """Each of ``images`` (n, height, width, channels) in [0, 1] above its grid of ``codes``.

    These are (n, rows, columns), integers in [0, count), with a colour and a number for each.
    """
    images, codes = numpy.clip(asnumpy(images), 0, 1), asnumpy(codes)
    figure = _figure(2.3 * len(images), 4.6)
    from matplotlib.patheffects import withStroke

    figure.suptitle(f"images, and each place's code of {count} (one colour, one code)")
    outline = [withStroke(linewidth=1.5, foreground="black")]
    axes = figure.subplots(2, len(images), squeeze=False)
    colors = numpy.random.default_rng(0).permutation(count)  # so that near numbers look different
    for above, below, image, grid in zip(*axes, images, codes):
        above.imshow(image if image.shape[2] == 3 else image[:, :, 0], cmap="gray", vmin=0, vmax=1)
        below.imshow(colors[grid], cmap="nipy_spectral", vmin=-count * 0.1, vmax=count * 1.1)
        for (row, column), code in numpy.ndenumerate(grid):
            below.text(column, row, code, ha="center", va="center", fontsize=6, color="white",
                       path_effects=outline)
        above.set_axis_off()
        below.set_axis_off()
    _write(path, figure)


def attention_maps(path: Any, maps: Sequence[tuple[Sequence[str], Sequence[str], Any]]) -> None:
    """A panel for each of ``maps``: what was read, what was written, and the shares of attention.

    Those are (written, read), in [0, 1]; the darker, the more.
    """
    figure = _figure(5.2 * min(len(maps), 2), 5.2 * -(-len(maps) // 2))
    panels = figure.subplots(-(-len(maps) // 2), min(len(maps), 2), squeeze=False).ravel()
    for ax in panels[len(maps) :]:
        ax.set_axis_off()
    for ax, (read, written, weights) in zip(panels, maps):
        ax.imshow(asnumpy(weights), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        ax.set_xticks(range(len(read)), read, rotation=60, ha="left", rotation_mode="anchor")
        ax.set_yticks(range(len(written)), written)
        ax.xaxis.tick_top()
        ax.set(xlabel="read", ylabel="written")
    _write(path, figure)


def beside(given: Any, found: Any, name: str) -> list[tuple[str, Any, list[str]]]:
    """A row for ``trees``: the ``given`` tree, and the one that was ``found``, called ``name``.

    Both are ``seq.Tree`` over the same words. A node of the latter is orange where the given tree
    has none over its words.
    """
    known = {*map(tuple, given.spans.tolist())}
    colors = [(RIGHT if tuple(span) in known else WRONG) if degree else ""
              for span, degree in zip(found.spans.tolist(), found.degree)]  # fmt: skip
    return [("given", given, [""] * len(given)),
            (f"{name}; orange: not in the given one", found, colors)]  # fmt: skip


def trees(path: Any, rows: Sequence[Sequence[tuple[str, Any, Sequence[str]]]]) -> None:
    """Trees side by side: in each of ``rows`` some of (title, ``seq.Tree``, colors of its nodes).

    A color is matplotlib's; "" leaves a node bare. Words stand below, each under its leaf.
    """
    plans = [[_plan(tree) for _, tree, _ in row] for row in rows]
    wide = max(sum(float(x.max()) + 1 for x, _ in plan) for plan in plans)
    high = [max(float(y.max()) + 3 for _, y in plan) for plan in plans]
    figure = _figure(max(0.42 * wide, 4), 0.42 * sum(high))
    bands = figure.subfigures(len(rows), height_ratios=high, squeeze=False)[:, 0]
    for part, row, plan in zip(bands, rows, plans):
        shares = [float(x.max()) + 1 for x, _ in plan]
        axes = part.subplots(1, len(row), width_ratios=shares, squeeze=False)[0]
        for ax, (title, tree, colors), (x, y) in zip(axes, row, plan):
            for node in tree.child.tolist():
                above = tree.parent[node]  # straight up, then along: no line meets another node
                ax.plot(x[[node, node, above]], y[[node, above, above]], color="#999999",
                        linewidth=0.8, zorder=1)
            for node, (label, word, color) in enumerate(zip(tree.labels, tree.words, colors)):
                shape = {"boxstyle": "round,pad=0.2", "linewidth": 0, "facecolor": color or "white"}
                if label:
                    ax.text(x[node], y[node], label, ha="center", va="center", fontsize=7,
                            bbox=shape, zorder=2)
                if word is not None:
                    ax.text(x[node], -0.75, word, ha="center", va="center", fontsize=8, zorder=2)
            ax.set(xlim=(-0.5, x.max() + 0.5), ylim=(-1.5, y.max() + 0.7))
            ax.set_title(title, fontsize=9)
            ax.set_axis_off()
    _write(path, figure)


def _plan(tree: Any) -> tuple[Any, Any]:
    """Where each node stands: a leaf above its word, another in the middle of its children."""
    x, end = numpy.zeros(len(tree)), 0.0
    for node in tree.leaves.tolist():
        width = 0.5 + 0.22 * max(len(tree.words[node] or ""), len(tree.labels[node]))
        x[node], end = end + width / 2, end + width
    for node in tree.postorder.tolist():
        if tree.degree[node]:
            x[node] = (x[tree.left[node]] + x[tree.right[node]]) / 2
    bare = numpy.array([not label for label in tree.labels]) & (tree.degree == 0)
    return x - x.min(), numpy.where(bare, -0.4, tree.level)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        cure = "pip install matplotlib"
        raise ImportError(f"pictures are drawn by matplotlib: {cure}") from None
    return Figure(figsize=(width, height), layout="constrained")


def _write(path: Any, figure: Any) -> None:
    buffer = io.BytesIO()
    # without pyplot: no window, no global state
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    write_file(path, buffer.getvalue())
