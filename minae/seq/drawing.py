"""Trees as a picture: SVG, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from ..backend import numpy
from ..io import write_file
from .trees import Tree

CHARACTER, GAP, LEVEL, MARGIN = 7.4, 12.0, 30.0, 16.0  # in pixels: widths, and heights


def draw_trees(path: Any, trees: Sequence[tuple[str, Tree]], columns: int = 2) -> None:
    """Draw ``trees``, pairs of a title and a Tree, into the SVG file ``path``.

    They stand in ``columns``, a row after the other, words at the foot, labels at the nodes.
    """
    drawn = [_drawn(title, tree) for title, tree in trees]
    wide = [max((w for _, w, _ in drawn[c::columns]), default=0.0) for c in range(columns)]
    parts, top = [], MARGIN
    for first in range(0, len(drawn), columns):
        row = drawn[first : first + columns]
        tall = max(height for _, _, height in row)
        for column, (content, _, height) in enumerate(row):
            left = MARGIN + sum(wide[:column]) + 2 * MARGIN * column
            parts.append(f'<g transform="translate({left:.1f},{top + tall - height:.1f})">')
            parts += [content, "</g>"]
        top += tall + 2 * MARGIN
    size = sum(wide) + 2 * MARGIN * columns, top
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]:.0f}" height="{size[1]:.0f}" '
        'font-family="DejaVu Sans Mono, monospace" font-size="12" text-anchor="middle">'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    write_file(path, "\n".join([head, *parts, "</svg>\n"]).encode())


def _drawn(title: str, tree: Tree) -> tuple[str, float, float]:
    """The lines and letters of a tree, and its width and height."""
    x = numpy.zeros(len(tree))
    right = 0.0
    for leaf in tree.leaves.tolist():
        width = max(len(_text(tree, leaf)), 1) * CHARACTER
        x[leaf] = right + width / 2
        right += width + GAP
    for node in tree.postorder.tolist():
        if tree.degree[node]:
            children = tree.children(node)
            x[node] = (x[children[0]] + x[children[-1]]) / 2
    height = (int(tree.level.max(initial=0)) + 1) * LEVEL + LEVEL
    y = height - 10 - tree.level * LEVEL
    parts = [f'<text x="0" y="12" text-anchor="start" fill="#777">{escape(title)}</text>']
    for node in tree.preorder.tolist():
        above = tree.parent[node]
        if above >= 0:
            start = y[above] + (4 if tree.labels[above] else 0)
            parts.append(f'<path d="M{x[above]:.1f} {start:.1f}L{x[node]:.1f} {y[node] - 11:.1f}" '
                         'stroke="#2a5d8f"/>')
    for node in tree.preorder.tolist():
        text, color = _text(tree, node), "black" if not tree.degree[node] else "#a0522d"
        if text:
            parts.append(f'<text x="{x[node]:.1f}" y="{y[node]:.1f}" fill="{color}">'
                         f"{escape(text)}</text>")
    return "\n".join(parts), max(right - GAP, len(title) * CHARACTER), height


def _text(tree: Tree, node: int) -> str:
    return (tree.words[node] or "") if not tree.degree[node] else tree.labels[node]
