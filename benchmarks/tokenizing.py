"""Tokenizers

    python benchmarks/tokenizing.py

MB/s of UTF-8 on two threads, beside Hugging Face's tokenizers (Rust), which use both; minae uses
one. Training is the whole of it, from lines to a tokenizer with 8,000 symbols; encoding begins with
an empty cache of words. Shakespeare: 1.1 MB; WikiText-2: 2.4 MB; Chinese: the first 3,000 hotel
reviews, 0.9 MB; German: 2.1 MB of Multi30k. From `$MINAE_DATA`.
"""

import gzip
import os
from functools import cache, partial
from pathlib import Path

from harness import main, over, spread, table

SIZE, MOST = 8000, 3000
TEXTS = {
    "Shakespeare": ["tinyshakespeare/input.txt.gz"],
    "WikiText-2": ["wikitext2/test.txt.gz", "wikitext2/valid.txt.gz"],
    "Chinese": ["chinese_reviews/ChnSentiCorp_htl_all.csv.gz"],
    "German": ["multi30k/train.de.gz"],
}


@cache
def lines(name):
    folder, found = Path(os.environ["MINAE_DATA"]), []
    for file in TEXTS[name]:
        with gzip.open(folder / file, "rt", encoding="utf-8", newline="\n") as opened:
            found += opened
    return found[:MOST] if name == "Chinese" else found


def works(kinds):
    """``kinds`` are pairs, by name, of how to train on lines and how to encode all of them."""
    work = {}
    for kind, (train, encode) in kinds.items():
        for name in TEXTS:
            work[f"{kind}, training, {name}"] = partial(train, lines(name))
            work[f"{kind}, encoding, {name}"] = Encoding(train, encode, lines(name))
    return work


class Encoding:
    """Encode all lines, with a tokenizer that is trained once, and has met no word."""

    def __init__(self, train, encode, lines):
        self.train, self.encode, self.lines, self.trained = train, encode, lines, None

    def __call__(self):
        self.trained = self.trained or self.train(self.lines)
        return self.encode(self.trained, self.lines)


def minae():
    from minae.seq import BPETokenizer, WordPieceTokenizer

    def encode(tokenizer, lines):
        tokenizer._cache.clear()
        return [tokenizer.encode(line) for line in lines]

    return works({
        "byte pairs": (partial(BPETokenizer.train, size=SIZE), encode),
        "WordPiece": (partial(WordPieceTokenizer.train, size=SIZE), encode),
    })  # fmt: skip


def huggingface():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    def encode(tokenizer, lines):
        if hasattr(tokenizer.model, "_clear_cache"):
            tokenizer.model._clear_cache()
        return [found.ids for found in tokenizer.encode_batch_fast(lines)]

    def byte_pairs(lines):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
            vocab_size=SIZE, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ))  # fmt: skip
        return tokenizer

    def wordpiece(lines):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(lines, trainers.WordPieceTrainer(
            vocab_size=SIZE, show_progress=False, special_tokens=["[UNK]"]
        ))  # fmt: skip
        return tokenizer

    return works({"byte pairs": (byte_pairs, encode), "WordPiece": (wordpiece, encode)})


def tables(figures):
    rows = []
    for work, row in figures.items():
        if "minae" in row:
            size = sum(len(line.encode()) for line in lines(work.split(", ")[-1])) / 1e6
            speeds = {name: sorted(size / t for t in times) for name, times in row.items()}
            rows.append([work, *(f"{s[len(s) // 2]:.2f}" for s in speeds.values()),
                         spread(over(row.get("Hugging Face", []), row["minae"]))])  # fmt: skip
    return table(["", "minae, MB/s", "Hugging Face, MB/s", "time of Hugging Face / minae"], rows)


CONTENDERS = {"minae": minae, "Hugging Face": huggingface}

if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
