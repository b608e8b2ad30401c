"""Text to tree to text: an encoder draws a tree, a decoder writes the text back, and nobody shows
them a tree.

    python examples/tree_text_autoencoder.py
    python examples/tree_text_autoencoder.py --sentences atis --longest 20
    python examples/tree_text_autoencoder.py --text my.txt

Sentences are those of a built-in grammar, logical forms of ATIS (in --data-dir or $MINAE_DATA), or
of a file: text, one sentence a line, or trees in brackets. Every tenth is held out. Trees that came
with them are for evaluation alone. A language model, an LSTM of equal size, learns beside. The run
folder keeps weights, tokenizer, metrics, curves, drawn trees and what was written;
``TreeAutoencoder.load(folder)`` and ``seq.load_tokenizer(folder / "tokenizer.json")`` give model
and tokenizer back.
"""

import sys
from functools import partial

import numpy as np

import minae
from minae import command, nn, pictures
from minae.data import is_sentence, load_sentences
from minae.io import write_file
from minae.models import RecurrentLM, TreeAutoencoder
from minae.optim import Adam, cosine
from minae.seq import (
    Sequences,
    Tree,
    WordTokenizer,
    actions_of_spans,
    baselines,
    load_tokenizer,
    pad,
    perplexity,
    sample,
    tree_f1,
    tree_of,
)
from minae.train import fit

OPTIONS = ("sentences", "text", "longest", "cell", "hidden", "samples", "warm_up")
SLOWER = 0.2  # the encoder's learning rate: it is not to choose before the decoder knows
HELD_OUT, BLOCK = 600, 50  # sentences to evaluate, and how many at once
WRITTEN = 300  # of which the texts are written back
AVERAGED = 50  # steps, in the curves


class Both(nn.Module):
    """The auto-encoder and the language model beside it, which share a run and nothing else."""

    def __init__(self, model, rival):
        self.model, self.rival = model, rival

    def loss(self, text):
        loss, figures = self.model.loss(text)
        rival, beside = self.rival.loss(text)
        return loss + rival, {**figures, "lstm_perplexity": beside["perplexity"]}


def main(options, out):
    say = partial(print, file=out, flush=True)
    say(f"tree auto-encoder, minae {minae.__version__} on {minae.xp.__name__}, seed {options.seed}")
    data = load_sentences(options.sentences, options.text, options.data_dir,
                          longest=options.longest, report=say,
                          count=200 if options.dry_run else 12000)
    held_out = [i % 10 == 9 for i in range(len(data.words))]
    train = [" ".join(words) for words, held in zip(data.words, held_out) if not held]
    test = [" ".join(words) for words, held in zip(data.words, held_out) if held][:HELD_OUT]
    gold = data.trees and [tree for tree, held in zip(data.trees, held_out) if held][:HELD_OUT]
    if options.dry_run:
        train, test, gold = train[: 4 * options.batch_size], test[:20], gold and gold[:20]

    if options.resume:
        tokenizer = load_tokenizer(options.resume / "tokenizer.json")
    else:
        tokenizer = WordTokenizer.train(train, split="spaces", least=2, specials=("<unk>",))
    ids, test_ids = ([*map(tokenizer.encode, side)] for side in (train, test))

    minae.seed(options.seed)
    model = TreeAutoencoder(len(tokenizer.vocabulary), hidden=options.hidden, cell=options.cell,
                            samples=options.samples, warm_up=options.warm_up)
    both = Both(model, rival_of(model))
    others = model.writer.parameters() + both.rival.parameters()
    optimizer = Adam([{"params": others}, {"params": model.reader.parameters(),
                                           "lr": SLOWER * options.lr}], options.lr)
    batches = Sequences(ids)
    steps = command.steps(options, len(ids))

    say(f"{size_of(model):,} parameters, {size_of(both.rival):,} beside")
    run = command.begin(options, OPTIONS, f"trees_{data.name}", say, source=data.source,
                        checksum=command.checksum(train), model=model.config)
    tokenizer.save(run.folder / "tokenizer.json")
    fit(both, optimizer, batches, run, epochs=options.epochs, batch_size=options.batch_size,
        seed=options.seed, steps=steps, out=out,
        schedule=lambda step: options.lr * cosine(step, steps, 0.05))

    both.eval()
    rng = np.random.default_rng(options.seed)
    figures, spans = evaluate(both, test_ids, 2 if options.dry_run else 50, rng)
    trees = [with_words(tree_of(actions), text.split()) for actions, text in zip(spans, test)]
    seen = {*train}
    metrics = {"sentences": data.name, "epochs": options.epochs, "held_out": len(test),
               "held_out_seen": sum(text in seen for text in test) / len(test),
               "unknown_words": sum(row.count(0) for row in test_ids) / sum(map(len, test_ids)),
               **figures}  # fmt: skip
    if gold:
        shown = baselines(gold, rng=rng) | {"induced": tree_f1(gold, trees)}
        metrics["f1"] = {name: round(100 * found.f1, 2) for name, found in shown.items()}
    written, told = write_back(model, tokenizer, test, test_ids, spans, rng)
    metrics |= told
    if data.name == "agreement":
        metrics["grammatical"] = grammatical(both, tokenizer, written, options, rng)
    metrics |= {"seed": options.seed, **run.summary()}
    model.save(run.folder)
    run.write("metrics.json", metrics)
    show(run, trees, gold, written, say)
    report(metrics, say)
    say(f"{metrics['seconds']:.0f} s: see {run.folder}")
    return metrics


def rival_of(model):
    """A language model with as many parameters as the auto-encoder has in all, or a few less."""
    vocabulary, features = model.vocabulary, model.config["features"]
    made, hidden = RecurrentLM(vocabulary, features, 8), 16
    while size_of(larger := RecurrentLM(vocabulary, features, hidden)) <= size_of(model):
        made, hidden = larger, hidden + 8
    return made


def size_of(model):
    return sum(p.size for p in model.parameters())


# --- What it has learned -------------------------------------------------------------------------


def evaluate(both, ids, samples, rng):
    """Figures of held-out sentences, and the actions of each one's best tree."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    totals, actions = np.zeros(5), [None] * len(ids)
    for start in range(0, len(order), BLOCK):
        chosen = order[start : start + BLOCK]
        text = pad(ids[i] for i in chosen)
        found = both.model.bounds(text, samples, rng)
        with minae.no_grad():
            beside = both.rival(text).numpy()
        totals += [-found.elbo.sum(), -found.importance.sum(), -found.words.sum(),
                   found.entropy.sum(), -beside.sum()]  # fmt: skip
        for i, row in zip(chosen, actions_of_spans(both.model.parse(text)).tolist()):
            actions[i] = row[: 2 * len(ids[i]) - 1]
    count = sum(map(len, ids)) + len(ids)  # words, and the end of each sentence
    elbo, importance, words, entropy, beside = totals.tolist()
    return {
        "negative_elbo": elbo / count, "nats_of_words": words / count,
        "nats_of_trees": (elbo - words) / count, "entropy_of_trees": entropy / len(ids),
        "perplexity_bound": perplexity(elbo, count),
        "perplexity_importance": perplexity(importance, count),
        "perplexity_lstm": perplexity(beside, count),
    }, actions  # fmt: skip


def write_back(model, tokenizer, texts, ids, actions, rng):
    """Texts written to the trees of some held-out ones, and how many words are right again."""
    texts, ids, actions = texts[:WRITTEN], ids[:WRITTEN], actions[:WRITTEN]
    lengths = [len(row) for row in ids]
    padded = np.zeros((len(ids), 2 * max(lengths) - 1), int)
    for row, own in zip(padded, actions):
        row[: len(own)] = own
    likely = model.write_along(padded, lengths, likely=True, rng=rng)
    drawn = model.write_along(padded, lengths, rng=rng)
    common = max(range(model.vocabulary), key=lambda w: sum(row.count(w) for row in ids))
    recovered = sum(a == b for row, own in zip(likely, ids) for a, b in zip(row, own))
    always = sum(row.count(common) for row in ids)
    written = [*zip(texts, map(tokenizer.decode, likely), map(tokenizer.decode, drawn))]
    return written, {"recovered": recovered / sum(lengths),
                     "recovered_by_the_commonest_word": always / sum(lengths)}  # fmt: skip


def grammatical(both, tokenizer, written, options, rng):
    """Shares of sentences of the grammar among those written to a tree, and drawn freely."""
    count, longest = (20, 8) if options.dry_run else (500, options.longest)
    texts, _ = both.model.write(count=count, longest=longest, rng=rng)
    first, state = both.rival.start(count)
    with minae.no_grad():
        drawn = sample(both.rival.step, state, first, length=longest + 1,
                       end=both.rival.vocabulary, rng=rng)
    rows = drawn.tokens.tolist()
    rival = [row[: n - (row[n - 1] == both.rival.vocabulary)]
             for row, n in zip(rows, drawn.lengths.tolist())]  # fmt: skip
    share = {
        "written_to_trees": [drawn for _, _, drawn in written],
        "drawn": map(tokenizer.decode, texts), "drawn_by_lstm": map(tokenizer.decode, rival),
    }
    return {name: float(np.mean([is_sentence(text.split()) for text in some]))
            for name, some in share.items()}


# --- To be looked at -----------------------------------------------------------------------------


def with_words(tree, words):
    """The tree with a word at each leaf, and X at all other nodes."""
    placed = dict(zip(tree.leaves.tolist(), words))
    labels = ["X" if degree else "" for degree in tree.degree]
    return Tree(tree.parent, labels, [placed.get(node) for node in range(len(tree))])


def show(run, trees, gold, written, say):
    """Curves, drawn trees, and what was written to them."""
    lengths = [len(text.split()) for text, _, _ in written]
    chosen = [i for i, n in enumerate(lengths) if 5 <= n <= 11][:6] or [0]
    lines = []
    for i in chosen:
        text, likely, sampled = written[i]
        lines += [f"read      {text}", f"tree      {bare(trees[i])}", f"likeliest {likely}",
                  f"drawn     {sampled}", ""]  # fmt: skip
    write_file(run.folder / "written.txt", "\n".join(lines).encode())
    say("\n".join(lines[:15]))
    with pictures.if_possible(say):
        rows = [side_by_side(gold and gold[i], trees[i]) for i in chosen]
        pictures.trees(run.folder / "trees.png", rows)
        names = ("perplexity", "lstm_perplexity", "words", "trees", "entropy")
        history = {f"{name} (mean of {AVERAGED})": averages([row[name] for row in run.history])
                   for name in names}
        pictures.curves(run.folder / "curves.png", history, log=[*history][:2])


def averages(values):
    """The mean of each number and those before it, as sentences of like length come together."""
    sums = np.cumsum([0.0, *values])
    return [(sums[i] - sums[max(0, i - AVERAGED)]) / min(i, AVERAGED)
            for i in range(1, len(sums))]


def bare(tree):
    """The tree in brackets, without labels."""
    text = {}
    for node in tree.postorder.tolist():
        below = " ".join(text[child] for child in tree.children(node).tolist())
        text[node] = f"({below})" if below else tree.words[node]
    return text[int(tree.roots[0])]


def side_by_side(given, induced):
    """A row of a picture, for the given tree, if there is one, and the induced one."""
    if given is None:
        return [("induced", induced, [""] * len(induced))]
    return pictures.beside(given, induced, "induced")


def report(metrics, say):
    say(f"held-out negative ELBO {metrics['negative_elbo']:.3f} nats a word"
        f" ({metrics['nats_of_words']:.3f} of words, {metrics['nats_of_trees']:.3f} of trees):"
        f" perplexity at most {metrics['perplexity_bound']:.2f},"
        f" by importance {metrics['perplexity_importance']:.2f};"
        f" the LSTM beside has {metrics['perplexity_lstm']:.2f}")
    if "f1" in metrics:
        say("unlabeled F1: " + ", ".join(f"{name} {f1:.1f}" for name, f1 in metrics["f1"].items()))
    say(f"words recovered from the tree alone: {metrics['recovered']:.1%}"
        f" (the commonest word everywhere: {metrics['recovered_by_the_commonest_word']:.1%})")
    if "grammatical" in metrics:
        shares = metrics["grammatical"].items()
        say("grammatical: " + ", ".join(f"{n.replace('_', ' ')} {x:.1%}" for n, x in shares))


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=10, batch_size=32, lr=5e-3)
    add = parser.add_argument
    add("--sentences", choices=("agreement", "atis"), default="agreement",
        help="the grammar's, or logical forms of ATIS (%(default)s)")
    add("--text", type=command.folder, metavar="FILE", help="sentences or trees of your own")
    add("--longest", type=command.positive(int), default=14, metavar="N",
        help="words of a sentence, at most (%(default)s)")
    add("--cell", type=command.positive(int), default=10, metavar="N",
        help="features of a cell on the stack (%(default)s)")
    add("--hidden", type=command.positive(int), default=64, metavar="N", help="(%(default)s)")
    add("--samples", type=command.positive(int), default=5, metavar="K",
        help="trees drawn of each sentence, two or more (%(default)s)")
    add("--warm-up", type=command.positive(int), default=300, metavar="N",
        help="steps until the entropy of trees counts in full (%(default)s)")
    sys.exit(command.run(main, parser))
