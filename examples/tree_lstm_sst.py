"""Sentiment: a TreeLSTM reads a sentence along its tree and says how positive each part is.

    python examples/tree_lstm_sst.py
    python examples/tree_lstm_sst.py --trees my.trees --cell child-sum

The trees, with a label from 0 (very negative) to 4 (very positive) at each node, are those of a
file (--trees), or of the Stanford Sentiment Treebank in --data-dir or $MINAE_DATA; with neither,
opinions in a tiny language are drawn. A bag of words is trained beside. The run folder keeps the
weights and the vocabulary, the metrics, the test trees with what was predicted, and pictures;
``TreeClassifier.load(folder)`` and ``seq.Vocabulary.load(folder / "vocabulary.json")`` give it
back.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

import minae
from minae import command, pictures, seq
from minae.backend import asnumpy
from minae.data import load_sentiment
from minae.models import BagOfWords, TreeClassifier
from minae.optim import Adam, cosine, warmup
from minae.train import fit

OPTIONS = ("hidden", "cell", "trees", "encoding")
SPECIALS = ("<pad>", "<unk>")
CLASSES, NEUTRAL = 5, 2
SIGNS = ("--", "-", "0", "+", "++")
SHADES = ("#e0704a", "#f4c6ac", "#eeeeee", "#b9d6ea", "#5a9fd0")
CONVENTION = "of whole sentences; binary: neutral ones dropped, positive against negative classes"


def main(options, out):
    say = partial(print, file=out, flush=True)
    if options.trees and options.data_dir:
        raise ValueError("--data-dir is for the Stanford Sentiment Treebank: leave it out beside"
                         " --trees")
    say(f"TreeLSTM, {options.cell}, minae {minae.__version__} on {minae.xp.__name__},"
        f" seed {options.seed}")
    data = load_sentiment(options.trees, options.data_dir, options.encoding, say)
    command.check_data(options, data.name, "its folder with --data-dir, or its file with --trees")
    train, dev, test = data.train, data.dev, data.test
    if options.dry_run:
        train, dev, test = train[: 4 * options.batch_size], dev[:50], test[:50]

    arity = children(train + dev + test) if options.cell == "nary" else 0
    vocabulary = seq.Vocabulary.count(seq.spellings(map(words, train)), least=2, specials=SPECIALS,
                                      unknown="<unk>")
    encode = partial(seq.spelling_ids, vocabulary=vocabulary)
    parts = [labeled(part, encode) for part in (train, dev, test)]
    minae.seed(options.seed)
    model = TreeClassifier(len(vocabulary), CLASSES, hidden=options.hidden, arity=arity)
    optimizer = Adam(model.parameters(), options.lr)

    run = command.begin(options, OPTIONS, f"tree_lstm_{data.name}", say, data=data.name,
                        source=data.source, model=model.config,
                        checksum=command.checksum(map(seq.bracketed, train)))
    steps = command.steps(options, len(train))
    fit(model, optimizer, parts[0], run, epochs=options.epochs, batch_size=options.batch_size,
        seed=options.seed, steps=steps, out=out, schedule=lambda step:
        options.lr * warmup(step, steps // 20 + 1) * cosine(step, steps))

    model.eval().save(run.folder)
    vocabulary.save(run.folder / "vocabulary.json")
    predicted = probabilities(model, parts[2])
    labels = [[str(label) for label in part.argmax(axis=1)] for part in predicted]
    marked = [seq.Tree(tree.parent, label, tree.words) for tree, label in zip(test, labels)]
    seq.write_brackets(run.folder / "predicted.trees", marked)
    gold = roots(test)
    most = np.eye(CLASSES)[[np.bincount(roots(train), minlength=CLASSES).argmax()] * len(test)]
    found = {
        "TreeLSTM": accuracy(np.stack([part[0] for part in predicted]), gold),
        "bag of words": accuracy(bag_of_words(train, test, options.seed), gold),
        "majority class": accuracy(most, gold),
    }
    metrics = {
        "dataset": data.name, "epochs": options.epochs, "cell": options.cell,
        "accuracy": CONVENTION,
        "dev_fine": accuracy(np.stack([p[0] for p in probabilities(model, parts[1])]),
                             roots(dev))[0],
        **{f"test_{kind}_{name.lower().replace(' ', '_')}": share
           for name, shares in found.items() for kind, share in zip(("fine", "binary"), shares)},
        "seed": options.seed, **run.summary(),
    }  # fmt: skip
    run.write("metrics.json", metrics)
    draw(run, test, marked, say)
    say(f"test accuracy {CONVENTION}:")
    say(f"  {'':<16}{'5 classes':>10}{'binary':>10}")
    for name, shares in found.items():
        fine, binary = ("none" if share is None else f"{share:.1%}" for share in shares)
        say(f"  {name:<16}{fine:>10}{binary:>10}")
    say(f"{metrics['seconds']:.0f} s: see {run.folder}")
    return metrics


# --- Trees and arrays ----------------------------------------------------------------------------


def children(trees):
    """The most children of a node, which an N-ary TreeLSTM must have weights for."""
    most = max(2, *(int(tree.degree.max()) for tree in trees))
    if most > 4:
        raise ValueError(f"a node has {most} children, for which an N-ary cell is too large: give"
                         " --cell child-sum")
    return most


def words(tree):
    """What stands at the leaves."""
    return [tree.words[leaf] or "" for leaf in tree.leaves.tolist()]


def labeled(trees, encode):
    """``trees`` as data to train on, their words as ids."""
    ids = [encode(words(tree)) for tree in trees]
    return seq.Labeled(trees, ids, [[int(label) for label in tree.labels] for tree in trees])


def roots(trees):
    """The label of each sentence."""
    return np.array([int(tree.labels[0]) for tree in trees])


def probabilities(model, data, size=100):
    """Those of the classes at the nodes of each tree: a list of arrays."""
    found = []
    for start in range(0, len(data), size):
        forest, ids, _ = data.taken(range(start, min(start + size, len(data))))
        found += np.split(asnumpy(model.predict(forest, ids)), forest.starts[1:-1])
    return found


def accuracy(p, gold):
    """Of five classes, and of two: None, where all sentences are neutral."""
    clear = gold != NEUTRAL
    positive = p[:, NEUTRAL + 1 :].sum(axis=1) > p[:, :NEUTRAL].sum(axis=1)
    right = positive == (gold > NEUTRAL)
    binary = float(right[clear].mean()) if clear.any() else None
    return float((p.argmax(axis=1) == gold).mean()), binary


def bag_of_words(train, test, seed, epochs=10, size=64):
    """What logistic regression on the counts of words gives to the test sentences.

    It learns from all labeled phrases, as the TreeLSTM does.
    """
    texts = [[word.lower() for word in words(tree)] for tree in train]
    vocabulary = seq.Vocabulary.count((word for text in texts for word in text), least=2,
                                      specials=SPECIALS, unknown="<unk>")
    data, held_out = (
        labeled(trees, lambda text: [vocabulary[word.lower()] for word in text])
        for trees in (train, test)
    )
    model = BagOfWords(len(vocabulary), CLASSES)
    optimizer = Adam(model.parameters(), 1e-2)
    for epoch in range(epochs):
        for batch in data.batches(size, seed=seed, epoch=epoch):
            optimizer.lr = 1e-2 * cosine(epoch, epochs)
            optimizer.zero_grad()
            model.loss(*batch)[0].backward()
            optimizer.step()
    return np.stack([part[0] for part in probabilities(model, held_out)])


def draw(run, test, marked, say):
    """Two test trees with what was predicted, and the loss by step."""
    spread = [-len({*tree.labels}) if 6 <= len(tree.leaves) <= 14 else 0 for tree in test]
    rows = []
    for i in np.argsort(spread, kind="stable")[:2]:
        row = []
        for title, tree in (("given", test[i]), ("predicted", marked[i])):
            grades = [int(label) for label in tree.labels]
            shown = seq.Tree(tree.parent, [SIGNS[grade] for grade in grades], tree.words)
            row.append((title, shown, [SHADES[grade] for grade in grades]))
        rows.append(row)
    history = {name: [row[name] for row in run.history] for name in ("loss", "accuracy")}
    with pictures.if_possible(say):
        pictures.trees(run.folder / "trees.png", rows)
        pictures.curves(run.folder / "curves.png", history)


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=8, batch_size=32, lr=2e-3)
    parser.add_argument("--hidden", type=command.positive(int), default=100, metavar="N",
                        help="features of a state (%(default)s)")
    parser.add_argument("--cell", choices=("nary", "child-sum"), default="nary",
                        help="with weights for each child, or one for all (%(default)s)")
    parser.add_argument("--trees", type=Path, metavar="FILE",
                        help="a file of bracketed trees, plain or .gz")
    parser.add_argument("--encoding", default="utf-8", metavar="NAME",
                        help="the encoding of --trees (%(default)s)")
    sys.exit(command.run(main, parser))
