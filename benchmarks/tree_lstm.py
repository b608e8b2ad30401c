"""TreeLSTM over the Stanford Sentiment Treebank

    python benchmarks/tree_lstm.py

Forward and backward over the trees of sentences of $MINAE_DATA/sst (without it, over as many random
trees of like length): words of 300 features at the leaves, 150 hidden, float32, two threads, as in
Tai et al. 2015. Inside the clock: from the words of a batch to the states of all nodes, and the
gradients of the words and of all weights; for minae also the making of the Forest and its levels.
PyTorch walks each tree node by node, as its users do: one product for a leaf, one (of child-sum
two) for a node. The last rows are a single chain of 10,000 and 100,000 nodes, which no batch helps.
"""

import os
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from harness import compared, main

WORDS, HIDDEN = 300, 150
BATCHES = (1, 25)
CHAINS = (10_000, 100_000)


def batches():
    """For each size the first trees of SST's training set."""
    from minae import seq

    path = Path(os.environ.get("MINAE_DATA", ""), "sst", "train.txt.gz")
    if path.exists():
        trees = list(islice(seq.read_brackets(path), max(BATCHES)))
    else:
        rng = np.random.default_rng(0)
        lengths = rng.integers(5, 35, max(BATCHES))
        trees = [seq.random_tree(int(length), rng=rng) for length in lengths]
    return {size: trees[:size] for size in BATCHES}


def inputs(nodes):
    return np.random.default_rng(0).standard_normal((nodes, WORDS), dtype="float32")


def minae():
    import minae
    from minae import optim, seq

    def step(model, x, trees):
        forest = seq.Forest(seq.Tree(tree.parent) for tree in trees)  # nothing known beforehand
        nodes = forest.leaves if len(x) < len(forest) else None
        hidden, _ = model(forest, x, nodes)
        minae.grad(hidden.sum(), [x, *model.parameters()])

    work = {}
    for kind in (seq.NaryTreeLSTM, seq.ChildSumTreeLSTM):
        model = kind(WORDS, HIDDEN)
        optim.SGD(model.parameters(), lr=0.1)  # has the C library keep its memory
        for size, trees in batches().items():
            x = minae.Tensor(inputs(sum(len(t.leaves) for t in trees)), requires_grad=True)
            work[f"{kind.__name__}, {size} trees"] = partial(step, model, x, trees)
    model = seq.NaryTreeLSTM(WORDS, 8)
    for length in CHAINS:
        x = minae.Tensor(inputs(1), requires_grad=True)
        chain = seq.Tree(np.arange(length) - 1)
        work[f"a chain of {length:,} nodes, 8 hidden"] = partial(step, model, x, [chain])
    return work


def pytorch():
    import torch

    torch.set_num_threads(2)

    def parameters():
        gates = 4 * HIDDEN
        shapes = (WORDS, gates), (2 * HIDDEN, 5 * HIDDEN), (HIDDEN, gates), (gates,)
        return [torch.nn.Parameter(torch.empty(shape).uniform_(-0.08, 0.08)) for shape in shapes]

    def settled(i, o, u, kept):
        cell = torch.sigmoid(i) * torch.tanh(u) + kept
        return torch.sigmoid(o) * torch.tanh(cell), cell

    def leaf(x, weights):
        i, o, u, _ = torch.addmv(weights[3], weights[0].T, x).chunk(4)
        return settled(i, o, u, 0)

    def nary(children, weights):
        (h, c), (k, d) = children
        bias = torch.cat([weights[3], weights[3][3 * HIDDEN :]])
        i, o, u, f, g = torch.addmv(bias, weights[1].T, torch.cat([h, k])).chunk(5)
        return settled(i, o, u, torch.sigmoid(f) * c + torch.sigmoid(g) * d)

    def child_sum(children, weights):
        hidden, cells = (torch.stack(part) for part in zip(*children))
        by_sum, by_one = weights[2][:, : 3 * HIDDEN], weights[2][:, 3 * HIDDEN :]
        gates = torch.addmv(weights[3][: 3 * HIDDEN], by_sum.T, hidden.sum(0))
        f = torch.sigmoid(torch.addmm(weights[3][3 * HIDDEN :], hidden, by_one))
        return settled(*gates.chunk(3), (f * cells).sum(0))

    def step(inner, weights, x, trees):
        states = []
        rows = iter(x.unbind(0))
        for order, below in trees:
            made = [()] * len(order)
            for node in order:
                if below[node]:
                    made[node] = inner([made[child] for child in below[node]], weights)
                else:
                    made[node] = leaf(next(rows), weights)
            states += [hidden for hidden, _ in made]
        total = torch.stack(states).sum()
        used = [x, weights[0], weights[1 if inner is nary else 2], weights[3]]
        torch.autograd.grad(total, used)

    work = {}
    for name, inner in (("NaryTreeLSTM", nary), ("ChildSumTreeLSTM", child_sum)):
        weights = parameters()
        for size, trees in batches().items():
            x = torch.tensor(inputs(sum(len(t.leaves) for t in trees)), requires_grad=True)
            plain = [
                (tree.postorder.tolist(), [tree.children(n).tolist() for n in range(len(tree))])
                for tree in trees
            ]
            work[f"{name}, {size} trees"] = partial(step, inner, weights, x, plain)
    return work


def tables(figures):
    return compared(figures, "minae")


if __name__ == "__main__":
    main(__doc__, {"minae": minae, "pytorch": pytorch}, tables)
