"""How the search for the nearest codeword grows

    python benchmarks/scaling.py

Near rows, as in nearest.py, with N, K or D 1, 4, 16 and 64 times as large. Inside the clock: the
whole call. The table has the time at 64 times the size over 64 times the time: 1 is in proportion,
below 1 better than that.
"""

from functools import partial

import nearest
from harness import duration, main, spread, table

FACTORS = (1, 4, 16, 64)
BASES = {  # what grows: from which N, D, K
    "N": (1024, 64, 512), "K": (16384, 64, 64), "D": (16384, 8, 512),
}  # fmt: skip
NAMES = ("minae", "FAISS knn", "FAISS IndexFlatL2", "torch.addmm, in blocks", "scikit-learn")


def grown(axis, factor):
    """N, D, K with one of them ``factor`` times as large."""
    return [n * factor if name == axis else n for name, n in zip("NDK", BASES[axis])]


def work(axis, factor):
    return f"near {'x'.join(map(str, grown(axis, factor)))}"


def others(axis):
    return ", ".join(f"{name} = {n}" for name, n in zip("NDK", BASES[axis]) if name != axis)


# The two that are compared are measured one after the other.
CASES = [("near", *grown(axis, factor)) for axis in BASES for factor in (1, 64, 4, 16)]
CONTENDERS = {name: partial(nearest.CONTENDERS[name], CASES) for name in NAMES}


def tables(figures):
    """Our times, and everyone's growth."""
    names = [name for name in NAMES if any(name in row for row in figures.values())]
    rows = []
    for axis in BASES:
        small, *_, large = sizes = [grown(axis, factor)["NDK".index(axis)] for factor in FACTORS]
        found = [figures.get(work(axis, factor), {}) for factor in FACTORS]
        times = [duration(row.get("minae", [])) for row in found]
        growth = [
            spread([b / a / (large / small) for a, b in
                    zip(found[0].get(name, []), found[-1].get(name, []))])
            for name in names
        ]
        rows.append([f"{axis} = {', '.join(map(str, sizes))}; {others(axis)}", ", ".join(times),
                     *growth])
    return table(["size", "minae", *(f"growth, {name}" for name in names)], rows)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
