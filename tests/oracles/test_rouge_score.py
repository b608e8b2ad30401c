"""ROUGE against the package rouge-score, on headlines and the beginnings of their articles."""

import gzip
import json
import os
from pathlib import Path

import pytest

from minae.seq import rouge

scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge-score is not installed")
FILE = Path(os.environ.get("MINAE_DATA", "")) / "bbc_news" / "articles.jsonl.gz"


def test_headlines():
    if not FILE.is_file():
        pytest.skip("there is no bbc_news in $MINAE_DATA")
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        articles = [json.loads(line) for line in file]
    leads = [" ".join(a["body"].split()[:15]) for a in articles]
    titles = [[a["title"], a["body"][:50]] for a in articles]
    kinds = ["rouge1", "rouge2", "rougeL"]
    theirs = scorer.RougeScorer(kinds, use_stemmer=False)
    for references in (titles, [several[0] for several in titles]):
        found = [theirs.score_multi(r if isinstance(r, list) else [r], h)
                 for h, r in zip(leads, references)]
        for kind, mine in zip(kinds, rouge(leads, references)):
            means = [sum(getattr(f[kind], name) for f in found) / len(found)
                     for name in ("precision", "recall", "fmeasure")]
            assert mine == pytest.approx(means, rel=1e-12)
