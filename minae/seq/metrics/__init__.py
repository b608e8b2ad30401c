"""Metrics: each one evaluator, whose conventions its file names."""

from .agreement import LabelScores, Scores, label_scores, set_f1
from .bleu import BLEU, bleu, sentence_bleu
from .likelihood import bits_per_character, perplexity
from .rouge import ROUGE, rouge
from .spans import Span, SpanScores, span_f1, spans

__all__ = [
    "BLEU", "ROUGE", "LabelScores", "Scores", "Span", "SpanScores", "bits_per_character", "bleu",
    "label_scores", "perplexity", "rouge", "sentence_bleu", "set_f1", "span_f1", "spans",
]  # fmt: skip
