"""BLEU against sacrebleu, on real lines with noise: every figure to 1e-9."""

import os
from pathlib import Path

import numpy as np
import pytest

from minae.seq import bleu, lines, sentence_bleu

sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is an oracle: minae[oracles]")
FOLDER = Path(os.environ.get("MINAE_DATA", "")) / "multi30k"


@pytest.fixture(scope="module")
def corpus():
    """Hypotheses and up to two references of each: captions, and captions with noise."""
    names = [f"test_2016_flickr.{language}.gz" for language in ("en", "de")]
    if not all((FOLDER / name).is_file() for name in names):
        pytest.skip("there is no multi30k in $MINAE_DATA")
    rng = np.random.default_rng(0)
    real = [line for name in names for line in lines(FOLDER / name)]
    odd = ["", " ", "-", "1,000.5", "&quot;a&amp;b&lt;", "<skipped> x", "3-4 -5 a-b", "U.S.,x",
           "“q” é…", "don't (x) [y] {z} a/b $5 50% #1", "a", "a b", "a b c", ".,.,", "x\u00a0y"]
    real = odd * 5 + real
    return ([noisy(line, rng, 0.15) for line in real], real,
            [noisy(line, rng, 0.3) for line in real])


def noisy(line, rng, share):
    """The line with characters doubled or lost, and words."""
    for separator in ("", " "):
        parts = list(line) if not separator else line.split(" ")
        times = rng.choice([0, 1, 2], size=len(parts), p=[share / 2, 1 - share, share / 2])
        if not separator:
            times = np.where(rng.random(len(parts)) < 0.9, 1, times)
        line = separator.join(part for part, n in zip(parts, times) for _ in range(n))
    return line


def agree(ours, theirs):
    assert ours.score == pytest.approx(theirs.score, rel=1e-9, abs=1e-9)
    assert ours.precisions == pytest.approx(theirs.precisions, rel=1e-9)
    assert ours.brevity_penalty == pytest.approx(theirs.bp, rel=1e-12)
    assert (ours.hypothesis_length, ours.reference_length) == (theirs.sys_len, theirs.ref_len)


@pytest.mark.parametrize(
    "tokenize, smooth, several, size",
    [("13a", "exp", True, 5000), ("13a", "floor", False, 1000), ("13a", "none", True, 500),
     ("none", "exp", False, 5000), ("none", "floor", True, 500), ("none", "none", False, 500)],
)  # fmt: skip
def test_corpora(corpus, tokenize, smooth, several, size):
    hypotheses, *streams = (each[:size] for each in corpus)
    streams = streams if several else streams[:1]
    theirs = sacrebleu.corpus_bleu(hypotheses, streams, tokenize=tokenize, smooth_method=smooth,
                                   force=True)
    references = [list(each) for each in zip(*streams)] if several else streams[0]
    agree(bleu(hypotheses, references, tokenize=tokenize, smooth=smooth), theirs)
    assert 30 < theirs.score < 90


@pytest.mark.parametrize("smooth", ["exp", "floor", "none"])
def test_small_corpora_and_sentences(corpus, smooth):
    metric = sacrebleu.BLEU(smooth_method=smooth, effective_order=True)
    few = sacrebleu.BLEU(smooth_method=smooth)
    rows = [*zip(*corpus)]
    for i in range(150):
        hypothesis, *references = rows[i]
        theirs = metric.sentence_score(hypothesis, references)
        agree(sentence_bleu(hypothesis, references, smooth=smooth), theirs)
        hypotheses, *streams = zip(*rows[i : i + 3])
        theirs = few.corpus_score(hypotheses, streams)
        agree(bleu(hypotheses, list(zip(*streams)), smooth=smooth), theirs)
