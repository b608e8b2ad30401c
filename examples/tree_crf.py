"""A parser: binary trees over sentences, learned from trees in brackets.

    python examples/tree_crf.py
    python examples/tree_crf.py --trees my.trees --longest 30

The trees are those of a file (--trees), or of the WSJ sample of the Penn Treebank in --data-dir or
$MINAE_DATA; with neither, a small grammar writes some. The parser reads words and no tags. The run
folder keeps the weights and the vocabulary, the metrics, the parsed test sentences and pictures;
``TreeCRF.load(folder)`` and ``seq.Vocabulary.load(folder / "vocabulary.json")`` give it back.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

import minae
from minae import command, pictures, seq
from minae.data import load_parses
from minae.models import TreeCRF
from minae.optim import Adam, cosine, warmup
from minae.train import fit

OPTIONS = ("hidden", "trees", "encoding", "longest")
SPECIALS = ("<pad>", "<unk>")
CONVENTION = "unlabeled, of the corpus, spans of one word and of all words left out"


def main(options, out):
    say = partial(print, file=out, flush=True)
    if options.trees and options.data_dir:
        raise ValueError("--data-dir is for the WSJ sample: leave it out beside --trees")
    say(f"tree CRF, minae {minae.__version__} on {minae.xp.__name__}, seed {options.seed}")
    data = load_parses(options.trees, options.data_dir, options.longest, options.encoding, say)
    command.check_data(options, data.name, "its folder with --data-dir, or its file with --trees")
    train, dev, test = data.train, data.dev, data.test
    if options.dry_run:
        train, dev, test = train[: 4 * options.batch_size], dev[:16], test[:16]

    vocabulary = seq.Vocabulary.count(seq.spellings(map(words, train)), least=2, specials=SPECIALS,
                                      unknown="<unk>")
    pairs = seq.Pairs([seq.spelling_ids(words(tree), vocabulary) for tree in train],
                      [wanted(tree) for tree in train])
    pairs.unit = "sentences"
    minae.seed(options.seed)
    model = TreeCRF(len(vocabulary), hidden=options.hidden)
    optimizer = Adam(model.parameters(), options.lr)

    run = command.begin(options, OPTIONS, f"tree_crf_{data.name}", say, data=data.name,
                        source=data.source, model=model.config,
                        checksum=command.checksum(map(seq.bracketed, train)))
    steps = command.steps(options, len(pairs))
    fit(model, optimizer, pairs, run, epochs=options.epochs, batch_size=options.batch_size,
        seed=options.seed, steps=steps, out=out, schedule=lambda step:
        options.lr * warmup(step, steps // 20 + 1) * cosine(step, steps))

    model.eval().save(run.folder)
    vocabulary.save(run.folder / "vocabulary.json")
    parsed = parse(model, vocabulary, test)
    seq.write_brackets(run.folder / "parsed.trees", parsed)
    found = seq.tree_f1(test, parsed)
    others = seq.baselines(test, rng=np.random.default_rng(options.seed))
    metrics = {
        "dataset": data.name, "epochs": options.epochs, "f1": CONVENTION,
        "test_f1": found.f1, "test_precision": found.precision, "test_recall": found.recall,
        "dev_f1": seq.tree_f1(dev, parse(model, vocabulary, dev)).f1,
        **{f"test_f1_{kind.replace(' ', '_')}": figures.f1 for kind, figures in others.items()},
        "seed": options.seed, **run.summary(),
    }  # fmt: skip
    run.write("metrics.json", metrics)
    draw(run, test, parsed, say)
    say(f"test F1 ({CONVENTION}) of {len(test)} sentences:")
    for kind, figures in {"tree CRF": found, **others}.items():
        say(f"  {kind:<12}{100 * figures.f1:5.1f}" + " (the limit)" * (kind == "best binary"))
    say(f"{metrics['seconds']:.0f} s: see {run.folder}")
    return metrics


def words(tree):
    """What stands at the leaves."""
    return [tree.words[leaf] or tree.labels[leaf] for leaf in tree.leaves.tolist()]


def wanted(tree):
    """The spans of two words or more."""
    return np.unique(tree.spans[tree.spans[:, 1] - tree.spans[:, 0] > 1], axis=0)


def parse(model, vocabulary, trees, size=64):
    """A tree over the words of each of ``trees``."""
    found = []
    for start in range(0, len(trees), size):
        texts = [words(tree) for tree in trees[start : start + size]]
        parsed = model.parse(seq.pad(seq.spelling_ids(text, vocabulary) for text in texts))
        for tree, text in zip(parsed, texts):
            for leaf, word in zip(tree.leaves.tolist(), text):
                tree.words[leaf] = word
        found += parsed
    return found


def draw(run, test, parsed, say):
    """Gold and parsed trees side by side, and the loss by step."""
    chosen = sorted(range(len(test)), key=lambda i: abs(len(test[i].leaves) - 9))[:4]
    rows = [pictures.beside(test[i], parsed[i], "parsed") for i in chosen]
    with pictures.if_possible(say):
        pictures.trees(run.folder / "trees.png", rows)
        pictures.curves(run.folder / "curves.png", {"loss": [row["loss"] for row in run.history]})


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=15, batch_size=16, lr=2e-3)
    parser.add_argument("--hidden", type=command.positive(int), default=100, metavar="N",
                        help="features of the LSTM in each direction (%(default)s)")
    parser.add_argument("--trees", type=Path, metavar="FILE",
                        help="a file of bracketed trees, plain or .gz")
    parser.add_argument("--encoding", default="utf-8", metavar="NAME",
                        help="the encoding of --trees (%(default)s)")
    parser.add_argument("--longest", type=command.positive(int), default=20, metavar="N",
                        help="words of a sentence; longer ones are left out (%(default)s)")
    sys.exit(command.run(main, parser))
