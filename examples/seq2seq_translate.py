"""Translation: a recurrent net with attention, or a transformer, from one language to another.

    python examples/seq2seq_translate.py
    python examples/seq2seq_translate.py --model transformer --source de --target en
    python examples/seq2seq_translate.py --source-file a.txt --target-file b.txt.gz --copy

Multi30k is taken from --data-dir or $MINAE_DATA; without it, the net learns names of numbers,
"twenty four" and "vier und zwanzig". The run folder keeps the weights and the tokenizers, all test
translations beside their sources and references, the metrics, and pictures of attention.
``Seq2Seq.load(folder)`` (or ``Transformer``) and ``seq.load_tokenizer(folder / "source.json")``
give model and tokenizers back.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minae
from minae import command, pictures, seq
from minae.data import load_parallel
from minae.io import write_file
from minae.models import Seq2Seq, Transformer, copy_ids
from minae.optim import Adam, cosine, warmup
from minae.train import fit

OPTIONS = ("model", "source", "target", "source_file", "target_file", "tokenizer", "vocabulary",
           "copy", "width", "dataset")
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
UNKNOWN, BEGIN, END = 1, 2, 3
LONGEST = 100  # tokens of a sentence; it is cut after them
WORDS = seq.WordTokenizer(seq.Vocabulary([]))  # to cut a text into words
CONVENTION = "sacrebleu's: 13a tokens, case matters, exponential smoothing"


def main(options, out):
    say = partial(print, file=out, flush=True)
    files = both_files(options)
    say(f"translation, {options.model}, minae {minae.__version__} on {minae.xp.__name__},"
        f" seed {options.seed}")
    data = load_parallel("files" if files else options.dataset, options.source, options.target,
                         options.data_dir, files, say)
    if options.resume and data.name not in (options.dataset, "files"):
        raise ValueError(f"{options.resume} was trained on {options.dataset}, which is not at hand:"
                         " give its folder with --data-dir")
    train, test = data.train, data.test
    if options.dry_run:
        train, test = train[: 4 * options.batch_size], test[:8]

    coder = Coder.learn(train, options, data.name)
    pairs, held_out = coder.pairs(train), coder.pairs(test)
    minae.seed(options.seed)
    model = build(options, coder)
    optimizer = Adam(model.parameters(), options.lr)

    if not files:
        options.dataset = data.name  # what was found, so that a resumed run looks for the same
    run = command.begin(options, OPTIONS, f"translate_{data.name}", say, source=data.origin,
                        checksum=command.checksum(side for pair in train for side in pair),
                        model=model.config)
    steps = command.steps(options, len(pairs))
    fit(model, optimizer, pairs, run, epochs=options.epochs, batch_size=options.batch_size,
        seed=options.seed, steps=steps, out=out, schedule=lambda step:
        options.lr * warmup(step, steps // 20 + 1) * cosine(step, steps))

    model.eval().save(run.folder)
    coder.source.save(run.folder / "source.json")
    coder.target.save(run.folder / "target.json")
    sources, references = ([coder.spelled(text) for text in side] for side in zip(*test))
    say(f"translating {len(test)} test sentences")
    lexicon = likeliest_words(train)
    found = {
        "greedy": translate(model, coder, test, held_out, 1),
        f"beam of {options.beam}": translate(model, coder, test, held_out, options.beam),
        "word by word": [word_by_word(lexicon, text) for text in sources],
        "source copied": sources,
    }
    convention = CONVENTION
    if hasattr(coder.target, "words"):
        convention += "; of words with a blank between any two, in references too"
    scores = [seq.bleu(texts, references).score for texts in found.values()]
    greedy, beam, *_ = found.values()
    right = np.mean([text == reference for text, reference in zip(beam, references)])
    metrics = {
        "dataset": data.name, "source": data.languages[0], "target": data.languages[1],
        "model": options.model, "epochs": options.epochs, "bleu": convention,
        "test_bleu_greedy": scores[0], "test_bleu_beam": scores[1], "beam": options.beam,
        "test_exact_beam": float(right), "test_bleu_word_by_word": scores[2],
        "test_bleu_copy": scores[3], "test_perplexity": perplexity(model, held_out),
        "seed": options.seed, **run.summary(),
    }  # fmt: skip
    run.write("metrics.json", metrics)
    write_samples(run.folder / "translations.txt", sources, references, greedy, beam)
    draw(model, coder, run, test, held_out, say)
    say(f"test BLEU ({convention}):")
    for name, score in zip(found, scores):
        say(f"  {name:<14}{score:6.2f}")
    say(f"perplexity of a test token {metrics['test_perplexity']:.3g}, {right:.1%} of the sentences"
        f" as in the reference, {metrics['seconds']:.0f} s: see {run.folder}")
    return metrics


def both_files(options):
    """The two files that the options name, if any."""
    files = options.source_file, options.target_file
    if None in files and any(files):
        raise ValueError("two files are needed: give --source-file and --target-file")
    if any(files) and options.data_dir:
        raise ValueError("--data-dir is for Multi30k: leave it out beside --source-file")
    return files if any(files) else None


def build(options, coder):
    """The model that the options ask for."""
    if options.width % 4:
        raise ValueError(f"--width must be divided by 4: it is {options.width}")
    sizes = len(coder.source.vocabulary), len(coder.target.vocabulary)
    if options.model == "transformer":
        return Transformer(*sizes, context=LONGEST + 1, layers=2, features=options.width,
                           heads=4, norm_first=True)
    return Seq2Seq(*sizes, features=options.width // 2, hidden=options.width, dropout=0.2,
                   unknown=UNKNOWN if coder.copy else None)


# --- Sentences and ids ---------------------------------------------------------------------------


class Coder(NamedTuple):
    """Sentences as ids, and back. With ``copy``, words of the source can be copied."""

    source: Any
    target: Any
    copy: bool

    @classmethod
    def learn(cls, pairs, options, name):
        """From the sentences to train on; by default names of numbers are words, all else BPE."""
        kind = options.tokenizer or ("words" if options.copy or name == "numbers" else "bpe")
        if options.copy and kind == "bpe":
            raise ValueError("words are copied, not parts of them: --tokenizer words beside --copy")
        if options.copy and options.model == "transformer":
            raise ValueError("only the recurrent model copies: leave out --copy")
        least = len(SPECIALS) + (256 if kind == "bpe" else 1)  # BPE has all bytes
        if options.vocabulary < least:
            raise ValueError(f"--vocabulary must be at least {least} for {kind}")
        learned = seq.BPETokenizer.train
        if kind == "words":  # rare ones are unknown, so that it learns what to do with such
            learned = partial(seq.WordTokenizer.train, least=1 if name == "numbers" else 2)
        tokenizers = [learned(side, options.vocabulary, specials=SPECIALS) for side in zip(*pairs)]
        return cls(*tokenizers, options.copy)

    def pairs(self, sentences):
        """The ids of all sentences: those of the source end with a token that says so."""
        sources, targets, copies = [], [], []
        for source, target in sentences:
            ids, wanted = self.source.encode(source), self.target.encode(target)
            if self.copy:
                words, known = self.read(source), self.target.vocabulary.ids
                wanted = copy_ids(self.target.words(target), words, known, UNKNOWN)
                copies.append([*copy_ids(words, words, known, UNKNOWN), END])
            sources.append([*ids[:LONGEST], END])
            targets.append([BEGIN, *[*wanted, END][:LONGEST]])
        return seq.Pairs(sources, targets, *([copies] if self.copy else []))

    def read(self, source):
        """The tokens of a source, as text."""
        if hasattr(self.source, "words"):
            return self.source.words(source)[:LONGEST]
        return [self.source.decode([i]) for i in self.source.encode(source)[:LONGEST]]

    def tokens(self, ids, source):
        """What the ids of a target stand for, one by one, up to its end."""
        ids, words, count = ids.tolist(), self.read(source), len(self.target.vocabulary)
        ids = ids[: ids.index(END)] if END in ids else ids
        return [words[i - count] if i >= count else self.target.decode([i]) for i in ids]

    def text(self, ids, source):
        """The sentence of the ids."""
        if self.copy:
            return " ".join(filter(None, self.tokens(ids, source)))
        return self.target.decode(ids).strip()

    def spelled(self, text):
        """A sentence as the tokenizer would write it: words have a blank between any two."""
        return " ".join(self.target.words(text)) if hasattr(self.target, "words") else text


# --- Translations --------------------------------------------------------------------------------


def translate(model, coder, sentences, pairs, width, size=64):
    """The test sentences by beam search; with a width of 1, by greedy search."""
    order = sorted(range(len(pairs)), key=lambda i: len(pairs.sources[i]))
    found = [""] * len(pairs)
    for some in (order[i : i + size] for i in range(0, len(order), size)):
        for i, ids in zip(some, search(model, pairs, some, width)):
            found[i] = coder.text(ids, sentences[i][0])
    return found


def search(model, pairs, some, width):
    """The ids that the model writes for some of the sources."""
    sources, _, *copies = (seq.pad(side[i] for i in some) for side in pairs.sides)
    length = min(LONGEST, 2 * sources.values.shape[1] + 5)
    first = minae.xp.full(len(some), BEGIN)
    with minae.no_grad():
        state = model.start(sources, *copies)
        if width == 1:
            return seq.greedy(model.step, state, first, length=length, end=END).tokens
        found = seq.beam_search(model.step, state, first, length=length, width=width, end=END,
                                alpha=1.0)
    return found.tokens[:, 0]


def perplexity(model, pairs):
    """Of a token of the targets, their ends included."""
    nats = count = 0
    with minae.no_grad():
        for batch in pairs.batches(64, seed=0, epoch=0):
            tokens = int((batch[1].lengths - 1).sum())
            nats, count = nats + model.loss(*batch)[0].item() * tokens, count + tokens
    return seq.perplexity(nats, count)


def likeliest_words(pairs):
    """For each word of the sources, the target's word that stands most often beside it and seldom
    without it (by Dice's coefficient)."""
    words = partial(seq.WordTokenizer.train, specials=(), unknown=None)
    sides = [words(side) for side in zip(*pairs)]
    size = len(sides[1].vocabulary)
    alone = [np.zeros(len(side.vocabulary)) for side in sides]
    both = []
    for pair in pairs:
        source, target = (np.unique(np.array(side.encode(text), int))
                          for side, text in zip(sides, pair))
        alone[0][source] += 1
        alone[1][target] += 1
        both.append((source[:, None] * size + target).ravel())
    both, count = np.unique(np.concatenate(both), return_counts=True)
    source, target = both // size, both % size
    share = 2 * count / (alone[0][source] + alone[1][target])
    order = np.argsort(share, kind="stable")  # of a source, the best comes last
    spell = [side.vocabulary.symbols for side in sides]
    return {spell[0][i]: spell[1][j] for i, j in zip(source[order], target[order])}


def word_by_word(lexicon, text):
    """Each word by its likeliest translation, in the order of the source."""
    return " ".join(lexicon.get(word, word) for word in WORDS.words(text))


# --- What is left in the run folder --------------------------------------------------------------


def write_samples(path, sources, references, greedy, beam):
    """All test sentences, each with what was made of it."""
    names = "source", "reference", "greedy", "beam"
    blocks = ("".join(f"{name:<10}{text}\n" for name, text in zip(names, texts))
              for texts in zip(sources, references, greedy, beam))
    write_file(path, "\n".join(blocks).encode())


def draw(model, coder, run, test, pairs, say):
    """Attention in a few test sentences, and the curves of training."""
    some = sorted(range(len(pairs)), key=lambda i: abs(len(pairs.sources[i]) - 10))[:4]
    maps = []
    for i, ids in zip(some, search(model, pairs, some, 1)):
        source = test[i][0]
        written = coder.tokens(ids, source)
        sides = [minae.xp.array([side[i]]) for side in pairs.sides]
        sides[1] = minae.xp.array([[BEGIN, *ids.tolist()[: len(written)]]])
        with minae.no_grad():
            (weights,) = model.attention(*sides).numpy()
        maps.append(([*coder.read(source), "<eos>"], [*written, "<eos>"], weights))
    history = {name: [row[name] for row in run.history] for name in ("loss", "perplexity")}
    with pictures.if_possible(say):
        pictures.attention_maps(run.folder / "attention.png", maps)
        pictures.curves(run.folder / "curves.png", history, log=("perplexity",))


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=6, batch_size=32, lr=1.5e-3)
    add = parser.add_argument
    add("--model", choices=("recurrent", "transformer"), default="recurrent",
        help="what translates (%(default)s)")
    add("--source", choices=("en", "de", "fr", "cs"), default="en",
        help="the language to read (%(default)s)")
    add("--target", choices=("en", "de", "fr", "cs"), default="de",
        help="the language to write (%(default)s)")
    add("--dataset", choices=("multi30k", "numbers"), default="multi30k",
        help="what to translate (%(default)s)")
    add("--source-file", type=Path, metavar="FILE",
        help="a text to learn from instead, a sentence a line (.gz or plain) ...")
    add("--target-file", type=Path, metavar="FILE", help="... and its translation")
    add("--tokenizer", choices=("words", "bpe"),
        help="what is read and written at a time (of numbers words, else BPE)")
    add("--vocabulary", type=command.positive(int), default=4000, metavar="N",
        help="the most tokens on each side (%(default)s)")
    add("--copy", action="store_true", help="let words of the source be copied (recurrent, words)")
    add("--width", type=command.positive(int), default=256, metavar="N",
        help="features of the model (%(default)s)")
    add("--beam", type=command.positive(int), default=5, metavar="N",
        help="hypotheses of the beam search (%(default)s)")
    sys.exit(command.run(main, parser))
