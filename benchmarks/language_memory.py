"""The memory of these steps

    python benchmarks/language_memory.py

As for the VQ-VAE: the highest resident size during the fifth step, over the resident size before
the first, in MB, each in a fresh process, on Linux. For minae the kernels are loaded before.
"""

from functools import partial

import language
import memory
from harness import main, over, spread, table

MODELS = ("GPT", "BERT", "LSTM")


def one(library, model):
    """That step alone, as nothing else may have been in the process before."""
    if library == "minae":
        from minae.kernels import warm_up

        warm_up(["float32"])
    return {"step": language.CONTENDERS[library]()[model]}


CONTENDERS = {f"{library}, {model}": partial(one, library, model)
              for model in MODELS for library in language.CONTENDERS}  # fmt: skip


def tables(figures):
    (row,) = figures.values()
    rows = []
    for model in MODELS:
        ours, theirs = row[f"minae, {model}"], row[f"torch, {model}"]
        rows.append([model, f"{min(ours):.0f}", f"{min(theirs):.0f}", spread(over(theirs, ours))])
    return table(["", "minae, MB", "torch, MB", "torch / minae"], rows)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables, measure=memory.peak)
